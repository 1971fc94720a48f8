"""libsodium, as rbcl carries it: the group ristretto255, and SHA-512 and ChaCha20-Poly1305 for batches.

This is the one module that talks to rbcl. Functions take addresses, for `group`; those of `on_bytes` take the
32 or 64 bytes of one operand themselves. libsodium runs in constant time, and what takes longer than ten
microseconds runs outside Python's lock. Functions from `hash_to_group` on take one element or scalar, the 32
bytes of its canonical encoding.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from itertools import repeat
from pathlib import Path  # noqa: TID251 - removes the one file that rbcl leaves behind
from types import ModuleType
from typing import Any, Final

import numpy as np

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError
from blindmatch_protocol.contract.publishing import LEAST_ROWS
from blindmatch_protocol.group.rows import (
    DIGEST_BYTES,
    ELEMENT_BYTES,
    ORDER,
    SCALAR_BYTES,
    UNIFORM_BYTES,
    addresses,
    cut,
    rows_of,
    sha512_behind,
    top_bits,
)

CARRIER: Final = "rbcl"
"""Name of the `ImportError` without libsodium, whose text says why."""


def _load() -> ctypes.CDLL:
    """Run rbcl's module that carries libsodium: it writes it to the temporary folder and maps it.

    rbcl itself is not imported, nor is the module kept: that would take 1.2 MiB, and leave the file
    (docs/decisions/0027-libraries-by-address.md).
    """
    module = _carrier()
    try:
        module.__spec__.loader.exec_module(module)  # type: ignore[union-attr]
    except OSError as error:
        raise ImportError(
            "libsodium could not be loaded: rbcl writes it to the temporary folder (2.8 MB) and maps it; "
            "set TMPDIR to a folder that has room and is not mounted noexec",
            name=CARRIER,
        ) from error
    finally:
        _unlink(getattr(module, "lib_path", None))
    library: ctypes.CDLL = module._sodium
    if library.sodium_init() < 0:
        raise ImportError("libsodium could not be initialized", name=CARRIER)
    return library


def _carrier() -> ModuleType:
    package = find_spec("rbcl")
    found = package and PathFinder.find_spec("rbcl._sodium", package.submodule_search_locations)
    if not found:
        words = "rbcl, which carries libsodium, is not installed, or is another version than 1.1"
        raise ImportError(words, name=CARRIER)
    return module_from_spec(found)


def _unlink(path: object) -> None:
    """Remove the library rbcl wrote. A mapped file outlives its name on POSIX; Windows keeps both."""
    if not isinstance(path, str) or sys.platform == "win32":
        return
    written = Path(path)
    if written.parent == Path(tempfile.gettempdir()) and written.suffix == ".so":
        written.unlink(missing_ok=True)


_LIBRARY = _load()
_SHORT = ctypes.PyDLL(None, handle=_LIBRARY._handle)
"""The same library; its calls keep Python's lock."""


def _bind(name: str, operands: int, checked: bool = True, short: bool = False) -> Any:
    """The function `name` of libsodium, taking addresses: its result, then `operands` inputs.

    Indexing gives a function object of our own, so that rbcl's own calls stay as they are. A `short` one
    keeps Python's lock.
    """
    function = (_SHORT if short else _LIBRARY)[name]
    function.argtypes = [ctypes.c_void_p] * (1 + operands)
    function.restype = ctypes.c_int if checked else None
    return function


IS_VALID = _bind("crypto_core_ristretto255_is_valid_point", 0)
FROM_HASH = _bind("crypto_core_ristretto255_from_hash", 1)
ADD = _bind("crypto_core_ristretto255_add", 2)
SUBTRACT = _bind("crypto_core_ristretto255_sub", 2)
MULTIPLY = _bind("crypto_scalarmult_ristretto255", 2)
MULTIPLY_BASE = _bind("crypto_scalarmult_ristretto255_base", 1)
REDUCE = _bind("crypto_core_ristretto255_scalar_reduce", 1, checked=False, short=True)
INVERT_SCALAR = _bind("crypto_core_ristretto255_scalar_invert", 1)
ADD_SCALARS = _bind("crypto_core_ristretto255_scalar_add", 2, checked=False, short=True)
SUBTRACT_SCALARS = _bind("crypto_core_ristretto255_scalar_sub", 2, checked=False, short=True)
MULTIPLY_SCALARS = _bind("crypto_core_ristretto255_scalar_mul", 2, checked=False, short=True)

