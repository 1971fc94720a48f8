"""Keys that follow from an entry's OPRF output, and the label sealed under one of them (docs/set-format.md).

A label is sealed by ChaCha20-Poly1305 (RFC 8439, section 2.8) under nonce zero: every entry has a label
key of its own in every file, which seals this one record. The cipher does not commit to its key, and need
not: a device accepts a label only if the hash inside equals the hash it asked with.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Struct

from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract.publishing import EntryBatch
from blindmatch_protocol.contract.steps import OPEN_END, SIGNATURE_BYTES, Label
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.setfile import SetFile

STORE_TAG: Final = b"blindmatch/entry/store-key/v2"
MASK_TAG: Final = b"blindmatch/entry/mask/v2"
LABEL_TAG: Final = b"blindmatch/entry/label-key/v2"

KIND: Final = 0x02
"""Stretch of sealed labels."""
STRETCH: Final = 1 << 14
"""Labels in a section, so that the first use of one checks about a megabyte."""

STORE_KEY_BYTES: Final = 16
MASK_BYTES: Final = 8
LABEL_KEY_BYTES: Final = 32
TAG_BYTES: Final = 16

_PLAIN: Final = struct.Struct(">32sQ16sQQ")
_NONCE: Final = bytes(12)


class Positions(Struct, frozen=True, eq=False):
    """Where `n` entries lie in the file of an epoch.

    Attributes:
        store_keys: uint8 (n, 16).
        masks: uint64 (n,).
    """

    store_keys: Rows
    masks: npt.NDArray[np.uint64]


def places(outputs: Rows, epoch: int) -> Positions:
    """Where the entries with these OPRF outputs, uint8 (n, 64), lie in the file of an epoch."""
    masks = rowwise.expand(MASK_TAG, epoch, outputs, MASK_BYTES).view(">u8").ravel().astype(np.uint64)
    return Positions(rowwise.expand(STORE_TAG, epoch, outputs, STORE_KEY_BYTES), masks)


def label_keys(outputs: Rows, epoch: int) -> Rows:
    """Keys of their labels, uint8 (n, 32), secret to everyone without the output."""
    return rowwise.expand(LABEL_TAG, epoch, outputs, LABEL_KEY_BYTES)


def record_bytes(signatures: int) -> int:
    """Length of a sealed label with so many signatures: 88 without any."""
    return _PLAIN.size + SIGNATURE_BYTES * signatures + TAG_BYTES


def seal(label_keys: Rows, entries: EntryBatch, epoch: int, signatures: int = 0) -> Rows:
    """Seal the labels of `entries`, which hold from `epoch` on, each under a key of its own, uint8 (n, 32):
    records, uint8 (n, 88 + 64 * signatures), with zeros for signatures, since nobody makes any."""
    numbers = entries.ids.astype(">u8").view(np.uint8).reshape(len(entries), 8)
    rest = epoch.to_bytes(8, "big") + OPEN_END.to_bytes(8, "big") + bytes(SIGNATURE_BYTES * signatures)
    return rowwise.seal(
        label_keys, rowwise.joined(len(entries), entries.hashes, numbers, entries.salts, rest)
    )


def unseal(label_key: bytes, record: Buffer, epoch: int) -> Label | None:
    """The label in a record of the file of `epoch`; None if the key does not open it, or it is for others."""
    try:
        plain = ChaCha20Poly1305(label_key).decrypt(_NONCE, record, None)
    except InvalidTag:
        return None
    entry_hash, entry_id, salt, first, last = _PLAIN.unpack_from(plain)
    if not first <= epoch <= last:
        return None
    return Label(entry_hash, entry_id, salt, first, last, plain[_PLAIN.size :])


def stretches(records: Callable[[int, int], Rows], count: int) -> Iterator[tuple[list[Buffer], int]]:
    """Sections of labels, as parts to write and number of records; `records` gives those from `start` to
    `stop`, in the order of their numbers."""
    for start in range(0, count, STRETCH):
        stop = min(start + STRETCH, count)
        yield [np.ascontiguousarray(records(start, stop)).data], stop - start


class SealedLabels:
    """The labels of a set file, by number; a section is checked when first used; `SetFileError` if the
    sections do not hold `count` records of one length."""

    __slots__ = ("_count", "_file", "_width")

    def __init__(self, file: SetFile, count: int, signatures: int) -> None:
        self._file = file
        self._count = count
        self._width = record_bytes(signatures)
        rows = [file.row(KIND, index) for index in range(file.count(KIND))]
        expected = [min(STRETCH, count - start) for start in range(0, count, STRETCH)]
        if [row.items for row in rows] != expected or any(r.length != r.items * self._width for r in rows):
            raise SetFileError("labels: the sections do not hold the number of records they should")

    def __len__(self) -> int:
        return self._count

    def unseal(self, label_key: bytes, number: int) -> Label | None:
        """The label with this number, 0 to `len` - 1, if the key opens it; see `unseal`; `SetFileError` if
        its section was altered."""
        index, within = divmod(number, STRETCH)
        section = self._file.section(KIND, index)
        record = section[within * self._width : (within + 1) * self._width]
        return unseal(label_key, record, self._file.identity.epoch)
