# SPDX-License-Identifier: MIT
"""Arrays in messages, arguments and results."""
import dataclasses
import multiprocessing as mp

try:
    import numpy
except ImportError as error:
    print(error)
    raise SystemExit(77)


@dataclasses.dataclass
class Point:
    name: str
    values: numpy.ndarray


def double(point):
    point.values *= 2
    return point


def add_one(array):
    array += 1
    return array


def serve(queue, answers):
    for point in iter(queue.get, None):
        answers.put(double(point))


def arrays():
    frozen = numpy.arange(30000.)
    frozen.flags.writeable = False
    yield numpy.arange(4)
    yield numpy.arange(100000)
    yield numpy.frombuffer(bytes(100000), dtype="i4")
    yield numpy.broadcast_to(numpy.arange(5), (3, 5))
    yield frozen
    yield numpy.arange(1000 * 1000).reshape(1000, 1000)[::3, ::2]
    yield numpy.asfortranarray(numpy.arange(60000).reshape(200, 300))


if __name__ == "__main__":
    queue, answers = mp.Queue(), mp.Queue()
    process = mp.Process(target=serve, args=(queue, answers))
    process.start()
    with mp.Pool(2) as pool:
        for array in arrays():
            queue.put(Point("a", array))
            got = answers.get().values
            flags = got.flags
            print(got.shape, got.sum(), flags.writeable, flags.f_contiguous)
            print(pool.apply(add_one, (array,)).sum(), array.sum())
        print(pool.map(double, [Point("b", numpy.arange(3.)), Point("c", numpy.ones(2))]))
        print(pool.apply(numpy.ma.sum, (numpy.ma.array([1, 2, 3], mask=[0, 1, 0]),)))
        print(pool.apply(numpy.array, (["a", "bc"],), {"dtype": object}))
    queue.put(None)
    process.join()
    queue.put(numpy.array([(1, "a")], dtype=[("x", int), ("y", "U3")]))
    print(queue.get(), process.exitcode)
