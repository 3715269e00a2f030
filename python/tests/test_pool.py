# SPDX-License-Identifier: MIT
"""Pool: the deaths of its workers, of its owner, and what multiprocessing.Pool has."""
import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock
from concurrent.futures import CancelledError
from multiprocessing import TimeoutError as NotReady, current_process, get_context, util
from multiprocessing.context import ForkProcess
from multiprocessing.pool import MaybeEncodingError

from tine.multiprocessing import SimpleQueue, Value
from tine.multiprocessing.pool import Pool, WorkerDied

SCALE = int(os.environ.get("TEST_SCALE", "1"))
GUARD = 60  # seconds, of what should take none


def square(x):
    return x * x


def die(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def fail(x):
    raise KeyError(x)


def closure(x):
    return lambda: x


def deep(n):
    value = []
    for _ in range(n):
        value = [value]
    return value


class Odd(Exception):
    """Pickles, and cannot be loaded."""

    def __init__(self, one, two):
        super().__init__(one)


def odd():
    raise Odd(1, 2)


def exhaust():
    raise MemoryError("there is none")


def leave(code):
    sys.exit(code)


class Free(ForkProcess):
    daemon = property(lambda self: False, lambda self, value: None)


def inner():
    with Pool(1) as pool:
        return pool.map(square, range(3))


def write_line(path, text):
    with open(path, "a", encoding="ascii") as file:
        file.write(text + "\n")


def lines_of(path):
    with open(path, encoding="ascii") as file:
        return file.read().split("\n")[:-1]


def have_finalizer(path):
    util.Finalize(None, write_line, (path, "ended"), exitpriority=1)


class Inherited:
    """What a program has when it makes a pool, and not for as long as the pool lives."""

    value = None


def read_inherited():
    return Inherited.value.value, os.getpid()


class Submitter:
    """Adds a task to a pool where it is pickled."""

    def __init__(self, pool, results):
        self.pool, self.results = pool, results

    def __reduce__(self):
        self.results.append(self.pool.apply_async(square, (5,)))
        return int, (3,)


def whereabouts(_):
    return os.getpid(), current_process().name, current_process().daemon


def start_thread(path):
    def late():
        time.sleep(0.05)
        write_line(path, "late")
    threading.Thread(target=late).start()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition):
    until = time.monotonic() + GUARD
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


