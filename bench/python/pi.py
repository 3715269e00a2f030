#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi from random points in plain Python: one|pool|joblib WORKERS FOLDER TRIALS.

one is the loop alone, pool multiprocessing.Pool, and joblib joblib.Parallel. The notebook
looks at the clock when the pool is there already, and never ends it; here both are in it.
"""

import json
import random
import sys
import time
from multiprocessing import Pool

try:
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor
except ImportError:
    Parallel = None


def count_inside(trials):
    inside = 0
    for _ in range(trials):
        x = random.uniform(0, 1)
        y = random.uniform(0, 1)
        inside += 1 if x**2 + y**2 <= 1 else 0
    return inside


def one(shares):
    return [count_inside(sum(shares))]


def in_pool(shares):
    with Pool(len(shares)) as pool:
        return pool.map(count_inside, shares)


def by_joblib(shares):
    counts = Parallel(n_jobs=len(shares))(delayed(count_inside)(share) for share in shares)
    get_reusable_executor().shutdown()
    return counts


if __name__ == "__main__":
    way, workers, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[4])
    if way == "joblib" and not Parallel:
        print(json.dumps({"left_out": "python3 has no joblib"}))
        sys.exit()
    count = {"one": one, "pool": in_pool, "joblib": by_joblib}[way]
    begun = time.perf_counter()
    inside = sum(count([trials * (i + 1) // workers - trials * i // workers
                        for i in range(workers)]))
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "note": f"pi is about {4 * inside / trials:.6f}"}))
