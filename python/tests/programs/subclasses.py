# SPDX-License-Identifier: MIT
"""Classes of a program's own, with arguments, attributes and methods of their own."""
import multiprocessing as mp
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.queues
import multiprocessing.synchronize
import threading


class Named:
    def __init__(self, name, *arguments):
        super().__init__(*arguments, ctx=mp.get_context())
        self.name = name

    def attach(self):
        return self.name


class Queue(Named, multiprocessing.queues.Queue):
    def join(self):
        return "a method of the program's own"


class JoinableQueue(Named, multiprocessing.queues.JoinableQueue):
    pass


class SimpleQueue(Named, multiprocessing.queues.SimpleQueue):
    pass


class Lock(Named, multiprocessing.synchronize.Lock):
    pass


class RLock(Named, multiprocessing.synchronize.RLock):
    pass


class Event(Named, multiprocessing.synchronize.Event):
    pass


class Semaphore(Named, multiprocessing.synchronize.BoundedSemaphore):
    pass


class Condition(Named, multiprocessing.synchronize.Condition):
    pass


class Barrier(Named, multiprocessing.synchronize.Barrier):
    pass


class Counting(multiprocessing.queues.Queue):
    """A recipe that many use: what is to travel is added to the state."""

    def __init__(self):
        super().__init__(ctx=mp.get_context())
        self.size = mp.Value("i", 0)
        self.guard = threading.Lock()  # does not pickle, and stays

    def __getstate__(self):
        return {"state": super().__getstate__(), "size": self.size}

    def __setstate__(self, state):
        super().__setstate__(state["state"])
        self.size = state["size"]

    def put(self, *args, **words):
        super().put(*args, **words)
        with self.size.get_lock():
            self.size.value += 1


class Appending(multiprocessing.queues.SimpleQueue):
    def __init__(self, extra):
        super().__init__(ctx=mp.get_context())
        self.extra = extra

    def __getstate__(self):
        return (*super().__getstate__(), self.extra)

    def __setstate__(self, state):
        super().__setstate__(state[:-1])
        self.extra = state[-1]


class Worker(mp.Process):
    def __init__(self, *objects):
        super().__init__(name="a worker")
        self.objects = objects

    def run(self):
        queue, tasks, simple, lock, event, semaphore, barrier = self.objects
        with lock:
            queue.put((self.name, mp.current_process().name, mp.parent_process().name))
        tasks.get()
        tasks.task_done()
        simple.put("a text")
        event.set()
        semaphore.acquire()
        barrier.wait(60)


class Pool(multiprocessing.pool.Pool):
    def __init__(self, name):
        super().__init__(2)
        self.name = name


class Counter:
    def __init__(self, first):
        self.value = first

    def add(self):
        self.value += 1
        return self.value


class BaseManager(multiprocessing.managers.BaseManager):
    pass


class SyncManager(multiprocessing.managers.SyncManager):
    pass


BaseManager.register("Counter", Counter)
SyncManager.register("Counter", Counter)


def use_states(counting, appending, lock):
    counting.put("counted")
    with lock:
        appending.put((appending.extra, isinstance(getattr(lock, "name", None), str),
                       hasattr(counting, "guard")))


def use():
    made = (Queue("queue", 3), JoinableQueue("tasks"), SimpleQueue("simple"),
            Lock("a lock"), Event("event"), Semaphore("semaphore", 2),
            Barrier("barrier", 2))
    queue, tasks, simple, lock, event, semaphore, barrier = made
    tasks.put(1)
    worker = Worker(*made)
    worker.start()
    print(queue.get(), simple.get(), event.wait(60))
    tasks.join()
    barrier.wait(60)
    worker.join()
    print(worker.exitcode, semaphore.get_value(), queue.join(), [x.name for x in made])
    print(queue.attach(), lock.attach())
    counting, appending = Counting(), Appending("extra")
    process = mp.Process(target=use_states, args=(counting, appending, lock))
    process.start()
    print(counting.get(), appending.get(), counting.size.value)
    process.join()


if __name__ == "__main__":
    for method in "fork", "spawn":
        mp.set_start_method(method, force=True)
        use()
    with Condition("condition") as entered, RLock("lock"):
        print(entered)
    with Pool("pool") as pool:
        print(pool.name, pool.map(abs, [-1, 2]))
    with BaseManager() as one, SyncManager() as other:
        print(one.Counter(4).add(), other.Counter(5).add(), other.list([1]))
        queue = other.Queue()
        queue.put(1)
        print(queue.get(), queue.task_done(), queue.join())
    for made in mp.Queue(), mp.JoinableQueue():
        print(hasattr(made, "task_done"), hasattr(made, "join"))