class Interface(unittest.TestCase):
    def setUp(self) -> None:
        self.pool = Pool(2)
        self.addCleanup(self.pool.terminate)

    def test_calls(self) -> None:
        pool = self.pool
        want = [x * x for x in range(20)]
        self.assertEqual(pool.apply(square, (3,)), 9)
        self.assertEqual(pool.apply(dict, (), {"a": 1}), {"a": 1})
        self.assertEqual(pool.apply_async(square, (3,)).get(GUARD), 9)
        for chunk in None, 1, 3, 100:
            self.assertEqual(pool.map(square, range(20), chunk), want)
        self.assertEqual(pool.map_async(square, iter(range(20))).get(GUARD), want)
        self.assertEqual(pool.starmap(pow, [(2, 3), (3, 2)]), [8, 9])
        self.assertEqual(pool.map(square, []), [])
        for chunk in 1, 3:
            self.assertEqual(list(pool.imap(square, iter(range(20)), chunk)), want)
            self.assertEqual(sorted(pool.imap_unordered(square, range(20), chunk)), want)

    def test_callbacks_and_their_failures(self) -> None:
        got = []
        hook, threading.excepthook = threading.excepthook, lambda args: got.append("hook")
        self.addCleanup(setattr, threading, "excepthook", hook)
        self.pool.apply_async(square, (3,), callback=got.append).get(GUARD)
        self.pool.apply_async(fail, (3,), error_callback=lambda e: got.append(e.args))
        self.assertTrue(wait_for(lambda: len(got) == 2))
        self.pool.apply_async(square, (3,), callback=fail).wait(GUARD)
        self.assertTrue(wait_for(lambda: len(got) == 3))
        self.assertEqual(got, [9, (3,), "hook"])
        self.assertEqual(self.pool.apply(square, (4,)), 16)

    def test_callback_may_submit(self) -> None:
        got = []
        self.pool.apply_async(square, (3,), callback=lambda x: self.pool.apply_async(
            square, (x,), callback=got.append))
        self.assertTrue(wait_for(lambda: got == [81]))

    def test_pickling_may_submit(self) -> None:
        results = []
        tasks = [Submitter(self.pool, results) for _ in range(50)]
        self.assertEqual(self.pool.map_async(square, tasks, 1).get(GUARD), [9] * 50)
        self.assertEqual([result.get(GUARD) for result in results], [25] * 50)

    def test_remote_traceback(self) -> None:
        with self.assertRaises(KeyError) as raised:
            self.pool.map(fail, [1])
        self.assertIn("in fail", str(raised.exception.__cause__))

    def test_what_cannot_be_pickled(self) -> None:
        with self.assertRaises((AttributeError, TypeError)):
            self.pool.apply(square, (threading.Lock(),))
        with self.assertRaises(MaybeEncodingError):
            self.pool.apply(closure, (3,))
        with self.assertRaises(MaybeEncodingError):  # its repr() fails as well
            self.pool.apply(deep, (100000,))
        with self.assertRaises(TypeError):
            self.pool.apply_async(odd).get(GUARD)
        with self.assertRaises(MemoryError):
            self.pool.apply(exhaust)
        self.assertEqual(self.pool.apply(square, (4,)), 16)

    def test_generator_that_fails(self) -> None:
        def items():
            yield 1
            yield 2
            raise OSError("no more")
        found = self.pool.imap(square, items())
        self.assertEqual([next(found), next(found)], [1, 4])
        self.assertRaises(OSError, next, found)
        self.assertRaises(StopIteration, next, found)

    def test_endless_generator_is_not_read_ahead(self) -> None:
        taken = []

        def items():
            for i in range(1000000):
                taken.append(i)
                yield 0.01
        found = self.pool.imap(sleep, items())
        for _ in range(5):
            next(found)
        self.assertLess(len(taken), 1000)
        self.assertEqual(self.pool.apply(square, (4,)), 16)
        found.cancel()

    def test_timeouts(self) -> None:
        result = self.pool.apply_async(sleep, (GUARD,))
        self.assertRaises(NotReady, result.get, 0.01)
        self.assertTrue(result.cancel())

    def test_what_is_refused(self) -> None:
        self.assertRaises(ValueError, Pool, 0)
        self.assertRaises(TypeError, Pool, "2")
        self.assertRaises(TypeError, Pool, 1, 3)
        self.assertRaises(ValueError, Pool, 1, None, (), 0)
        self.assertRaises(ValueError, Pool, 1, timeout=0)
        self.assertRaises(ValueError, Pool, 1, timeout=float("nan"))
        self.assertRaises(ValueError, self.pool.join)
        self.assertRaises(ValueError, self.pool.imap, square, [1], 0)
        self.pool.close()
        self.assertRaises(ValueError, self.pool.apply, square, (1,))
        self.pool.join()

    def test_processes_of_a_program_s_own(self) -> None:
        """A well known recipe for pools in the tasks of pools."""
        context = type("Context", (type(get_context("fork")),), {"Process": Free})()
        with Pool(1, context=context) as pool:
            self.assertEqual(pool.apply(whereabouts, (0,))[2], False)
            self.assertEqual(pool.apply(inner), [0, 1, 4])

    def test_workers_are_as_of_multiprocessing(self) -> None:
        pid, name, daemon = self.pool.apply(whereabouts, (0,))
        self.assertIn(pid, [worker.pid for worker in self.pool._pool])
        self.assertIn(name, [worker.name for worker in self.pool._pool])
        self.assertRegex(name, "^ForkPoolWorker-[0-9]+$")
        self.assertTrue(daemon)
        self.assertIn("state=RUN pool_size=2", repr(self.pool))


