#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi by random points, a share for each worker of a Pool: [POINTS [WORKERS]]."""

import random
import sys
from multiprocessing import Pool


def count_inside(share):
    seed, points = share
    source = random.Random(seed)
    return sum(source.random() ** 2 + source.random() ** 2 <= 1 for _ in range(points))


if __name__ == "__main__":
    points, workers = (list(map(int, sys.argv[1:])) + [10 ** 6, 4][len(sys.argv) - 1:])
    with Pool(workers) as pool:
        inside = pool.map(count_inside, [(i, points // workers) for i in range(workers)])
    print(4 * sum(inside) / (points // workers * workers))
