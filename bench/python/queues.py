#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Queues and locks of tine.multiprocessing beside multiprocessing's: [ROUNDS].

Each line is a ratio, the time of multiprocessing by that of tine, so that more is better:
the median of rounds in which the one runs after the other. build-python/site is to be in
PYTHONPATH: make python.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import time

import tine.multiprocessing

try:
    import numpy
except ImportError:
    numpy = None


def drain(queue, done, n):
    for _ in range(n):
        queue.get()
    done.send(1)


def through_queue(mp, value, n):
    """Seconds from the first put until another process has the last value."""
    queue = mp.Queue()
    here, there = mp.Pipe()
    process = mp.Process(target=drain, args=(queue, there, n))
    process.start()
    begun = time.perf_counter()
    for _ in range(n):
        queue.put(value)
    here.recv()
    seconds = time.perf_counter() - begun
    process.join()
    return seconds


def lock_pairs(mp, n):
    lock = mp.Lock()
    begun = time.perf_counter()
    for _ in range(n):
        lock.acquire()
        lock.release()
    return time.perf_counter() - begun


def looks(mp, n):
    event = mp.Event()
    begun = time.perf_counter()
    for _ in range(n):
        event.is_set()
    return time.perf_counter() - begun


def values(mp, n):
    value = mp.Value("i", 0)
    begun = time.perf_counter()
    for _ in range(n):
        with value.get_lock():
            value.value += 1
    return time.perf_counter() - begun


def imports(mp, n):
    begun = time.perf_counter()
    for _ in range(n):
        subprocess.run([sys.executable, "-c", f"import {mp.__name__}"], check=True)
    return time.perf_counter() - begun


def idle_wakes():
    """Voluntary switches in a second of a process that waits in get()."""
    queue = tine.multiprocessing.Queue()
    process = tine.multiprocessing.Process(target=queue.get)
    process.start()

    def switches():
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file
                            if line.startswith("voluntary")).split()[1])
    time.sleep(1)
    before = switches()
    time.sleep(3)
    wakes = (switches() - before) / 3
    queue.put(1)
    process.join()
    return wakes


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    measures = {
        "ints through a queue": lambda mp: through_queue(mp, 12345, 20000),
        "tuples through a queue": lambda mp: through_queue(mp, (1, "two", 3.0), 20000),
        "bytes of 16 KiB": lambda mp: through_queue(mp, bytes(16 << 10), 2000),
        "bytes of 64 KiB": lambda mp: through_queue(mp, bytes(64 << 10), 1000),
        "bytes of 400 KB": lambda mp: through_queue(mp, bytes(400_000), 200),
        "a lock, and back": lambda mp: lock_pairs(mp, 50000),
        "Event.is_set": lambda mp: looks(mp, 50000),
        "Value += 1 with its lock": lambda mp: values(mp, 20000),
        "the import, in a new process": lambda mp: imports(mp, 3),
    }
    if numpy is not None:
        measures["an array of 8 MB"] = lambda mp: through_queue(mp, numpy.ones(10 ** 6), 10)
    for name, measure in measures.items():
        ratios = [measure(multiprocessing) / measure(tine.multiprocessing)
                  for _ in range(rounds)]
        print(f"{name:30} {statistics.median(ratios):6.2f}", flush=True)
    print(f"{'switches a second, idle':30} {idle_wakes():6.1f}")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
