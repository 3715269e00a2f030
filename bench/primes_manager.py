#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A search for primes with two manager.Queue and 4 processes: queue|loop FIRST LAST.

As one finds it in courses: each number is a message, each prime a message back. loop is
the same arithmetic without processes. Prints the seconds from the first number on.
"""

import json
import math
import multiprocessing
import sys
import time

WORKERS = 4
ALL_DONE = b"WORK_FINISHED"
WORKER_DONE = b"WORKER_FINISHED_PROCESSING"


def is_prime(n):
    if n % 2 == 0:
        return False
    for i in range(3, int(math.sqrt(n)) + 1, 2):
        if n % i == 0:
            return False
    return True


def check_primes(numbers, primes):
    while True:
        n = numbers.get()
        if n == ALL_DONE:
            primes.put(WORKER_DONE)
            break
        if is_prime(n):
            primes.put(n)


def search(first, last):
    manager = multiprocessing.Manager()
    numbers, primes = manager.Queue(), manager.Queue()
    for _ in range(WORKERS):
        multiprocessing.Process(target=check_primes, args=(numbers, primes)).start()
    begun = time.time()
    for n in range(first, last):
        numbers.put(n)
    for _ in range(WORKERS):
        numbers.put(ALL_DONE)
    found, done = [], 0
    while done < WORKERS:
        result = primes.get()
        if result == WORKER_DONE:
            done += 1
        else:
            found.append(result)
    return time.time() - begun, len(found)


def loop(first, last):
    begun = time.time()
    found = [n for n in range(first, last) if is_prime(n)]
    return time.time() - begun, len(found)


if __name__ == "__main__":
    run = search if sys.argv[1] == "queue" else loop
    seconds, count = run(int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"seconds": seconds, "count": count}))