class Ends(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "lines")
        write_line(self.path, "begun")

    def test_close_does_what_was_submitted(self) -> None:
        pool = Pool(2)
        results = [pool.apply_async(square, (i,)) for i in range(50)]
        pool.close()
        pool.join()
        self.assertEqual([result.get(0) for result in results],
                         [i * i for i in range(50)])

    def test_terminate_leaves_nobody_waiting(self) -> None:
        pool = Pool(2)
        pids = [worker.pid for worker in pool._pool]
        result = pool.map_async(sleep, [GUARD] * 10, 1)
        found = pool.imap(sleep, [GUARD] * 10)
        pool.terminate()
        self.assertRaises(CancelledError, result.get, GUARD)
        self.assertRaises(CancelledError, found.next, GUARD)
        self.assertTrue(wait_for(lambda: not any(map(alive, pids))))

    def test_forgotten_pool_ends(self) -> None:
        pool = Pool(1)
        pid, thread = pool._pool[0].pid, pool._engine.thread
        with self.assertWarns(ResourceWarning):
            del pool
            gc.collect()
        thread.join(GUARD)
        self.assertFalse(thread.is_alive())
        self.assertTrue(wait_for(lambda: not alive(pid)))

    def test_initializer_and_finalizers(self) -> None:
        with Pool(2, have_finalizer, (self.path,)) as pool:
            pool.map(square, range(8), 1)
            pool.close()
            pool.join()
        self.assertEqual(lines_of(self.path), ["begun", "ended", "ended"])

    def test_worker_without_a_task_runs_nothing(self) -> None:
        marker = Inherited()
        util.register_after_fork(marker, lambda _: write_line(self.path, "forked"))
        with Pool(3) as pool:
            self.assertEqual(pool.apply(square, (3,)), 9)
            pool.close()
            pool.join()
        self.assertEqual(lines_of(self.path), ["begun", "forked"])

    def test_worker_killed_before_its_first_task(self) -> None:
        with Pool(2) as pool:
            for worker in pool._pool:
                os.kill(worker.pid, signal.SIGKILL)
            results = pool.map_async(square, range(20), 1)
            self.assertEqual(results.get(GUARD), [x * x for x in range(20)])

    def test_worker_that_cannot_begin(self) -> None:
        with unittest.mock.patch("tine._engine.Hooks.begin", lambda _: 1 / 0), \
                unittest.mock.patch("sys.unraisablehook", lambda _: None), \
                Pool(1) as pool:
            for _ in range(5):
                with self.assertRaises(WorkerDied) as died:
                    pool.apply(square, (3,))
                self.assertEqual(died.exception.exitcode, 1)

    def test_worker_keeps_what_its_owner_drops(self) -> None:
        Inherited.value = Value("i", 7)
        with Pool(2, maxtasksperchild=1) as pool:
            Inherited.value = None
            value, pid = pool.apply(read_inherited)
            self.assertTrue(wait_for(lambda: not alive(pid)))
            # So many that it is looked who died, and what nobody keeps is freed.
            queues = [SimpleQueue() for _ in range(200)]
            # The other worker keeps it, though it has had no task yet.
            self.assertEqual((value, pool.apply(read_inherited)[0]), (7, 7))
            queues.clear()

    def test_finalizers_of_workers_that_are_replaced(self) -> None:
        with Pool(1, have_finalizer, (self.path,), 1) as pool:
            pids = {pool.apply(whereabouts, (0,))[0] for _ in range(3)}
            pool.close()
            pool.join()
        self.assertEqual(len(pids), 3)
        self.assertGreaterEqual(lines_of(self.path).count("ended"), 3)

    def test_initializer_that_fails(self) -> None:
        with Pool(2, fail, (3,)) as pool:
            for _ in range(3):
                self.assertRaises(KeyError, pool.apply_async(square, (1,)).get, GUARD)

    def test_initializer_may_wait_for_the_program(self) -> None:
        go = threading.Event()
        read, write = os.pipe()
        pool = Pool(1, os.read, (read, 1))
        result = pool.apply_async(square, (3,))
        self.assertFalse(go.wait(0.05))
        os.write(write, b"x")
        self.assertEqual(result.get(GUARD), 9)
        pool.terminate()
        os.close(read)
        os.close(write)

    def test_threads_of_tasks_go_on_between_tasks(self) -> None:
        with Pool(1) as pool:
            pool.apply(start_thread, (self.path,))
            self.assertTrue(wait_for(lambda: "late" in lines_of(self.path)))


