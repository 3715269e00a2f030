# SPDX-License-Identifier: MIT
"""CPython's own tests of multiprocessing, over tine.

What fails is tried again, then with the standard library on this machine. What passes
there fails here, unless cpython_exceptions has it, with a reason. Without TEST_SOAK only
fork is tried.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PATIENCE = int(os.environ.get("TEST_PATIENCE", 550))  # seconds
HERE = Path(__file__).parent
METHODS = ["fork", "spawn", "forkserver"] if os.environ.get("TEST_SOAK") else ["fork"]

# Writes a line when a test begins, and one when it has ended.
RUNNER = """if True:
    import sys, unittest
    file = open(sys.argv.pop(1), "a", buffering=1)
    if "tine" in sys.modules:
        # By these names the tests look whether anybody still sleeps.
        from tine.multiprocessing.synchronize import Condition
        class Count:
            def __init__(self, count):
                self.get_value = lambda: count
        Condition._sleeping_count = property(lambda self: Count(self._gate.waiting()))
        Condition._woken_count = Condition._wait_semaphore = Count(0)
    class Result(unittest.TextTestResult):
        def startTest(self, test):
            print("begun", test.id(), file=file)
            super().startTest(test)
        def addSuccess(self, test):
            print("passed", test.id(), file=file)
        def addSkip(self, test, why):
            print("skipped", test.id(), file=file)
        def addFailure(self, test, error):
            print("failed", test.id(), file=file)
            super().addFailure(test, error)
        def addError(self, test, error):
            print("failed", test.id(), file=file)
            super().addError(test, error)
    class Runner(unittest.TextTestRunner):
        resultclass = Result
    unittest.main(module=None, testRunner=Runner)
"""


def run(options: list[str], names: list[str],
        patience: int) -> tuple[dict[str, str], str]:
    """What became of each test, and what was said."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results")
        path.touch()
        command = [sys.executable, *options, "-c", RUNNER, str(path), *names]
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", start_new_session=True) as process:
            try:
                text, _ = process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                text, _ = process.communicate()
        found = {}
        for line in path.read_text().splitlines():
            state, _, name = line.partition(" ")
            found[name.replace(" (", ".").replace(")", "")] = state
        return found, text


def short(name: str) -> str:
    """Without the module: of each method there is the same class."""
    return ".".join(name.split(".")[2:])


def compare(method: str, excepted: dict[str, str]) -> tuple[int, int, int]:
    """How many passed, failed and were skipped."""
    found, _ = run(["-m", "tine"], [f"test.test_multiprocessing_{method}"], PATIENCE)
    states = list(found.values())
    failed = 0
    for name, state in found.items():
        if state in ("passed", "skipped") or short(name) in excepted:
            continue
        again, text = run(["-m", "tine"], [name], 60)
        if again.get(name) == "passed":
            print(f"{name}: {state}, and passed when it was tried again")
            continue
        there, _ = run([], [name], 60)
        if there.get(name) == "passed":
            print(f"{name}: {state}, and passes without tine\n{text}")
            failed += 1
    if states.count("passed") < 200:
        print(f"only {len(states)} tests were run")
        failed += 1
    return states.count("passed"), failed, len(states) - states.count("passed")


def main() -> int:
    excepted = {}
    for line in (HERE / "cpython_exceptions").read_text().splitlines():
        if not line.startswith("#"):
            name, _, why = line.partition(": ")
            excepted[name] = why
    sums = [0, 0, 0]
    for method in METHODS:
        counts = compare(method, excepted)
        print(f"{method}: {counts[0]} passed, {counts[1]} failed here alone, "
              f"{counts[2]} neither")
        sums = [a + b for a, b in zip(sums, counts)]
    print(f"Ran {sum(sums)} tests")
    print(f"{'FAILED' if sums[1] else 'OK'} (failures={sums[1]}, skipped={sums[2]})")
    return bool(sums[1])


if __name__ == "__main__":
    sys.exit(main())
