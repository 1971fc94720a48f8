"""The layers of a set-up, opened: a full set, and a delta for every epoch since (`deltas`).

Values of one layer never combine with another's. The index of labels leads from a 64-bit address to the
numbers of the labels that may lie there (docs/set-format.md): its bitmap rules out nine in ten candidates by
one look-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import field

from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.contract import Label
from blindmatch_protocol.designs.deltas import removed_ids, signatures_of
from blindmatch_protocol.designs.token_psi import shares
from blindmatch_protocol.designs.token_psi.shares import TokenKeys
from blindmatch_protocol.designs.token_psi.tokens import MOST_MEMBERS
from blindmatch_protocol.designs.voprf.files import FileLayer
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets.fuse_map import Words
from blindmatch_protocol.sets.labels import KIND as LABEL_KIND
from blindmatch_protocol.sets.labels import SealedLabels
from blindmatch_protocol.sets.store import KIND as SHARD_KIND
from blindmatch_protocol.sets.store import Store

MOST_LABELS: Final = (1 << 32) - 1
MOST_IN_BUCKET: Final = 64
"""Labels of a bucket: 4 to 8 on average, so one of more does not come by chance."""
_FINGERPRINT_BITS: Final = 32

Numbers: TypeAlias = npt.NDArray[np.intp]


def bucket_bits(labels: int) -> int:
    """How many top bits of an address choose its bucket."""
    return max(0, (max(labels, 1) - 1).bit_length() - 3)


def bitmap_bits(labels: int) -> int:
    """How many low bits of an address choose its bit of the bitmap."""
    return (max(labels, 1) - 1).bit_length() + 3


def index_parts(addresses: Words) -> list[Buffer]:
    """The section for labels with these addresses, uint64 (n,), ascending; `DesignError` if there are too
    many, or they are not spread as chance spreads them."""
    if len(addresses) > MOST_LABELS:
        raise DesignError(f"at most {MOST_LABELS} entries fit one set")
    bits = bucket_bits(len(addresses))
    edges = np.arange((1 << bits) + 1, dtype=np.uint64)
    directory = np.searchsorted(_buckets(addresses, bits), edges).astype("<u4")
    if np.diff(directory.astype(np.int64)).max() > MOST_IN_BUCKET:
        raise DesignError("addresses: too many labels in one bucket; build the set with another OPRF key")
    places = _low(addresses, bitmap_bits(len(addresses)))
    bitmap = np.zeros(1 << bitmap_bits(len(addresses)) - 3, np.uint8)
    np.bitwise_or.at(bitmap, places >> 3, np.uint8(1) << (places & 7).astype(np.uint8))
    return [directory.data, _fingerprints(addresses, bits).astype("<u4").data, bitmap.data]


class AddressIndex:
    """An index of `labels` labels over a section's content; `SetFileError` if the content is no such
    index."""

    __slots__ = ("_bitmap", "_bits", "_directory", "_fingerprints", "_low_bits")

    def __init__(self, content: memoryview, labels: int) -> None:
        self._bits = bucket_bits(labels)
        self._low_bits = bitmap_bits(labels)
        buckets = (1 << self._bits) + 1
        if len(content) != 4 * (buckets + labels) + (1 << self._low_bits - 3):
            raise SetFileError(f"addresses: {len(content)} bytes are not an index of {labels} labels")
        numbers = np.frombuffer(content, "<u4", buckets + labels)
        self._directory = numbers[:buckets]
        self._fingerprints = numbers[buckets:]
        self._bitmap = np.frombuffer(content, np.uint8, offset=4 * (buckets + labels))
        steps = np.diff(self._directory.astype(np.int64))
        uneven = (steps < 0).any() or steps.max() > MOST_IN_BUCKET
        if uneven or self._directory[0] != 0 or self._directory[-1] != labels:
            raise SetFileError("addresses: the directory does not cover the labels in order")

    def check(self) -> None:
        """Make sure that the labels of each bucket are in order, and that the bitmap has no bit too many;
        `SetFileError` if not."""
        falls = (self._fingerprints[1:] < self._fingerprints[:-1]).nonzero()[0] + 1
        if not np.isin(falls, self._directory).all():
            raise SetFileError("addresses: the labels of a bucket are not in order")
        if int(np.bitwise_count(self._bitmap).sum(dtype=np.int64)) > len(self._fingerprints):
            raise SetFileError("addresses: the bitmap has more bits than there are labels")

    def lookup(self, addresses: Words) -> tuple[Numbers, Numbers]:
        """Which of `addresses`, uint64 (n,), may be labels': rows and label numbers, (m,) each."""
        places = _low(addresses, self._low_bits)
        rows = (self._bitmap[places >> 3] >> (places & 7).astype(np.uint8) & 1).nonzero()[0]
        some = addresses[rows]
        buckets = _buckets(some, self._bits).astype(np.intp)
        wanted = _fingerprints(some, self._bits)
        first, end = (self._directory[buckets + more].astype(np.intp) for more in (0, 1))
        where = []
        numbers = []
        for step in range(int((end - first).max(initial=0))):
            at = np.minimum(first + step, len(self._fingerprints) - 1)
            hit = (self._fingerprints[at] == wanted) & (first + step < end)
            if hit.any():
                where.append(rows[hit])
                numbers.append(at[hit])
        none = np.zeros(0, np.intp)
        return np.concatenate([none, *where]), np.concatenate([none, *numbers])


