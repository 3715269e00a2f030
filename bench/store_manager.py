#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What bench/store.c measures, of multiprocessing.Manager().dict: get|put|counter TIMES.

A counter needs a lock of the manager's, as two processes would lose increments without.
"""

import sys
import time
from multiprocessing import Manager

KEYS = [f"key-{i}" for i in range(1000)]
VALUE = b"0123456789abcdef"


def get(store, _, times):
    for i in range(times):
        store[KEYS[i * 7 % 1000]]


def put(store, _, times):
    for i in range(times):
        store[KEYS[i * 7 % 1000]] = VALUE


def counter(store, lock, times):
    for _ in range(times):
        with lock:
            store["counter"] += 1


if __name__ == "__main__":
    measure = {"get": get, "put": put, "counter": counter}[sys.argv[1]]
    repeats = int(sys.argv[2])
    with Manager() as manager:
        shared = manager.dict({key: VALUE for key in KEYS})
        shared["counter"] = 0
        shared_lock = manager.Lock()
        begun = time.perf_counter()
        measure(shared, shared_lock, repeats)
        print(1e6 * (time.perf_counter() - begun) / repeats)
