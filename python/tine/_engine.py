"""Tasks, their workers and their results: what Pool and ProcessPoolExecutor share.

A task is (receiver, index, function, args, kwds). Its outcome, (True, value) or
(False, exception), goes to receiver._set(index, outcome) once, in the thread of the
engine or in the one that could not pickle the task. A receiver whose _ended is true wants
no more outcomes.

One thread waits for results. Whoever adds a task submits what the workers have room for;
the rest waits in a backlog, and each result makes room for more. The room is full only
while submitted tasks have not begun, so that a later result always comes.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import itertools
import os
import pickle
import signal
import sys
import threading
import traceback
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import process, util

from tine import _core
from tine._pickle import dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Task = tuple[Any, int, Callable[..., Any], tuple[Any, ...], dict[str, Any]]
    Outcome = tuple[bool, Any]
    Bytes = bytes | memoryview
    Failed = tuple[Any, int, BaseException]

_CRASH, _LIMIT = 5001, 5004
_LIMITS = {1: "time", 2: "memory"}
# Functions that have a name.
_NAMED = frozenset((types.FunctionType, types.BuiltinFunctionType))
_HEADS = 64  # functions whose pickles are kept


class WorkerDied(RuntimeError):
    """A worker died in a task. The task fails, and the pool goes on.

    task: the index of the task in its map, of the first one of a chunk, else 0
    pid: of the worker; 0 if it is not known
    signal: that ended it, or 0
    exitcode: if it has exited, else None
    limit: "time" or "memory", if it was ended for that, else None
    """

    def __init__(self, message: str, task: int = 0, pid: int = 0, signal: int = 0,
                 exitcode: int | None = None, limit: str | None = None) -> None:
        super().__init__(message)
        self.task, self.pid, self.signal = task, pid, signal
        self.exitcode, self.limit = exitcode, limit

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.args[0], self.task, self.pid, self.signal,
                             self.exitcode, self.limit))


# ---- in a worker ----------------------------------------------------------------------


class _WorkerProcess(process.BaseProcess):
    """In a pool without a context."""


class Hooks:
    """What a worker calls. It is a fork, and nothing of this is pickled."""

    failures: type[BaseException] = Exception  # of a task; others end the worker
    # An exception, and one in the place of a result that does not pickle, to be sent.
    traced: Callable[..., Any]
    unsent: Callable[..., Any]

    def __init__(self, initializer: Callable[..., Any] | None, initargs: Iterable[Any],
                 make: Callable[[], process.BaseProcess] = _WorkerProcess) -> None:
        """make: what current_process() is in a worker."""
        self.make = make
        self.processes: list[Any] = []  # one of them for each worker
        self.initializer, self.initargs = initializer, tuple(initargs)
        self.failure: Exception | None = None
        self.funcs: dict[bytes, Callable[..., Any]] = {}

    def prepare(self, workers: int) -> None:
        """In the owner, as what a worker does it does again in each."""
        for _ in range(workers):
            child: Any = self.make()
            child.daemon = True
            child._name = f"ForkPoolWorker-{child._identity[-1]}"
            self.processes.append(child)

    def begin(self) -> None:
        """As BaseProcess._bootstrap() in a child of fork(): before its first task."""
        child = self.processes[_core.worker_index()]
        process._process_counter = itertools.count(1)  # type: ignore[attr-defined]
        process._children = set()  # type: ignore[attr-defined]
        process._current_process = child  # type: ignore[attr-defined]
        try:
            sentinel = os.pidfd_open(child._parent_pid)
        except OSError:
            sentinel = None
        process._parent_process = process._ParentProcess(  # type: ignore[attr-defined]
            child._parent_name, child._parent_pid, sentinel)
        _free_imports()
        util._close_stdin()  # type: ignore[attr-defined]
        util._finalizer_registry.clear()  # type: ignore[attr-defined]
        util._run_after_forkers()  # type: ignore[attr-defined]
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def initialize(self) -> None:
        """Before the first task, or at the end of a worker that has had none.

        Not as the worker begins: Pool() would wait for it, and it may wait for what the
        program does next.
        """
        initializer, self.initializer = self.initializer, None
        if initializer is not None:
            try:
                initializer(*self.initargs)
            except Exception as error:
                self.failure = error
                raise
        else:
            raise self.failure  # type: ignore[misc]

    def load(self, head: bytes) -> Callable[..., Any]:
        func: Callable[..., Any] = pickle.loads(head)
        self.funcs[head] = func
        return func

    def run(self, head: bytes, body: memoryview) -> Bytes:
        """head: the pickle of a function that has a name, or nothing."""
        try:
            try:
                if self.initializer is not None or self.failure is not None:
                    self.initialize()
                if head:
                    func = self.funcs.get(head) or self.load(head)
                    args, kwds = pickle.loads(body)
                else:
                    func, args, kwds = pickle.loads(body)
                outcome = True, func(*args, **kwds)
            except self.failures as error:
                outcome = False, self.traced(error, error.__traceback__)
            try:
                answer: Bytes = _core.dump_bare(outcome) or dump(outcome)
            except self.failures as error:
                answer = dump((False, self.failed(error, outcome[1])))
        except BaseException as error:
            self.leave(error)
        flush()
        return answer

    def failed(self, error: BaseException, value: Any) -> Any:
        """For a value that could not be pickled, and perhaps not be shown either."""
        try:
            return self.unsent(error, value)
        except self.failures:
            return self.unsent(error, type(value))

    def end(self) -> None:
        """In a worker that ends in order."""
        try:
            if self.initializer is not None:
                self.initialize()
            threading._shutdown()  # type: ignore[attr-defined]
        except Exception:
            traceback.print_exc()
        finally:
            util._exit_function()  # type: ignore[attr-defined]
            flush()

    def leave(self, error: BaseException) -> None:
        """SystemExit and the like end the worker, as they end a process."""
        code: Any = 1
        if isinstance(error, SystemExit):
            code = error.code if error.code is not None else 0
            if not isinstance(code, int):
                print(code, file=sys.stderr)
                code = 1
        else:
            traceback.print_exception(error)
        try:
            self.end()
        finally:
            os._exit(code & 0xFF)


def _free_imports() -> None:
    """What other threads of the owner were importing is imported anew."""
    locks = importlib._bootstrap._module_locks  # type: ignore[attr-defined]
    for name, reference in list(locks.items()):
        lock = reference()
        if lock is None or lock.owner in (None, threading.get_ident()):
            continue
        del locks[name]
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if getattr(spec, "_initializing", False):
            del sys.modules[name]


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass


# ---- in the owner ---------------------------------------------------------------------


def explain(receiver: Any, index: int, failure: tuple[int, int, int, int, int]
            ) -> BaseException:
    """The exception of a task that has not answered."""
    status, code, number, limit, pid = failure
    if status == -errno.ECANCELED:
        return cancelled()
    if status == -errno.ENOMEM:
        return MemoryError("no memory for the result of a task")
    if status not in (-_CRASH, -_LIMIT):
        return OSError(-status, os.strerror(-status))
    name = f"worker {pid}" if pid else "a worker"
    if status == -_LIMIT and limit == 1:
        what = f"{name} was killed after the time limit of a task"
    elif status == -_LIMIT:
        what = f"{name} was ended for want of memory"
    elif number:
        what = f"{name} was killed by signal {number} ({_name_of(number)})"
    else:
        what = f"{name} exited with code {code}"
    first, last = receiver._tasks_of(index)
    where = f"task {first}" if first == last else f"one of the tasks {first} to {last}"
    died: BaseException = receiver._died(
        f"{what} in {where}", first, pid, number, None if number else code,
        _LIMITS.get(limit))
    return died


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def cancelled() -> BaseException:
    from concurrent.futures import CancelledError
    return CancelledError("the task was cancelled")


class Engine:
    def __init__(self, workers: int, hooks: Hooks, max_tasks: int | None = None,
                 timeout: float | None = None, retries: int = 0, memory: int = 0) -> None:
        limit = _milliseconds(timeout)
        hooks.prepare(workers)
        util._flush_std_streams()  # type: ignore[attr-defined]
        with _quiet_logs():
            self.core = _core.Pool(workers, hooks.begin, hooks.run, hooks.end,
                                   max_tasks or 0, memory or 0, limit, retries,
                                   hooks.initializer is not None)
        self.lock = threading.RLock()
        self.tags = itertools.count(1)
        self.running: dict[int, list[Any]] = {}  # tag: receiver, index, number of the job
        self.backlog: deque[Iterator[Task]] = deque()
        self.pickled: deque[tuple[int, bytes, Bytes]] = deque()  # there was no room for it
        self.heads: dict[Callable[..., Any], bytes] = {}
        self.feeders = 0
        self.closing = self.ended = False
        self.thread = threading.Thread(target=self._serve, name="tine-pool", daemon=True)
        self.thread.start()

    def add(self, tasks: Iterable[Task]) -> None:
        with self.lock:
            self.backlog.append(iter(tasks))
        self.pump()

    def feed(self, receiver: Any, tasks: Iterator[tuple[Any, ...]]) -> None:
        """Takes tasks from an iterator of the program's as workers become free."""
        with self.lock:
            self.feeders += 1
        threading.Thread(target=self._feed, args=(receiver, tasks), name="tine-feeder",
                         daemon=True).start()

    def close(self) -> None:
        self.closing = True
        self.pump()

    def terminate(self) -> None:
        with self.lock:
            self.closing = self.ended = True
            self.backlog.clear()
            self.pickled.clear()
            self.core.close()
            for entry in list(self.running.values()):
                self._cancel(entry)
        if threading.current_thread() is not self.thread:
            self.thread.join()

    def cancel(self, receiver: Any) -> None:
        """For a receiver that has ended: its tasks that run are killed."""
        with self.lock:
            for entry in list(self.running.values()):
                if entry[0] is receiver:
                    self._cancel(entry)

    def _cancel(self, entry: list[Any]) -> None:
        if entry[2]:
            try:
                self.core.cancel(entry[2])
            except ValueError:
                pass  # it has ended meanwhile

    def pump(self) -> None:
        failed: list[Failed] = []
        with self.lock:
            while (self.pickled or self.backlog) and self._submit_next(failed):
                pass
            if self.closing and not (self.pickled or self.backlog or self.feeders):
                self.core.close()
        for receiver, index, error in failed:
            self._give(receiver, index, (False, error))

    def _submit_next(self, failed: list[Failed]) -> bool:
        """False: there is no room for more."""
        if self.pickled:
            blob = self.pickled.popleft()
        else:
            tasks = self.backlog[0]
            task = next(tasks, None)
            if task is None:
                if self.backlog and self.backlog[0] is tasks:
                    self.backlog.popleft()
                return True
            if task[0]._ended:
                return True
            try:
                # This may run what adds tasks, and comes here again.
                blob = self._pickle(task)
            except Exception as error:
                failed.append((task[0], task[1], error))
                return True
        entry = self.running[blob[0]]
        if entry[0]._ended:
            del self.running[blob[0]]
            return True
        try:
            entry[2] = self.core.submit(*blob, False)
        except (OSError, ValueError) as error:
            del self.running[blob[0]]
            failed.append((entry[0], entry[1], error))
            return True
        if not entry[2]:
            self.pickled.appendleft(blob)
        return bool(entry[2])

    def _pickle(self, task: Task) -> tuple[int, bytes, Bytes]:
        receiver, index, func, args, kwds = task
        head = b""
        if type(func) in _NAMED:
            head = self.heads.get(func) or self._head_of(func)
            body: Bytes = _core.dump_bare((args, kwds)) or dump((args, kwds))
        else:
            body = dump((func, args, kwds))
        tag = next(self.tags)
        self.running[tag] = [receiver, index, 0]
        return tag, head, body

    def _head_of(self, func: Callable[..., Any]) -> bytes:
        if len(self.heads) == _HEADS:
            self.heads.clear()
        head = self.heads[func] = bytes(dump(func))
        return head

    def _feed(self, receiver: Any, tasks: Iterator[tuple[Any, ...]]) -> None:
        index = -1
        try:
            for index, (func, args, kwds) in enumerate(tasks):
                if receiver._ended or self.ended:
                    break
                tag = 0
                try:
                    task = receiver, index, func, args, kwds
                    tag, head, body = self._pickle(task)
                    entry = self.running[tag]
                    entry[2] = self.core.submit(tag, head, body, True)
                    if receiver._ended or self.ended:
                        self._cancel(entry)  # it waited for room meanwhile
                except Exception as error:
                    self.running.pop(tag, None)
                    self._give(receiver, index,
                               (False, cancelled() if self.ended else error))
        except Exception as error:
            index += 1
            self._give(receiver, index, (False, error))
        finally:
            receiver._set_length(index + 1)
            with self.lock:
                self.feeders -= 1
            self.pump()

    def _serve(self) -> None:
        error: BaseException | None = None
        try:
            while self._take():
                pass
        except OSError as died:
            error = WorkerDied(f"no worker can be started: {died.strerror}")
        finally:
            with self.lock:
                self.closing = self.ended = True
            self.core.end()
            for entry in list(self.running.values()):
                entry[0]._fail(error or cancelled())
            self.running.clear()

    def _take(self) -> bool:
        results = self.core.take()
        if not results:
            return False
        self.pump()
        for tag, outcome, failure in results:
            receiver, index, _ = self.running.pop(tag)
            if failure is not None:
                outcome = (False, explain(receiver, index, failure))
            elif type(outcome) is not tuple:
                outcome = (False, outcome)
            self._give(receiver, index, outcome)
        return True

    def _give(self, receiver: Any, index: int, outcome: Outcome) -> None:
        """A callback that raises must not end the thread that all results come by."""
        try:
            receiver._set(index, outcome)
        except Exception:
            threading.excepthook(threading.ExceptHookArgs(
                (*sys.exc_info(), threading.current_thread())))


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """No thread is in a handler of logging while we fork: its file has a lock of its own.

    One that is longer in its handler than a second is not waited for.
    """
    held = []
    try:
        for reference in list(getattr(sys.modules.get("logging"), "_handlerList", ())):
            handler = reference()
            lock = getattr(handler, "lock", None)
            if lock is not None and lock.acquire(timeout=1):
                held.append(lock)
        yield
    finally:
        for lock in held:
            lock.release()


def _milliseconds(timeout: float | None) -> int:
    if timeout is None:
        return 0
    if not timeout > 0:
        raise ValueError("timeout must be a positive number of seconds or None")
    return max(1, min(round(timeout * 1000), 1 << 62))
