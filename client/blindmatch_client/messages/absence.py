"""A proof that a picture is not on the list, made of a session of its own.

    the picture is sent, in an ordinary message --> it matched: its ordinary consequence, and no proof
                                                +-> no match: one more session, bound to no message --> proof

So there is no way to ask about a picture without what follows from a match, nor without counting against the
limits of a key; and the blinds that a proof opens are never those of a message's session.
"""

from __future__ import annotations

from blindmatch_proofs.absence import AbsenceProof, AbsenceReply, can_prove
from blindmatch_protocol.contract import AnyDesign, NoMatch
from blindmatch_protocol.picture.item import Picture

from blindmatch_client.errors import DeviceError
from blindmatch_client.matching.matching import MatchingClient
from blindmatch_client.messages.results import OutcomeKind, Sent


class AbsenceError(DeviceError):
    """There is no proof of absence."""


def check_provable(design: AnyDesign, item: Picture) -> None:
    """Make sure, before anything is sent, that a session could prove something.

    Raises:
        PictureError: if the picture cannot be decoded.
        AbsenceError: if the design's sessions prove nothing, or the picture is not one that is matched.
    """
    if not can_prove(design):
        raise AbsenceError(f"a session of {design.info.name} proves no absence; see docs/accountability.md")
    if item.quality < design.info.relation.minimum_quality:
        raise AbsenceError("the picture's quality is too low for its hash to mean anything")


def prove_absence(matcher: MatchingClient, item: Picture, sent: Sent) -> AbsenceProof:
    """The proof for a picture that was sent and came to no match.

    Raises:
        AbsenceError: if it came to anything else, with the notice of what followed, or the list has changed
            since.
        DeviceError: if the roles give no answer that can be verified.
    """
    if sent.outcome is not OutcomeKind.NO_MATCH or sent.item is None:
        why = f"the message came to: {sent.outcome}; only what does not match can be shown to be absent"
        raise AbsenceError(f"{why}. {sent.notice}" if sent.notice else why)
    signed, trace = matcher.transcript(item, sent.item)
    if not isinstance(trace.outcome, NoMatch):
        raise AbsenceError("the picture is on the list now")
    replies = tuple(
        AbsenceReply(role, one.replies[role]) for one in trace.rounds for role in sorted(one.replies)
    )
    return AbsenceProof(signed, item.hash, trace.state_before, trace.tape, replies)
