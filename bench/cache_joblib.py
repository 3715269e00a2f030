#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What bench/cache.c measures, of joblib.Memory: hit|miss|first|again. In microseconds."""

import os
import statistics
import sys
import tempfile
import time

import numpy as np
from joblib import Memory

ENTRIES = 10000
HITS = 20000
MISSES = 2000
LARGE = 10000000
SAMPLES = 7


def same(number):
    return number


def large():
    return np.full(LARGE // 8, 7.0)


def memory(folder, **options):
    return Memory(folder, verbose=0, **options)


def hit(folder):
    cached = memory(folder).cache(same)
    for i in range(ENTRIES):
        cached(i)
    numbers = np.random.default_rng(1).integers(0, ENTRIES, HITS).tolist()
    begun = time.perf_counter()
    for i in numbers:
        cached(i)
    return 1e6 * (time.perf_counter() - begun) / HITS


def miss(folder):
    cached = memory(folder).cache(same)
    cached(-1)
    begun = time.perf_counter()
    for i in range(MISSES):
        cached(i)
    return 1e6 * (time.perf_counter() - begun) / MISSES


def in_process(measure):
    """What a fork of this process measures."""
    ends = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ends[1], str(measure()).encode())
        os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0]) as answer:
        figure = float(answer.read())
    os.waitpid(pid, 0)
    return figure


def get_large(folder, times):
    cached = memory(folder, mmap_mode="r").cache(large)
    for i in range(times):
        begun = time.perf_counter()
        value = cached()
        took = time.perf_counter() - begun
    assert isinstance(value, np.memmap) and value[-1] == 7
    return 1e6 * took


def first(folder):
    get_large(folder, 2)
    return statistics.median(in_process(lambda: get_large(folder, 1))
                             for _ in range(SAMPLES))


def again(folder):
    get_large(folder, 1)
    return statistics.median(in_process(lambda: get_large(folder, 20))
                             for _ in range(SAMPLES))


if __name__ == "__main__":
    measures = {"hit": hit, "miss": miss, "first": first, "again": again}
    with tempfile.TemporaryDirectory(prefix="tine-bench-") as place:
        print(measures[sys.argv[1]](place))
