"""The messages of slot-psi's second question; those of the first are `VoprfRound`'s."""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Matrix, Message, Rows, UInt, Variable
from blindmatch_protocol.crypto.dleq import PROOF_BYTES
from blindmatch_protocol.designs.slot_psi.retrieval import key_bytes
from blindmatch_protocol.designs.voprf.round import VoprfRound
from blindmatch_protocol.group import ELEMENT_BYTES

MOST_SLOT_BITS: Final = 24
MOST_ANSWER: Final = 900 << 10
"""So that a reply fits one body (960 KiB)."""

FIRST_ROUND: Final = VoprfRound.under(0x44, "slot-psi")
"""Tokens, to the matcher."""


class PairRequest(Message, tag=0x46, name="slot-psi/pair-request"):
    """Device to either party: one pair, blinded, and which records to add up. Every picture sends one."""

    epoch: Annotated[int, UInt(64)]
    """Of the set-up in use."""
    blinded: Annotated[Rows, Matrix(ELEMENT_BYTES, most=1, least=1)]
    """Slot, bands and tokens, or what stands in for them; the same to both parties."""
    key: Annotated[bytes, Variable(key_bytes(MOST_SLOT_BITS))]
    """A selection of records, for this party alone (`retrieval`)."""


class PairReply(Message, tag=0x47, name="slot-psi/pair-reply"):
    """Either party to device."""

    epoch: Annotated[int, UInt(64)]
    """Of the records."""
    evaluated: Annotated[Rows, Matrix(ELEMENT_BYTES, most=1, least=1)]
    """The party's share of the second key times the blinded pair."""
    proof: Annotated[bytes, Fixed(PROOF_BYTES)]
    """Scalars c and s, under the public key of the share."""
    answer: Annotated[bytes, Variable(MOST_ANSWER, least=1)]
    """XOR of the records that the selection has set."""


class CertifyPairRequest(PairRequest, tag=0x4C, name="slot-psi/certify-pair"):
    """A second question in a session that is shown to others."""


class CertifiedPairReply(PairReply, tag=0x4D, name="slot-psi/certified-pair"):
    """The reply to a 0x4C, whose proof is of version 2 (`dleq`)."""
