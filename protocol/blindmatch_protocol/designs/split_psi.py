"""split-psi: oprf-psi whose key lies in shares at several parties; docs/designs/split-psi.md.

`DESIGN` needs both parties; of `ANY_TWO_PSI` three hold a share each (Shamir), and two that answer are
enough.
"""

from __future__ import annotations

from typing import ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.oprf_psi import OprfPsi
from blindmatch_protocol.designs.voprf import KeyLayout, VoprfRound
from blindmatch_protocol.designs.voprf.layout import ANY_TWO, HALVES, declared

_WORDS = "whether its very hash is listed"


class SplitPsi(OprfPsi):
    """Two parties; both must answer."""

    layout: ClassVar[KeyLayout] = HALVES
    info: ClassVar[bm.Info] = declared(OprfPsi.info, HALVES, "split-psi", _WORDS)
    round: ClassVar[VoprfRound] = VoprfRound.under(0x58, "split-psi")


class AnyTwoPsi(SplitPsi):
    """Three parties; any two may answer."""

    layout: ClassVar[KeyLayout] = ANY_TWO
    info: ClassVar[bm.Info] = declared(OprfPsi.info, ANY_TWO, "any-two-psi", _WORDS)


DESIGN = SplitPsi()
ANY_TWO_PSI = AnyTwoPsi()
Request = SplitPsi.round.request
Reply = SplitPsi.round.reply
