# SPDX-License-Identifier: MIT
"""ProcessPoolExecutor: what differs from the standard library's."""
import os
import signal
import subprocess
import sys
import time
import unittest
from concurrent.futures import CancelledError, wait

from tine import ProcessPoolExecutor, WorkerDied
from tine.futures import BrokenProcessPool

GUARD = 60


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise KeyError(3)


class Executor(unittest.TestCase):
    def test_death_fails_one_future(self) -> None:
        with ProcessPoolExecutor(2) as executor:
            killed = executor.submit(kill)
            others = [executor.submit(pow, 2, i) for i in range(20)]
            self.assertEqual([other.result(GUARD) for other in others],
                             [2 ** i for i in range(20)])
            self.assertRaises(WorkerDied, killed.result, GUARD)
            self.assertIsInstance(killed.exception(), BrokenProcessPool)
            self.assertEqual(executor.submit(pow, 2, 3).result(GUARD), 8)

    def test_cancel_of_tasks_that_run_and_that_wait(self) -> None:
        with ProcessPoolExecutor(1) as executor:
            futures = [executor.submit(sleep, GUARD * 10) for _ in range(20)]
            until = time.monotonic() + GUARD
            while not futures[0].running() and time.monotonic() < until:
                time.sleep(0.01)
            self.assertTrue(all(future.cancel() for future in futures))
            self.assertEqual(len(wait(futures, GUARD).done), 20)
            self.assertRaises(CancelledError, futures[0].result)
            done = executor.submit(pow, 2, 3)
            self.assertEqual(done.result(GUARD), 8)
            self.assertFalse(done.cancel())

    def test_map_and_chunks(self) -> None:
        with ProcessPoolExecutor(2) as executor:
            for size in 1, 3:
                found = executor.map(pow, range(9), range(9), chunksize=size)
                self.assertEqual(list(found), [i ** i for i in range(9)])
            self.assertRaises(ValueError, executor.map, pow, [1], [2], chunksize=0)

    def test_timeout_of_a_task(self) -> None:
        with ProcessPoolExecutor(1, timeout=0.2) as executor:
            error = executor.submit(sleep, GUARD * 10).exception(GUARD)
            self.assertEqual(error.limit, "time")

    def test_initializer_that_fails(self) -> None:
        with ProcessPoolExecutor(1, initializer=fail) as executor:
            self.assertRaises(BrokenProcessPool, executor.submit(pow, 2, 3).result, GUARD)

    def test_shutdown(self) -> None:
        executor = ProcessPoolExecutor(1)
        futures = [executor.submit(sleep, 0.01) for _ in range(20)]
        executor.shutdown(cancel_futures=True)
        self.assertTrue(all(future.done() for future in futures))
        self.assertTrue(any(future.cancelled() for future in futures))
        self.assertRaises(RuntimeError, executor.submit, pow, 2, 3)

    def test_exit_does_what_was_submitted(self) -> None:
        code = ("from tine import ProcessPoolExecutor\n"
                "import time\n"
                "executor = ProcessPoolExecutor(2)\n"
                "for i in range(4):\n"
                "    future = executor.submit(time.sleep, 0.05)\n"
                "    future.add_done_callback(lambda _: print('done', flush=True))\n")
        done = subprocess.run([sys.executable, "-c", code], text=True, timeout=GUARD,
                              capture_output=True, check=False)
        self.assertEqual((done.stdout, done.stderr), ("done\n" * 4, ""))


if __name__ == "__main__":
    unittest.main()