SHA512 = _SHORT["crypto_hash_sha512"]
"""Digest, message, length of the message."""
SHA512.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulonglong]
CHACHA20_POLY1305 = _SHORT["crypto_aead_chacha20poly1305_ietf_encrypt"]
"""Ciphertext with tag, its length or None, message, length, further data, length, None, nonce, key."""
CHACHA20_POLY1305.argtypes = [
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_void_p,
    ctypes.c_ulonglong, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
]  # fmt: skip

_SIZES: Final = {
    "crypto_core_ristretto255_bytes": ELEMENT_BYTES,
    "crypto_core_ristretto255_hashbytes": UNIFORM_BYTES,
    "crypto_core_ristretto255_scalarbytes": SCALAR_BYTES,
    "crypto_core_ristretto255_nonreducedscalarbytes": UNIFORM_BYTES,
    "crypto_scalarmult_ristretto255_bytes": ELEMENT_BYTES,
    "crypto_scalarmult_ristretto255_scalarbytes": SCALAR_BYTES,
    "crypto_hash_sha512_bytes": 64,
    "crypto_aead_chacha20poly1305_ietf_keybytes": 32,
    "crypto_aead_chacha20poly1305_ietf_npubbytes": 12,
    "crypto_aead_chacha20poly1305_ietf_abytes": 16,
}
"""What the library must say of itself: it reads and writes so much wherever it is pointed at."""


def _check_sizes(library: ctypes.CDLL) -> None:
    """Raises `ImportError` unless the library's sizes, and C's types, are those that calls here assume."""
    types = {kind.__name__: ctypes.sizeof(kind) for kind in (ctypes.c_void_p, ctypes.c_ulonglong)}
    found = {name: ctypes.CFUNCTYPE(ctypes.c_size_t)((name, library))() for name in _SIZES} | types
    wrong = {name: size for name, size in found.items() if size != _SIZES.get(name, 8)}
    if wrong:
        raise ImportError(f"libsodium and this program differ in sizes: {wrong}", name=CARRIER)


_check_sizes(_LIBRARY)

Single = ctypes.c_char * 32
"""Where a function for bytes puts its result."""


def on_bytes(name: str, short: bool = False) -> Any:
    """The function `name` of libsodium, taking a `Single` for its result, then bytes of the right length.

    Without declared arguments a call takes a third of the time. What is passed must be checked before. A
    `short` one keeps Python's lock.
    """
    return (_SHORT if short else _LIBRARY)[name]


class Libsodium:
    """The group by libsodium, an operation a row; there on every machine."""

    name: Final = "libsodium"
    task: Final = LEAST_ROWS
    sound = True
    second_sums: Final = None

    def multiply(self, scalars: Rows, elements: Rows) -> Rows:
        return run(MULTIPLY, "multiply", scalars, elements, elements=[elements])

    def hash_multiply(self, scalars: Rows, uniform: Rows) -> Rows:
        return self.multiply(scalars, run(FROM_HASH, "hash to group", uniform))

    def sum_products(self, scalars: Rows, elements: Rows) -> Rows:
        return total(run(MULTIPLY, "sum products", scalars, elements, elements=[elements]))

    def sha512(self, messages: Rows, front: bytes = b"") -> Rows:
        if front:
            return sha512_behind(front, cut(messages))
        count, width = messages.shape
        digests = np.empty((count, DIGEST_BYTES), np.uint8)
        into = addresses(digests, count)
        of = addresses(messages, count)
        deque(map(SHA512, into, of, repeat(width)), maxlen=0)
        return digests


LIBSODIUM: Final = Libsodium()
"""The reference."""


def run(function: Any, operation: str, *operands: Rows, elements: Sequence[Rows] = ()) -> Rows:
    """Call the checked `function` on every row of matched operands; `GroupError` for the first it refuses.

    libsodium ignores the top bit of an element's encoding, which RFC 9496 wants clear: `elements` are the
    operands in which it is looked at here.
    """
    rows = rows_of(operands)
    result = np.empty((rows, ELEMENT_BYTES), np.uint8)
    where = [addresses(operand, rows) for operand in (result, *operands)]
    status = np.fromiter(map(function, *where), np.int32, rows)
    for points in elements:
        status |= top_bits(points)
    if status.any():
        raise GroupError(operation, int(status.nonzero()[0][0]))
    return result


