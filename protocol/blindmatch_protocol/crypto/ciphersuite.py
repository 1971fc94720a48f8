"""The ciphersuite ristretto255-SHA512 of RFC 9497: contexts and hashing, on batches.

Every domain-separation tag holds the version and the mode, so a value hashed for one mode means nothing
in the other. Hashing is the one part of the OPRF done an item at a time: fixed prefixes are absorbed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import sha512

import numpy as np

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.group import rowwise, single

HASH_BYTES = 64
BLOCK_BYTES = 128
IDENTIFIER = b"ristretto255-SHA512"
MOST_INPUT_BYTES = 2**16 - 1
"""RFC 9497, section 1.2: the longest private input."""
MOST_BATCH = 2**16 - 1
"""Elements under one proof at most: a transcript gives their index two bytes; RFC 9497, section 2.2.1."""


class Mode(IntEnum):
    """The protocol variant; RFC 9497, section 3.1."""

    OPRF = 0
    VOPRF = 1


@lru_cache(maxsize=len(Mode))
def context_string(mode: Mode) -> bytes:
    """`CreateContextString`; RFC 9497, section 3.1."""
    return b"OPRFV1-" + mode.to_bytes(1, "big") + b"-" + IDENTIFIER


def prefixed(value: bytes) -> bytes:
    """`value` behind its length in two bytes, as in all transcripts of RFC 9497."""
    return len(value).to_bytes(2, "big") + value


def check_inputs(inputs: Iterable[bytes], step: str) -> None:
    """Make sure that every private input has at most 65,535 bytes.

    Raises:
        ProtocolError: naming the first row that is longer.
    """
    for row, value in enumerate(inputs):
        if len(value) > MOST_INPUT_BYTES:
            raise ProtocolError(step, f"row {row} is longer than {MOST_INPUT_BYTES} bytes", "inputs")


_PADDING = sha512(bytes(BLOCK_BYTES))


def _framing(tag: bytes) -> tuple[bytes, bytes]:
    """What follows the message in the first hash, and the first hash in the second, of `expand_message_xmd`
    to 64 bytes, with SHA-512; RFC 9380, section 5.3.1. The tag has at most 255 bytes."""
    suffix = tag + len(tag).to_bytes(1, "big")
    return group.UNIFORM_BYTES.to_bytes(2, "big") + b"\x00" + suffix, b"\x01" + suffix


_TO_GROUP, _TO_SCALAR = (
    [_framing(tag + context_string(mode)) for mode in Mode] for tag in (b"HashToGroup-", b"HashToScalar-")
)
"""By mode: looking a mode up in a list takes a tenth of what a cache takes to hash it."""


def hash_inputs_to_uniform(inputs: Sequence[bytes], mode: Mode) -> Rows:
    """The hashing half of `HashToGroup`, uint8 (n, 64); `group.hash_to_group` is the other half.

    RFC 9497, section 4.1.
    """
    rows = rowwise.of_one_length(inputs)
    if rows is not None:
        return hash_rows_to_uniform(rows, mode)
    blocks = b"".join(_expanded(value, _TO_GROUP[mode]) for value in inputs)
    return np.frombuffer(blocks, np.uint8).reshape(-1, group.UNIFORM_BYTES)


def hash_rows_to_uniform(inputs: Rows, mode: Mode) -> Rows:
    """`hash_inputs_to_uniform` for inputs of one length, uint8 (n, w)."""
    return _expanded_rows(inputs, _TO_GROUP[mode])


def _expanded_rows(messages: Rows, framing: tuple[bytes, bytes]) -> Rows:
    before, after = framing
    first = rowwise.sha512(rowwise.joined(len(messages), messages, before), bytes(BLOCK_BYTES))
    return rowwise.sha512(rowwise.joined(len(messages), first, after))


def hash_rows_to_scalars(messages: Rows, mode: Mode) -> Rows:
    """`HashToScalar` for messages of one length, uint8 (n, w): (n, 32); RFC 9497, section 4.1."""
    return group.reduce_scalars(_expanded_rows(messages, _TO_SCALAR[mode]))


def hash_to_scalar(message: bytes, mode: Mode) -> bytes:
    """`HashToScalar` for one message, 32 bytes; RFC 9497, section 4.1."""
    return single.reduce_scalar(_expanded(message, _TO_SCALAR[mode]))


def _expanded(message: bytes, framing: tuple[bytes, bytes]) -> bytes:
    before, after = framing
    state = _PADDING.copy()
    state.update(message + before)
    return sha512(state.digest() + after).digest()