def _low(addresses: Words, bits: int) -> Numbers:
    return (addresses & np.uint64((1 << bits) - 1)).astype(np.intp)


def _buckets(addresses: Words, bits: int) -> Words:
    return addresses >> np.uint64(64 - bits) if bits else np.zeros(len(addresses), np.uint64)


def _fingerprints(addresses: Words, bits: int) -> npt.NDArray[np.uint32]:
    return (addresses >> np.uint64(64 - bits - _FINGERPRINT_BITS)).astype(np.uint32)


ADDRESSES_KIND: Final = 0x105
"""Of every set-up file: the index of labels by address."""


class Layer(FileLayer, frozen=True, eq=False):
    """A full set or a delta, opened."""

    many: ClassVar = frozenset({SHARD_KIND, LABEL_KIND})
    once: ClassVar = (ADDRESSES_KIND,)

    store: Store
    labels: SealedLabels
    _opened: list[AddressIndex] = field(default_factory=list)

    @property
    def addresses(self) -> AddressIndex:
        """Finds labels by address; checked and opened when first asked for; `SetFileError` if the section was
        altered."""
        if not self._opened:
            self._opened.append(AddressIndex(self.file.section(ADDRESSES_KIND), self.entries))
        return self._opened[0]

    def check(self) -> None:
        self.store.check(self.entries * self.file.identity.parameters["bands"])
        self.addresses.check()

    def values(self, keys: TokenKeys) -> Rows:
        """What the store holds for `n` tokens, whether it holds them or not, uint8 (n, 16); `SetFileError` if
        the file was altered."""
        return keys.values(self.store.lookup(keys.store_keys))

    def labels_of(self, secrets: Rows) -> list[Label]:
        """Every label that candidate secrets, uint8 (m, 16), open, with its family's, each once."""
        rows, _ = self.addresses.lookup(shares.addresses(secrets, self.epoch))
        distinct = dict.fromkeys(secrets[row].tobytes() for row in rows.tolist())
        return [label for secret in distinct for label in self._family(secret)]

    def _family(self, secret: bytes) -> Iterator[Label]:
        """The labels of a family's members, in their order, up to the first that is not there."""
        for member in range(MOST_MEMBERS):
            label = self._open(shares.member_secret(secret, member, self.epoch))
            if label is None:
                return
            yield label

    def _open(self, secret: bytes) -> Label | None:
        row = np.frombuffer(secret, np.uint8).reshape(1, -1)
        _, numbers = self.addresses.lookup(shares.addresses(row, self.epoch))
        key = shares.label_keys(row, self.epoch).tobytes()
        for number in numbers.tolist():
            label = self.labels.unseal(key, number)
            if label is not None:
                return label
        return None


def open_layer(name: str, file: SetFile) -> Layer:
    """Open a full set or a delta; `SetFileError` if it is not what it must be."""
    file.row(ADDRESSES_KIND)
    sealed = SealedLabels(file, file.entries, signatures_of(name, file))
    return Layer(name, file, removed_ids(name, file), Store(file, shares.WORDS), sealed)
