# SPDX-License-Identifier: MIT
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import unittest
from multiprocessing.reduction import ForkingPickler

import tine.multiprocessing as mp
from tine import _core

TIMES = 1000 if os.environ.get("TEST_SOAK") else 15
VALUES = [0, -1, 2 ** 62, 2 ** 100, 1.5, None, True, False, b"", b"a" * 54, b"a" * 100000,
          "", "\N{SNOWMAN}" * 30, "\udc80", [1, {"a": (2,)}], bytearray(b"x" * 70000)]


def echo(incoming, outgoing):
    for value in iter(incoming.get, "end"):
        outgoing.put(value)


class Unpicklable:
    def __reduce__(self):
        raise ValueError("not this")


class Registered:
    def __init__(self, how="here"):
        self.how = how

    def __repr__(self):
        return f"registered: {self.how}"


class Queues(unittest.TestCase):
    def test_values_by_each_method(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            context = mp.get_context(method)
            a, b = context.Queue(), context.SimpleQueue()
            process = context.Process(target=echo, args=(a, b))
            process.start()
            for value in VALUES:
                a.put(value)
                got = b.get()
                self.assertEqual(got, value)
                self.assertIs(type(got), type(value))
            a.put("end")
            process.join()
            self.assertEqual(process.exitcode, 0)

    def test_containers(self) -> None:
        q = mp.Queue()
        itself = [1]
        itself.append(itself)
        again = [0] * 100
        for _ in range(6):
            again = [again] * 100
        for value in ((1, "two", [3.0, {"four": (b"5", None, True)}], ()), [[]] * 3,
                      list(range(1000)), {i: [i] for i in range(500)}, again):
            q.put(value)
            got = q.get()
            if value is again:  # to compare all of it would take for ever
                got, value = got[-1][-1][-1][-1], again[-1][-1][-1][-1]
                self.assertIs(got[0], got[1])
            self.assertEqual(got, value)
            self.assertIs(type(got), type(value))
        q.put(itself)
        got = q.get()
        self.assertIs(got[1], got)

    def test_what_is_registered_is_used_in_containers(self) -> None:
        ForkingPickler.register(Registered, lambda _: (Registered, ("sent",)))
        q = mp.Queue()
        for make in (lambda x: [x], lambda x: (1, [x]), lambda x: {"a": 1, "b": x},
                     lambda x: {x: 1}, lambda x: [*range(1000), x]):
            q.put(make(Registered()))
            self.assertIn("registered: sent", repr(q.get()))
        with mp.Pool(1) as pool:
            self.assertEqual(pool.apply(repr, ([Registered()],)), "[registered: sent]")

    def test_array_of_many_bytes(self) -> None:
        try:
            import numpy
        except ImportError:
            self.skipTest("no numpy")
        q = mp.Queue()
        for size in 10, 10 ** 6:
            q.put([numpy.arange(size), "beside"])
            array, text = q.get()
            self.assertTrue(array.flags.writeable)
            array[0] = 7
            self.assertEqual((array[0], array[-1], text), (7, size - 1, "beside"))
            del q
            self.assertEqual(array[-1], size - 1)
            q = mp.Queue()

    def test_array_of_a_child(self) -> None:
        """What its parent drops is not given to others while the child has it."""
        try:
            import numpy
        except ImportError:
            self.skipTest("no numpy")
        q, dropped = mp.Queue(), mp.Event()
        q.put(numpy.full(10 ** 5, 7))
        array = q.get()
        process = mp.Process(target=lambda: dropped.wait() and
                             sys.exit(int(array.min() != 7 or array.max() != 7)))
        process.start()
        del array
        for _ in range(20):
            q.put(numpy.full(10 ** 5, 8))
        dropped.set()
        process.join()
        self.assertEqual(process.exitcode, 0)

    def test_maximum(self) -> None:
        q = mp.Queue(2)
        q.put(1)
        self.assertFalse(q.full())
        q.put(2)
        self.assertTrue(q.full())
        for timeout in 0, 0.01, -1:
            self.assertRaises(queue.Full, q.put, 3, timeout=timeout)
        self.assertRaises(queue.Full, q.put_nowait, 3)
        self.assertEqual((q.get(), q.get()), (1, 2))
        self.assertRaises(queue.Empty, q.get, False)
        self.assertRaises(queue.Empty, q.get, timeout=0.01)

    def test_bad_input(self) -> None:
        self.assertRaises(TypeError, mp.Queue, "a")
        q = mp.Queue()
        self.assertRaises(ValueError, q.put, 1, timeout=math.nan)
        self.assertRaises(TypeError, q.get, True, "a")
        self.assertRaises(TypeError, q.put)
        self.assertRaises(TypeError, q.put, 1, wrong=2)
        self.assertEqual(q.qsize(), 0)

    def test_closed(self) -> None:
        q = mp.Queue()
        q.put(1)
        q.close()
        self.assertRaisesRegex(ValueError, "is closed", q.put, 1)
        self.assertRaisesRegex(ValueError, "is closed", q.get)
        other = pickle.loads(pickle.dumps(q))
        self.assertEqual(other.get(), 1)

    def test_unpicklable_is_reported(self) -> None:
        reported = []

        class Reporting(mp.queues.Queue):
            @staticmethod
            def _on_queue_feeder_error(e, obj):
                reported.append((type(e), type(obj)))
        q = Reporting()
        q.put(Unpicklable())
        q.put(2)
        self.assertEqual((q.get(), reported), (2, [(ValueError, Unpicklable)]))
        self.assertRaises(ValueError, mp.SimpleQueue().put, Unpicklable())

    def test_joinable(self) -> None:
        q = mp.JoinableQueue()
        q.put(1)
        q.put(2)
        joined = threading.Event()
        thread = threading.Thread(target=lambda: (q.join(), joined.set()))
        thread.start()
        q.get(), q.get()
        q.task_done()
        self.assertFalse(joined.wait(0.05))
        q.task_done()
        self.assertTrue(joined.wait(10))
        thread.join()
        self.assertRaises(ValueError, q.task_done)

    def test_a_handle_in_a_message(self) -> None:
        outer, inner = mp.Queue(), mp.Queue()
        outer.put((inner, mp.Event()))
        got, event = outer.get()
        got.put(5)
        self.assertEqual(inner.get(), 5)

    def test_another_family(self) -> None:
        made = [mp.Queue(), mp.JoinableQueue(), mp.SimpleQueue(), mp.Lock(), mp.RLock(),
                mp.Semaphore(), mp.BoundedSemaphore(), mp.Condition(), mp.Event(),
                mp.Barrier(2), mp.Value("i"), mp.Array("i", 2),
                mp.Manager().Value("i", 1)]
        bytes_ = pickle.dumps([pickle.dumps(one) for one in made])
        text = ("import pickle, sys; import tine.multiprocessing as mp\n"
                "for one in pickle.load(sys.stdin.buffer):\n"
                "    try: pickle.loads(one)\n"
                "    except RuntimeError as e: print(e)")
        for first in "", "import tine.multiprocessing as mp; mp.Lock()\n":
            done = subprocess.run([sys.executable, "-c", first + text], input=bytes_,
                                  stdout=subprocess.PIPE)
            self.assertEqual(done.stdout.count(b"another family"), len(made))

    def test_without_init(self) -> None:
        q, lock, event = (kind.__new__(kind) for kind in (
            mp.queues.Queue, mp.synchronize.Lock, mp.synchronize.Event))
        for call in (q.get, q.qsize, q.empty, q.full, lock.acquire, lock.release,
                     lock.get_value, event.wait, event.set, lambda: q.put(1),
                     lambda: pickle.dumps(event)):
            self.assertRaisesRegex(RuntimeError, "__init__", call)

    def test_what_is_gone(self) -> None:
        bytes_ = pickle.dumps(mp.Event())
        for _ in range(64):  # that are on their way
            pickle.dumps(mp.Event())
        self.assertRaisesRegex(RuntimeError, "gone", pickle.loads, bytes_)

    def test_it_goes_with_its_last_handle(self) -> None:
        def memory() -> int:
            return os.fstat(_core.family_fd()).st_blocks * 512
        mp.Queue()
        before = memory()
        for _ in range(50):
            q = mp.Queue(1000)
            q.put(bytes(10 ** 7))
            value = mp.Manager().Value("i", bytes(10 ** 7))
        del q, value
        # The family keeps 64 MiB of what was freed.
        self.assertLess(memory() - before, 200 * 10 ** 6)

    def test_it_goes_though_a_child_died_as_it_began(self) -> None:
        text = ("import os\n"
                "dies = False\n"
                "os.register_at_fork(after_in_child=lambda: dies and os._exit(9))\n"
                "import tine.multiprocessing as mp\n"
                "from tine import _core\n"
                "q, dies = mp.Queue(), True\n"
                "p = mp.Process(target=print)\n"
                "p.start()\n"
                "p.join()\n"
                "for _ in range(50):\n"
                "    q = mp.Queue()\n"
                "    q.put(bytes(10 ** 7))\n"
                "print(p.exitcode, os.fstat(_core.family_fd()).st_blocks * 512)")
        done = subprocess.run([sys.executable, "-c", text], capture_output=True,
                              text=True)
        code, bytes_ = map(int, done.stdout.split())
        self.assertEqual(code, 9)
        self.assertLess(bytes_, 200 * 10 ** 6)

    def test_it_goes_with_its_last_process(self) -> None:
        def hold(ready) -> None:
            held.append(mp.Queue())
            held[0].put(bytes(10 ** 7))
            ready.set()
            time.sleep(60)
        before, held = os.fstat(_core.family_fd()).st_blocks * 512, []
        for _ in range(30):
            ready = mp.Event()
            process = mp.Process(target=hold, args=(ready,))
            process.start()
            ready.wait()
            process.kill()
            process.join()
        others, after = [], before + 10 ** 9
        # Some of these look for orphans. 64 MiB of what was freed are kept.
        while len(others) < 1000 and after - before > 120 * 10 ** 6:
            others += [mp.Queue() for _ in range(50)]
            after = os.fstat(_core.family_fd()).st_blocks * 512
        self.assertLess(after - before, 120 * 10 ** 6)

    def test_a_child_keeps_what_its_parent_drops(self) -> None:
        results = mp.Queue()
        for i in range(50):
            q = mp.Queue()
            q.put(i)
            process = mp.Process(target=lambda q=q: results.put(q.get(timeout=10)))
            process.start()
            del q, process
            others = [mp.Queue() for _ in range(3)]
            del others
        self.assertEqual(sorted(results.get(timeout=10) for _ in range(50)),
                         list(range(50)))

    def test_many(self) -> None:
        queues = [mp.Queue() for _ in range(1000)]
        for i, q in enumerate(queues):
            q.put(i)
        self.assertEqual([q.get() for q in queues], list(range(1000)))

    def test_a_million_before_the_first_get(self) -> None:
        q = mp.Queue()
        for i in range(10 ** 6):
            q.put(i)
        self.assertEqual(q.qsize(), 10 ** 6)
        self.assertTrue(all(q.get() == i for i in range(10 ** 6)))

    def test_poll(self) -> None:
        from multiprocessing.connection import wait
        q = mp.Queue()
        self.assertEqual(wait([q._reader], 0.01), [])
        q.put(1)
        self.assertEqual(len(wait([q._reader], 10)), 1)
        self.assertEqual(q.get(), 1)


class Deaths(unittest.TestCase):
    def test_fork_with_threads(self) -> None:
        """They are in all kinds of calls meanwhile, and one has the lock of imports."""
        import _imp
        q, results, lock, ended = mp.Queue(10), mp.Queue(), mp.Lock(), threading.Event()

        def work() -> None:
            while not ended.is_set():
                try:
                    q.put(bytes(500), timeout=0.001)
                    q.get(timeout=0.001)
                except (queue.Empty, queue.Full):
                    pass
                with lock:
                    mp.Event()

        def hold() -> None:
            while not ended.is_set():
                _imp.acquire_lock()
                time.sleep(0.001)
                _imp.release_lock()

        def answer() -> None:
            import colorsys  # noqa: F401
            with lock:
                results.put(os.getpid())
        threads = [threading.Thread(target=work) for _ in range(3)]
        threads.append(threading.Thread(target=hold))
        for thread in threads:
            thread.start()
        try:
            for _ in range(TIMES):
                process = mp.Process(target=answer)
                process.start()
                self.assertEqual(results.get(timeout=60), process.pid)
                process.join()
                self.assertEqual(process.exitcode, 0)
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def test_manager_s_server(self) -> None:
        manager = mp.Manager()
        q, shared = manager.Queue(), manager.dict()
        manager._process.kill()
        manager._process.join()
        q.put(1)
        self.assertEqual(q.get(), 1)
        self.assertRaises(OSError, lambda: shared["a"])

    def test_parent_killed(self) -> None:
        text = ("import os, signal; import tine.multiprocessing as mp\n"
                "def f(q, e):\n q.put(os.getpid()); e.wait()\n"
                "q, e = mp.Queue(), mp.Event()\n"
                "p = [mp.Process(target=f, args=(q, e)) for _ in range(3)]\n"
                "[x.start() for x in p]\n"
                "print(*[q.get() for _ in p], flush=True)\n"
                "os.kill(os.getpid(), signal.SIGKILL)")
        done = subprocess.run([sys.executable, "-c", text], stdout=subprocess.PIPE)
        pids = [int(word) for word in done.stdout.split()]
        self.assertEqual(len(pids), 3)
        deadline = time.monotonic() + 10
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_exit_with_everything_open_is_silent(self) -> None:
        text = ("import threading; import tine.multiprocessing as mp\n"
                "q, c, b = mp.Queue(), mp.Condition(), mp.Barrier(3)\n"
                "threading.Thread(target=q.get, daemon=True).start()\n"
                "threading.Thread(target=b.wait, daemon=True).start()\n"
                "mp.Process(target=q.get, daemon=True).start()\n"
                "m = mp.Manager(); d = m.dict(); c.acquire(); q.put(1)\n"
                "v = mp.Value('i', 1); a = mp.Array('d', 5)")
        done = subprocess.run([sys.executable, "-c", text], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        self.assertEqual((done.returncode, done.stdout), (0, b""))


if __name__ == "__main__":
    unittest.main()
