"""Pickles with what is registered for processes."""

from __future__ import annotations

import io
import pickle
import sys
from copyreg import dispatch_table as _public_reducers
from multiprocessing.reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_own_reducers = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
_reducers: dict[type, Any] = {}
_counted = -1


def _reduce_array(array: Any) -> Any:
    """One that cannot be written is copied: whoever gets it may write to the copy."""
    return array.__reduce_ex__(5 if array.flags.writeable else 4)


def dump(value: object, keep: Callable[[pickle.PickleBuffer], Any] | None = None) \
        -> memoryview:
    """keep: gets each buffer that is to stay beside the pickle."""
    global _counted
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    count = len(_own_reducers) + len(_public_reducers) + (array is not None)
    if count != _counted:
        if array is not None:
            _reducers[array] = _reduce_array
        _reducers.update(_public_reducers)
        _reducers.update(_own_reducers)
        _counted = count
    out = io.BytesIO()
    pickler = pickle.Pickler(out, 5, buffer_callback=keep)
    pickler.dispatch_table = _reducers
    pickler.dump(value)
    return out.getbuffer()
