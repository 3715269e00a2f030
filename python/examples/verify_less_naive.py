#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same; the smallest divisors are tried first, without the Pool: NUMBER..."""

import math
import sys
from multiprocessing import Pool

WORKERS = 4
SMALL = 21


def divides(task):
    n, low, high = task
    return any(n % d == 0 for d in range(low, high, 2))


def shares(n, low, workers):
    high = math.isqrt(n) + 1
    size = (high - low) // workers // 2 * 2 + 2
    return [(n, i, min(i + size, high)) for i in range(low, high, size)]


def is_prime(pool, n):
    if n % 2 == 0 or divides((n, 3, min(SMALL, math.isqrt(n) + 1))):
        return False
    return n < SMALL ** 2 or not any(pool.map(divides, shares(n, SMALL, WORKERS)))


if __name__ == "__main__":
    with Pool(WORKERS) as pool:
        print([is_prime(pool, n) for n in map(int, sys.argv[1:])])
