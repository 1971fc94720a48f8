"""oprf-psi on a modified device, to be run as ``leaky_designs.py:NAME``; and a matcher that cheats.

HASH_IN_PADDING  works as it should, and sends four bytes of every picture's hash beside the request
OTHER_KEY        the same design and name; the matcher evaluates with another key than the one in the set-up
"""

from __future__ import annotations

from typing import Any

from blindmatch_protocol.contract import Answer
from blindmatch_protocol.crypto.oprf import Mode, generate_key_pair
from blindmatch_protocol.designs.oprf_psi import OprfPsi
from msgspec.structs import replace
from planted.mutations.hooks import PaddedPsi, variant


class OtherKey(OprfPsi):
    def answer(self, role: Any, state: Any, requests: Any, rng: Any, executor: Any) -> Answer:
        other: Any = replace(state, key=generate_key_pair(Mode.VOPRF, rng))
        return super().answer(role, other, requests, rng, executor)


HASH_IN_PADDING = variant(
    PaddedPsi,
    info=replace(OprfPsi.info, name="leaky-padding"),
    padding=lambda _, about, rng: about.item.hash[:4].ljust(16, b"\0"),
)()
OTHER_KEY = OtherKey()
