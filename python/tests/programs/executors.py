# SPDX-License-Identifier: MIT
"""concurrent.futures over contexts, and asyncio over it."""
import asyncio
import concurrent.futures
import multiprocessing as mp


def square(x):
    return x * x


def fail(x):
    raise ValueError(x)


async def ask(executor):
    loop = asyncio.get_running_loop()
    calls = [loop.run_in_executor(executor, square, i) for i in range(5)]
    print(await asyncio.gather(*calls))
    try:
        await loop.run_in_executor(executor, fail, 3)
    except ValueError as error:
        print(repr(error), "in fail" in str(error.__cause__))


if __name__ == "__main__":
    for method in "fork", "spawn", "forkserver":
        with concurrent.futures.ProcessPoolExecutor(
                2, mp_context=mp.get_context(method)) as executor:
            print(method, list(executor.map(square, range(5), chunksize=2)))
            print(executor.submit(fail, 5).exception())
            asyncio.run(ask(executor))
