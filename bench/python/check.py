#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Which of the numbers are prime: serial|naive|less|manager|mmap WORKERS FOLDER NUMBER...

serial is the loop; naive has a pool search all divisors in equal ranges; less tries the
smallest by itself first. In the others who finds a divisor puts up a flag that the rest
look at every 1000 divisors: a Manager().Value, or a byte of a mapped file in FOLDER.

The notebook looks where an odd number is a multiple of 1000, so never; it does here. Its
pool for each number is made here as well, but ended, and in the time; roots are exact.
"""

import json
import math
import mmap
import sys
import time
from contextlib import ExitStack
from multiprocessing import Manager, Pool

SMALL = 21
LOOK = 1000
LOOKS = {"manager": 1000, "mmap": 100000}


class MappedByte:
    """A byte of a file as what the manager has: an object with a value."""

    def __init__(self, path):
        self.path = path
        with open(path, "r+b") as file:
            self.byte = mmap.mmap(file.fileno(), 1)

    def __reduce__(self):
        return MappedByte, (self.path,)

    @property
    def value(self):
        return self.byte[0]

    @value.setter
    def value(self, value):
        self.byte[0] = value


def has_none(n, first, last):
    """No divisor is in the range, nor 2."""
    if n % 2 == 0:
        return False
    for divisor in range(first | 1, last, 2):
        if n % divisor == 0:
            return False
    return True


def has_none_or_stops(n, first, last, flag):
    for begin in range(first | 1, last, 2 * LOOK):
        if flag.value:
            return False
        for divisor in range(begin, min(begin + 2 * LOOK, last), 2):
            if n % divisor == 0:
                flag.value = 1
                return False
    return True


def is_prime(n, workers, small=0, flag=None):
    with Pool(workers) as pool:
        first, last = 3, math.isqrt(n) + 1
        if n < 4:
            prime = n > 1
        elif small and not has_none(n, first, min(small, last)):
            prime = False
        else:
            first = min(max(first, small), last)
            length = last - first
            ranges = [(n, first + length * i // workers, first + length * (i + 1) // workers)
                      for i in range(workers)]
            if flag:
                flag.value = 0
                none = pool.starmap(has_none_or_stops, [(*each, flag) for each in ranges])
            else:
                none = pool.starmap(has_none, ranges)
            prime = all(none)
        pool.close()
        pool.join()
    return prime


def serial(n):
    return n > 1 and (n == 2 or has_none(n, 3, math.isqrt(n) + 1))


def make_flag(way, folder, stack):
    if way == "manager":
        return stack.enter_context(Manager()).Value("b", 0)
    if way == "mmap":
        with open(folder + "/flag", "wb") as file:
            file.write(b"\0")
        return MappedByte(folder + "/flag")
    return None


def look_all(flag, times):
    begun = time.perf_counter()
    for _ in range(times):
        flag.value
    return time.perf_counter() - begun


if __name__ == "__main__":
    way, workers, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    numbers = [int(word) for word in sys.argv[4:]]
    small = {"naive": 0, "serial": 0, "less": SMALL, "manager": SMALL, "mmap": SMALL}[way]
    begun = time.perf_counter()
    with ExitStack() as stack:
        flag = make_flag(way, folder, stack)
        if way == "serial":
            primes = [n for n in numbers if serial(n)]
        else:
            primes = [n for n in numbers if is_prime(n, workers, small, flag)]
        looking = look_all(flag, LOOKS[way]) if flag else 0
    said = {"seconds": time.perf_counter() - begun - looking,
            "answer": sum(primes) % 2**63}
    if flag:
        said["look"] = looking / LOOKS[way]
    print(json.dumps(said))
