#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same by joblib's Parallel: [POINTS [WORKERS]]."""

import random
import sys

from joblib import Parallel, delayed


def count_inside(seed, points):
    source = random.Random(seed)
    return sum(source.random() ** 2 + source.random() ** 2 <= 1 for _ in range(points))


if __name__ == "__main__":
    points, workers = (list(map(int, sys.argv[1:])) + [10 ** 6, 4][len(sys.argv) - 1:])
    inside = Parallel(n_jobs=workers)(
        delayed(count_inside)(i, points // workers) for i in range(workers))
    print(4 * sum(inside) / (points // workers * workers))
