"""For checkers of types these are the standard library's."""

from multiprocessing.queues import (JoinableQueue as JoinableQueue, Queue as Queue,
                                    SimpleQueue as SimpleQueue)
