"""Asks about the pictures of outgoing messages, and looks at what came of it once a message was handed over.

ask --> Verified, kept here --(the relay has the message)--> look --> outcome noted for all that bear it
   +--> Decided or Undecided, noted at once
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from blindmatch_protocol.content import Content
from blindmatch_protocol.contract import Binding
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.franking import Evidence, disclose
from blindmatch_protocol.picture.item import Picture

from blindmatch_client.detector import Decided, Detection, Undecided, Verified
from blindmatch_client.failure import FailureMode
from blindmatch_client.files import Files
from blindmatch_client.matching import Matching as Matcher
from blindmatch_client.messenger.attachment import opened
from blindmatch_client.outbox import Matching, Outbox, Outgoing


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of one account's messages.

    Attributes:
        mode: what is done with a picture that cannot be matched.
        account: whose messages they are in.
        verified: sessions whose outcome waits for their message to be handed over, by picture. They are in
            memory alone: after a restart the picture is asked about again.
    """

    mode: FailureMode
    account: str
    matcher: Matcher
    outbox: Outbox
    files: Files
    clock_ms: Callable[[], int]
    verified: dict[int, Verified] = field(default_factory=dict)

    def ask(self, row: Outgoing, item: Picture | None) -> Undecided | None:
        """Ask about the picture of `row` if that is due; the failure, if it failed.

        Raises:
            PictureError: if it cannot be decoded; nothing was sent for it then.
        """
        if row.matching is not Matching.DUE or row.item is None or row.item in self.verified:
            return None
        item = item or Picture.from_bytes(self.plain(row))
        asked = self.matcher.ask(item, row.item, _binding(row, self.account))
        if isinstance(asked, Verified):
            self.verified[row.item] = asked
            return None
        return self._noted(row, row.item, asked, self.matcher.epoch)

    def look(self, row: Outgoing) -> Undecided | None:
        """Look at the outcome, if one waits; the failure, if that failed."""
        verified = None if row.item is None else self.verified.pop(row.item, None)
        if verified is None or row.item is None:
            return None
        reach("device.conclude.before")
        return self._noted(row, row.item, self.matcher.conclude(verified), verified.epoch)

    def given_up(self, row: Outgoing) -> None:
        """Nobody gets this message: look once no other that bears its picture waits any more."""
        if row.item is not None and not self.outbox.awaits(row.item):
            self.look(row)

    def plain(self, row: Outgoing) -> bytes:
        """The picture of `row`, opened; only what may be matched is ever whole in memory."""
        assert row.file is not None and row.attachment is not None
        return b"".join(opened(self.files.chunks(row.file), row.attachment))

    def close(self) -> None:
        """Give up what was asked and not handed over."""
        for verified in self.verified.values():
            verified.abandon()
        self.verified.clear()

    def _noted(self, row: Outgoing, item: int, found: Detection, epoch: int) -> Undecided | None:
        if isinstance(found, Decided):
            self.outbox.decided(item, found.outcome, epoch, self.clock_ms())
            return None
        if self.mode is FailureMode.SEND_UNMATCHED:
            self.outbox.skipped(item, str(found.error))
        else:
            self.outbox.troubled(row.number, str(found.error))
        return found


def binding_of(content: Content, sender: str, recipient: str) -> Binding:
    """Of a message that bears the picture as its first attachment."""
    evidence = Evidence.of(*disclose(content, sender, recipient, 0))
    return Binding(evidence.opening.commitment, evidence.encode())


def _binding(row: Outgoing, account: str) -> Binding:
    """Of the message that the picture is asked about for, also where others bear the same picture."""
    assert row.content is not None
    return binding_of(row.content, account, row.recipient)
