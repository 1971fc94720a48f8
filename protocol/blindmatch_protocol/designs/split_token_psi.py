"""split-token-psi: token-psi whose key lies in shares at several parties; docs/designs/split-token-psi.md.

    device                                            party_a (k_a)          party_b (k_b)
        C = r*H(tag, band, T)   --- Request: epoch, C ------->
                              --- Request: epoch, C -------------------------------->
                              <-- Reply: D_a = k_a*C, proof --
                              <-- Reply: D_b = k_b*C, proof ------------------------
        verify each proof against that party's key; D = D_a + D_b; then as token-psi

A reply that does not prove its share is refused and its party named.
"""

from __future__ import annotations

from typing import ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.token_psi import TokenPsi
from blindmatch_protocol.designs.voprf import KeyLayout, VoprfRound
from blindmatch_protocol.designs.voprf.layout import HALVES, declared

_WORDS = "whether a near duplicate is listed"


class SplitTokenPsi(TokenPsi):
    """Two parties; both must answer."""

    layout: ClassVar[KeyLayout] = HALVES
    info: ClassVar[bm.Info] = declared(TokenPsi.info, HALVES, "split-token-psi", _WORDS)
    round: ClassVar[VoprfRound] = VoprfRound.under(0x5A, "split-token-psi")


DESIGN = SplitTokenPsi()
