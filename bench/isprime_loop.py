#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The notebook's serial loop over its numbers, the fastest of its programs where there are
as many processors as here; without an early exit it would be slower still."""

import math
import sys


def is_prime(number):
    if number % 2 == 0:
        return number == 2
    for divisor in range(3, math.isqrt(number) + 1, 2):
        if number % divisor == 0:
            return False
    return True


print(sum(is_prime(int(word)) for word in sys.argv[1:]))
