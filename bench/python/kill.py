#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Pi by 16 jobs, and a worker that is killed in one: pool|executor WORKERS FOLDER TRIALS.

It dies by SIGKILL half way through its job, as by the system's lack of memory. The map of
a multiprocessing.Pool then never ends, so that this waits for PATIENCE seconds from when
the other jobs are done. concurrent.futures says that it broke, and gives up what is left.
Neither comes to a sum: "never", and seconds are those until it was given up.
"""

import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import Pool, sharedctypes

JOBS = 16
FATAL = JOBS // 2
PATIENCE = 3

shared = {}


def share(done, died):
    shared.update(done=done, died=died)


def count_inside(trials):
    return sum(random.uniform(0, 1)**2 + random.uniform(0, 1)**2 <= 1 for _ in range(trials))


def job(number, trials):
    inside = count_inside(trials // 2)
    if number == FATAL:
        shared["died"].value = time.monotonic()
        os.kill(os.getpid(), signal.SIGKILL)
    inside += count_inside(trials - trials // 2)
    shared["done"][number] = 1
    return inside


def in_pool(workers, trials, state):
    pool = Pool(workers, share, state)
    waiting = pool.starmap_async(job, [(i, trials) for i in range(JOBS)], chunksize=1)
    while sum(state[0]) < JOBS - 1:
        time.sleep(0.01)
    waiting.wait(PATIENCE)
    hangs = not waiting.ready()
    pool.terminate()
    pool.join()
    return hangs, f"it hangs: {JOBS - 1} of {JOBS} jobs were done, and {PATIENCE} s later " \
        "the map still waited" if hangs else "the map ended"


def by_executor(workers, trials, state):
    jobs, done = [], 0
    with ProcessPoolExecutor(workers, initializer=share, initargs=state) as executor:
        with suppress(BrokenProcessPool):
            for i in range(JOBS):
                jobs.append(executor.submit(job, i, trials))
        for each in jobs:
            with suppress(BrokenProcessPool):
                each.result()
                done += 1
    return done < JOBS, f"BrokenProcessPool: {JOBS - done} of {JOBS} jobs are lost"


if __name__ == "__main__":
    way, count, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[4])
    run = {"pool": in_pool, "executor": by_executor}[way]
    # Without a lock, which who is killed might hold.
    both = sharedctypes.RawArray("b", JOBS), sharedctypes.RawValue("d", 0)
    begun = time.monotonic()
    never, said = run(count, total // JOBS, both)
    print(json.dumps({"seconds": time.monotonic() - begun, "never": never, "note": said,
                      "died": both[1].value - begun}))