class Deaths(unittest.TestCase):
    def test_death_fails_its_task_alone(self) -> None:
        with Pool(2) as pool:
            results = [pool.apply_async(die, (i,)) for i in range(20)]
            for i, result in enumerate(results):
                if i == 3:
                    with self.assertRaises(WorkerDied) as raised:
                        result.get(GUARD)
                else:
                    self.assertEqual(result.get(GUARD), i)
            died = raised.exception
            self.assertEqual((died.signal, died.exitcode, died.limit),
                             (signal.SIGKILL, None, None))
            self.assertGreater(died.pid, 1)
            self.assertIn(str(died.pid), str(died))

    def test_map_tells_the_task(self) -> None:
        with Pool(2) as pool:
            for chunk, task in (1, 3), (2, 2):
                with self.assertRaises(WorkerDied) as raised:
                    pool.map(die, range(8), chunk)
                self.assertEqual(raised.exception.task, task)

    def test_exits(self) -> None:
        with Pool(2) as pool:
            for func, code in (os._exit, 7), (leave, 8), (leave, 0):
                with self.assertRaises(WorkerDied) as raised:
                    pool.apply(func, (code,))
                self.assertEqual(raised.exception.exitcode, code)
            self.assertEqual(pool.apply(square, (3,)), 9)

    def test_timeout(self) -> None:
        with Pool(2, timeout=2) as pool:
            with self.assertRaises(WorkerDied) as raised:
                pool.apply(sleep, (GUARD * 10,))
            self.assertEqual(raised.exception.limit, "time")
            self.assertEqual(pool.apply(square, (3,)), 9)

    def test_memory(self) -> None:
        with Pool(1, memory=64 << 20) as pool:
            with self.assertRaises(WorkerDied) as raised:
                pool.apply(hoard, (256 << 20,))
            self.assertEqual(raised.exception.limit, "memory")

    def test_retries(self) -> None:
        with tempfile.TemporaryDirectory() as folder, Pool(1, retries=3) as pool:
            path = os.path.join(folder, "lines")
            self.assertEqual(pool.apply(die_twice, (path,)), 3)

    def test_cancel(self) -> None:
        with Pool(1) as pool:
            running = pool.apply_async(sleep, (GUARD * 10,))
            waiting = [pool.apply_async(sleep, (GUARD * 10,)) for _ in range(20)]
            for result in [*waiting, running]:
                self.assertTrue(result.cancel())
                self.assertRaises(CancelledError, result.get, GUARD)
            self.assertEqual(pool.apply(square, (3,)), 9)
            done = pool.apply_async(square, (3,))
            done.wait(GUARD)
            self.assertFalse(done.cancel())
            self.assertEqual(done.get(), 9)

    def test_workers_killed_and_stopped_at_random(self) -> None:
        count, seed = 400 // SCALE + 1, int(os.environ.get("TEST_SEED", time.time_ns()))
        chance = random.Random(seed)
        kills = 0
        with Pool(3) as pool:
            results = [pool.apply_async(square, (i,)) for i in range(200)]
            for i in range(count):
                try:
                    # One that has begun: who is killed in its beginning three times is
                    # not started again.
                    pid = pool.apply(os.getpid)
                    results += [pool.apply_async(square, (k,)) for k in range(5)]
                    os.kill(pid, chance.choice((signal.SIGKILL, signal.SIGSTOP)))
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                except (ProcessLookupError, WorkerDied):
                    pass
                results.append(pool.map_async(square, range(20), chance.choice((1, 4))))
                time.sleep(chance.random() * 0.01)
            for result in results:
                try:
                    result.get(GUARD)
                except WorkerDied as died:
                    self.assertEqual(died.signal, signal.SIGKILL)
            self.assertEqual(pool.map(square, range(100)), [x * x for x in range(100)])
        self.assertGreater(kills, count // 2, f"TEST_SEED={seed}")

    def test_parent_of_the_workers_killed(self) -> None:
        with Pool(2) as pool:
            for _ in range(3):
                old = pool.apply(os.getppid)
                results = [pool.apply_async(sleep, (0.05,)) for _ in range(20)]
                os.kill(old, signal.SIGKILL)
                for result in results:
                    try:
                        result.get(GUARD)
                    except WorkerDied:
                        pass
                self.assertEqual(pool.map(square, range(20)), [x * x for x in range(20)])
                self.assertNotEqual(pool.apply(os.getppid), old)

    def test_owner_killed_leaves_no_process(self) -> None:
        code = ("import os, sys, time\n"
                "from tine.multiprocessing.pool import Pool\n"
                "pool = Pool(3)\n"
                "pool.map_async(time.sleep, [600] * 10)\n"
                "print(*(worker.pid for worker in pool._pool), flush=True)\n"
                "time.sleep(600)\n")
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                              text=True) as process:
            pids = [int(pid) for pid in process.stdout.readline().split()]
            self.assertTrue(all(map(alive, pids)))
            process.kill()
        self.assertEqual(len(pids), 3)
        self.assertTrue(wait_for(lambda: not any(map(alive, pids))))


