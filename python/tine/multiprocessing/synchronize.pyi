"""For checkers of types these are the standard library's, with what there is besides."""

from multiprocessing import synchronize as _standard
from multiprocessing.synchronize import (Barrier as Barrier, Condition as Condition,
                                         Event as Event)

class Lock(_standard.Lock):
    @property
    def owner_died(self) -> bool: ...

class RLock(_standard.RLock):
    @property
    def owner_died(self) -> bool: ...

class Semaphore(_standard.Semaphore): ...
class BoundedSemaphore(_standard.BoundedSemaphore): ...
