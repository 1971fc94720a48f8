"""Moves outgoing messages forward, each step saved before the next one sends anything.

    (text)  where there is a session: sealed in the transaction that queues it, several in one
    QUEUED  ask about the picture, as the failure mode says; upload the sealed attachment (once for a group);
            seal the message, save the account
    SEALED  hand it to the relay; if the session ends before, it is QUEUED again (outbox.py)
    SENT    ask now if that had to wait; look at the outcome; queue the report or voucher that it owes
    DONE    a text at once, when the relay has it

What goes to the relay, and when, is the same whatever the outcome: it is looked at after the relay has the
message, and of several messages after all were tried; one that it does not take then it gets later, in the
same form. Only where a server learns the outcome it is there before, and a device that refuses to send what
matches (settings.py) looks at it before.
A device that stops in between asks again. What came of a message that has ended is kept in the transaction
that ends it, until the user was shown it (store/ended.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

from blindmatch_protocol.codec.errors import BlindmatchError, DesignError
from blindmatch_protocol.contract import Binding, Flag, Match
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.messages.content import Content, clear_message, compose
from blindmatch_protocol.messages.franking import Evidence
from blindmatch_protocol.messages.parts import AttachmentError, opened
from blindmatch_protocol.picture.decode import Picture
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_client import errors
from blindmatch_client.matching.detector import Decided, Detection, Undecided, Verified
from blindmatch_client.matching.matching import MatchingClient
from blindmatch_client.messages.notices import REFUSED, OutcomeKind, classify_outcome, describe_skipped
from blindmatch_client.messages.recovery import Recovery
from blindmatch_client.messages.relay import SEAL_BYTES, RelayClient
from blindmatch_client.messenger.state import AccountKeeper
from blindmatch_client.reports.reporting import Reporting
from blindmatch_client.settings import Base, Consequence, FailureMode
from blindmatch_client.store.ended import Ended, EndedMessages, EndState
from blindmatch_client.store.outbox import (
    Attached,
    MatchState,
    Outbox,
    Outgoing,
    SendState,
    derive_request_id,
)
from blindmatch_client.store.store_file import Files
from blindmatch_client.trace import MessageTrace


def build_binding(evidence: Evidence) -> Binding:
    """Build the binding to the message that the evidence discloses."""
    return Binding(evidence.opening.commitment, evidence.encode())


_PERMANENT: Final = frozenset(
    {"NOT_FOUND", "INVALID_ARGUMENT", "ALREADY_EXISTS", "PERMISSION_DENIED", "OUT_OF_RANGE"}
)
"""Refusals of the relay after which sending the message again is pointless."""

_SIDE_BY_SIDE: Final = 8
"""Messages that are handed to the relay at the same time, to different recipients."""


class Progress(Struct):
    """How far one call of `advance` came with a message.

    Attributes:
        row: the message as it stands.
        failure: why its picture was not matched this time, if that was due.
        problem: why it waits for the relay, if it does.
        report_id: of the report that was made of it.
        error: what else stopped it.
        taken: True if the relay has another message in its place.
    """

    row: Outgoing
    failure: Undecided | None = None
    problem: errors.ServiceError | None = None
    report_id: bytes | None = None
    error: BlindmatchError | None = None
    taken: bool = False


class Sender(Struct, frozen=True):
    """Sends an account's messages.

    Attributes:
        keeper: of the messenger's keys; they are saved with every message they seal.
        ended: keeps what came of messages until the user was shown it.
        recovery: keeps messages that were handed over, and begins again if the store is an older one.
        choose_checkpoint: the checkpoint that a message to a peer bears.
        verified: sessions whose outcome waits for their message to be handed over, by picture. They are in
            memory alone: after a restart the picture is asked about again.
    """

    base: Base
    keeper: AccountKeeper
    files: Files
    outbox: Outbox
    ended: EndedMessages
    relay: RelayClient
    matcher: MatchingClient
    reporting: Reporting
    recovery: Recovery
    choose_checkpoint: Callable[[str], bytes]
    verified: dict[int, Verified] = field(default_factory=dict)

    def send_texts(self, message_ids: Mapping[str, bytes], text: str) -> list[Progress]:
        """Send a text to several recipients side by side; one transaction saves all before any is sent.

        Args:
            message_ids: The id of each message by its recipient, with whom there must be a session.

        Raises:
            MessengerError: A message cannot be sealed; nothing is queued then.
        """
        now = self.base.clock_ms()
        sent = []
        with self.keeper.saving() as account:
            for to, message_id in message_ids.items():
                content = compose(text, (), now, self.base.rng, self.choose_checkpoint(to))
                sealed = account.encrypt(to, content)
                self.base.trace(MessageTrace(message_id, to, None, None, content))
                row = Outgoing(0, message_id, now, SendState.SEALED, to, content, sealed)
                self.outbox.insert(row)
                sent.append(Progress(row))
        if len(sent) > 1:
            with ThreadPoolExecutor(_SIDE_BY_SIDE, "send") as pool:
                list(pool.map(self._send_to_relay, sent))
        else:
            self._send_to_relay(sent[0])
        for progress in sent:
            with _catching(progress):
                self._note_relayed(progress)
        self._restart_taken(sent)
        return sent

    def advance(self, rows: Sequence[Outgoing]) -> list[Progress]:
        """Bring messages as far as they come now; all are tried before any outcome is looked at.

        Once a picture could not be matched no other is asked about, since each would wait as long. If the
        design distrusts nobody, each is asked about.
        """
        sent = [Progress(row) for row in rows]
        self._hand_over_all(sent)
        self._restart_taken(sent)
        for progress in sent:
            with _catching(progress):
                self._conclude(progress)
        self.reporting.submit_owed(progress.row for progress in sent)
        if any(row.attached is not None for row in rows):
            with suppress(DesignError):  # the offline phase for the next picture
                self.matcher.prepare()
        return sent

    def close(self) -> None:
        """Abandon sessions whose outcome was not looked at."""
        for verified in self.verified.values():
            verified.abandon()
        self.verified.clear()

    def ask(self, row: Outgoing) -> Undecided | None:
        """Ask about the picture of `row` if that is due; return the failure, or None.

        Raises as `Detector.ask`.
        """
        attached = row.attached
        if attached is None or attached.matching is not MatchState.DUE or attached.item in self.verified:
            return None
        assert attached.ref is not None
        picture = attached.taken or self._load(attached)[1]
        # bound to the message that it is asked about for, also where others bear the same picture
        binding = build_binding(row.disclose(self.base.config.account))
        asked = self.matcher.ask(picture, attached.item, derive_request_id(attached.ref.key), binding)
        if isinstance(asked, Verified):
            self.verified[attached.item] = asked
            return None
        failure = self._note_outcome(row, attached, asked, self.matcher.epoch)
        self.outbox.save_whole(row)
        return failure

    def conclude_session(self, row: Outgoing) -> Undecided | None:
        """Look at the outcome, if one waits; return the failure, or None.

        The outcome is noted in `row` alone: the caller saves it (`Outbox.save_whole`, `Outbox.finish`).
        """
        attached = row.attached
        verified = None if attached is None else self.verified.pop(attached.item, None)
        if verified is None or attached is None:
            return None
        reach("device.conclude.before")
        return self._note_outcome(row, attached, verified.conclude(), verified.epoch)

    def _note_outcome(
        self, row: Outgoing, attached: Attached, detection: Detection, epoch: int
    ) -> Undecided | None:
        if isinstance(detection, Decided):
            row.problem = ""
            attached.matching = MatchState.DECIDED
            attached.outcome = detection.outcome
            attached.epoch = epoch
            attached.matched_at_ms = self.base.clock_ms()
            return None
        row.problem = str(detection.error)
        if self.base.config.mode is FailureMode.SEND_UNMATCHED:
            attached.matching = MatchState.SKIPPED
        return detection

    def _load(self, attached: Attached) -> tuple[bytes, Picture]:
        """Load a picture's file and the picture; only files that may be matched are ever whole in memory."""
        assert attached.file is not None and attached.ref is not None
        data = b"".join(opened(self.files.chunks(attached.file), attached.ref))
        return data, attached.taken or Picture.from_bytes(data)

    def _hand_over_all(self, sent: Sequence[Progress]) -> None:
        failure = None
        stops = self.base.config.design.info.distrusts
        for progress in sent:
            with _catching(progress):
                self._hand_over(progress, failure if _is_due(progress.row) else None)
                if stops and _is_due(progress.row):
                    failure = progress.failure or failure

    def _restart_taken(self, sent: Sequence[Progress]) -> None:
        """End all sessions and hand over in new ones, if the relay has other messages in the places of these.

        The store is an older copy then, which was put back.
        """
        taken = [progress for progress in sent if progress.taken]
        if not taken:
            return
        self.recovery.restart()
        waiting = {row.number: row for row in self.outbox.list_waiting()}
        for progress in taken:
            row = waiting[progress.row.number]
            row.attached = progress.row.attached
            row.evidence = progress.row.evidence
            progress.row = row
            progress.problem = None
            progress.taken = False
        self._hand_over_all(taken)

    def _hand_over(self, progress: Progress, known: Undecided | None) -> None:
        """Ask about a message's picture, as the failure mode says, and bring the message to the relay."""
        row = progress.row
        if row.state is SendState.QUEUED:
            self._trace_message(row, None)
            progress.failure = known or self.ask(row)
            if self.base.config.consequence is Consequence.REFUSE:
                self._conclude_early(progress)
                if _has_consequence(row):
                    self._fail(row, REFUSED)
                    return
            if progress.failure is not None and self.base.config.mode is FailureMode.HOLD:
                return
            try:
                self._seal(row)
            except errors.ServiceError as problem:
                progress.problem = problem
        if row.state is SendState.SEALED:
            self._send_to_relay(progress)
        self._note_relayed(progress)
        if row.state is SendState.SENT and progress.failure is None:
            progress.failure = self.ask(row)

    def _conclude_early(self, progress: Progress) -> None:
        """Look at the outcome before the message is sealed, and save it."""
        if _is_due(progress.row) and progress.failure is None:
            progress.failure = self.conclude_session(progress.row)
            self.outbox.save_whole(progress.row)

    def _conclude(self, progress: Progress) -> None:
        """Look at the outcome, now that the relay has the message, and queue what it owes: all at once."""
        row = progress.row
        file = None
        with self.base.store.transaction():
            if progress.error is not None:
                # nobody gets it: look once no other message that bears its picture waits any more
                if row.attached is not None and not self.outbox.is_awaited(row.attached):
                    self.conclude_session(row)
                if row.state is SendState.FAILED:
                    self._save_failed(row)
                else:
                    self.outbox.save_whole(row)
            elif row.state is SendState.SENT:
                failure = self.conclude_session(row)
                progress.failure = failure or progress.failure
                if not _is_due(row):
                    file = self._finish(progress)
                elif failure is not None:
                    self.outbox.save_whole(row)
        # only now: the transaction may fail, and then the file is needed still
        if file is not None:
            self.files.remove(file)

    def _finish(self, progress: Progress) -> str | None:
        """Queue the report or voucher that the outcome owes, and finish the message.

        If a report cannot be made the message stays as it is.

        Returns:
            The attachment's file, if no message needs it any more.
        """
        try:
            progress.report_id = self.reporting.queue_owed(progress.row, self._load)
        except (errors.ReportRefusedError, AttachmentError) as error:
            progress.error = error
            self.outbox.save_whole(progress.row)
            return None
        words = describe_skipped(progress.row, progress.failure)
        file = self.outbox.finish(progress.row)
        self.ended.keep(_describe_end(progress.row, EndState.DELIVERED, words))
        return file

    def _save_failed(self, row: Outgoing) -> None:
        """Save the outcome for the picture of a message that failed."""
        if row.attached is not None:
            self.outbox.save_attached(row.attached)
        if not row.unopened:
            self.ended.keep(_describe_end(row, EndState.FAILED, row.problem))

    def _seal(self, row: Outgoing) -> None:
        """Upload the attachment, and seal the message; a repetition after a crash uploads the same bytes."""
        assert row.content is not None
        self._upload(row)
        content = row.content
        attached = row.attached
        if attached is not None and attached.ref is not None:  # the blob was named since
            content = replace(content, attachments=(attached.ref,))
        info = self.base.config.design.info
        if info.end_to_end:
            self._encrypt(row, content)
        else:
            self._save_sealed(row, content, clear_message(content, info))
        self._trace_message(row, content)

    def _encrypt(self, row: Outgoing, content: Content) -> None:
        has_session = self.keeper.account.has_session(row.recipient) and not row.unopened
        bundle = None if has_session else self.relay.fetch_bundle(row.recipient)
        commitment = b"" if row.evidence is None else row.evidence.opening.commitment
        try:
            with self.keeper.saving() as account:
                sealed = account.encrypt(row.recipient, content, bundle, commitment, row.unopened)
                self._save_sealed(row, content, sealed)
        except errors.MessengerError as error:
            if isinstance(error, errors.IdentityChangedError):
                with self.keeper.saving() as account:
                    account.note_identity(row.recipient, error.identity)
            self._fail(row, str(error))
            raise

    def _save_sealed(self, row: Outgoing, content: Content, sealed: bytes) -> None:
        row.content = content
        row.sealed = sealed
        row.state = SendState.SEALED
        row.problem = ""
        self.outbox.save_whole(row)

    def _trace_message(self, row: Outgoing, content: Content | None) -> None:
        attached = row.attached
        item, ref = (None, None) if attached is None else (attached.item, attached.ref)
        self.base.trace(MessageTrace(row.message_id, row.recipient, item, ref, content))

    def _upload(self, row: Outgoing) -> None:
        attached = row.attached
        if attached is None or attached.uploaded or attached.file is None or attached.ref is None:
            return
        file = attached.file
        ref = attached.ref
        size = ref.padded_size + SEAL_BYTES
        blob_id = self.relay.upload(size, lambda: self.files.chunks(file), attached.item)
        attached.ref = replace(ref, blob_id=blob_id)
        attached.uploaded = True

    def _send_to_relay(self, progress: Progress) -> None:
        row = progress.row
        item = None if row.attached is None else row.attached.item
        try:
            row.stamps = self.relay.send(row.recipient, row.message_id, row.sealed, item)
        except errors.ServiceError as problem:
            progress.problem = problem

    def _note_relayed(self, progress: Progress) -> None:
        """Note that the relay has a message, or why not; a message that it will never take is FAILED."""
        row = progress.row
        problem = progress.problem
        if problem is None:
            if row.state is SendState.SEALED:
                self.recovery.note_request_sent(row)
                self.recovery.keep(row)
                self.outbox.mark_sent(row)
            if row.state is SendState.DONE and row.waited and _is_from_user(row):
                self.ended.keep_later(_describe_end(row, EndState.DELIVERED))
        elif _read_status(problem) == "ALREADY_EXISTS" and self.recovery.can_restart():
            progress.taken = True
        elif _read_status(problem) in _PERMANENT:
            self._fail(row, str(problem))
            raise problem
        else:
            row.problem = str(problem)
            self.outbox.save(row)

    def _fail(self, row: Outgoing, problem: str) -> None:
        with self.base.store.transaction():
            file = self.outbox.fail(row, problem)
            self.recovery.note_request_failed(row)
            if not row.unopened:
                self.ended.keep(_describe_end(row, EndState.FAILED, problem))
        if file is not None:
            self.files.remove(file)


