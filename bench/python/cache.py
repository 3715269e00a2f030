#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi with numpy, the counts kept by joblib.Memory: cold|warm WORKERS FOLDER TRIALS.

cold begins with an empty cache in FOLDER; warm finds there what another run has left, or
computes it and says so in "left_out". The number of a job is there so that each has a
result of its own; here it is the seed as well, so that the cache keeps no chance draw.
"""

import json
import shutil
import sys
import time

try:
    import numpy as np
    from joblib import Memory, Parallel, delayed
    from joblib.externals.loky import get_reusable_executor
except ImportError as missing:
    print(json.dumps({"left_out": f"python3 has no {missing.name}"}))
    sys.exit()


def count_inside(trials, number):
    np.random.seed(number)
    xs = np.random.uniform(0, 1, trials)
    ys = np.random.uniform(0, 1, trials)
    return int(np.sum(xs * xs + ys * ys <= 1))


if __name__ == "__main__":
    way, workers, folder, trials = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    if way == "cold":
        shutil.rmtree(folder + "/joblib", ignore_errors=True)
    shares = [trials * (i + 1) // workers - trials * i // workers for i in range(workers)]
    cached = Memory(folder, verbose=0).cache(count_inside)
    kept = sum(cached.check_call_in_cache(share, i) for i, share in enumerate(shares))
    begun = time.perf_counter()
    counts = Parallel(n_jobs=workers)(
        delayed(cached)(share, i) for i, share in enumerate(shares))
    get_reusable_executor().shutdown()
    seconds = time.perf_counter() - begun
    said = {"seconds": seconds, "note": f"{kept} of {workers} results were in the cache"}
    if way == "warm" and kept < workers:
        said["left_out"] = said["note"]
    print(json.dumps(said))
