# SPDX-License-Identifier: MIT
"""@tine.cached and joblib's Memory over the cache."""
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings
from importlib.util import find_spec

from tine import _core, cached
from tine._pack import pack, unpack

GUARD = 60
numpy = __import__("numpy") if find_spec("numpy") else None
joblib = __import__("joblib") if find_spec("joblib") else None


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.dir = os.path.join(self.folder.name, "cache")


class Cached(Folder):
    def test_computes_once(self) -> None:
        calls = []

        @cached(dir=self.dir)
        def power(x, y=2, *, z=0):
            calls.append((x, y, z))
            return x ** y + z
        for _ in range(3):
            self.assertEqual(power(3), 9)
            self.assertEqual(power(3, y=2), 9)
            self.assertEqual(power(3, 2, z=0), 9)
        self.assertEqual(calls, [(3, 2, 0)])
        self.assertEqual(power(3, z=1), 10)
        self.assertTrue(power.forget(3))
        self.assertFalse(power.forget(3))
        self.assertEqual(power(3), 9)
        self.assertEqual(len(calls), 3)
        power.clear()
        self.assertEqual(power(3), 9)
        self.assertEqual(len(calls), 4)

    def test_versions_ages_and_failures(self) -> None:
        calls = []

        def make(version, **options):
            @cached(dir=self.dir, version=version, **options)
            def twice(x):
                calls.append(version)
                if x < 0:
                    raise KeyError(x)
                return 2 * x
            return twice
        self.assertEqual((make(1)(3), make(2)(3), make(1)(3)), (6, 6, 6))
        self.assertEqual(calls, [1, 2])
        for _ in range(2):
            self.assertRaises(KeyError, make(1), -3)
        self.assertEqual(calls, [1, 2, 1, 1])
        brief = make(3, max_age=0.01)
        brief(3)
        time.sleep(0.05)
        brief(3)
        self.assertEqual(calls[4:], [3, 3])

    def test_result_that_cannot_be_kept(self) -> None:
        @cached(dir=self.dir)
        def lock():
            return threading.Lock()
        with self.assertWarns(UserWarning):
            self.assertFalse(lock().locked())

    def test_one_thread_computes_and_the_others_wait(self) -> None:
        calls, begun, go = [], threading.Event(), threading.Event()

        @cached(dir=self.dir)
        def slow(x):
            calls.append(x)
            begun.set()
            go.wait(GUARD)
            return x
        got = []
        threads = [threading.Thread(target=lambda: got.append(slow(3))) for _ in range(4)]
        for thread in threads:
            thread.start()
        self.assertTrue(begun.wait(GUARD))
        go.set()
        for thread in threads:
            thread.join(GUARD)
        self.assertEqual((calls, got), ([3], [3] * 4))

    def test_who_computes_is_killed(self) -> None:
        code = ("import os, sys, time\n"
                "import tine\n"
                "@tine.cached(dir=sys.argv[1])\n"
                "def f(x):\n"
                "    print('computes', flush=True)\n"
                "    if sys.argv[2] == 'hang': time.sleep(600)\n"
                "    return x\n"
                "print(f(3))\n")

        def start(how):
            return subprocess.Popen([sys.executable, "-c", code, self.dir, how],
                                    stdout=subprocess.PIPE, text=True)
        with start("hang") as first:
            self.assertEqual(first.stdout.readline(), "computes\n")
            with start("end") as second:
                time.sleep(0.1)
                first.kill()
                self.assertEqual(second.communicate(timeout=GUARD)[0], "computes\n3\n")

    @unittest.skipUnless(numpy, "python3-numpy is missing")
    def test_arrays_lie_in_the_cache(self) -> None:
        def zeros(n):
            return {"a": numpy.zeros(n), "b": numpy.arange(n)}
        zeros.__qualname__ = "zeros"
        for copy in False, True:
            found = [cached(zeros, dir=self.dir, copy=copy)(10000) if copy else
                     cached(dir=self.dir)(zeros)(10000) for _ in range(2)][1]
            self.assertEqual(found["a"].flags.writeable, copy)
            self.assertTrue((found["b"] == numpy.arange(10000)).all())

    def test_bad_folder(self) -> None:
        with open(self.dir, "w", encoding="ascii"):
            pass
        with self.assertRaises(NotADirectoryError) as raised:
            cached(dir=self.dir)(abs)(3)
        self.assertEqual(raised.exception.filename, self.dir)

    def test_folder_that_cannot_be_written(self) -> None:
        """Of the same user, and of another."""
        code = ("import os, sys\n"
                "from tine import cached\n"
                "cached(dir=sys.argv[1] + '/good')(abs)(3)  # imports what it needs\n"
                "mine = sys.argv[1] + '/mine'\n"
                "if os.getuid() == 0: os.setuid(65534)\n"
                "if not os.access(sys.argv[1], os.W_OK): sys.exit(77)\n"
                "os.mkdir(mine, 0o500)\n"
                "for folder in mine, sys.argv[1] + '/other', mine + '/new':\n"
                "    try: print(cached(dir=folder)(abs)(3))\n"
                "    except PermissionError as e: print(e.filename == folder)\n")
        os.chmod(self.folder.name, 0o777)
        os.mkdir(self.folder.name + "/other", 0o500)
        done = subprocess.run([sys.executable, "-c", code, self.folder.name], text=True,
                              capture_output=True, check=False)
        if done.returncode == 77:
            self.skipTest("another user cannot write to " + self.folder.name)
        self.assertEqual((done.stdout, done.stderr), ("True\n" * 3, ""))

    def test_pack(self) -> None:
        for value in None, [1, "a"], b"x" * 1000:
            self.assertEqual(unpack(pack(value)), value)
        buffer = pickle.PickleBuffer(bytearray(b"abc"))
        self.assertEqual(bytes(unpack(pack(buffer))), b"abc")


