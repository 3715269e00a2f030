#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi from random points with numpy and joblib, 4 processes, no cache: TRIALS [blocks].

All points of a process at once, as one writes it first; with blocks, some at a time, so
that they fit the processor's cache, from numpy's newer and faster generator.
"""

import json
import sys

import numpy as np
from joblib import Parallel, delayed

WORKERS = 4
BLOCK = 20000


def count_inside(trials):
    np.random.seed()
    xs = np.random.uniform(0, 1, trials)
    ys = np.random.uniform(0, 1, trials)
    return int(np.sum(xs * xs + ys * ys <= 1))


def count_in_blocks(trials):
    random = np.random.default_rng()
    inside = 0
    for begin in range(0, trials, BLOCK):
        xs, ys = random.random((2, min(BLOCK, trials - begin)))
        inside += int(np.count_nonzero(xs * xs + ys * ys <= 1))
    return inside


if __name__ == "__main__":
    total = int(float(sys.argv[1]))
    count = count_in_blocks if sys.argv[2:] == ["blocks"] else count_inside
    counts = Parallel(n_jobs=WORKERS)(
        delayed(count)(total // WORKERS) for _ in range(WORKERS))
    print(json.dumps({"pi": 4 * sum(counts) / total}))
