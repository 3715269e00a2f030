#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi from random points with numpy and joblib.Parallel: numpy|blocks WORKERS FOLDER TRIALS.

numpy draws all points of a job at once, as one writes it first; blocks some at a time, so
that they fit the processor's cache, from numpy's newer and faster generator. Each job has
a seed of its own, so that pi is the same in each run; the notebook's are the system's.
"""

import json
import sys
import time

try:
    import numpy as np
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor
except ImportError as missing:
    print(json.dumps({"left_out": f"python3 has no {missing.name}"}))
    sys.exit()

BLOCK = 20000


def count_inside(trials, seed):
    np.random.seed(seed)
    xs = np.random.uniform(0, 1, trials)
    ys = np.random.uniform(0, 1, trials)
    return int(np.sum(xs * xs + ys * ys <= 1))


def count_in_blocks(trials, seed):
    random = np.random.default_rng(seed)
    inside = 0
    for begin in range(0, trials, BLOCK):
        xs, ys = random.random((2, min(BLOCK, trials - begin)))
        inside += int(np.count_nonzero(xs * xs + ys * ys <= 1))
    return inside


if __name__ == "__main__":
    way, workers, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[4])
    count = {"numpy": count_inside, "blocks": count_in_blocks}[way]
    begun = time.perf_counter()
    counts = Parallel(n_jobs=workers)(
        delayed(count)(trials * (i + 1) // workers - trials * i // workers, i)
        for i in range(workers))
    get_reusable_executor().shutdown()
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds,
                      "note": f"pi is about {4 * sum(counts) / trials:.6f}"}))
