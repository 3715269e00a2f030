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
    ["-"],
]


class Program(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        for name, text in (("script.py", "import sys\nprint(sys.argv, __file__, __spec__, "
                            "sys.path[0], __name__, sorted(globals()))"),
                           ("fails.py", "def f():\n    1 / 0\n\nf()\n"),
                           ("folder/__main__.py", "print(__file__, __package__)"),
                           ("package/__init__.py", ""),
                           ("package/__main__.py", "import sys\nprint(sys.argv, "
                            "__package__, __spec__.name)"),
                           ("method.py", SCRIPT),
                           ("latin.py", b"x = '\xff'\n")):
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


if __name__ == "__main__":
    unittest.main()
