# SPDX-License-Identifier: MIT
"""Each object, with processes killed and stopped at random moments of its calls.

Beside one that is stopped a call may end at its timeout, and does; when all are killed,
everything goes on. TEST_SOAK: by the thousand.
"""
import os
import queue
import random
import signal
import threading
import time
import unittest

import tine.multiprocessing as mp

TIMES = int(os.environ.get("TEST_TIMES", 2000 if os.environ.get("TEST_SOAK") else 12))
SEED = int(os.environ.get("TEST_SEED", time.time_ns()))
GUARD = 60  # seconds, of what should take none
BRIEF = 0.01
LONG = b"x" * 300
LARGE = bytes(100000)


def put_for_ever(objects):
    while True:
        for value in 1, LONG, LARGE:
            objects[0].put(value)


def get_for_ever(objects):
    while True:
        objects[0].get()


def get_and_tell_for_ever(objects):
    while True:
        objects[0].get()
        objects[0].task_done()


def poll_for_ever(objects):
    while True:
        try:
            objects[0].get(timeout=0.0001)
        except queue.Empty:
            pass


def hold_for_ever(objects):
    while True:
        with objects[0]:
            pass


def wait_for_ever(objects):
    while True:
        with objects[0]:
            objects[0].wait(0.001)


def notify_for_ever(objects):
    while True:
        with objects[0]:
            objects[0].notify_all()


def set_for_ever(objects):
    while True:
        objects[0].set()
        objects[0].wait(0.001)
        objects[0].clear()


def store_for_ever(objects):
    while True:
        for value in 1, "x" * 500:
            objects[0].value = value


def add_for_ever(objects):
    while True:
        with objects[0].get_lock():
            objects[0].value += 1


def meet_for_ever(objects):
    while True:
        try:
            objects[0].wait()
        except threading.BrokenBarrierError:
            objects[0].reset()


def make_for_ever(objects):
    """Handles of many kinds come and go in all processes."""
    while True:
        made = mp.Queue(), mp.Lock(), mp.Value("i"), mp.Event()
        made[0].put(made[1])
        objects[0].put(made[3])
        made[0].get()


def use_until_it_is_gone(table, lock, done):
    done.put("begun")
    try:
        while True:
            with lock:
                table["a"] = table.get("a", 0) + 1
    except (EOFError, OSError):
        done.put("gone")


# ---- what this process does meanwhile, with a timeout ----------------------------------


def put_brief(objects, timeout):
    try:
        objects[0].put(LONG, timeout=timeout)
    except queue.Full:
        pass


def get_brief(objects, timeout):
    try:
        objects[0].get(timeout=timeout)
    except queue.Empty:
        pass


def get_handle(objects, timeout):
    try:
        get_brief(objects, timeout)
    except RuntimeError:
        pass  # its sender died, or has sent many others, and nobody has kept it


def use_queue(objects, timeout):
    put_brief(objects, timeout)
    get_brief(objects, timeout)


def use_lock(objects, timeout):
    if objects[0].acquire(timeout=timeout):
        objects[0].release()


def use_condition(objects, timeout):
    if objects[0].acquire(timeout=timeout):
        objects[0].notify()
        objects[0].wait(timeout)
        objects[0].release()


def use_event(objects, timeout):
    objects[0].wait(timeout)


def use_value(objects, timeout):
    if objects[0].get_lock().acquire(timeout=timeout):
        objects[0].value += 1
        objects[0].get_lock().release()


def use_barrier(objects, timeout):
    try:
        objects[0].wait(timeout)
    except threading.BrokenBarrierError:
        pass


def use_nothing(objects, timeout):
    time.sleep(timeout)


# ---- what has to be, when the others are dead ------------------------------------------


def queue_works(test, objects):
    q = objects[0]
    while True:
        try:
            test.assertIn(q.get(timeout=BRIEF), (1, LONG, LARGE))
        except queue.Empty:
            break
    for i in range(100):
        q.put(i, timeout=GUARD)
        test.assertEqual(q.get(timeout=GUARD), i)


def simple_queue_works(test, objects):
    while not objects[0].empty():
        objects[0].get()
    objects[0].put(5)
    test.assertEqual(objects[0].get(), 5)


def handles_work(test, objects):
    while True:
        try:
            objects[0].get(timeout=BRIEF).is_set()
        except RuntimeError:
            pass
        except queue.Empty:
            break
    objects[0].put(mp.Event())
    test.assertFalse(objects[0].get(timeout=GUARD).is_set())


def lock_works(test, objects):
    for _ in range(3):
        test.assertTrue(objects[0].acquire(timeout=GUARD))
        objects[0].release()


def condition_works(test, objects):
    lock_works(test, objects)
    woken = []

    def wait():
        with objects[0]:
            woken.append(objects[0].wait(GUARD))
    thread = threading.Thread(target=wait)
    thread.start()
    while thread.is_alive():
        with objects[0]:
            objects[0].notify_all()
        thread.join(BRIEF)
    test.assertEqual(woken, [True])


def event_works(test, objects):
    event = objects[0]
    event.clear()
    test.assertFalse(event.wait(0.001))
    event.set()
    test.assertTrue(event.wait(GUARD))
    event.clear()


