#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What bench/queue.c measures, of multiprocessing.Queue and manager.Queue.

queue|manager PRODUCERS CONSUMERS LEN MESSAGES: nanoseconds of a message, of LEN bytes.
idle: milliseconds of processor that 4 consumers use, who wait for 2 seconds in vain.
"""

import multiprocessing
import os
import queue as queues
import sys
import time

CAPACITY = 1024
WAITERS = 4
SECONDS = 2
STOP = b""


def pin(turn):
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, [processors[turn % 2 % len(processors)]])


def produce(index, queue, times, ready, length, messages):
    pin(index)
    message = bytes(length)
    ready.wait()
    times.put(time.monotonic())
    for _ in range(messages):
        queue.put(message)


def consume(index, queue, times, ready):
    pin(index + 1)
    count = 0
    ready.wait()
    while queue.get() != STOP:
        count += 1
    times.put((time.monotonic(), count))


def measure(queue, producers, consumers, length, messages):
    begun, ended = multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue()
    ready = multiprocessing.Barrier(producers + consumers)
    each = messages // producers
    puts = [multiprocessing.Process(target=produce,
                                    args=(i, queue, begun, ready, length, each))
            for i in range(producers)]
    gets = [multiprocessing.Process(target=consume, args=(i, queue, ended, ready))
            for i in range(consumers)]
    for process in gets + puts:
        process.start()
    first = min(begun.get() for _ in puts)
    for process in puts:
        process.join()
    for _ in gets:
        queue.put(STOP)
    times, counts = zip(*(ended.get() for _ in gets))
    for process in gets:
        process.join()
    if sum(counts) != each * producers:
        sys.exit("messages were lost")
    return 1e9 * (max(times) - first) / (each * producers)


def wait_in_vain(queue, used):
    begun = time.process_time()
    try:
        queue.get(timeout=SECONDS)
    except queues.Empty:
        used.put(time.process_time() - begun)


def idle():
    queue, used = multiprocessing.Queue(), multiprocessing.SimpleQueue()
    waiters = [multiprocessing.Process(target=wait_in_vain, args=(queue, used))
               for _ in range(WAITERS)]
    for process in waiters:
        process.start()
    for process in waiters:
        process.join()
    return 1e3 * sum(used.get() for _ in waiters)


if __name__ == "__main__":
    if sys.argv[1] == "idle":
        print(idle())
    elif sys.argv[1] == "manager":
        with multiprocessing.Manager() as manager:
            print(measure(manager.Queue(CAPACITY), *map(int, sys.argv[2:])))
    else:
        print(measure(multiprocessing.Queue(CAPACITY), *map(int, sys.argv[2:])))
