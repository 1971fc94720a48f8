"""Moves outgoing messages forward, each step saved before the next one sends anything.

    QUEUED  match, as the failure mode says; upload the sealed attachment (once for a group); seal the
            message, save the account
    SEALED  hand it to the relay
    SENT    match now if that had to wait; then queue the report or voucher that the outcome owes
    DONE

What goes to the relay, and when, is the same whatever the outcome of matching.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from blindmatch_protocol.content import AttachmentRef, compose
from blindmatch_protocol.contract import AnyDesign, Match, Voucher
from blindmatch_protocol.franking import opening_of
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import Randomness

from blindmatch_client.detector import Decided, Undecided
from blindmatch_client.errors import RefusedError, ServiceError
from blindmatch_client.failure import FailureMode
from blindmatch_client.files import Files
from blindmatch_client.keys import AccountKeeper
from blindmatch_client.matching import Matching as Matcher
from blindmatch_client.messenger import MessengerError
from blindmatch_client.messenger.attachment import opened
from blindmatch_client.outbox import Matching, Outbox, Outgoing, Stage, decode_outcome
from blindmatch_client.relay import SEAL_BYTES, RelayClient
from blindmatch_client.reporting import ConfirmedMatch, Reported, Reporting
from blindmatch_client.store import Store

_PERMANENT: Final = frozenset({"NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", "OUT_OF_RANGE"})
"""Refusals of the relay after which sending the message again is pointless."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one call of `advance` came.

    Attributes:
        row: the message as it stands.
        failure: why its picture was not matched this time, if it should have been.
        problem: why it waits for the relay, if it does.
        report_id: of a report that was queued.
    """

    row: Outgoing
    failure: Undecided | None = None
    problem: ServiceError | None = None
    report_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends an account's messages.

    Attributes:
        keeper: of the messenger's keys; they are saved with every message they seal.
        design: the design pictures are matched with.
        mode: what is done with a picture that cannot be matched.
    """

    keeper: AccountKeeper
    design: AnyDesign
    mode: FailureMode
    store: Store
    files: Files
    outbox: Outbox
    relay: RelayClient
    matcher: Matcher
    reporting: Reporting
    rng: Randomness
    clock_ms: Callable[[], int]

    def advance(self, number: int, item: Picture | None = None, failure: Undecided | None = None) -> Progress:
        """Bring a message as far as it comes now.

        Args:
            number: the message's number.
            item: its picture, if it is decoded already.
            failure: why its picture could not be matched, if that was tried just now.

        Raises:
            RefusedError: if the relay will never take it; it is FAILED then.
            MessengerError: if it cannot be sealed for its recipient; it is FAILED then.
            ReportRefusedError: if a report was owed that must not, or cannot, be made.
        """
        row = self.outbox.get(number)
        if row.stage is Stage.QUEUED:
            failure = failure or self._match(row, item)
            if failure is not None and self.mode is FailureMode.HOLD:
                return Progress(self.outbox.get(number), failure)
        try:
            self._bring_to_relay(number)
        except ServiceError as problem:
            return self._waits(number, failure, problem)
        row = self.outbox.get(number)
        if row.stage is Stage.SENT and failure is None:
            failure = self._match(row, item)
        return self._settled(number, failure, item)

    def _match(self, row: Outgoing, item: Picture | None) -> Undecided | None:
        """Match if that is due; the failure, if it failed."""
        if row.matching is not Matching.DUE or row.item is None:
            return None
        detection = self.matcher.match(item or Picture.from_bytes(self._plain(row)), row.item)
        if isinstance(detection, Decided):
            self.outbox.decided(row.item, detection.outcome, self.matcher.epoch, self.clock_ms())
            return None
        if self.mode is FailureMode.SEND_UNMATCHED:
            self.outbox.skipped(row.item, str(detection.error))
        else:
            self.outbox.troubled(row.number, str(detection.error))
        return detection

    def _plain(self, row: Outgoing) -> bytes:
        """The picture of `row`, opened; only what may be matched is ever whole in memory."""
        assert row.file is not None and row.attachment is not None
        return b"".join(opened(self.files.chunks(row.file), row.attachment))

    def _bring_to_relay(self, number: int) -> None:
        if self.outbox.get(number).stage is Stage.QUEUED:
            self._upload(self.outbox.get(number))
            self._seal(self.outbox.get(number))
        row = self.outbox.get(number)
        if row.stage is Stage.SEALED:
            assert row.sealed is not None
            self.relay.send(row.recipient, row.message_id, row.sealed, row.item)
            self.outbox.sent(number)

    def _upload(self, row: Outgoing) -> None:
        """Upload the attachment. After a crash in between the same bytes are uploaded again."""
        file, ref = row.file, row.attachment
        if file is None or ref is None or row.uploaded:
            return
        size = ref.padded_size + SEAL_BYTES
        blob_id = self.relay.upload(size, lambda: self.files.chunks(file), row.item)
        self.outbox.uploaded(file, replace(ref, blob_id=blob_id))

    def _seal(self, row: Outgoing) -> None:
        attachments: tuple[AttachmentRef, ...] = () if row.attachment is None else (row.attachment,)
        content = compose(row.text, attachments, self.clock_ms(), self.rng)
        has_session = self.keeper.account.has_session(row.recipient)
        bundle = None if has_session else self.relay.fetch_bundle(row.recipient)
        try:
            with self.keeper.saving() as account:
                sealed = account.encrypt(row.recipient, content, bundle)
                self.outbox.sealed(row.number, content, sealed)
        except MessengerError as error:
            self._close(row, Stage.FAILED, str(error))
            raise

    def _close(self, row: Outgoing, stage: Stage, problem: str) -> None:
        self.outbox.close(row.number, stage, problem)
        self._forget_file(row)

    def _forget_file(self, row: Outgoing) -> None:
        """Delete the sealed attachment unless a message to somebody else still needs it."""
        if row.file is not None and row.file not in self.outbox.files():
            self.files.remove(row.file)

    def _waits(self, number: int, failure: Undecided | None, problem: ServiceError) -> Progress:
        if isinstance(problem, RefusedError) and problem.status in _PERMANENT:
            self._close(self.outbox.get(number), Stage.FAILED, str(problem))
            raise problem
        self.outbox.troubled(number, str(problem))
        return Progress(self.outbox.get(number), failure, problem)

    def _settled(self, number: int, failure: Undecided | None, item: Picture | None) -> Progress:
        """Queue what the outcome owes, and close the message, in one transaction."""
        row = self.outbox.get(number)
        if row.stage is not Stage.SENT or row.matching is Matching.DUE:
            return Progress(row, failure)
        with self.store.transaction():
            report_id = self._owe(row, item)
            self.outbox.close(number, Stage.DONE, row.problem)
        # only now: the transaction may fail, and then the file is needed still
        self._forget_file(row)
        return Progress(self.outbox.get(number), failure, None, report_id)

    def _owe(self, row: Outgoing, item: Picture | None) -> bytes | None:
        """Queue the report or voucher, one for a picture whatever the number of its recipients; the report's
        id if it is one."""
        if row.outcome is None or row.item is None or row.content is None or row.attachment is None:
            return None
        assert row.epoch is not None and row.matched_at_ms is not None
        outcome = decode_outcome(self.design, row.outcome)
        if not isinstance(outcome, Match | Voucher) or self.reporting.has_submission(row.item):
            return self.reporting.report_of(row.item) if isinstance(outcome, Match) else None
        if isinstance(outcome, Voucher):
            self.reporting.queue_voucher(self.design, row.epoch, row.item, outcome.body.encode())
            return None
        data = self._plain(row)
        picture = item or Picture.from_bytes(data)
        confirmed = ConfirmedMatch(self.design, row.epoch, picture, row.item, outcome)
        opening = opening_of(row.content, self.keeper.account.name, row.recipient)
        reported = Reported(opening, row.attachment.media_type, data, row.matched_at_ms)
        return self.reporting.queue(confirmed, reported)
