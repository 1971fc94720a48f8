"""What token-psi discloses beyond its output; docs/designs/token-psi.md says more of each."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.contract.declaration import Adversary, Fact, Leak
from blindmatch_protocol.contract.party import Party

FACTS_OF_MATCHER: Final = (
    Fact("epoch", "The epoch of the set the device holds.", lambda item, setup: setup.epoch),
    Fact(
        "query_count",
        "The number of blinded tokens in a request, the same for every picture.",
        lambda item, setup: setup.tokening.tokens,
    ),
    Fact("query_time", "That, and when, an account sent a picture.", lambda item, setup: True),
)
SET_SIZE: Final = Fact("set_size", "The number of entries of the set.", lambda item, setup: setup.entries)
DELTA_SIZES: Final = Fact(
    "delta_sizes",
    "How many entries each update added and which ids it removed, and when.",
    lambda item, setup: setup.deltas,
)
NEAR_ENTRIES: Final = Fact(
    "near_entries",
    "Hash, id and salt of entries, and of their families, that agree with a picture it sends in enough "
    "bands, be they within the distance or not; and of families with two tokens in one band, that they are "
    "listed, if it asks for both, and of an opened entry, which of its tokens one of another family got.",
    lambda item, setup: item.hash,
)
TOKEN_ORACLE: Final = Fact(
    "any_token",
    "Hash, id and salt of entries that agree in enough bands with tokens of its choice: of N uniform entries "
    "up to 1.8 N (E / 2^(k+1))^2 after E tokens under one key, with two of ten bands needed, pooled over any "
    "number of devices, and far more of real pictures; and whether an edit of a picture still matches.",
    lambda item, setup: item.hash,
)
EVERY_ENTRY: Final = Fact(
    "every_entry",
    "The whole list, but nothing of a picture: whoever has the key can evaluate every token of every band.",
    lambda item, setup: setup.entries,
)

_MATCHER = frozenset({Party.MATCHER})
_DEVICE = frozenset({Party.DEVICE})

LEAKAGE: Final = (
    Leak(_MATCHER, Adversary.SEMI_HONEST, (*FACTS_OF_MATCHER, EVERY_ENTRY)),
    Leak(_MATCHER, Adversary.MALICIOUS, (*FACTS_OF_MATCHER, EVERY_ENTRY)),
    Leak(_DEVICE, Adversary.SEMI_HONEST, (SET_SIZE, DELTA_SIZES, NEAR_ENTRIES)),
    Leak(_DEVICE, Adversary.MALICIOUS, (SET_SIZE, DELTA_SIZES, NEAR_ENTRIES, TOKEN_ORACLE)),
)
"""Of pictures a malicious matcher learns no more than an honest one: a wrong reply fails its proof, and
leaving one out is seen."""