class Programs(unittest.TestCase):
    def run_python(self, code):
        return subprocess.run([sys.executable, "-W", "ignore", "-c", code], text=True,
                              capture_output=True, timeout=GUARD, check=False)

    def test_exit_with_everything_open_is_silent(self) -> None:
        done = self.run_python(
            "import time\n"
            "from tine.multiprocessing.pool import Pool\n"
            "pool = Pool(2)\n"
            "print(pool.apply(pow, (2, 3)), flush=True)\n"
            "left = pool.map_async(time.sleep, [600] * 4)\n"
            "more = pool.imap(time.sleep, iter([600] * 100))\n")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "8\n", ""))

    def test_threads_that_hold_locks(self) -> None:
        """A worker has what it needs, whatever a thread of the owner holds then."""
        done = self.run_python(
            "import importlib, logging, threading\n"
            "from tine.multiprocessing.pool import Pool\n"
            "stop = False\n"
            "def log():\n"
            "    while not stop: logging.getLogger('a').info('x')\n"
            "def load():\n"
            "    import colorsys\n"
            "    while not stop: importlib.reload(colorsys)\n"
            "def task(x):\n"
            "    logging.getLogger('a').info('y')\n"
            "    import colorsys, threading\n"
            "    return x, threading.active_count()\n"
            "logging.basicConfig(level=logging.INFO, stream=open('/dev/null', 'w'))\n"
            "others = [threading.Thread(target=f) for f in (log, load)]\n"
            "for thread in others: thread.start()\n"
            "def use():\n"
            "    for _ in range(5):\n"
            "        with Pool(2) as pool:\n"
            "            got = pool.map(task, range(4), 1)\n"
            "            assert got == [(i, 1) for i in range(4)]\n"
            "users = [threading.Thread(target=use) for _ in range(2)]\n"
            "for thread in users: thread.start()\n"
            "for thread in users: thread.join()\n"
            "stop = True\n"
            "print('done')\n")
        self.assertEqual((done.stdout, done.stderr), ("done\n", ""))

    def test_thread_that_is_in_an_import(self) -> None:
        """A task imports the same module anew."""
        done = self.run_python(
            "import sys, tempfile, threading\n"
            "from tine.multiprocessing.pool import Pool\n"
            "sys.begun, sys.go = threading.Event(), threading.Event()\n"
            "def task():\n"
            "    sys.go.set()\n"
            "    import slowly\n"
            "    return slowly.x\n"
            "with tempfile.TemporaryDirectory() as folder:\n"
            "    sys.path.insert(0, folder)\n"
            "    with open(folder + '/slowly.py', 'w') as file:\n"
            "        file.write('import sys; sys.begun.set(); sys.go.wait(); x = 3')\n"
            "    thread = threading.Thread(target=__import__, args=('slowly',))\n"
            "    thread.start()\n"
            "    sys.begun.wait()\n"
            "    with Pool(1) as pool:\n"
            "        print(pool.apply_async(task).get(30))\n"
            "    sys.go.set()\n"
            "    thread.join()\n")
        self.assertEqual((done.stdout, done.stderr), ("3\n", ""))

    def test_interrupt(self) -> None:
        code = ("import os, signal, threading, time\n"
                "from tine.multiprocessing.pool import Pool\n"
                "pool = Pool(2)\n"
                "try:\n"
                "    for delay in 0.3, 15:  # one just before a sleep may be lost\n"
                "        args = os.getpid(), signal.SIGINT\n"
                "        late = threading.Timer(delay, os.kill, args)\n"
                "        late.daemon = True\n"
                "        late.start()\n"
                "    pool.map(time.sleep, [600] * 2)\n"
                "except KeyboardInterrupt: print('interrupted')\n")
        done = self.run_python(code)
        self.assertEqual((done.stdout, done.stderr), ("interrupted\n", ""))


def hoard(size):
    held = bytearray(size)
    for i in range(0, size, 4096):
        held[i] = 1
    time.sleep(GUARD)


def die_twice(path):
    write_line(path, "try")
    if len(lines_of(path)) < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(lines_of(path))


if __name__ == "__main__":
    unittest.main()
