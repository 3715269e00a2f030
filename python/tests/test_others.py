# SPDX-License-Identifier: MIT
"""CPython's tests of concurrent.futures, and joblib's of backends and stores."""
import os
import re
import subprocess
import sys
import unittest
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PATIENCE = 300  # seconds
HAS_SUITE = find_spec("test") and find_spec("test.test_concurrent_futures")


def exceptions():
    found = {}
    for line in (FOLDER / "others_exceptions.txt").read_text("ascii").splitlines():
        if not line.startswith("#"):
            name, reason = line.split(": ", 1)
            found[name] = reason
    return found


def allowed(test):
    """Of a name such as test_initializer (test.x.ProcessPoolForkInitializerTest)."""
    for name in exceptions():
        method, _, kind = name.partition("@")
        if re.search(rf"\b{method}\b", test) and kind in test:
            return True
    return False


class Others(unittest.TestCase):
    def run_others(self, *args):
        command = [sys.executable, "-W", "ignore", FOLDER / "with_tine.py", *args]
        done = subprocess.run(command, cwd="/", text=True, capture_output=True,
                              timeout=PATIENCE, check=False)
        return done.stdout + done.stderr

    def judge(self, text, failed, least):
        """At least so many passed, and those that failed may."""
        wrong = [test for test in failed if not allowed(test)]
        self.assertEqual(wrong, [], text[-20000:])
        self.assertGreaterEqual(least[0], least[1], text[-20000:])

    @unittest.skipUnless(HAS_SUITE, "libpython3-testsuite is missing")
    def test_concurrent_futures(self) -> None:
        self.run_futures("futures", "ExecutorDeadlock", "ProcessPoolExecutor",
                         "ProcessPoolShutdown", "Initializer", "FailingInitializer",
                         "AsCompleted")

    @unittest.skipUnless(HAS_SUITE, "libpython3-testsuite is missing")
    def test_executor_of_the_standard_library(self) -> None:
        self.run_futures("context", "ExecutorDeadlock", "ProcessPoolExecutor",
                         "ProcessPoolShutdown", "Initializer", "FailingInitializer")

    def futures_once(self, how, names):
        names = [f"ProcessPoolFork{name}Test" for name in names]
        if how == "context" and os.environ.get("TEST_SOAK"):
            names.append("ProcessPoolSpawnProcessPoolExecutorTest")
        text = self.run_others(how, *names)
        return text, re.findall(r"^(?:ERROR|FAIL): (.*)", text, re.M)

    def run_futures(self, how, *names):
        text, failed = self.futures_once(how, names)
        if how == "context":
            # Of CPython's own executor only what judges time may fail.
            wrong = [test for test in failed if "test_cancel_futures " not in test]
            self.assertEqual(wrong, [], text[-20000:])
        ran = int(re.search(r"^Ran (\d+) tests", text, re.M)[1])
        self.judge(text, failed, (ran - len(failed), 30))

    @unittest.skipUnless(find_spec("pytest") and find_spec("joblib"),
                         "python3-pytest or python3-joblib is missing")
    def test_joblib(self) -> None:
        tests = Path(find_spec("joblib").origin).parent / "test"
        for least, args in (
                # The one of BLAS hangs with multiprocessing's backend as well.
                (40, (tests / "test_parallel.py", "-k",
                      "multiprocessing and not no_blas_crash")),
                (40, (tests / "test_memory.py", "-k", "not parallel"))):
            text = self.run_others("joblib", *args)
            failed = re.findall(r"^(?:ERROR|FAILED) (\S+)", text, re.M)
            passed = len(re.findall(r"^PASSED ", text, re.M))
            self.judge(text, failed, (passed, least))


if __name__ == "__main__":
    unittest.main()