def _read_status(problem: errors.ServiceError) -> str:
    return problem.status if isinstance(problem, errors.RefusedError) else ""


def _is_due(row: Outgoing) -> bool:
    return row.attached is not None and row.attached.matching is MatchState.DUE


def _has_consequence(row: Outgoing) -> bool:
    """Tell if the outcome is a flag or a confirmed match; a match of a filter alone has no consequence."""
    outcome = None if row.attached is None else row.attached.outcome
    return isinstance(outcome, Flag) or (isinstance(outcome, Match) and not outcome.label.unconfirmed)


def _is_from_user(row: Outgoing) -> bool:
    """Tell if the user wrote the message, not this device to ask for, or repeat, unopened messages."""
    return not row.unopened and not row.resent


def _describe_end(row: Outgoing, state: EndState, words: str = "") -> Ended:
    kind = classify_outcome(row)
    if kind is OutcomeKind.DUE:  # and never will be
        kind = OutcomeKind.SKIPPED
    report_id = b"" if row.attached is None or state is not EndState.DELIVERED else row.attached.owed
    return Ended(
        number=row.number,
        row=row.message_id,
        message_id=row.message_id,
        queued_at_ms=row.queued_at_ms,
        recipient=row.recipient,
        state=state,
        outcome=kind,
        item=row.item,
        report_id=b"" if kind is OutcomeKind.VOUCHER else report_id,
        named=row.named,
        words=words,
    )


@contextmanager
def _catching(progress: Progress) -> Iterator[None]:
    """Note an error in the message's progress, so that it stops no other message."""
    try:
        yield
    except BlindmatchError as error:
        progress.error = error
