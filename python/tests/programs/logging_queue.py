# SPDX-License-Identifier: MIT
"""The recipe of logging's documentation for more than one process."""
import logging
import logging.handlers
import multiprocessing as mp
import sys


def work(queue, number):
    logger = logging.getLogger(f"worker {number}")
    logger.handlers = [logging.handlers.QueueHandler(queue)]
    logger.propagate = False
    for i in range(3):
        logger.warning("message %d of %d", i, number)


def log(number):
    logging.getLogger("task").warning("task %d", number)


class Keeping(logging.Handler):
    kept = []

    def emit(self, record):
        self.kept.append(record.getMessage())


if __name__ == "__main__":
    queue = mp.Queue()
    listener = logging.handlers.QueueListener(queue, Keeping())
    listener.start()
    processes = [mp.Process(target=work, args=(queue, i)) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    listener.stop()
    print(sorted(Keeping.kept))
    logging.basicConfig(stream=sys.stdout, format="%(processName)s %(message)s")
    with mp.Pool(1) as pool:
        pool.map(log, range(3))
    print(mp.log_to_stderr() is mp.get_logger())