class Core(Folder):
    def test_value_outlives_its_entry(self) -> None:
        cache = _core.Cache(self.dir)
        cache.put(b"a", b"x" * 100000)
        value = memoryview(cache.get(b"a"))
        self.assertTrue(cache.delete(b"a"))
        self.assertIsNone(cache.get(b"a"))
        del cache
        self.assertEqual(bytes(value), b"x" * 100000)

    def test_flights(self) -> None:
        cache = _core.Cache(self.dir)
        flight = cache.begin(b"a")
        with self.assertRaises(OSError):
            cache.begin(b"a")
        flight.cancel()
        flight = cache.begin(b"a")
        flight.finish(b"1")
        flight.finish(b"2")
        self.assertEqual(bytes(memoryview(cache.begin(b"a"))), b"1")
        self.assertEqual([entry[:2] for entry in cache.list()], [(b"a", 1)])
        self.assertEqual(cache.stat()["entries"], 1)


@unittest.skipUnless(joblib and numpy, "python3-joblib or python3-numpy is missing")
class Joblib(Folder):
    def setUp(self) -> None:
        super().setUp()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tine.joblib
        self.memory = joblib.Memory(self.folder.name, backend="tine", verbose=0)

    def test_memory(self) -> None:
        calls = []

        def build(n):
            calls.append(n)
            return numpy.arange(n)
        found = self.memory.cache(build)
        for _ in range(2):
            self.assertTrue((found(1000) == numpy.arange(1000)).all())
        self.assertEqual(calls, [1000])
        found(1000)[0] = 3
        items = self.memory.store_backend.get_items()
        self.assertEqual(len(items), 1)
        self.assertGreater(items[0].size, 8000)
        self.memory.clear(warn=False)
        self.assertEqual(self.memory.store_backend.get_items(), [])
        found(1000)
        self.assertEqual(calls, [1000] * 2)

    def test_patched_programs(self) -> None:
        code = ("import os, sys\n"
                "import joblib\n"
                "from joblib import Memory, Parallel, delayed\n"
                "memory = Memory(sys.argv[1], verbose=0)\n"
                "@memory.cache\n"
                "def f(x):\n"
                "    print('computes', flush=True)\n"
                "    return x * x, os.readlink('/proc/self/exe') and os.getppid()\n"
                "if __name__ == '__main__':\n"
                "    got = Parallel(n_jobs=2)(delayed(f)(x) for x in [3, 3, 4])\n"
                "    print([x for x, _ in got], joblib.parallel.DEFAULT_BACKEND,\n"
                "          os.path.exists(sys.argv[1] + '/joblib/index'))\n"
                "    import tine\n"
                "    tine.unpatch()\n"
                "    print(joblib.parallel.DEFAULT_BACKEND)\n")
        path = os.path.join(self.folder.name, "program.py")
        with open(path, "w", encoding="ascii") as file:
            file.write(code)
        for count in 2, 0:
            done = subprocess.run([sys.executable, "-W", "ignore", "-m", "tine", path,
                                   self.dir], text=True, capture_output=True,
                                  timeout=GUARD, check=False)
            lines = done.stdout.splitlines()
            self.assertEqual(lines[-2:], ["[9, 9, 16] tine True", "loky"], done.stderr)
            self.assertLessEqual(lines.count("computes"), count + 1 if count else 0)
            self.assertEqual(done.stderr, "")

    def test_results_that_joblib_has_kept_are_found(self) -> None:
        code = ("import sys\n"
                "from joblib import Memory\n"
                "def f(x):\n"
                "    print('computes')\n"
                "    return x\n"
                "print(Memory(sys.argv[1], verbose=0).cache(f)(3))\n")
        path = os.path.join(self.folder.name, "program.py")
        with open(path, "w", encoding="ascii") as file:
            file.write(code)
        said = [subprocess.check_output([sys.executable, "-W", "ignore", *tine, path,
                                         self.dir], text=True, timeout=GUARD)
                for tine in ([], ["-m", "tine"])]
        self.assertEqual(said, ["computes\n3\n", "3\n"])

    def test_limits_of_a_backend(self) -> None:
        from tine import WorkerDied
        with joblib.parallel_backend("tine", n_jobs=2, timeout=0.2):
            with self.assertRaises(WorkerDied) as raised:
                joblib.Parallel()(joblib.delayed(time.sleep)(600) for _ in range(2))
            self.assertEqual(raised.exception.limit, "time")

    def test_parallel(self) -> None:
        with joblib.parallel_backend("tine", n_jobs=2):
            self.assertEqual(joblib.Parallel()(
                joblib.delayed(lambda x: x * x)(i) for i in range(50)),
                [i * i for i in range(50)])
            from tine import WorkerDied
            with self.assertRaises(WorkerDied):
                joblib.Parallel()(joblib.delayed(os._exit)(3) for _ in range(2))


if __name__ == "__main__":
    unittest.main()
