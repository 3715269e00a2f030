#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same, with shares kept; the second time none is computed: POINTS WORKERS FOLDER."""

import random
import sys

from joblib import Memory, Parallel, delayed

points, workers, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
memory = Memory(folder, verbose=0)


@memory.cache
def count_inside(seed, points):
    source = random.Random(seed)
    return sum(source.random() ** 2 + source.random() ** 2 <= 1 for _ in range(points))


if __name__ == "__main__":
    for _ in range(2):
        inside = Parallel(n_jobs=workers)(
            delayed(count_inside)(i, points // workers) for i in range(workers))
        print(4 * sum(inside) / (points // workers * workers))
