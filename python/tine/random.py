"""Streams of random numbers: those of C for the same seed and stream, bit for bit.

    stream = tine.random.Stream(seed, job)      # a numpy.random.Generator
    stream.random(1000), stream.normal(size=3)

A number depends on the seed, the stream and the position alone, and not on workers or
schedule: give each job the stream of its number.
"""

from __future__ import annotations

from typing import Any, Self

import numpy

from tine import _core

__all__ = ["BitGenerator", "Stream"]

_JUMP = 1 << 48
_ALL = (1 << 64) - 1


def _mixed(value: int) -> int:
    """splitmix64: a permutation of 64 bits."""
    value = (value + 0x9E3779B97F4A7C15) & _ALL
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _ALL
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _ALL
    return value ^ value >> 31


class BitGenerator(_core.BitGenerator):
    """For numpy.random.Generator. Philox4x32-10, with the numbers of tine_rng_u64().

    seed, stream: from 0 to 2**64 - 1
    """

    def __init__(self, seed: int, stream: int = 0) -> None:
        self._children = 0

    def __new__(cls, seed: int, stream: int = 0) -> Self:
        for value in seed, stream:
            if not 0 <= value <= _ALL:
                raise ValueError("seed and stream must be from 0 to 2**64 - 1")
        return super().__new__(cls, seed, stream)

    @property
    def state(self) -> dict[str, Any]:
        seed, stream, position = self.where()
        return {"bit_generator": "tine", "seed": seed, "stream": stream,
                "position": position, "children": self._children}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict) or state.get("bit_generator") != "tine":
            raise ValueError("not the state of a tine.random.BitGenerator")
        self.put(state["seed"], state["stream"], state["position"])
        self._children = state["children"]

    def __reduce__(self) -> tuple[Any, ...]:
        seed, stream, _ = self.where()
        return type(self), (seed, stream), self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def spawn(self, n: int) -> list[BitGenerator]:
        """n generators with the same seed and streams of their own, other ones each time.

        Two of all streams that were ever spawned from a seed are the same with a
        probability of their number squared, divided by 2**65.
        """
        seed, stream, _ = self.where()
        first, self._children = self._children, self._children + n
        return [type(self)(seed, _mixed(_mixed(stream) ^ _mixed(first + i)))
                for i in range(n)]

    def jumped(self, jumps: int = 1) -> BitGenerator:
        """A copy that lies 2**48 32-bit numbers further in the stream, for each jump."""
        seed, stream, position = self.where()
        if jumps < 0 or position + jumps * _JUMP > _ALL:
            raise ValueError("the end of the stream is nearer than that")
        copy = type(self)(seed, stream)
        copy.put(seed, stream, position + jumps * _JUMP)
        return copy

    def random_raw(self, size: Any = None, output: bool = True) -> Any:
        """Numbers of 64 bits: one, an array, or None without output."""
        numbers = numpy.empty(1 if size is None else size, numpy.uint64)
        with self.lock:
            self.fill(numbers, True)
        if not output:
            return None
        return int(numbers[0]) if size is None else numbers


class Stream(numpy.random.Generator):
    """numpy.random.Generator over a BitGenerator; pickles, and spawns others."""

    # What a Generator needs of it, it has; for numpy's types it is to be derived.
    bit_generator: BitGenerator  # type: ignore[assignment]

    def __init__(self, seed: int | BitGenerator, stream: int = 0) -> None:
        if not isinstance(seed, BitGenerator):
            seed = BitGenerator(seed, stream)
        super().__init__(seed)  # type: ignore[arg-type]

    def random(self, size: Any = None, dtype: Any = numpy.float64,
               out: Any = None) -> Any:
        """As of numpy; many numbers are computed several at a time."""
        if size is None or out is not None or numpy.dtype(dtype) != numpy.float64:
            return super().random(size, dtype, out)
        numbers = numpy.empty(size)
        with self.bit_generator.lock:
            self.bit_generator.fill(numbers)
        return numbers

    def spawn(self, n: int) -> list[Stream]:
        return [type(self)(child) for child in self.bit_generator.spawn(n)]

    def jumped(self, jumps: int = 1) -> Stream:
        return type(self)(self.bit_generator.jumped(jumps))

    def __reduce__(self) -> tuple[Any, ...]:  # type: ignore[override]
        return type(self), (self.bit_generator,)
