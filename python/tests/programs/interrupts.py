# SPDX-License-Identifier: MIT
"""Ctrl-C in each wait, and what is left by it."""
import multiprocessing as mp
import multiprocessing.managers
import os
import signal
import threading
import time

GUARD = 60  # seconds


class Slow:
    def sleep(self):
        time.sleep(GUARD)


class Manager(multiprocessing.managers.BaseManager):
    pass


Manager.register("Slow", Slow)


def interrupt(ended):
    """Again, if it came in the instant before a sleep."""
    while not ended.wait(0.1):
        os.kill(os.getpid(), signal.SIGINT)


def try_it(name, wait):
    ended = threading.Event()
    thread = threading.Thread(target=interrupt, args=(ended,), daemon=True)
    begun = time.monotonic()
    try:
        thread.start()
        print(name, "returned", wait())
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(name, "interrupted" if time.monotonic() - begun < GUARD / 2 else "late")
    ended.set()
    thread.join()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(GUARD)


def hold(lock, held):
    lock.acquire()
    held.set()
    time.sleep(GUARD)


if __name__ == "__main__":
    empty, full, tasks, simple = mp.Queue(), mp.Queue(1), mp.JoinableQueue(), \
        mp.SimpleQueue()
    full.put("first")
    tasks.put(1)
    try_it("get", empty.get)
    try_it("get with a timeout", lambda: empty.get(timeout=GUARD))
    try_it("put", lambda: full.put("second"))
    try_it("join of a queue", tasks.join)
    try_it("get of a simple queue", simple.get)
    empty.put("later")
    simple.put("later")
    print(empty.get(), full.get(), simple.get(), tasks.get(), tasks.task_done())

    lock, recursive, semaphore = mp.Lock(), mp.RLock(), mp.Semaphore(0)
    lock.acquire()
    held = threading.Event()
    threading.Thread(target=hold, args=(recursive, held), daemon=True).start()
    held.wait()
    try_it("lock", lock.acquire)
    try_it("lock, by with", lock.__enter__)
    try_it("recursive lock", recursive.acquire)
    try_it("semaphore", semaphore.acquire)
    lock.release()
    semaphore.release()
    print(lock.acquire(timeout=GUARD), semaphore.acquire(timeout=GUARD))

    condition, event, barrier = mp.Condition(), mp.Event(), mp.Barrier(2)
    with condition:
        try_it("condition", condition.wait)
        try_it("wait_for", lambda: condition.wait_for(lambda: False, GUARD))
        condition.notify_all()
    try_it("event", event.wait)
    try_it("barrier", barrier.wait)
    print(barrier.n_waiting)

    process = mp.Process(target=ignore)
    process.start()
    here, there = mp.Pipe()
    try_it("join of a process", process.join)
    try_it("recv", here.recv)
    try_it("poll", lambda: here.poll(GUARD))
    process.kill()
    process.join()
    print(process.exitcode)

    pool = mp.Pool(1)
    try_it("apply", lambda: pool.apply(time.sleep, (GUARD,)))
    try_it("map", lambda: pool.map(time.sleep, [GUARD]))
    try_it("next of imap", pool.imap(time.sleep, [GUARD]).next)
    try_it("get of a result", pool.apply_async(time.sleep, (GUARD,)).get)
    pool.close()
    try_it("join of a pool", pool.join)
    pool.terminate()

    with Manager() as manager:
        slow = manager.Slow()
        try_it("a manager's object", slow.sleep)
    with mp.Manager() as manager:
        try_it("a manager's queue", manager.Queue().get)
        try_it("a manager's event", manager.Event().wait)
