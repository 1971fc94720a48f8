"""Asks about the pictures of outgoing messages, and looks at what came of it once a message was handed over.

ask --> Verified, kept here --(the relay has the message)--> look --> outcome noted for all that bear it
   +--> Decided or Undecided, noted at once
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Binding
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.messages.attachment import opened
from blindmatch_protocol.messages.franking import Evidence
from blindmatch_protocol.picture.item import Picture
from msgspec import Struct, field

from blindmatch_client.matching.detector import Decided, Detection, Undecided, Verified
from blindmatch_client.matching.matching import MatchingClient
from blindmatch_client.messages.outbox import Outbox, request_id_of
from blindmatch_client.settings.base import Base
from blindmatch_client.settings.failure import FailureMode
from blindmatch_client.store.files import Files
from blindmatch_client.store.outgoing import Attached, MatchState, Outgoing


class Pictures(Struct, frozen=True):
    """The pictures of one account's messages.

    Attributes:
        verified: sessions whose outcome waits for their message to be handed over, by picture. They are in
            memory alone: after a restart the picture is asked about again.
    """

    base: Base
    matcher: MatchingClient
    outbox: Outbox
    files: Files
    verified: dict[int, Verified] = field(default_factory=dict)

    def ask(self, row: Outgoing) -> Undecided | None:
        """Ask about the picture of `row` if that is due; the failure, if it failed.

        Raises:
            PictureError: if it cannot be decoded; nothing was sent for it then.
        """
        attached = row.attached
        if attached is None or attached.matching is not MatchState.DUE or attached.item in self.verified:
            return None
        assert attached.ref is not None
        picture = attached.taken or self.load(attached)[1]
        # bound to the message that it is asked about for, also where others bear the same picture
        binding = binding_of(row.disclosed(self.base.config.account))
        asked = self.matcher.ask(picture, attached.item, request_id_of(attached.ref.key), binding)
        if isinstance(asked, Verified):
            self.verified[attached.item] = asked
            return None
        failure = self._noted(row, attached, asked, self.matcher.epoch)
        self.outbox.save_whole(row)
        return failure

    def look(self, row: Outgoing) -> Undecided | None:
        """Look at the outcome, if one waits; the failure, if that failed. What comes of it is saved with the
        message (`Outbox.save_whole`, `Outbox.done`)."""
        attached = row.attached
        verified = None if attached is None else self.verified.pop(attached.item, None)
        if verified is None or attached is None:
            return None
        reach("device.conclude.before")
        return self._noted(row, attached, self.matcher.conclude(verified), verified.epoch)

    def given_up(self, row: Outgoing) -> None:
        """Nobody gets this message: look once no other that bears its picture waits any more."""
        if row.attached is not None and not self.outbox.awaits(row.attached):
            self.look(row)

    def load(self, attached: Attached) -> tuple[bytes, Picture]:
        """A picture's file, as sealed, and the picture; only what may be matched is ever whole in memory.

        Raises:
            AttachmentError: if the file was altered on the device.
        """
        assert attached.file is not None and attached.ref is not None
        data = b"".join(opened(self.files.chunks(attached.file), attached.ref))
        return data, attached.taken or Picture.from_bytes(data)

    def prepare(self, rows: Sequence[Outgoing]) -> None:
        """The design's offline phase for the next picture, if these messages had any. Sends nothing."""
        if any(row.attached is not None for row in rows):
            with suppress(DesignError):
                self.matcher.prepare()

    def close(self) -> None:
        """Give up what was asked and not handed over."""
        for verified in self.verified.values():
            verified.abandon()
        self.verified.clear()

    def _noted(self, row: Outgoing, attached: Attached, found: Detection, epoch: int) -> Undecided | None:
        if isinstance(found, Decided):
            row.problem, attached.matching, attached.outcome = "", MatchState.DECIDED, found.outcome
            attached.epoch, attached.matched_at_ms = epoch, self.base.clock_ms()
            return None
        row.problem = str(found.error)
        if self.base.config.mode is FailureMode.SEND_UNMATCHED:
            attached.matching = MatchState.SKIPPED
        return found


def binding_of(evidence: Evidence) -> Binding:
    """To the message that this is the evidence of."""
    return Binding(evidence.opening.commitment, evidence.encode())
