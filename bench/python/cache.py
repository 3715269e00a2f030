#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi in plain Python, its counts kept by joblib.Memory: cold|warm WORKERS FOLDER TRIALS.

cold begins with an empty cache in FOLDER; warm finds there what another run has left, or
computes it and says so in "left_out". The number of a job is there so that each has a
result of its own. Unlike the notebook's, the time is with the end of the processes.
"""

import json
import random
import shutil
import sys
import time

try:
    from joblib import Memory, Parallel, delayed
    from joblib.externals.loky import get_reusable_executor
except ImportError:
    print(json.dumps({"left_out": "python3 has no joblib"}))
    sys.exit()


def count_inside(trials, number):
    inside = 0
    for _ in range(trials):
        x = random.uniform(0, 1)
        y = random.uniform(0, 1)
        inside += 1 if x**2 + y**2 <= 1 else 0
    return inside


if __name__ == "__main__":
    way, workers, folder, trials = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    if way == "cold":
        shutil.rmtree(folder + "/joblib", ignore_errors=True)
    elif way != "warm":
        sys.exit(f"no such way: {way}")
    shares = [trials * (i + 1) // workers - trials * i // workers for i in range(workers)]
    cached = Memory(folder, verbose=0).cache(count_inside)
    kept = sum(cached.check_call_in_cache(share, i) for i, share in enumerate(shares))
    begun = time.perf_counter()
    counts = Parallel(n_jobs=workers)(
        delayed(cached)(share, i) for i, share in enumerate(shares))
    get_reusable_executor().shutdown()
    said = {"seconds": time.perf_counter() - begun,
            "note": f"{kept} of {workers} results were in the cache: "
                    f"pi is about {4 * sum(counts) / trials:.6f}"}
    if way == "warm" and kept < workers:
        said["left_out"] = f"{kept} of {workers} results were in the cache"
    print(json.dumps(said))
