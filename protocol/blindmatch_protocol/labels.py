"""Keys that follow from an entry's OPRF output, and the label sealed under one of them.

    output (64 bytes of the OPRF) --+-- H(store tag)  --> store key 16: where the entry is looked up
                                    +-- H(mask tag)   --> mask 8: hides the label's number in the store
                                    +-- H(label tag)  --> label key 32: seals the label

H(tag) is SHA-512 over the tag, zero-padded to one block of 128 bytes, and the output, cut to length. A
tag holds a version and fills a block, so no two inputs of different tags are equal. The output of
RFC 9497's Finalize is itself a SHA-512 value, uniform to whoever lacks the OPRF key (sections 3.3.1 and
7.2), so no extraction step is needed (RFC 5869, section 3.3).

A label is sealed by ChaCha20-Poly1305 (RFC 8439, section 2.8) under nonce zero: every entry has a label
key of its own, which seals this one record. The cipher does not commit to its key, and need not: a device
accepts a label only if the hash inside equals the hash it asked with. Whoever makes one record that opens
under two entries' keys must put a hash inside, and whoever has that hash's own key and may write records
could have listed the hash just as well.

Record: ciphertext of hash 32, id 8 (big-endian), salt 16, k signatures of 64 each; then the tag, 16 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha512
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from blindmatch_protocol import rowwise
from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.contract.entries import EntryBatch
from blindmatch_protocol.contract.outcome import Label
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.setfile import SetFile

if TYPE_CHECKING:
    from hashlib import _Hash

STORE_TAG: Final = b"blindmatch/entry/store-key/v1"
MASK_TAG: Final = b"blindmatch/entry/mask/v1"
LABEL_TAG: Final = b"blindmatch/entry/label-key/v1"

KIND: Final = 0x02
"""Section kind of a stretch of labels."""
STRETCH: Final = 1 << 14
"""Labels in a section, so that the first use of one checks about a megabyte."""

STORE_KEY_BYTES: Final = 16
MASK_BYTES: Final = 8
LABEL_KEY_BYTES: Final = 32
PLAIN_BYTES: Final = 56
SIGNATURE_BYTES: Final = 64
TAG_BYTES: Final = 16

_BLOCK = 128
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True, eq=False)
class EntryKeys:
    """Keys of `n` entries.

    Attributes:
        store_keys: uint8 (n, 16).
        masks: uint64 (n,).
        label_keys: uint8 (n, 32), secret to everyone without the output.
    """

    store_keys: Rows
    masks: npt.NDArray[np.uint64]
    label_keys: Rows = field(repr=False)


def _start(tag: bytes) -> Callable[[], _Hash]:
    """Gives the hash state after one block that holds the tag."""
    return sha512(tag.ljust(_BLOCK, b"\0")).copy


_STORE, _MASK, _LABEL = (_start(tag) for tag in (STORE_TAG, MASK_TAG, LABEL_TAG))


def derive(outputs: Rows) -> EntryKeys:
    """Keys of the entries with these OPRF outputs, uint8 (n, 64)."""
    raw = outputs.tobytes()
    parts = [raw[at : at + 64] for at in range(0, len(raw), 64)]
    masks = _expand(_MASK, parts, MASK_BYTES).view(">u8").ravel().astype(np.uint64)
    return EntryKeys(_expand(_STORE, parts, STORE_KEY_BYTES), masks, _expand(_LABEL, parts, LABEL_KEY_BYTES))


def _expand(start: Callable[[], _Hash], parts: list[bytes], length: int) -> Rows:
    """The derivation of one tag for every output, uint8 (n, length)."""
    digests = []
    for part in parts:
        state = start()
        state.update(part)
        digests.append(state.digest())
    rows = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 64)
    return np.ascontiguousarray(rows[:, :length])


def record_bytes(signatures: int) -> int:
    """Length of a sealed label with so many signatures: 72 without any."""
    return PLAIN_BYTES + SIGNATURE_BYTES * signatures + TAG_BYTES


def seal(label_keys: Rows, entries: EntryBatch, signatures: Rows | None = None) -> Rows:
    """Seal the labels of `entries`.

    Args:
        label_keys: uint8 (n, 32), one for each entry.
        entries: n entries.
        signatures: uint8 (n, 64 * k), or None for k = 0.

    Returns:
        Records, uint8 (n, 72 + 64 * k).
    """
    count = len(entries)
    extra = np.empty((count, 0), np.uint8) if signatures is None else signatures
    numbers = entries.ids.astype(">u8").view(np.uint8).reshape(count, 8)
    plain = np.concatenate([entries.hashes, numbers, entries.salts, extra], axis=1)
    return rowwise.seal(label_keys, plain)


def unseal(label_key: bytes, record: Buffer) -> tuple[Label, bytes] | None:
    """The label in a record and its signatures, 64 bytes each, or None if the key does not open it."""
    try:
        plain = ChaCha20Poly1305(label_key).decrypt(_NONCE, record, None)
    except InvalidTag:
        return None
    label = Label(plain[:32], int.from_bytes(plain[32:40], "big"), plain[40:PLAIN_BYTES])
    return label, plain[PLAIN_BYTES:]


def stretches(records: Callable[[int, int], Rows], count: int) -> Iterator[tuple[list[Buffer], int]]:
    """Sections of labels, as parts to write and number of records.

    Args:
        records: gives the records `start` to `stop` in the order of their numbers.
        count: how many there are.
    """
    for start in range(0, count, STRETCH):
        stop = min(start + STRETCH, count)
        yield [np.ascontiguousarray(records(start, stop)).data], stop - start


class SealedLabels:
    """The labels of a set file, by number; a section is checked when first used.

    Raises:
        SetFileError: if the sections do not hold `count` records of one length.
    """

    __slots__ = ("_count", "_file", "_width")

    def __init__(self, file: SetFile, count: int, signatures: int) -> None:
        self._file, self._count, self._width = file, count, record_bytes(signatures)
        rows = [file.row(KIND, index) for index in range(file.count(KIND))]
        expected = [min(STRETCH, count - start) for start in range(0, count, STRETCH)]
        if [row.items for row in rows] != expected or any(r.length != r.items * self._width for r in rows):
            raise SetFileError("labels: the sections do not hold the number of records they should")

    def __len__(self) -> int:
        return self._count

    def record(self, number: int) -> memoryview:
        """The record with this number, 0 to `len` - 1.

        Raises:
            SetFileError: if its section was altered.
        """
        index, within = divmod(number, STRETCH)
        return self._file.section(KIND, index)[within * self._width : (within + 1) * self._width]
