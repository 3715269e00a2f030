#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Whether numbers are prime: a Pool tries all divisors of each: NUMBER..."""

import math
import sys
from multiprocessing import Pool

WORKERS = 4


def divides(task):
    n, low, high = task
    return any(n % d == 0 for d in range(low, high, 2))


def shares(n, low, workers):
    high = math.isqrt(n) + 1
    size = (high - low) // workers // 2 * 2 + 2
    return [(n, i, min(i + size, high)) for i in range(low, high, size)]


def is_prime(pool, n):
    return n % 2 == 1 and not any(pool.map(divides, shares(n, 3, WORKERS)))


if __name__ == "__main__":
    with Pool(WORKERS) as pool:
        print([is_prime(pool, n) for n in map(int, sys.argv[1:])])
