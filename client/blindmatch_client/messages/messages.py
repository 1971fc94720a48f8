"""Send texts, pictures and files, to one account or to several, and return what became of them.

What became of a message that has ended is kept until the caller has shown it (`mark_shown`), since a call's
result may be lost with the process. A proof that a picture is not on the list is made in a session of its
own, after the picture was sent and did not match. So nobody can ask about a picture without the consequences
of a match, or without counting against the limits on queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from blindmatch_proofs.absence import AbsenceProof, AbsenceReply, can_prove
from blindmatch_protocol.codec.errors import BlindmatchError, PictureError, ProtocolError
from blindmatch_protocol.contract import AnyDesign, NoMatch
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.messages.franking import MESSAGE_ID_LENGTH
from blindmatch_protocol.messages.parts import AttachmentSealing, pieces
from blindmatch_protocol.picture import container
from blindmatch_protocol.picture.decode import MOST_BYTES, Picture
from msgspec import Struct

from blindmatch_client.epochs.trusted import Adopted, Evidence
from blindmatch_client.errors import DeviceError, MalformedError, MessengerError
from blindmatch_client.matching.matching import MatchingClient
from blindmatch_client.messages.notices import (
    UNREADABLE_TYPE,
    classify_outcome,
    describe_ended,
    describe_progress,
    describe_unreadable,
)
from blindmatch_client.messages.notices import OutcomeKind as OutcomeKind
from blindmatch_client.messages.sending import Progress, Sender
from blindmatch_client.messenger.state import AccountKeeper
from blindmatch_client.reports.complaints import Complaint
from blindmatch_client.reports.reporting import KeptReport, Reporting
from blindmatch_client.settings import Base, Unreadable
from blindmatch_client.store.ended import Ended, EndedMessages, EndState
from blindmatch_client.store.outbox import Attached, MatchState, Outbox, Outgoing, SendState
from blindmatch_client.store.store_file import Files, read_chunks


class Sent(Struct, frozen=True):
    """What became of a message.

    Attributes:
        number: of the message on this device, in the order in which messages were queued.
        item: the picture's number in traces and records, or None.
        delivered: True once the relay has acknowledged it, unless it expired there.
        report_id: of the report that was made of it, or None.
        reported: True if the centre has acknowledged that report.
        notice: what the user must be told; empty if nothing.
    """

    number: int
    message_id: bytes
    recipient: str
    item: int | None
    delivered: bool
    outcome: OutcomeKind
    report_id: bytes | None
    reported: bool
    notice: str


class Standing(Struct, frozen=True):
    """The state of a device, for its user.

    Attributes:
        distrust: how a matching role cheated; None if none did.
        log_distrust: how the log cheated; None if it did not.
        adopted: the highest epoch that was adopted; None before there is one.
        evidence: sets that were refused or failed, oldest first.
        messages: number of messages that wait.
        vouchers: number of vouchers that wait.
        reports: all reports it made, oldest first; of those handed in, the newest ones.
        complaints: all complaints of its user, oldest first.
    """

    distrust: str | None
    log_distrust: str | None
    adopted: Adopted | None
    evidence: tuple[Evidence, ...]
    messages: int
    vouchers: int
    reports: tuple[KeptReport, ...]
    complaints: tuple[Complaint, ...]


class Flushed(Struct, frozen=True):
    """What `flush` did.

    Attributes:
        messages: those that it worked on and that nothing stopped.
        problems: what went wrong, in words.
        waiting: number of messages, reports, vouchers and complaints that still wait.
    """

    messages: tuple[Sent, ...]
    problems: tuple[str, ...]
    waiting: int


MOST_ATTACHMENT_BYTES: Final = 100 << 20
Ending: TypeAlias = tuple[Sent, BlindmatchError | None]
Taken: TypeAlias = tuple[Attached, str]
"""An attachment, sealed on the disk, and the notice to the user that goes with it, which may be empty."""


class Messages:
    """The methods of a `Device` that send messages."""

    _base: Base
    _keeper: AccountKeeper
    _files: Files
    _outbox: Outbox
    _ended: EndedMessages
    _sender: Sender
    _reporting: Reporting

    def outcomes(self) -> list[Sent]:
        """Return what became of ended messages that are not marked as shown, oldest first.

        These are messages with an attachment, messages that were not delivered, and texts that had waited. If
        there are more than `MOST_ENDED`, those that ended first are dropped.
        """
        return [self._describe_ended(ended) for ended in self._ended.all()]

    def mark_shown(self, shown: Iterable[Sent]) -> None:
        """Forget outcomes that the user was shown; durable on return.

        Call it only after showing them: a crash before that must not lose them.
        """
        self._ended.forget([sent.number for sent in shown])

    def send_text(self, to: str, text: str) -> Sent:
        """Send a text.

        Raises:
            RefusedError: The relay will never take it, for example since it does not know the account.
            MessengerError: It cannot be sealed for `to`.
        """
        ids = self._draw_ids([to])
        if self._keeper.account.has_session(to):
            progress = self._sender.send_texts(ids, text)
        else:
            progress = self._sender.advance(self._queue(ids, text))
        return _return_only(self._describe_all(progress))

    def send_text_to(self, group: Sequence[str], text: str) -> list[Sent]:
        """Send a text to each account of `group`, through a session of its own.

        Returns:
            What became of each; the notice of one that cannot be sent says why.

        Raises:
            MalformedError: The text is too long; nothing is queued.
        """
        ids = self._draw_ids(group)
        known = {to: message_id for to, message_id in ids.items() if self._keeper.account.has_session(to)}
        sent: list[Progress] = []
        with suppress(MessengerError):  # then none of them was queued, and each is tried by itself below
            sent = self._sender.send_texts(known, text) if known else []
        done = {progress.row.recipient for progress in sent}
        rest = {to: message_id for to, message_id in ids.items() if to not in done}
        advanced = self._sender.advance(self._queue(rest, text))
        described = {progress.row.recipient: self._describe(progress) for progress in (*sent, *advanced)}
        return [described[to] for to in ids]

    def send_picture(self, to: str, data: bytes, text: str = "") -> Sent:
        """Match a picture and send it.

        Raises:
            PictureError: It cannot be decoded and the policy is to refuse such; nothing was sent.
            RefusedError, MessengerError: As `send_text`.
            ReportRefusedError: A report is due that cannot be made; the message was delivered.
        """
        attached, notice = self._take_picture(to, data)
        return _return_only(self._send_attached([to], attached, notice, text))

    def send_picture_to(self, group: Sequence[str], data: bytes, text: str = "") -> list[Sent]:
        """Match a picture once and send it to each account of `group`.

        Returns:
            What became of each; the notice of one that cannot be sent says why.

        Raises:
            PictureError: As `send_picture`.
        """
        attached, notice = self._take_picture(", ".join(group), data)
        return [sent for sent, _ in self._send_attached(group, attached, notice, text)]

    def send_file(self, to: str, path: Path, text: str = "") -> Sent:
        """Send a file of up to 100 MiB.

        A file that may be a picture is sent as one. A larger one is never whole in memory.

        Raises:
            StoreError: It cannot be read, or not be kept until it is sent.
            PictureError, RefusedError, MessengerError, ReportRefusedError: As `send_picture`.
        """
        attached, notice = self._take_file(to, path)
        return _return_only(self._send_attached([to], attached, notice, text))

    def send_files(self, group: Sequence[str], paths: Sequence[Path], text: str = "") -> list[Sent]:
        """Send files to each account of `group`, one message for each file.

        All are handed over before any outcome is looked at, so that the time in between tells nothing.

        Returns:
            What became of each; the notice of one that cannot be sent says why.

        Raises:
            PictureError, StoreError: As `send_file`, for the first file that cannot be taken. Nothing was
                sent.
        """
        files: list[Taken] = []
        for path in paths:
            try:
                files.append(self._take_file(", ".join(group), path))
            except PictureError as error:
                raise PictureError(f"{path}: {error}") from error
        queued = [
            (row, notice)
            for attached, notice in files
            for row in self._queue(self._draw_ids(group), text, attached)
        ]
        advanced = self._sender.advance([row for row, _ in queued])
        return [
            self._describe(progress, notice) for progress, (_, notice) in zip(advanced, queued, strict=True)
        ]

    def _draw_ids(self, group: Sequence[str]) -> dict[str, bytes]:
        return {to: self._base.rng.take(MESSAGE_ID_LENGTH) for to in group}

    def _queue(
        self, message_ids: Mapping[str, bytes], text: str, attached: Attached | None = None
    ) -> list[Outgoing]:
        """Compose and queue a message to each recipient; its commitment is made before anything is asked."""
        now = self._base.clock_ms()
        refs = () if attached is None or attached.ref is None else (attached.ref,)
        contents = {
            to: compose(text, refs, now, self._base.rng, self._sender.choose_checkpoint(to))
            for to in message_ids
        }
        try:
            return self._outbox.add(message_ids, contents, now, attached)
        except ProtocolError as error:
            raise MalformedError(error) from error

    def _take_picture(self, to: str, data: bytes) -> Taken:
        """Seal a picture onto the disk, before anything is queued; `to` names the recipients in a notice."""
        data = bytes(data)  # a copy: the caller may change its buffer later
        picture = Picture.from_bytes(data)
        try:
            _ = picture.pixels
        except PictureError:
            if self._base.config.unreadable is Unreadable.REFUSE:
                raise
            attached = self._seal_file(pieces(data), UNREADABLE_TYPE, MatchState.SKIPPED)
            return attached, describe_unreadable(to)
        attached = self._seal_file(pieces(data), f"image/{container.sniff(data).lower()}", MatchState.DUE)
        attached.taken = picture
        return attached, ""

    def _take_file(self, to: str, path: Path) -> Taken:
        """Seal a file likewise. One that is too large for a picture is never whole in memory."""
        chunks = read_chunks(path)
        size = path.stat().st_size if path.is_file() else 0
        if size <= MOST_BYTES:
            return self._take_picture(to, b"".join(chunks))
        if self._base.config.unreadable is Unreadable.REFUSE or size > MOST_ATTACHMENT_BYTES:
            raise PictureError(f"a file of {size} bytes is too large")
        return self._seal_file(chunks, UNREADABLE_TYPE, MatchState.SKIPPED), describe_unreadable(to)

    def _seal_file(self, data: Iterable[bytes], media_type: str, matching: MatchState) -> Attached:
        sealing = AttachmentSealing(self._base.rng)
        file = self._files.write(sealing.blob(data))
        return Attached(0, matching, file, sealing.ref(media_type))

    def _send_attached(
        self, group: Sequence[str], attached: Attached, notice: str, text: str
    ) -> list[Ending]:
        rows = self._queue(self._draw_ids(group), text, attached)
        return self._describe_all(self._sender.advance(rows), notice)

    def _describe_all(self, advanced: Sequence[Progress], notice: str = "") -> list[Ending]:
        return [(self._describe(progress, notice), progress.error) for progress in advanced]

    def _describe(self, progress: Progress, notice: str = "") -> Sent:
        row = progress.row
        report_id = progress.report_id
        kind = classify_outcome(progress.row)
        is_reported = report_id is not None and self._reporting.is_received(report_id)
        if progress.error is not None:
            notice = str(progress.error)
        return Sent(
            number=row.number,
            message_id=row.message_id,
            recipient=row.recipient,
            item=row.item,
            delivered=row.state in (SendState.SENT, SendState.DONE),
            outcome=kind,
            report_id=report_id,
            reported=is_reported,
            notice=notice or describe_progress(progress, kind, is_reported, self._base.config),
        )

    def _describe_ended(self, ended: Ended) -> Sent:
        is_reported = bool(ended.report_id) and not self._reporting.is_waiting(ended.report_id)
        return Sent(
            number=ended.number,
            message_id=ended.message_id,
            recipient=ended.recipient,
            item=ended.item,
            delivered=ended.state is EndState.DELIVERED,
            outcome=OutcomeKind(ended.outcome),
            report_id=ended.report_id or None,
            reported=is_reported,
            notice=describe_ended(ended, is_reported, self._base.config),
        )


def _return_only(endings: list[Ending]) -> Sent:
    """Return what became of the only message, or raise what stopped it."""
    ((sent, error),) = endings
    if error is not None:
        raise error
    return sent


def check_provable(design: AnyDesign, item: Picture) -> None:
    """Check, before anything is sent, that a session about the picture could prove its absence.

    Raises:
        PictureError: The picture cannot be decoded.
        DeviceError: The design's sessions prove nothing, or the picture's quality is too low to be matched.
    """
    if not can_prove(design):
        raise DeviceError(f"a session of {design.info.name} proves no absence; see docs/accountability.md")
    if item.quality < design.info.relation.minimum_quality:
        raise DeviceError("the picture's quality is too low for its hash to mean anything")


def prove_absence(matcher: MatchingClient, item: Picture, sent: Sent) -> AbsenceProof:
    """Prove that a picture which was sent, and did not match, is not on the list.

    Raises:
        DeviceError: It had any other outcome, the list has changed since, or the roles give no answer that
            can be verified.
    """
    if sent.outcome is not OutcomeKind.NO_MATCH or sent.item is None:
        why = f"the message came to: {sent.outcome}; only what does not match can be shown to be absent"
        raise DeviceError(f"{why}. {sent.notice}" if sent.notice else why)
    signed, trace = matcher.record_session(item, sent.item)
    if not isinstance(trace.outcome, NoMatch):
        raise DeviceError("the picture is on the list now")
    replies = tuple(
        AbsenceReply(role, body) for exchanged in trace.rounds for role, body in exchanged.replies.items()
    )
    return AbsenceProof(signed, item.hash, trace.state_before, trace.tape, replies)
