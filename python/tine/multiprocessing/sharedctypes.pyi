"""For checkers of types these are the standard library's."""

from multiprocessing.sharedctypes import (Array as Array, RawArray as RawArray,
                                          RawValue as RawValue, Value as Value,
                                          copy as copy, synchronized as synchronized)
