#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The primes from FIRST on, below LAST: loop|queue|manager WORKERS FOLDER FIRST LAST.

Each number is a message, and each prime a message back, through two manager.Queue as in
the notebook, or two multiprocessing.Queue. Unlike there, 2 is prime and 1 is not, the
pool that nobody used is not made, and the start and end of the processes are measured.
"""

import json
import math
import multiprocessing
import sys
import time

ALL_DONE = b"all done"
WORKER_DONE = b"worker done"


def is_prime(n):
    if n % 2 == 0:
        return n == 2
    for divisor in range(3, math.isqrt(n) + 1, 2):
        if n % divisor == 0:
            return False
    return n > 1


def work(numbers, primes):
    while True:
        n = numbers.get()
        if n == ALL_DONE:
            primes.put(WORKER_DONE)
            break
        if is_prime(n):
            primes.put(n)


def search(numbers, primes, first, last, workers):
    processes = [multiprocessing.Process(target=work, args=(numbers, primes))
                 for _ in range(workers)]
    for process in processes:
        process.start()
    for n in range(first, last):
        numbers.put(n)
    for _ in processes:
        numbers.put(ALL_DONE)
    found, done = [], 0
    while done < workers:
        result = primes.get()
        if result == WORKER_DONE:
            done += 1
        else:
            found.append(result)
    for process in processes:
        process.join()
    return found


def loop(first, last, _):
    return [n for n in range(first, last) if is_prime(n)]


def by_queue(*args):
    return search(multiprocessing.Queue(), multiprocessing.Queue(), *args)


def by_manager(*args):
    with multiprocessing.Manager() as manager:
        return search(manager.Queue(), manager.Queue(), *args)


if __name__ == "__main__":
    way, workers, begin, end = sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[4:])
    find = {"loop": loop, "queue": by_queue, "manager": by_manager}[way]
    begun = time.perf_counter()
    count = len(find(begin, end, workers))
    print(json.dumps({"seconds": time.perf_counter() - begun, "answer": count}))
