"""Objects as bytes that can be used where they lie: a pickle, and the buffers of arrays.

The number of pieces and their lengths, 8 bytes each, then the pieces, each at a multiple
of 64: first the pickle.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

_ALIGN = 64
_PROTOCOL = 5


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


def pack(value: object, pickler: Callable[..., Any] = pickle.Pickler) -> memoryview:
    buffers: list[pickle.PickleBuffer] = []
    out = io.BytesIO()
    pickler(out, _PROTOCOL, buffer_callback=buffers.append).dump(value)
    pieces = [out.getbuffer(), *(buffer.raw() for buffer in buffers)]
    lengths = struct.pack(f"<{len(pieces) + 1}Q", len(pieces), *map(len, pieces))
    packed = memoryview(bytearray(_aligned(len(lengths)) + sum(
        _aligned(len(piece)) for piece in pieces[:-1]) + len(pieces[-1])))
    packed[:len(lengths)] = lengths
    at = _aligned(len(lengths))
    for piece in pieces:
        packed[at:at + len(piece)] = piece
        at += _aligned(len(piece))
    return packed


def unpack(packed: Any, copy: bool = False) -> Any:
    """The object. Its arrays lie in packed, and cannot be written, unless copied."""
    view = memoryview(packed)
    count = int.from_bytes(view[:8], "little")
    lengths = struct.unpack_from(f"<{count}Q", view, 8)
    at = _aligned(8 * (count + 1))
    pieces = []
    for length in lengths:
        pieces.append(view[at:at + length])
        at += _aligned(length)
    buffers: list[Any] = pieces[1:]
    if copy:
        buffers = [bytearray(piece) for piece in buffers]
    return pickle.loads(pieces[0], buffers=buffers)
