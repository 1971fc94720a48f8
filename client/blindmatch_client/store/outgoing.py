"""Messages on their way out, each a row that moves forward; what is attached has a row of its own.

       <--sessions end--
QUEUED --upload, seal--> SEALED --relay has it--> SENT --report queued, if any--> DONE
  |  no relay for it        |                       |
  +--------------> FAILED   |                       +-- waits here while matching is DUE
                            +--relay has it, and it bears no picture------------> DONE

What is SEALED for a session that ends is QUEUED once more, under another id: the relay may have the message
as it was sealed, and takes no other under its id. Whoever can open both shows one of them (receiving.py).

matching:  NONE (no picture) | DUE --> DECIDED | SKIPPED

A row that is DONE or FAILED is deleted. Whoever moves one forward has it in memory; it is read again only
after a start, or to be tried again.
"""

from __future__ import annotations

from enum import StrEnum

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Outcome
from blindmatch_protocol.messages.content import AttachmentRef, Content
from blindmatch_protocol.messages.franking import Evidence
from blindmatch_protocol.messages.stamp import Stamp
from blindmatch_protocol.picture.item import Picture
from msgspec import Struct


class SendState(StrEnum):
    """How far a message is."""

    QUEUED = "queued"
    SEALED = "sealed"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"


class MatchState(StrEnum):
    """How far the matching of its picture is."""

    NONE = "none"
    DUE = "due"
    DECIDED = "decided"
    SKIPPED = "skipped"


class Attached(Redacted, Struct, eq=False):
    """An attachment on its way out, one for all messages that bear it.

    Attributes:
        item: its number; 0 until it is queued.
        matching: how far its matching is.
        file: the sealed attachment on this device; None once no message needs it.
        ref: names the blob as the relay knows it, once it is `uploaded`; None with `file`.
        outcome: of matching, with the epoch it was asked in and the time, once it is DECIDED.
        owed: the id of the report or voucher that was made of it; empty before.
        taken: in memory alone: the picture, if the user attached it just now.
    """

    item: int
    matching: MatchState
    file: str | None
    ref: AttachmentRef | None
    uploaded: bool = False
    outcome: Outcome | None = None
    epoch: int = 0
    matched_at_ms: int = 0
    owed: bytes = b""
    taken: Picture | None = None


class Outgoing(Redacted, Struct, eq=False):
    """One message to one recipient.

    `content`, made when the message is queued, names the attachment as it was then; `sealed` is there while
    it is SEALED. Both are dropped once they are not needed. `problem` says why it waits or failed.
    `evidence` is in memory alone: what its picture was asked about with, if that was done since. `stamp` is
    the relay's, once it has the message. `unopened` are messages of the recipient's that it asks for again;
    `resent` counts how often it was sent before, because the recipient could not open it.
    """

    number: int
    message_id: bytes
    queued_at_ms: int
    state: SendState
    recipient: str
    content: Content | None = None
    sealed: bytes = b""
    problem: str = ""
    attached: Attached | None = None
    evidence: Evidence | None = None
    stamp: Stamp | None = None
    unopened: tuple[bytes, ...] = ()
    resent: int = 0

    @property
    def item(self) -> int | None:
        """Number of its attachment."""
        return None if self.attached is None else self.attached.item

    @property
    def matching(self) -> MatchState:
        """How far the matching of its picture is."""
        return MatchState.NONE if self.attached is None else self.attached.matching

    def disclosed(self, sender: str) -> Evidence:
        """What a report tells of the message beside its picture; worked out once."""
        if self.evidence is None:
            assert self.content is not None
            self.evidence = Evidence.of(self.content, sender, self.recipient, 0)
        return self.evidence
