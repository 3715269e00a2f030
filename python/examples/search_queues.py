#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The primes of a range by two queues of a manager: [FIRST LAST [WORKERS]]."""

import math
import multiprocessing
import sys


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def work(numbers, primes):
    for n in iter(numbers.get, None):
        if is_prime(n):
            primes.put(n)
    primes.put(None)


if __name__ == "__main__":
    first, last, workers = (list(map(int, sys.argv[1:])) +
                            [10 ** 6, 1_010_000, 4][len(sys.argv) - 1:])
    manager = multiprocessing.Manager()
    numbers, primes = manager.Queue(), manager.Queue()
    processes = [multiprocessing.Process(target=work, args=(numbers, primes))
                 for _ in range(workers)]
    for process in processes:
        process.start()
    for n in [*range(first, last), *[None] * workers]:
        numbers.put(n)
    found = [n for _ in processes for n in iter(primes.get, None)]
    for process in processes:
        process.join()
    print(len(found), min(found), max(found))
