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

from blindmatch_protocol import group, rowwise, single
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.errors import ProtocolError

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


def check_inputs(inputs: Iterable[bytes], step: str, field: str = "inputs") -> None:
    """Make sure that every private input has at most 65,535 bytes.

    Raises:
        ProtocolError: naming the first row that is longer.
    """
    for row, value in enumerate(inputs):
        if len(value) > MOST_INPUT_BYTES:
            raise ProtocolError(step, f"row {row} is longer than {MOST_INPUT_BYTES} bytes", field)


def expand_message_xmd(message: bytes, tag: bytes, length: int) -> bytes:
    """`expand_message_xmd` with SHA-512; RFC 9380, section 5.3.1.

    Args:
        message: any bytes.
        tag: the domain-separation tag.
        length: how many bytes to return, at most 255 * 64.

    Raises:
        ValueError: for an impossible length.
    """
    count = -(-length // HASH_BYTES)
    if not 0 < count <= 255:
        raise ValueError(f"1 to {255 * HASH_BYTES} bytes can be expanded, not {length}")
    suffix = _tag_suffix(tag)
    first = sha512(bytes(BLOCK_BYTES) + message + length.to_bytes(2, "big") + b"\x00" + suffix).digest()
    blocks = [sha512(first + b"\x01" + suffix).digest()]
    for index in range(2, count + 1):
        mixed = bytes(a ^ b for a, b in zip(first, blocks[-1], strict=True))
        blocks.append(sha512(mixed + index.to_bytes(1, "big") + suffix).digest())
    return b"".join(blocks)[:length]


def _tag_suffix(tag: bytes) -> bytes:
    """`DST_prime`; RFC 9380, sections 5.3.1 and 5.3.3 (tags of more than 255 bytes)."""
    if len(tag) > 255:
        tag = sha512(b"H2C-OVERSIZE-DST-" + tag).digest()
    return tag + len(tag).to_bytes(1, "big")


_PADDING = sha512(bytes(BLOCK_BYTES))


def expand_to_uniform(messages: Sequence[bytes], tag: bytes) -> Rows:
    """`expand_message_xmd` to 64 bytes for every message; uint8 (n, 64)."""
    return _expanded(messages, _framing(tag))


def _expanded(messages: Sequence[bytes], framing: tuple[bytes, bytes]) -> Rows:
    before, after = framing
    start, blocks = _PADDING.copy, []
    for message in messages:
        state = start()
        state.update(message + before)
        blocks.append(sha512(state.digest() + after).digest())
    return np.frombuffer(b"".join(blocks), np.uint8).reshape(-1, group.UNIFORM_BYTES)


@lru_cache(maxsize=32)
def _framing(tag: bytes) -> tuple[bytes, bytes]:
    """What follows the message in the first hash, and the first hash in the second. Tags are public."""
    suffix = _tag_suffix(tag)
    return group.UNIFORM_BYTES.to_bytes(2, "big") + b"\x00" + suffix, b"\x01" + suffix


_TO_GROUP, _TO_SCALAR = (
    [_framing(tag + context_string(mode)) for mode in Mode] for tag in (b"HashToGroup-", b"HashToScalar-")
)
"""By mode: looking a mode up in a list takes a tenth of what a cache takes to hash it."""


def hash_inputs_to_uniform(inputs: Sequence[bytes], mode: Mode) -> Rows:
    """The hashing half of `HashToGroup`, uint8 (n, 64); `group.hash_to_group` is the other half.

    RFC 9497, section 4.1.
    """
    return _expanded(inputs, _TO_GROUP[mode])


def hash_rows_to_uniform(inputs: Rows, mode: Mode) -> Rows:
    """`hash_inputs_to_uniform` for inputs of one length, uint8 (n, w)."""
    before, after = _TO_GROUP[mode]
    first = rowwise.sha512(rowwise.joined(len(inputs), bytes(BLOCK_BYTES), inputs, before))
    return rowwise.sha512(rowwise.joined(len(inputs), first, after))


def hash_to_scalars(messages: Sequence[bytes], mode: Mode, tag: bytes = b"HashToScalar-") -> Rows:
    """`HashToScalar` for every message, uint8 (n, 32); RFC 9497, section 4.1.

    Args:
        messages: any bytes.
        mode: the variant, which enters the domain-separation tag.
        tag: the domain-separation tag's front half.
    """
    return group.reduce_scalars(expand_to_uniform(messages, tag + context_string(mode)))


def hash_to_scalar(message: bytes, mode: Mode) -> bytes:
    """`HashToScalar` for one message, 32 bytes; RFC 9497, section 4.1."""
    before, after = _TO_SCALAR[mode]
    state = _PADDING.copy()
    state.update(message + before)
    return single.reduce_scalar(sha512(state.digest() + after).digest())
