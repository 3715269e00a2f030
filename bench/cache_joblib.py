#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What bench/cache.c measures, of joblib.Memory: hit|miss|first|again. In microseconds.

Or pi TRIALS DIR: the notebook's cached run, pi from random points by 4 processes, whose
counts are kept in a folder; "idx" is there so that each has a result of its own.
"""

import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np
from joblib import Memory, Parallel, delayed

ENTRIES = 10000
HITS = 20000
MISSES = 2000
LARGE = 10000000
SAMPLES = 7
WORKERS = 4


def same(number):
    return number


def large():
    return np.full(LARGE // 8, 7.0)


def count_inside(trials, idx):
    np.random.seed(idx)
    xs = np.random.uniform(0, 1, trials)
    ys = np.random.uniform(0, 1, trials)
    return int(np.sum(xs * xs + ys * ys <= 1))


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


def pi(trials, folder):
    cached = memory(folder).cache(count_inside)
    counts = Parallel(n_jobs=WORKERS)(
        delayed(cached)(trials // WORKERS, idx) for idx in range(WORKERS))
    print(json.dumps({"pi": 4 * sum(counts) / trials}))


if __name__ == "__main__":
    if sys.argv[1] == "pi":
        pi(int(float(sys.argv[2])), sys.argv[3])
    else:
        measures = {"hit": hit, "miss": miss, "first": first, "again": again}
        with tempfile.TemporaryDirectory(prefix="tine-bench-") as place:
            print(measures[sys.argv[1]](place))