def total(elements: Rows) -> Rows:
    """The sum of valid elements (n, 32), n at least one, as (1, 32)."""
    held = elements[:1].copy()
    at = held.ctypes.data
    deque(map(ADD, repeat(at), repeat(at), addresses(elements[1:], len(elements) - 1)), maxlen=0)
    return held


_LENGTH_RULE: Final = "elements and scalars are 32 bytes, wide scalars and uniform ones 64"
_FROM_HASH = on_bytes("crypto_core_ristretto255_from_hash")
_ADD = on_bytes("crypto_core_ristretto255_add")
_MULTIPLY = on_bytes("crypto_scalarmult_ristretto255")
_MULTIPLY_BASE = on_bytes("crypto_scalarmult_ristretto255_base")
_REDUCE = on_bytes("crypto_core_ristretto255_scalar_reduce", short=True)
_INVERT_SCALAR = on_bytes("crypto_core_ristretto255_scalar_invert")
_SUBTRACT_SCALARS = on_bytes("crypto_core_ristretto255_scalar_sub", short=True)
_MULTIPLY_SCALARS = on_bytes("crypto_core_ristretto255_scalar_mul", short=True)


def hash_to_group(uniform: bytes) -> bytes:
    """Map 64 uniform bytes to an element; RFC 9496, section 4.3.4."""
    return _called(_FROM_HASH, "hash to group", _checked(uniform, UNIFORM_BYTES))


def multiply(scalar: bytes, element: bytes) -> bytes:
    """The scalar times the element, which is checked on the way; the scalar must be reduced; `GroupError` for
    a non-canonical encoding, the identity or a zero scalar."""
    # written out: a private check with its proof calls this eleven times
    if len(scalar) != ELEMENT_BYTES or len(element) != ELEMENT_BYTES:
        raise ValueError(_LENGTH_RULE)
    product = Single()
    if element[31] & 0x80 or _MULTIPLY(product, scalar, element):
        raise GroupError("multiply", 0)
    return product.raw


def multiply_base(scalar: bytes) -> bytes:
    """The scalar times the generator. Raises `GroupError` for a zero scalar."""
    return _called(_MULTIPLY_BASE, "multiply base", _checked(scalar))


def add(left: bytes, right: bytes) -> bytes:
    """The sum; the identity is a valid operand. Raises `GroupError` for a non-canonical encoding."""
    return _called(_ADD, "add", _element(left), _element(right))


def reduce_scalar(wide: bytes) -> bytes:
    """A little-endian integer of 64 bytes modulo the group's order."""
    return _computed(_REDUCE, _checked(wide, UNIFORM_BYTES))


def subtract_scalars(left: bytes, right: bytes) -> bytes:
    return _computed(_SUBTRACT_SCALARS, _checked(left), _checked(right))


def multiply_scalars(left: bytes, right: bytes) -> bytes:
    return _computed(_MULTIPLY_SCALARS, _checked(left), _checked(right))


def invert_scalar(scalar: bytes) -> bytes:
    """The inverse modulo the order. Raises `GroupError` for zero."""
    return _called(_INVERT_SCALAR, "invert", _checked(scalar))


def is_scalar(encoding: bytes) -> bool:
    """Whether these are the 32 bytes of a number between 1 and the order less 1."""
    return len(encoding) == ELEMENT_BYTES and 0 < int.from_bytes(encoding, "little") < ORDER


def _called(function: Any, operation: str, *operands: bytes) -> bytes:
    result = Single()
    if function(result, *operands):
        raise GroupError(operation, 0)
    return result.raw


def _computed(function: Any, *operands: bytes) -> bytes:
    """As `_called`, for a function that returns nothing."""
    result = Single()
    function(result, *operands)
    return result.raw


def _checked(operand: bytes, length: int = ELEMENT_BYTES) -> bytes:
    """libsodium reads so many bytes from wherever it is pointed at."""
    if len(operand) != length:
        raise ValueError(_LENGTH_RULE)
    return operand


def _element(operand: bytes) -> bytes:
    """libsodium ignores the top bit of an encoding, which RFC 9496 wants clear."""
    if _checked(operand)[31] & 0x80:
        raise GroupError("add", 0)
    return operand
