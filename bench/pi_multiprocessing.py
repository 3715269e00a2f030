#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi from random points in plain Python, with a pool of 4 processes: TRIALS."""

import json
import random
import sys
from multiprocessing import Pool

WORKERS = 4


def count_inside(trials):
    inside = 0
    for _ in range(trials):
        x = random.uniform(0, 1)
        y = random.uniform(0, 1)
        inside += 1 if x**2 + y**2 <= 1 else 0
    return inside


if __name__ == "__main__":
    total = int(float(sys.argv[1]))
    with Pool(processes=WORKERS) as pool:
        counts = pool.map(count_inside, [total // WORKERS] * WORKERS)
    print(json.dumps({"pi": 4 * sum(counts) / total}))
