#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How many times as fast as others: pools.py [ROUNDS [NAME...]]

With the package in the path: PYTHONPATH=build-python/site. Each round has both, one right
after the other; a line has the median of the rounds' ratios.
"""

import multiprocessing.pool
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import tine
from tine.multiprocessing.pool import Pool as TinePool

StandardPool = multiprocessing.pool.Pool


def nothing(x):
    return x


def seconds(func):
    begun = time.perf_counter()
    func()
    return time.perf_counter() - begun


def pools(make, use):
    """Of use(pool), after a first one, not counted."""
    with make(4) as pool:
        use(pool, 100)
        return seconds(lambda: use(pool, 0))


def apply(pool, n):
    for _ in range(n or 2000):
        pool.apply(nothing, (1,))


def map_one(pool, n):
    pool.map(nothing, range(n or 20000), 1)


def start_and_end(make):
    def once():
        pool = make(4)
        pool.close()
        pool.join()
    once()
    return seconds(lambda: [once() for _ in range(5)])


def parallel(backend):
    """10,000 empty calls, of a program that has made no workers yet."""
    return float(subprocess.check_output([sys.executable, __file__, "parallel", backend]))


def parallel_first(backend):
    import joblib

    import tine.joblib
    with joblib.parallel_backend(backend, n_jobs=4):
        print(seconds(lambda: joblib.Parallel()(
            joblib.delayed(nothing)(i) for i in range(10000))))


def parallel_again(backend):
    """The same with workers that are there."""
    import joblib

    import tine.joblib
    with joblib.parallel_backend(backend, n_jobs=4), joblib.Parallel() as run:
        run(joblib.delayed(nothing)(i) for i in range(100))
        return seconds(lambda: run(joblib.delayed(nothing)(i) for i in range(10000)))


def hits(cached):
    cached(3)
    return seconds(lambda: [cached(3) for _ in range(1000)])


def hits_of_tine():
    with tempfile.TemporaryDirectory() as folder:
        return hits(tine.cached(dir=folder + "/cache")(nothing))


def hits_of_joblib():
    import joblib
    with tempfile.TemporaryDirectory() as folder:
        return hits(joblib.Memory(folder, verbose=0).cache(nothing))


PAIRS = {
    "apply": (lambda: pools(StandardPool, apply), lambda: pools(TinePool, apply)),
    "map-1": (lambda: pools(StandardPool, map_one), lambda: pools(TinePool, map_one)),
    "start": (lambda: start_and_end(StandardPool), lambda: start_and_end(TinePool)),
    "joblib": (lambda: parallel("loky"), lambda: parallel("tine")),
    "again": (lambda: parallel_again("loky"), lambda: parallel_again("tine")),
    "cache": (hits_of_joblib, hits_of_tine),
}


def main():
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["parallel"]:
        parallel_first(sys.argv[2])
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name in sys.argv[2:] or PAIRS:
        theirs, ours = PAIRS[name]
        ratios = [theirs() / ours() for _ in range(rounds)]
        print(f"{name:8} {statistics.median(ratios):6.2f}  "
              f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
