"""The group ristretto255 (RFC 9496) on one element or scalar, each the 32 bytes of its canonical encoding.

A proof and a private check of one hash are made of single rows, for which arrays cost more than they save.
`group` does the same for batches.
"""

from __future__ import annotations

from typing import Any

from blindmatch_protocol.codec.errors import GroupError
from blindmatch_protocol.group import sodium

BYTES = 32
ORDER = 2**252 + 27742317777372353535851937790883648493
ZERO = bytes(BYTES)

_LENGTH_RULE = "elements and scalars are 32 bytes, wide scalars and uniform ones 64"
_Single = sodium.Single

_FROM_HASH = sodium.on_bytes("crypto_core_ristretto255_from_hash")
_ADD = sodium.on_bytes("crypto_core_ristretto255_add")
_MULTIPLY = sodium.on_bytes("crypto_scalarmult_ristretto255")
_MULTIPLY_BASE = sodium.on_bytes("crypto_scalarmult_ristretto255_base")
_REDUCE = sodium.on_bytes("crypto_core_ristretto255_scalar_reduce", short=True)
_INVERT_SCALAR = sodium.on_bytes("crypto_core_ristretto255_scalar_invert")
_SUBTRACT_SCALARS = sodium.on_bytes("crypto_core_ristretto255_scalar_sub", short=True)
_MULTIPLY_SCALARS = sodium.on_bytes("crypto_core_ristretto255_scalar_mul", short=True)


def hash_to_group(uniform: bytes) -> bytes:
    """Map 64 uniform bytes to an element; RFC 9496, section 4.3.4."""
    return _called(_FROM_HASH, "hash to group", _checked(uniform, 2 * BYTES))


def multiply(scalar: bytes, element: bytes) -> bytes:
    """The scalar times the element, which is checked on the way; the scalar must be reduced.

    Raises:
        GroupError: for a non-canonical encoding, the identity or a zero scalar.
    """
    # written out: a private check with its proof calls this eleven times
    if len(scalar) != BYTES or len(element) != BYTES:
        raise ValueError(_LENGTH_RULE)
    product = _Single()
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
    return _computed(_REDUCE, _checked(wide, 2 * BYTES))


def subtract_scalars(left: bytes, right: bytes) -> bytes:
    """The difference modulo the order."""
    return _computed(_SUBTRACT_SCALARS, _checked(left), _checked(right))


def multiply_scalars(left: bytes, right: bytes) -> bytes:
    """The product modulo the order."""
    return _computed(_MULTIPLY_SCALARS, _checked(left), _checked(right))


def invert_scalar(scalar: bytes) -> bytes:
    """The inverse modulo the order. Raises `GroupError` for zero."""
    return _called(_INVERT_SCALAR, "invert", _checked(scalar))


def is_scalar(encoding: bytes) -> bool:
    """Whether these are the 32 bytes of a number between 1 and the order less 1."""
    return len(encoding) == BYTES and 0 < int.from_bytes(encoding, "little") < ORDER


def _called(function: Any, operation: str, *operands: bytes) -> bytes:
    result = _Single()
    if function(result, *operands):
        raise GroupError(operation, 0)
    return result.raw


def _computed(function: Any, *operands: bytes) -> bytes:
    """As `_called`, for a function that returns nothing."""
    result = _Single()
    function(result, *operands)
    return result.raw


def _checked(operand: bytes, length: int = BYTES) -> bytes:
    """libsodium reads so many bytes from wherever it is pointed at."""
    if len(operand) != length:
        raise ValueError(_LENGTH_RULE)
    return operand


def _element(operand: bytes) -> bytes:
    """libsodium ignores the top bit of an encoding, which RFC 9496 wants clear."""
    if _checked(operand)[31] & 0x80:
        raise GroupError("add", 0)
    return operand
