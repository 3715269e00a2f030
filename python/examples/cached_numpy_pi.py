#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same with numpy's arrays as what is kept: POINTS WORKERS FOLDER."""

import sys

import numpy
from joblib import Memory, Parallel, delayed

points, workers, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
memory = Memory(folder, verbose=0)


@memory.cache
def throw(seed, points):
    return numpy.random.default_rng(seed).random((2, points))


@memory.cache
def count_inside(points):
    return int(((points ** 2).sum(axis=0) <= 1).sum())


if __name__ == "__main__":
    thrown = Parallel(n_jobs=workers)(
        delayed(throw)(i, points // workers) for i in range(workers))
    inside = Parallel(n_jobs=workers)(delayed(count_inside)(array) for array in thrown)
    print(4 * sum(inside) / (points // workers * workers))
