# SPDX-License-Identifier: MIT
"""python3 -m tine, patch() and unpatch()."""
import os
import subprocess
import sys
import tempfile
import unittest

SCRIPT = """\
import multiprocessing, sys
from multiprocessing import Event, Process, Queue
from multiprocessing.pool import Pool
class Mine(Process):
    def __init__(self, queue):
        super().__init__()
        self.queue = queue
    def run(self):
        self.queue.put((__name__, type(self.queue).__module__))
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = Queue()
    process = Mine(queue)
    process.start()
    print(queue.get(timeout=20), type(Event()).__module__, Pool.__module__)
    process.join()
"""
SAME = [
    ["-c", "import sys; print(sys.argv, __name__, sys.path[0])", "a", "b"],
    ["-c", "import sys; sys.exit(7)"],
    ["-c", "import sys; sys.exit('a text')"],
    ["-c", "def f(): raise ValueError(1)\nf()"],
    ["-c", "raise KeyboardInterrupt"],
    ["-c", "x = ("],
    ["-c", "import atexit; atexit.register(print, 'bye'); 1 / 0"],
    ["-c", "import sys; sys.excepthook = lambda *a: print('mine', a[0]); 1 / 0"],
    ["-m", "nothing"],
    ["-m", "json.tool", "--help"],
    ["-m", "package"],
    ["missing.py"],
    ["script.py", "a"],
    ["fails.py"],
    ["folder"],
    ["empty"],
    ["syntax.py"],
    ["coded.py"],
    ["source.py"],
    ["-m", "package.nothing"],
    ["-m", "json.nothing"],
    ["-"],
]