def value_works(test, objects):
    test.assertTrue(objects[0].get_lock().acquire(timeout=GUARD))
    objects[0].get_lock().release()


def cell_works(test, objects):
    test.assertIn(objects[0].value, (None, 1, "x" * 500))
    objects[0].value = 1
    test.assertEqual(objects[0].value, 1)


def barrier_works(test, objects):
    objects[0].reset()
    test.assertEqual(objects[0].n_waiting, 0)
    met = []
    threads = [threading.Thread(target=lambda: met.append(objects[0].wait(GUARD)))
               for _ in range(2)]
    for thread in threads:
        thread.start()
    met.append(objects[0].wait(GUARD))
    for thread in threads:
        thread.join()
    test.assertEqual(sorted(met), [0, 1, 2])


KINDS = {  # what is made, what others do, what this one does, what has to be
    "writers": (lambda: mp.Queue(50), [put_for_ever] * 2, get_brief, queue_works),
    "writers_without_a_maximum": (mp.Queue, [put_for_ever], get_brief, queue_works),
    "readers": (lambda: mp.Queue(50), [get_for_ever] * 2, put_brief, queue_works),
    "pollers": (lambda: mp.Queue(50), [poll_for_ever] * 2, put_brief, queue_works),
    "readers_and_writers": (lambda: mp.Queue(3), [get_for_ever, put_for_ever], use_queue,
                            queue_works),
    "simple_queue": (mp.SimpleQueue, [get_for_ever, put_for_ever], use_nothing,
                     simple_queue_works),
    "joinable_queue": (lambda: mp.JoinableQueue(50),
                       [get_and_tell_for_ever, put_for_ever], use_queue, queue_works),
    "handles": (lambda: mp.Queue(50), [make_for_ever] * 2, get_handle, handles_work),
    "lock": (mp.Lock, [hold_for_ever] * 2, use_lock, lock_works),
    "recursive_lock": (mp.RLock, [hold_for_ever] * 2, use_lock, lock_works),
    "waiters": (mp.Condition, [wait_for_ever] * 2, use_condition, condition_works),
    "notifiers": (mp.Condition, [wait_for_ever, notify_for_ever], use_condition,
                  condition_works),
    "condition_of_a_lock": (lambda: mp.Condition(mp.Lock()),
                            [wait_for_ever, notify_for_ever], use_condition,
                            condition_works),
    "event": (mp.Event, [set_for_ever] * 2, use_event, event_works),
    "barrier": (lambda: mp.Barrier(3), [meet_for_ever] * 2, use_barrier, barrier_works),
    "value": (lambda: mp.Value("i"), [add_for_ever] * 2, use_value, value_works),
    "managers_value": (lambda: mp.Manager().Value("i", 1), [store_for_ever], use_nothing,
                       cell_works),
    "managers_queue": (lambda: mp.Manager().Queue(50), [get_for_ever, put_for_ever],
                       use_queue, queue_works),
}


class Kills(unittest.TestCase):
    """With a test for each kind of object."""

    def judge(self, make, others, use, works) -> None:
        chance = random.Random(SEED)
        objects = [make()]
        counter = mp.Value("i", 0, lock=False)

        def begin(act):
            counter.value += 1  # as a hint
            act(objects)
        for _ in range(TIMES):
            counter.value = 0
            processes = [mp.Process(target=begin, args=(act,)) for act in others]
            for process in processes:
                process.start()
                self.addCleanup(process.kill)
            while not counter.value:
                time.sleep(0)
            until = time.monotonic() + chance.random() * 0.02
            while time.monotonic() < until:
                use(objects, BRIEF)
            if chance.random() < 0.5:
                for process in processes:
                    os.kill(process.pid, signal.SIGSTOP)
                for _ in range(3):
                    use(objects, BRIEF)
            chance.shuffle(processes)
            for process in processes:
                process.kill()
                process.join()
                self.assertEqual(process.exitcode, -signal.SIGKILL)
            works(self, objects)


    def test_managers_server(self) -> None:
        """Its objects are gone with it, which their users are told; others are not."""
        chance = random.Random(SEED)
        for _ in range(TIMES):
            manager = mp.Manager()
            table, lock, done = manager.dict(), manager.Lock(), manager.Queue()
            process = mp.Process(target=use_until_it_is_gone, args=(table, lock, done))
            process.start()
            self.addCleanup(process.kill)
            self.assertEqual(done.get(timeout=GUARD), "begun")
            time.sleep(chance.random() * 0.02)
            server = manager._process
            if chance.random() < 0.5:
                os.kill(server.pid, signal.SIGSTOP)
                time.sleep(chance.random() * 0.005)
            server.kill()
            self.assertEqual(done.get(timeout=GUARD), "gone")
            process.join()
            with self.assertRaises((EOFError, OSError)):
                table["a"] = 1
            self.assertTrue(lock.acquire(timeout=GUARD))
            manager.shutdown()
            self.assertEqual(server.exitcode, -signal.SIGKILL)


def test_of(kind):
    make, others, use, works = KINDS[kind]
    return lambda self: self.judge(make, others, use, works)


for kind in KINDS:
    setattr(Kills, f"test_{kind}", test_of(kind))


if __name__ == "__main__":
    print(f"TEST_SEED={SEED}")
    unittest.main()
