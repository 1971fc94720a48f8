"""What an object holds, with all that hangs on it, as a digest: two are equal if nothing in it has changed.

Containers, attributes, closures, default arguments and caches are followed; classes and functions only of the
design's own modules. State inside of native objects (a running hash, a random generator) is not seen.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from hashlib import sha256
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType
from typing import Any, Final

import numpy as np

_PLAIN: Final = (bool, int, float, complex, str, bytes, bytearray, NoneType)
_CLOSED: Final = (*_PLAIN, ModuleType, BuiltinFunctionType)


def digest(root: Any, modules: frozenset[str]) -> bytes:
    """Of `root` and what is reachable from it; code of others than `modules` is not followed."""
    seen, waiting, total = set[int](), [root], sha256()
    while waiting:
        one = waiting.pop()
        total.update(type(one).__qualname__.encode() + _value(one) + b"\0")
        if id(one) not in seen:
            seen.add(id(one))
            waiting += _parts(one, modules)
    return total.digest()


def _value(one: Any) -> bytes:
    if isinstance(one, np.ndarray):
        return one.tobytes() if one.dtype != object else b""
    return repr(one).encode() if isinstance(one, _PLAIN) else b""


def _parts(one: Any, modules: frozenset[str]) -> Iterator[Any]:
    if isinstance(one, _CLOSED):
        return
    is_code = isinstance(one, FunctionType | type) or hasattr(one, "cache_info")
    if is_code and getattr(one, "__module__", "") not in modules:
        return
    if isinstance(one, FunctionType):
        yield from (one.__defaults__, one.__kwdefaults__, one.__dict__, one.__closure__)
    elif isinstance(one, type):
        yield from (held for name, held in vars(one).items() if not name.startswith("__"))
    else:
        yield from gc.get_referents(one)