class Program(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        for name, text in (("script.py", "import sys\nprint(sys.argv, __file__, __spec__,"
                            " sys.path[0], __name__, sorted(globals()))"),
                           ("fails.py", "def f():\n    1 / 0\n\nf()\n"),
                           ("folder/__main__.py", "print(__file__, __package__)"),
                           ("package/__init__.py", ""),
                           ("package/__main__.py", "import sys\nprint(sys.argv, "
                            "__package__, __spec__.name)"),
                           ("method.py", SCRIPT),
                           ("latin.py", b"x = '\xff'\n"),
                           ("empty/other.py", ""),
                           ("syntax.py", "print(1\n"),
                           ("coded.py", b"# -*- coding: latin-1 -*-\n"
                            b"print(ascii('\xe9'))\n"),
                           ("source.py", "import dataclasses, inspect, pickle, typing\n"
                            "@dataclasses.dataclass\nclass A:\n    x: 'int'\n"
                            "print(inspect.getsource(A), typing.get_type_hints(A))\n"
                            "print(type(pickle.loads(pickle.dumps(A(1)))) is A)")):
            path = os.path.join(self.folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(text if isinstance(text, bytes) else text.encode())

    def tearDown(self) -> None:
        self.folder.cleanup()

    def run_it(self, *arguments: str) -> tuple[int, bytes, bytes]:
        done = subprocess.run(["python3", *arguments], cwd=self.folder.name,
                              input=b"print(__name__)", capture_output=True,
                              executable=sys.executable, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def test_as_python_itself(self) -> None:
        for arguments in SAME:
            with self.subTest(arguments=arguments):
                self.assertEqual(self.run_it("-m", "tine", *arguments),
                                 self.run_it(*arguments))

    def test_not_utf8(self) -> None:
        code, out, error = self.run_it("-m", "tine", "latin.py")
        self.assertEqual((code, out), (1, b""))
        self.assertIn(b"latin.py", error)
        self.assertIn(b"SyntaxError", error)
        self.assertNotIn(b"__main__.py", error)

    def test_wrong_use(self) -> None:
        for arguments in ([], ["-m"], ["-c"], ["-x", "a"]):
            code, out, error = self.run_it("-m", "tine", *arguments)
            self.assertEqual((code, out), (2, b""))
            self.assertIn(b"usage: ", error)

    def test_each_method(self) -> None:
        for method in "fork", "spawn", "forkserver":
            name = "__main__" if method == "fork" else "__mp_main__"
            self.assertEqual(
                self.run_it("-m", "tine", "method.py", method),
                (0, f"({name!r}, 'tine.multiprocessing.queues') "
                    "tine.multiprocessing.synchronize tine.multiprocessing.pool\n"
                    .encode(), b""))

    def test_patch_and_unpatch(self) -> None:
        code, out, error = self.run_it("-c", """if True:
            import multiprocessing as mp, tine
            from multiprocessing import Lock, Value
            before = type(Lock())
            tine.patch()
            tine.patch()
            assert type(Lock()).__module__ == "tine.multiprocessing.synchronize"
            assert type(mp.Queue()).__module__ == "tine.multiprocessing.queues"
            assert type(Value("i").get_lock()).__module__.startswith("tine.")
            tine.unpatch()
            assert type(Lock()) is before
            tine.unpatch()
            """)
        self.assertEqual((code, out, error), (0, b"", b""))

    def test_whichever_is_imported_first(self) -> None:
        """Names are replaced when a program imports their module."""
        for first in ("", "import tine.multiprocessing.managers",
                      "from tine import WorkerDied",
                      "import tine.multiprocessing.pool", "import tine.futures",
                      "import multiprocessing.managers", "import multiprocessing.pool",
                      "from multiprocessing import sharedctypes"):
            with self.subTest(first=first):
                code, out, error = self.run_it("-m", "tine", "-c", f"""if True:
                    {first}
                    from multiprocessing.managers import SyncManager
                    from multiprocessing.sharedctypes import Array
                    from multiprocessing.synchronize import Lock
                    from multiprocessing.queues import Queue
                    from multiprocessing.pool import Pool
                    for each in SyncManager, Array, Lock, Queue, Pool:
                        assert each.__module__.startswith("tine."), each
                    import tine, multiprocessing.pool, multiprocessing.sharedctypes
                    tine.unpatch()
                    assert multiprocessing.pool.Pool is not Pool
                    assert multiprocessing.sharedctypes.Array is not Array
                    """)
                self.assertEqual((code, out, error), (0, b"", b""))

    def test_a_module_that_fails_is_replaced_when_it_can_be_imported(self) -> None:
        code, out, error = self.run_it("-m", "tine", "-c", """if True:
            import sys
            sys.modules["_ctypes"] = None
            try:
                import multiprocessing.sharedctypes
                raise SystemExit("it was imported")
            except ImportError:
                del sys.modules["_ctypes"]
            from multiprocessing.sharedctypes import Array
            assert Array.__module__.startswith("tine."), Array
            """)
        self.assertEqual((code, out, error), (0, b"", b""))

    def test_what_a_program_does_not_import_is_not(self) -> None:
        code, out, error = self.run_it("-m", "tine", "-c", """if True:
            import sys
            from multiprocessing import Process, Queue
            Queue().put(1)
            print({"ctypes", "typing", "pathlib", "logging", "multiprocessing.managers",
                   "multiprocessing.pool", "tine._engine"} & set(sys.modules))
            """)
        self.assertEqual((code, out, error), (0, b"set()\n", b""))

    def test_names(self) -> None:
        code, out, error = self.run_it("-c", """if True:
            import importlib, multiprocessing, pkgutil
            import tine.multiprocessing as ours
            assert set(multiprocessing.__all__) <= set(vars(ours))
            for module in pkgutil.iter_modules(multiprocessing.__path__):
                if "win32" in module.name:
                    continue
                std = importlib.import_module("multiprocessing." + module.name)
                mine = importlib.import_module("tine.multiprocessing." + module.name)
                for name in getattr(std, "__all__", ()):
                    getattr(mine, name)
                assert std.__spec__.name == "multiprocessing." + module.name
            """)
        self.assertEqual((code, out, error), (0, b"", b""))

    def test_nothing_ends_in_the_standard_library_s(self) -> None:
        """Of each class that is tine's, no call makes one of what it stands for."""
        code, out, error = self.run_it("-c", """if True:
            import _multiprocessing, collections, threading, time
            from multiprocessing import connection, heap, queues, synchronize
            made = collections.Counter()
            def count(name, function):
                def counting(*args, **words):
                    made[name] += 1
                    return function(*args, **words)
                return counting
            class SemLock(_multiprocessing.SemLock):
                def __new__(cls, *args):
                    made["SemLock"] += 1
                    return super().__new__(cls, *args)
            synchronize._multiprocessing.SemLock = SemLock
            heap.BufferWrapper.__init__ = count("heap", heap.BufferWrapper.__init__)
            connection.Pipe = count("Pipe", connection.Pipe)
            queues.connection.Pipe = connection.Pipe
            import multiprocessing as std
            std.Lock()
            std.Queue()
            std.RawValue("i")
            assert made["SemLock"] and made["heap"] and made["Pipe"], made
            made.clear()

            import tine.multiprocessing as mp
            for make in (mp.Queue, mp.JoinableQueue, mp.SimpleQueue):
                q = make()
                q.put([1])
                assert q.get() == [1]
            q = mp.JoinableQueue()
            q.put(1); q.get(); q.task_done(); q.join()
            for make in (mp.Lock, mp.RLock, mp.Semaphore, mp.BoundedSemaphore):
                with make():
                    pass
            with mp.Condition() as _:
                pass
            c = mp.Condition(mp.Lock())
            with c:
                c.wait(0.01); c.notify(); c.notify_all()
            e = mp.Event(); e.set(); e.wait()
            mp.Barrier(1).wait()
            mp.Value("i", 1).value += 1
            mp.Array("i", 3)[0] += 1
            mp.RawValue("i", 1), mp.RawArray("i", 3)
            with mp.Manager() as m:
                m.Queue().put(1); m.JoinableQueue(); m.Event().set(); m.Lock().acquire()
                m.RLock(); m.Semaphore(); m.BoundedSemaphore(); m.Condition()
                m.Barrier(1).wait(); m.Value("i", 1).value; m.Array("i", [1])[0]
            with mp.Pool(2) as pool:
                assert pool.map(abs, [-1, -2]) == [1, 2]
                assert pool.apply(abs, (-3,)) == 3
            print(dict(made))
            """)
        self.assertEqual((code, out, error), (0, b"{}\n", b""))


if __name__ == "__main__":
    unittest.main()
