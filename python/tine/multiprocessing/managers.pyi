"""For checkers of types these are the standard library's."""

from multiprocessing.managers import (BaseManager as BaseManager, BaseProxy as BaseProxy,
                                      SharedMemoryManager as SharedMemoryManager,
                                      SyncManager as SyncManager, Token as Token)
