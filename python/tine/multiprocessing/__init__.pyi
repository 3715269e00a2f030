"""For checkers of types these are the standard library's, with what there is besides."""

from multiprocessing import (
    Array as Array, AuthenticationError as AuthenticationError, Barrier as Barrier,
    BoundedSemaphore as BoundedSemaphore, BufferTooShort as BufferTooShort,
    Condition as Condition, Event as Event, JoinableQueue as JoinableQueue,
    Manager as Manager, Pipe as Pipe, Process as Process, ProcessError as ProcessError,
    Queue as Queue, RawArray as RawArray, RawValue as RawValue, Semaphore as Semaphore,
    SimpleQueue as SimpleQueue, TimeoutError as TimeoutError, Value as Value,
    active_children as active_children,
    allow_connection_pickling as allow_connection_pickling, cpu_count as cpu_count,
    current_process as current_process, freeze_support as freeze_support,
    get_all_start_methods as get_all_start_methods, get_logger as get_logger,
    get_start_method as get_start_method, log_to_stderr as log_to_stderr,
    parent_process as parent_process, reducer as reducer,
    set_executable as set_executable, set_forkserver_preload as set_forkserver_preload,
    set_start_method as set_start_method)
from multiprocessing import (connection as connection, process as process,
                             reduction as reduction, shared_memory as shared_memory)

from tine.multiprocessing import (context as context, managers as managers,
                                  pool as pool, queues as queues,
                                  sharedctypes as sharedctypes,
                                  synchronize as synchronize)

Pool = context.default_context.Pool
get_context = context.default_context.get_context

def Lock() -> synchronize.Lock: ...
def RLock() -> synchronize.RLock: ...
