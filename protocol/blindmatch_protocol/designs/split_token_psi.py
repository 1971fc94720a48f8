"""split-token-psi: token-psi whose key lies in shares at several parties; docs/designs/split-token-psi.md."""

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
