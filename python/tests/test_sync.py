# SPDX-License-Identifier: MIT
import ctypes
import os
import pickle
import signal
import threading
import time
import unittest

import tine.multiprocessing as mp
from tine import _core
from tine.multiprocessing import queues, synchronize

TIMES = 1000 if os.environ.get("TEST_SOAK") else 15


def hold_for_ever(lock, value):
    while True:
        with lock:
            value.value += 1


def wait_for_ever(condition, event):
    with condition:
        event.set()
        condition.wait()


def ping(condition, turn, rounds):
    for _ in range(rounds):
        with condition:
            condition.wait_for(lambda: turn.value == 1, 30)
            turn.value = 0
            condition.notify()


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


class Locks(unittest.TestCase):
    def test_lock(self) -> None:
        lock = mp.Lock()
        self.assertTrue(lock.acquire())
        self.assertFalse(lock.acquire(False))
        self.assertFalse(lock.acquire(timeout=0.01))
        self.assertFalse(lock.acquire(True, -1))
        lock.release()
        self.assertRaises(ValueError, lock.release)
        with lock:
            self.assertEqual(repr(lock), "<Lock(owner=MainProcess)>")
        self.assertEqual(repr(lock), "<Lock(owner=None)>")

    def test_methods_are_of_the_class_itself(self) -> None:
        """Else the interpreter makes a detour for each call."""
        for kind, name in ((synchronize.Lock, "acquire"),
                           (synchronize.BoundedSemaphore, "release"),
                           (synchronize.Event, "is_set"), (queues.JoinableQueue, "put")):
            self.assertIs(getattr(kind, name).__objclass__, kind)

    def test_a_class_of_the_program_has_its_own_methods(self) -> None:
        @_core.own_methods
        class Counted(synchronize.Lock):
            count = 0

            def acquire(self, *args, **kwargs):
                self.count += 1
                return super().acquire(*args, **kwargs)

        lock = Counted()
        self.assertTrue(lock.acquire(timeout=1))
        self.assertFalse(lock.acquire(False))
        lock.release()
        self.assertEqual(lock.count, 2)

    def test_lock_is_released_elsewhere(self) -> None:
        lock = mp.Lock()
        lock.acquire()
        process = mp.Process(target=lock.release)
        process.start()
        self.assertTrue(lock.acquire(timeout=20))
        process.join()
        thread = threading.Thread(target=lock.release)
        thread.start()
        thread.join()
        self.assertTrue(lock.acquire(False))

    def test_rlock(self) -> None:
        lock = mp.RLock()
        with lock, lock:
            self.assertEqual(repr(lock), "<RLock(MainProcess, 2)>")
            taken = []
            thread = threading.Thread(target=lambda: taken.append(lock.acquire(False)))
            thread.start()
            thread.join()
            self.assertEqual(taken, [False])
        self.assertRaises(AssertionError, lock.release)

    def test_semaphores(self) -> None:
        semaphore = mp.Semaphore(2)
        self.assertTrue(semaphore.acquire() and semaphore.acquire())
        self.assertFalse(semaphore.acquire(False))
        for _ in range(4):
            semaphore.release()
        self.assertEqual(semaphore.get_value(), 4)
        for value in 0, 2:
            bounded = mp.BoundedSemaphore(value)
            self.assertRaises(ValueError, bounded.release)
        self.assertRaises(ValueError, mp.Semaphore, -1)
        self.assertRaises(TypeError, mp.Semaphore, "a")

    def test_event(self) -> None:
        event = mp.Event()
        self.assertFalse(event.wait(0.01))
        event.set()
        self.assertTrue(event.wait() and event.is_set())
        event.clear()
        self.assertFalse(event.is_set())

    def test_condition_of_each_lock(self) -> None:
        for lock in mp.Lock(), mp.RLock():
            condition, turn = mp.Condition(lock), mp.Value("i", 0, lock=False)
            self.assertRaises(AssertionError, condition.wait)
            self.assertRaises(AssertionError, condition.notify)
            process = mp.Process(target=ping, args=(condition, turn, 200))
            process.start()
            for _ in range(200):
                with condition:
                    self.assertTrue(condition.wait_for(lambda: turn.value == 0, 30))
                    turn.value = 1
                    condition.notify()
            process.join()
            with condition:
                self.assertFalse(condition.wait(0.01))

    def test_a_wait_releases_a_recursive_lock_wholly(self) -> None:
        condition = mp.Condition()
        with condition, condition:
            process = mp.Process(target=lambda: condition.acquire() and
                                 (condition.notify(), condition.release()))
            process.start()
            self.assertTrue(condition.wait(20))
            self.assertEqual(condition._lock._count(), 2)
        process.join()

    def test_barrier(self) -> None:
        barrier, queue = mp.Barrier(3, timeout=30), mp.Queue()

        def pass_it() -> None:
            for _ in range(20):
                queue.put(barrier.wait())
        processes = [mp.Process(target=pass_it) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        self.assertEqual(sorted(queue.get() for _ in range(60)), [0] * 20 + [1] * 20 +
                         [2] * 20)
        self.assertRaises(threading.BrokenBarrierError, barrier.wait, 0.01)
        self.assertTrue(barrier.broken)

    def test_values(self) -> None:
        value, array = mp.Value("i", 7), mp.Array("d", [1, 2, 3])
        point, text = mp.Value(Point, 1, 2.5), mp.Array("c", b"abc")

        def change() -> None:
            with value.get_lock():
                value.value += 1
            array[1] = 20
            point.x, text.value = 5, b"xy"
        process = mp.Process(target=change)
        process.start()
        process.join()
        self.assertEqual((value.value, array[:], point.x, point.y, text.value),
                         (8, [1, 20, 3], 5, 2.5, b"xy"))
        for shared in value, array, point, text, mp.RawValue("i", 3), mp.RawArray("i", 4):
            queue = mp.SimpleQueue()
            queue.put(shared)
            self.assertEqual(type(queue.get()).__name__, type(shared).__name__)
        other = pickle.loads(pickle.dumps(value))
        other.value = 100
        self.assertEqual(value.value, 100)
        self.assertRaises(AttributeError, mp.Value, "i", lock="navalue")

    def test_manager_begins_no_process_for_these(self) -> None:
        with mp.Manager() as manager:
            made = [manager.Queue(), manager.JoinableQueue(), manager.Event(),
                    manager.Lock(), manager.RLock(), manager.Semaphore(2),
                    manager.BoundedSemaphore(2), manager.Condition(),
                    manager.Barrier(2), manager.Value("i", 5), manager.Array("i", [1])]
            self.assertIsNone(manager._process)
            made[-2].value = ["any", {"thing": 1}, b"x" * 100]
            self.assertEqual(made[-2].value, ["any", {"thing": 1}, b"x" * 100])
            shared = manager.dict(a=1)
            self.assertIsNotNone(manager._process)
            self.assertEqual(shared["a"], 1)
        self.assertIsNone(mp.Manager().join())


class Deaths(unittest.TestCase):
    def test_holder(self) -> None:
        for lock in mp.Lock(), mp.RLock():
            died = 0
            for i in range(TIMES):
                value = mp.Value("i", 0, lock=False)
                process = mp.Process(target=hold_for_ever, args=(lock, value))
                process.start()
                while value.value < 10:
                    time.sleep(0)
                if i % 4 == 3:
                    os.kill(process.pid, signal.SIGSTOP)
                    lock.acquire(timeout=0.01) and lock.release()
                process.kill()
                process.join()
                self.assertTrue(lock.acquire(timeout=30))
                died += lock.owner_died
                lock.release()
            self.assertGreater(died, 0)

    def test_one_that_is_killed_for_certain(self) -> None:
        for lock in mp.Lock(), mp.RLock():
            process = mp.Process(target=lambda: (lock.acquire(),
                                                 os.kill(os.getpid(), signal.SIGKILL)))
            process.start()
            process.join()
            self.assertTrue(lock.acquire(timeout=30))
            self.assertTrue(lock.owner_died)

    def test_waiters(self) -> None:
        condition = mp.Condition(mp.Lock())
        for i in range(TIMES):
            event = mp.Event()
            process = mp.Process(target=wait_for_ever, args=(condition, event))
            process.start()
            self.assertTrue(event.wait(30))
            if i % 2:
                with condition:
                    pass
            process.kill()
            process.join()
            with condition:
                condition.notify_all()
        event = mp.Event()
        process = mp.Process(target=wait_for_ever, args=(condition, event))
        process.start()
        event.wait()
        with condition:
            condition.notify_all()
        process.join(30)
        self.assertEqual(process.exitcode, 0)

    def test_party_of_a_barrier(self) -> None:
        barrier = mp.Barrier(3)
        for reset in barrier.reset, lambda: barrier.abort() or barrier.reset():
            victim = mp.Process(target=barrier.wait)
            victim.start()
            while barrier.n_waiting < 1:
                time.sleep(0.001)
            victim.kill()
            victim.join()
            self.assertRaises(threading.BrokenBarrierError, barrier.wait)
            self.assertTrue(barrier.broken)
            reset()
            self.assertEqual(barrier.n_waiting, 0)
        processes = [mp.Process(target=barrier.wait) for _ in range(2)]
        for process in processes:
            process.start()
        barrier.wait(60)
        for process in processes:
            process.join()
            self.assertEqual(process.exitcode, 0)


if __name__ == "__main__":
    unittest.main()
