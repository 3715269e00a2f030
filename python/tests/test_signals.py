# SPDX-License-Identifier: MIT
"""Signals, and when. Ctrl-C in each wait is in programs/interrupts.py."""
import os
import random
import signal
import subprocess
import sys
import threading
import time
import unittest

import tine.multiprocessing as mp

GUARD = 20  # seconds; what is tried takes a second at most
TIMES = 20000 if os.environ.get("TEST_SOAK") else 2000


class Handled(Exception):
    pass


class Signals(unittest.TestCase):
    def setUp(self) -> None:
        def handle(*_):
            raise Handled
        self.addCleanup(signal.signal, signal.SIGALRM,
                        signal.signal(signal.SIGALRM, handle))

    def test_just_before_a_sleep(self) -> None:
        """Wherever it comes on the way there, it is seen."""
        event, chance = mp.Event(), random.Random(1)
        for _ in range(TIMES):
            with self.assertRaises(Handled):
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 5e-5))
                event.wait(GUARD)

    def test_handler_that_returns_ends_no_wait(self) -> None:
        handled = []
        signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
        queue = mp.Queue()
        timer = threading.Timer(0.2, queue.put, (5,))
        timer.start()
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        try:
            self.assertEqual(queue.get(timeout=GUARD), 5)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.assertTrue(handled)
        timer.join()

    def test_between_sleeps(self) -> None:
        """One that ends no sleep, as another thread takes it, is seen with the next."""
        handled = threading.Event()
        signal.signal(signal.SIGALRM, lambda *_: handled.set())
        event, queue, lock = mp.Event(), mp.Queue(), mp.Lock()
        lock.acquire()
        seen = []

        def signal_here(end) -> None:
            time.sleep(0.7)
            signal.pthread_kill(threading.get_ident(), signal.SIGALRM)
            seen.append(handled.wait(4))
            end()

        for wait, end in ((event.wait, event.set), (queue.get, lambda: queue.put(1)),
                          (lock.acquire, lock.release)):
            thread = threading.Thread(target=signal_here, args=(end,))
            thread.start()
            wait(timeout=GUARD)
            thread.join()
            handled.clear()
        self.assertEqual(seen, [True] * 3)

    def test_first_used_in_another_thread(self) -> None:
        """What a thread has imported notes the signals of the main thread."""
        code = ("import signal, threading, time\n"
                "thread = threading.Thread(target=__import__,\n"
                "                          args=('tine.multiprocessing',))\n"
                "thread.start()\n"
                "thread.join()\n"
                "import tine.multiprocessing as mp\n"
                "signal.signal(signal.SIGALRM, lambda *_: 1 / 0)\n"
                "event = mp.Event()\n"
                "signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
                "try: event.wait(20)\n"
                "except ZeroDivisionError: print('handled')\n")
        done = subprocess.run([sys.executable, "-c", code],
                              capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("handled\n", ""))


if __name__ == "__main__":
    unittest.main()
