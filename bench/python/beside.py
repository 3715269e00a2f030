#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One figure of the package for Python, or of what it replaces: SITE WHOSE WHAT [ARG...].

SITE is the folder of the package, build-python/site. WHOSE is tine, or another word: then
it is the standard library, or joblib. WHAT is one of MEASURES below. The figure is in
microseconds for each step, after some that are not counted; of processor time where no
other process takes part.

    program NAME ARG...   an example of python/examples, from start to exit: seconds of
                          processor time, of all its processes
"""

import compileall
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

SITE, WHOSE, WHAT = sys.argv[1:4]
OURS = WHOSE == "tine"
EXAMPLES = Path(__file__).resolve().parents[2] / "python" / "examples"
FOLDER = "@"  # in an argument: an empty folder

sys.path.insert(0, SITE)
if OURS:
    try:
        import tine.multiprocessing as mp
    except ImportError:
        print(json.dumps({"left_out": f"no package in {SITE}: make python"}))
        sys.exit()
else:
    mp = multiprocessing


def leave_out(why):
    print(json.dumps({"left_out": why}))
    sys.exit()


def micro(steps, func, *args, clock=time.perf_counter):
    begun = clock()
    func(*args)
    return (clock() - begun) * 1e6 / steps


def alone(func, thing, count):
    """Of what no other process takes part in: processor time."""
    return micro(count, func, thing, count, clock=time.process_time)


# ---- queues, locks, events -------------------------------------------------------------


def drain(queue, done, counts):
    for count in counts:
        for _ in range(count):
            queue.get()
        done.send(None)


def through_queue(value, count, first=0):
    """From the first put until another process has the last; first: as many before it."""
    queue, (here, there) = mp.Queue(), mp.Pipe()
    process = mp.Process(target=drain, args=(queue, there, [first, count]))
    process.start()

    def send(n):
        for _ in range(n):
            queue.put(value)
        here.recv()

    send(first)
    took = micro(count, send, count)
    process.join()
    return took


def array():
    try:
        import numpy
    except ImportError:
        leave_out("python3 has no numpy")
    return numpy.ones(1_000_000)


def lock_pairs(lock, count):
    for _ in range(count):
        lock.acquire()
        lock.release()


def lock_blocks(lock, count):
    for _ in range(count):
        with lock:
            pass


def looks(event, count):
    for _ in range(count):
        event.is_set()


def additions(value, count):
    for _ in range(count):
        with value.get_lock():
            value.value += 1


def run_alone(words, times=1):
    """Seconds of processor time of python3 with these words."""
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    # As a package that was installed is.
    compileall.compile_dir(SITE, quiet=2)
    environ = dict(os.environ, PYTHONPATH=SITE)
    with tempfile.TemporaryDirectory() as folder:
        command = [folder if word == FOLDER else word for word in words]
        command.insert(0, sys.executable)
        before = used()
        for _ in range(times):
            subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)
        return (used() - before) / times


def importing():
    return run_alone(["-c", f"import {mp.__name__}"], 5) * 1e6


def idle_switches():
    """In a second, of a process that waits in get()."""
    queue = mp.Queue()
    process = mp.Process(target=queue.get, daemon=True)
    process.start()

    def switches():
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file
                            if line.startswith("voluntary")).split()[1])
    time.sleep(0.5)
    before = switches()
    time.sleep(2)
    wakes = (switches() - before) / 2
    queue.put(1)
    process.join()
    return wakes


# ---- pools -----------------------------------------------------------------------------


def nothing(x):
    return x


def in_pool(use, count):
    with mp.Pool(4) as pool:
        use(pool, 100)
        return micro(count, use, pool, count)


def apply(pool, count):
    for _ in range(count):
        pool.apply(nothing, (1,))


def map_one(pool, count):
    pool.map(nothing, range(count), 1)


def start_and_end():
    pool = mp.Pool(4)
    pool.close()
    pool.join()


def starts(count):
    start_and_end()
    return micro(count, lambda: [start_and_end() for _ in range(count)])


# ---- joblib ----------------------------------------------------------------------------


def need_joblib():
    try:
        import joblib
    except ImportError:
        leave_out("python3 has no joblib")
    if OURS:
        import tine.joblib
    return joblib


def parallel(count):
    """Of a program that has no workers yet."""
    joblib = need_joblib()
    with joblib.parallel_backend("tine" if OURS else "loky", n_jobs=4):
        return micro(count, lambda: joblib.Parallel()(
            joblib.delayed(nothing)(i) for i in range(count)))


def parallel_again(count):
    joblib = need_joblib()
    with joblib.parallel_backend("tine" if OURS else "loky", n_jobs=4), \
            joblib.Parallel() as run:
        run(joblib.delayed(nothing)(i) for i in range(100))
        return micro(count, lambda: run(joblib.delayed(nothing)(i) for i in range(count)))


def hits(count):
    with tempfile.TemporaryDirectory() as folder:
        if OURS:
            import tine
            cached = tine.cached(dir=folder + "/cache")(nothing)
        else:
            cached = need_joblib().Memory(folder, verbose=0).cache(nothing)
        cached(3)
        return micro(count, lambda: [cached(3) for _ in range(count)])


# ---- programs --------------------------------------------------------------------------


def program(name, *args):
    path = EXAMPLES / f"{name}.py"
    if "joblib" in path.read_text(encoding="ascii"):
        need_joblib()
        array()
    return run_alone([*(["-m", "tine"] if OURS else []), str(path), *args])


MEASURES = {
    "ints": lambda: through_queue(12345, 30000, 3000),
    "tuples": lambda: through_queue((1, "two", 3.0), 20000, 2000),
    "16k": lambda: through_queue(bytes(16 << 10), 4000, 1000),
    "64k": lambda: through_queue(bytes(64 << 10), 2000, 500),
    "64k-first": lambda: through_queue(bytes(64 << 10), 500),
    "400k": lambda: through_queue(bytes(400_000), 200, 50),
    "8m": lambda: through_queue(array(), 10, 5),
    "lock": lambda: alone(lock_pairs, mp.Lock(), 200_000),
    "with-lock": lambda: alone(lock_blocks, mp.Lock(), 100_000),
    "is-set": lambda: alone(looks, mp.Event(), 100_000),
    "value": lambda: alone(additions, mp.Value("i", 0), 50_000),
    "import": importing,
    "idle": idle_switches,
    "apply": lambda: in_pool(apply, 2000),
    "map-1": lambda: in_pool(map_one, 20000),
    "start": lambda: starts(20),
    "parallel": lambda: parallel(10000),
    "parallel-again": lambda: parallel_again(10000),
    "hit": lambda: hits(1000),
    "program": lambda: program(*sys.argv[4:]),
}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(MEASURES[WHAT]())
