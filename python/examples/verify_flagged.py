#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The same; who finds a divisor puts up a flag that all look at: NUMBER..."""

import math
import sys
from multiprocessing import Manager, Pool

WORKERS = 4
LOOK = 1000  # divisors between two looks


def divides(task):
    n, low, high, flag = task
    for i, d in enumerate(range(low, high, 2)):
        if i % LOOK == 0 and flag.value:
            return True
        if n % d == 0:
            flag.value = True
            return True
    return False


def is_prime(pool, flag, n):
    if n % 2 == 0:
        return False
    flag.value = False
    high = math.isqrt(n) + 1
    size = (high - 3) // WORKERS // 2 * 2 + 2
    return not any(pool.map(divides, [(n, i, min(i + size, high), flag)
                                      for i in range(3, high, size)]))


if __name__ == "__main__":
    with Manager() as manager, Pool(WORKERS) as pool:
        flag = manager.Value("b", False)
        print([is_prime(pool, flag, n) for n in map(int, sys.argv[1:])])
