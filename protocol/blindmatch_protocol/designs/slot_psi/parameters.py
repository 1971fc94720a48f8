"""Parameters of slot-psi and the sizes that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import comb
from typing import ClassVar, Final

from msgspec import Struct
from msgspec.structs import asdict

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract.declaration import Parameter
from blindmatch_protocol.contract.steps import SIGNATURE_BYTES
from blindmatch_protocol.designs.deltas import SIGNATURES
from blindmatch_protocol.designs.token_psi.tokens import PERMUTATION, Order, check_bands
from blindmatch_protocol.designs.voprf.layout import check_names, check_ranges

SLOTTING: Final = (
    Parameter("k", "Bits of a band.", "bits", 30, 4, 40),
    Parameter("bands", "Bands of a hash, each giving an entry one token.", "bands", 8, 2, 16),
    Parameter("probes", "Tokens that a picture asks for in each band.", "tokens", 28, 1, 128),
    Parameter("slot_bits", "Bits of a slot, and of a cell of the table.", "bits", 17, 2, 24),
    Parameter(
        "relatives",
        "Labels of entries that lost tokens to an entry, which open with its own.",
        "labels",
        1,
        0,
        4,
    ),
    SIGNATURES,
)
WRAP_BYTES: Final = 12
"""Of a wrap, and of the secret in it: 96 bits. A label's key also depends on its place, so a guess of a
secret tests one entry, not all of them."""
UNSIGNED_BYTES: Final = 32 + 8 + 16
"""Of a label: hash, id and salt of an entry."""
TAG_BYTES: Final = 16
MOST_PATH: Final = 4
"""Levels of the hash tree that a record carries; the set-up has the level above them."""
DIGEST_BYTES: Final = 32
LEAST_HIDING: Final = 16
"""Tokens a slot and band, for each band, among which an entry's must hide; see `check_hiding`."""

MOST_ODDS: Final = 2.0**-10
"""Entries that a guessed pair opens, at most, of a uniform list."""


class Slotting(Struct, frozen=True):
    """How hashes become tokens, and tokens slots; see `SLOTTING`; `DesignError` if the values do not go
    together."""

    order: ClassVar[Order] = PERMUTATION
    """Which bits make up bands (`token_psi.tokens.band_bits`)."""
    needed: ClassVar[int] = 2
    """Bands that must agree."""

    k: int = 30
    bands: int = 8
    probes: int = 28
    slot_bits: int = 17
    relatives: int = 1
    signatures: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, SLOTTING)
        check_bands(self.k, self.bands, self.probes)
        if self.slot_bits >= self.k:
            # with as many slots as tokens a slot would name the token that it hides
            raise DesignError(f"slot_bits: must be below k, {self.k}, not {self.slot_bits}")

    @classmethod
    def of(cls, values: Mapping[str, int]) -> Slotting:
        """Return the slotting with these parameters; `DesignError` if one is missing, unknown or out of
        range."""
        check_names(values, SLOTTING)
        return cls(**values)

    def values(self) -> dict[str, int]:
        return asdict(self)

    @property
    def tokens(self) -> int:
        """Tokens that every picture asks for."""
        return self.bands * self.probes

    @property
    def slots(self) -> int:
        return 1 << self.slot_bits

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of bands i < j, in the order of their wraps."""
        return tuple(combinations(range(self.bands), 2))

    @property
    def wraps_bytes(self) -> int:
        """Bytes of all wraps of an entry."""
        return WRAP_BYTES * comb(self.bands, 2)

    @property
    def label_bytes(self) -> int:
        """Bytes of a label before it is sealed: hash, id, salt and places for signatures."""
        return UNSIGNED_BYTES + SIGNATURE_BYTES * self.signatures

    @property
    def entry_bytes(self) -> int:
        """Bytes of an entry in a record: its wraps, then the sealed labels."""
        return self.wraps_bytes + self.label_bytes * (1 + self.relatives) + TAG_BYTES

    @property
    def path_levels(self) -> int:
        return min(MOST_PATH, self.slot_bits)

    def capacity(self, entries: int) -> int:
        """Entries that a slot has room for, the least that `entries` fit into."""
        return max(1, -(-entries // self.slots))

    def record_bytes(self, entries: int) -> int:
        """Bytes of a slot's record in a list of so many entries: the entries, then its path in the tree."""
        return self.capacity(entries) * self.entry_bytes + self.path_levels * DIGEST_BYTES


def check_hiding(slotting: Slotting) -> None:
    """Make sure that a slot hides an entry's tokens among enough others; `DesignError` if it does not.

    A full slot is read by one token more in each of b bands than the m = 2^(k - s) others, whose number
    varies by sqrt(m). So its count in all bands is higher by sqrt(b / m) standard deviations, and with
    m = 16 b by a quarter of one. Where it is one or more, counts show which slots are full, and every guessed
    pair is about an entry (`leakage`, small tables).
    """
    most = slotting.k - (LEAST_HIDING * slotting.bands - 1).bit_length()
    if slotting.slot_bits > most:
        raise DesignError(
            f"slot_bits: must be at most {most} with k {slotting.k} and {slotting.bands} bands, not "
            f"{slotting.slot_bits}: too few tokens read a slot to hide those of an entry"
        )


def check_odds(slotting: Slotting, entries: int) -> None:
    """Make sure that a pair of tokens that reads one slot is seldom an entry's; `DesignError` if it is not.

    Of a uniform list N 2^(s - 2k) of the pairs are (`leakage.unasked_odds`), so as many entries open with
    each second question.
    """
    odds = entries * 2.0 ** (slotting.slot_bits - 2 * slotting.k)
    if odds > MOST_ODDS:
        raise DesignError(
            f"k: too small for {entries} entries and slot_bits {slotting.slot_bits}: a guess of a modified "
            f"device would open {odds:.2g} entries; N 2^(slot_bits - 2k) must be at most {MOST_ODDS}"
        )
