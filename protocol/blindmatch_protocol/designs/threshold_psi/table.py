"""The table that every device has: a linear map from hashes to elements, under the opener's key on the list.

    D: cells with U(x) = D[h0(x)] + D[h1(x)] + D[h2(x)];  U(x) = a*H(x) for every listed x
    cells that no entry needs are pseudorandom elements, so U(y) of any other y is no such multiple; a curator
    can encode other y in them instead, which no holder of the table can tell without a

The linear encoding takes the place of the cuckoo table of Bhowmick, Boneh, Myers, Talwar and Tarbe 2021,
section 4, at half its size: 36 bytes an entry. Where the cells lie is a binary fuse map's (Graf and Lemire
2022, section 3), over the group instead of words.

To a device the cells are elements like any others: whether U(y) = a*H(y) for a guess y is a DDH instance, H
being a random oracle. H hangs on the epoch and a seed of its own, so that two tables under one key share
nothing; under one H, equal U(y) in two tables would say that y is listed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import sha512
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract.publishing import Executor
from blindmatch_protocol.group import rowwise

SEED_BYTES: Final = 32
_HASH_TAG: Final = b"blindmatch/threshold-psi/hash/v1"
"""SHA-512 of epoch, 8, seed, 32, and key of the table: H, as RFC 9496, 4.3.4, maps it."""
_PLACE_TAG: Final = b"blindmatch/threshold-psi/place/v1"
"""SHA-512 of the same, in words of 8, little-endian; cell i of three: (w0 mod starts + i) * length + w(i + 1)
mod length."""
_FREE_TAG: Final = b"blindmatch/threshold-psi/free-cell/v1"
_BLOCK: Final = 128
_MOST_SEGMENT: Final = 1 << 18
"""Of n keys, 3 at least: length = 2^max(2, floor(log n / log 3.33 + 2.25)), at most this; starts =
ceil(floor(n * max(1.125, 0.875 + log 10^6 / (4 log n))) / length) - 2, at least 1; (starts + 2) * length
cells."""
_ATTEMPTS: Final = 64
_LEAST_KEYS: Final = 3
_AT_ONCE: Final = 1 << 16

Places: TypeAlias = npt.NDArray[np.int64]
"""Three cells for each hash, shape (n, 3)."""


class Domain(Struct, frozen=True):
    """What one table's hashing to the group and its places hang on: no other table has the same.

    Attributes:
        entries: of the list, each hash once.
    """

    epoch: int
    seed: bytes
    entries: int

    def uniform(self, hashes: Rows) -> Rows:
        """Uniform bytes (n, 64) of hashes (n, 32); H(x) is the element that they map to (RFC 9496, 4.3.4)."""
        return self._digests(_HASH_TAG, hashes)

    def places(self, hashes: Rows) -> Places:
        """The three cells of each hash: one in each of three segments in a row."""
        return _in_parts(self._places, hashes)

    def _places(self, hashes: Rows) -> Places:
        words = self._digests(_PLACE_TAG, hashes).view("<u8")
        length, starts, _ = self._sizes()
        if len(words) == 1:  # a device's: arrays would cost more than the work
            first, *others = words[0, :4].tolist()
            cells = [(first % starts + at) * length + one % length for at, one in enumerate(others)]
            return np.array([cells], np.int64)
        segment = words[:, 0] % np.uint64(starts)
        offsets = words[:, 1:4] % np.uint64(length)
        return ((segment[:, None] + np.arange(3, dtype=np.uint64)) * np.uint64(length) + offsets).astype(
            np.int64
        )

    @property
    def cells(self) -> int:
        """Cells of the table: a function of the number of entries alone."""
        return self._sizes()[2]

    def _sizes(self) -> tuple[int, int, int]:
        """Length of a segment, segments that a hash may begin in, cells (Graf and Lemire 2022, section 4)."""
        keys = max(self.entries, _LEAST_KEYS)
        length = min(_MOST_SEGMENT, 1 << max(2, int(math.log(keys) / math.log(3.33) + 2.25)))
        factor = max(1.125, 0.875 + 0.25 * math.log(1e6) / math.log(keys))
        starts = max(1, -(-int(keys * factor) // length) - 2)
        return length, starts, (starts + 2) * length

    def _digests(self, tag: bytes, hashes: Rows) -> Rows:
        front = self.epoch.to_bytes(8, "big") + self.seed
        if len(hashes) == 1:  # a device's: arrays would cost more than the work
            digest = sha512(tag.ljust(_BLOCK, b"\0") + front + hashes.tobytes()).digest()
            return np.frombuffer(digest, np.uint8).reshape(1, -1)
        return rowwise.sha512(rowwise.joined(len(hashes), front, hashes), tag.ljust(_BLOCK, b"\0"))


def _in_parts(compute: Callable[[Rows], npt.NDArray[Any]], rows: Rows) -> npt.NDArray[Any]:
    """What is computed of rows, some at a time: a table of six million keys is built in under 2 GiB."""
    if len(rows) <= _AT_ONCE:
        return compute(rows)
    return np.concatenate([compute(rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE)])


def values_of(cells: Rows, places: Places) -> Rows:
    """U of each hash with these places, (n, 32)."""
    return group.add(group.add(cells[places[:, 0]], cells[places[:, 1]]), cells[places[:, 2]])


class Plan(Struct, frozen=True):
    """In which order the cells are computed: rounds of entries and the cell that each determines."""

    domain: Domain
    rounds: tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], ...]


def planned(epoch: int, seed: bytes, hashes: Rows) -> Plan:
    """A domain under which the entries, distinct hashes (n, 32), can be peeled one from the other;
    `DesignError` if none is found, which no list has a fair chance of."""
    for attempt in range(_ATTEMPTS):
        domain = Domain(epoch, bytes([attempt]) + seed[1:], len(hashes))
        rounds = _peeled(domain.places(hashes), domain.cells)
        if rounds is not None:
            return Plan(domain, tuple(rounds))
    raise DesignError("table: the list cannot be encoded; does it have an entry twice?")


def _peeled(places: Places, cells: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] | None:
    """Take off, round by round, every entry that has a cell to itself; None if some have none."""
    count = len(places)
    rounds = []
    load = np.bincount(places.ravel(), minlength=cells)
    entry = np.zeros(cells, np.int64)  # in a cell of one entry its number
    for column in places.T:
        np.bitwise_xor.at(entry, column, np.arange(count))
    alone = np.flatnonzero(load == 1)
    while len(alone):
        taken, first = np.unique(entry[alone], return_index=True)
        rounds.append((taken, alone[first]))
        count -= len(taken)
        touched = places[taken].ravel()
        np.subtract.at(load, touched, 1)
        np.bitwise_xor.at(entry, touched, np.repeat(taken, 3))
        touched = np.unique(touched)
        alone = touched[load[touched] == 1]
    return rounds if count == 0 else None


def build_cells(plan: Plan, key: Rows, hashes: Rows, fill: bytes, executor: Executor | None = None) -> Rows:
    """The cells, (cells, 32), under the key a, (1, 32), of the plan's hashes: free ones from `fill`, 32
    secret bytes, then every entry's own."""
    domain = plan.domain
    places = plan.domain.places(hashes)
    cells = np.zeros((domain.cells, group.ELEMENT_BYTES), np.uint8)
    free = np.ones(domain.cells, np.bool_)
    for _, own in plan.rounds:
        free[own] = False
    numbers = np.flatnonzero(free).astype(">u8")
    drawn = rowwise.sha512(
        rowwise.joined(len(numbers), fill, numbers[:, None].view(np.uint8)), _FREE_TAG.ljust(_BLOCK, b"\0")
    )
    cells[free] = group.hash_to_group(drawn, executor)
    wanted = _in_parts(lambda some: group.hash_multiply(key, domain.uniform(some), executor), hashes)
    for taken, own in reversed(plan.rounds):
        others = places[taken][places[taken] != own[:, None]].reshape(-1, 2)
        rest = group.add(cells[others[:, 0]], cells[others[:, 1]], executor)
        cells[own] = group.subtract(wanted[taken], rest, executor)
    return cells
