# SPDX-License-Identifier: MIT
"""A program whose types test_types.py has checked. It is not run."""
from __future__ import annotations

import tine
import tine.multiprocessing as mp
from tine import ProcessPoolExecutor, WorkerDied, cached
from tine.multiprocessing import Event, Lock, Process, Queue
from tine.multiprocessing.pool import Pool


@cached(dir="results", version=1, max_age=86400)
def slow(x: int, y: int = 2) -> int:
    return x * y


@cached
def plain(x: int) -> str:
    return str(x)


def work(queue: mp.queues.Queue[int], lock: mp.synchronize.Lock) -> None:
    with lock:
        queue.put(slow(3))


def main() -> None:
    tine.patch()
    queue: mp.queues.Queue[int] = Queue()
    lock, event = Lock(), Event()
    process = Process(target=work, args=(queue, lock))
    process.start()
    event.set()
    value: int = queue.get(timeout=3)
    text: str = plain(3)
    with Pool(2, timeout=60, retries=1, memory=1 << 30) as pool:
        try:
            results: list[str] = pool.map(str, range(3))
            running = pool.apply_async(str, (3,))
            running.cancel()
        except WorkerDied as died:
            print(died.task, died.pid, died.signal, died.exitcode, died.limit)
    with mp.Pool(2, timeout=60) as other:
        other.close()
    with ProcessPoolExecutor(2, timeout=3) as executor:
        future = executor.submit(str, 3)
        print(future.result(), future.cancel())
    kept: bool = slow.forget(3)
    slow.clear()
    with mp.Manager() as manager:
        print(manager.Queue().get(), manager.dict(), kept)
    print(value, text, results, lock.owner_died)
    context = mp.get_context("spawn")
    print(context.Queue(), context.Pool(1, retries=3))
    slow("3")  # wrong
    plain(3, 4)  # wrong
    mp.Pool(1, retires=3)  # wrong
    queue.put("a")  # wrong
    tine.unpatch()
