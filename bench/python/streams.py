#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi by 16 jobs with numpy, whose generators are forked: same|own WORKERS FOLDER TRIALS.

same draws from numpy's global generator: each job has a process of its own, a fork, which
begins where the parent's generator stands. own gives each a seed, by SeedSequence.spawn.
The notebook only warns of it; its own program does it right.
"""

import json
import sys
import time
from multiprocessing import get_context

try:
    import numpy as np
except ImportError:
    print(json.dumps({"left_out": "python3 has no numpy"}))
    sys.exit()

JOBS = 16


def draw(trials, seed):
    """How many points are inside; and the first number, to know the stream by."""
    random = np.random.default_rng(seed) if seed else np.random
    xs = random.uniform(0, 1, trials)
    ys = random.uniform(0, 1, trials)
    return int(np.sum(xs * xs + ys * ys <= 1)), xs[0]


if __name__ == "__main__":
    way, workers, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[4])
    seeds = np.random.SeedSequence(1).spawn(JOBS) if way == "own" else [None] * JOBS
    begun = time.perf_counter()
    # One job for each process: a second one would draw on, and differ from the first.
    with get_context("fork").Pool(workers, maxtasksperchild=1) as pool:
        drawn = pool.starmap(draw, [(trials // JOBS, seed) for seed in seeds], chunksize=1)
    seconds = time.perf_counter() - begun
    streams = len({first for _, first in drawn})
    estimates = [4 * inside / (trials // JOBS) for inside, _ in drawn]
    print(json.dumps({
        "seconds": seconds,
        "estimates": estimates,
        "note": f"{streams} different stream{'s' if streams > 1 else ''} of {JOBS}: "
                f"pi is about {sum(estimates) / JOBS:.6f}",
    }))
