#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What bench/pool.c measures, of Python's multiprocessing.Pool: call|single|start|memory.

The second argument is the number of workers. Prints one number, in the same unit.
"""

import statistics
import sys
import time
from multiprocessing import Pool

CALLS = 2000
SINGLE = 100000
STARTS = 20


def nothing(_):
    return None


def seconds(times, what):
    begun = time.perf_counter()
    for _ in range(times):
        what()
    return (time.perf_counter() - begun) / times


def call(workers):
    with Pool(workers) as pool:
        pool.map(nothing, range(4), 1)
        return 1e6 * seconds(CALLS, lambda: pool.map(nothing, range(4), 1))


def single(workers):
    with Pool(workers) as pool:
        pool.map(nothing, range(4), 1)
        return 1e9 * seconds(1, lambda: pool.map(nothing, range(SINGLE), 1)) / SINGLE


def make_and_end(workers):
    pool = Pool(workers)
    pool.terminate()
    pool.join()


def start(workers):
    return 1e3 * seconds(STARTS, lambda: make_and_end(workers))


def kib(pid, name, labels):
    with open(f"/proc/{pid}/{name}", encoding="ascii") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith(labels))


def memory(workers):
    with Pool(workers) as pool:
        pool.map(nothing, range(4000), 1)
        # There is no public way to the workers' ids.
        pids = [process.pid for process in pool._pool]
        return statistics.mean(
            kib(pid, "smaps_rollup", ("Private_Clean", "Private_Dirty", "Swap:"))
            + kib(pid, "status", "VmPTE") for pid in pids)


if __name__ == "__main__":
    measures = {"call": call, "single": single, "start": start, "memory": memory}
    print(measures[sys.argv[1]](int(sys.argv[2])))
