"""What a user sends: texts, pictures and files, to one or to several, and what became of them.

What came of a message that has ended is kept until whoever shows it says so (`mark_shown`): a call's result
may be lost with the process. A proof that a picture is not on the list is made of a session of its own, once
the picture was sent and did not match: there is no way to ask about a picture without what follows from a
match, nor without counting against the limits of a key.
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
    ended_notice,
    outcome_kind,
    sent_notice,
    unreadable,
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
    """How a device stands.

    Attributes:
        distrust: how a matching role cheated, if one did.
        log_distrust: how the log did.
        adopted: the highest epoch that was adopted; None before there is one.
        evidence: sets that were refused or failed, oldest first.
        reports: all it ever made, oldest first.
        complaints: all its user ever made, oldest first.
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
    """What `flush` did, and how many messages, reports, vouchers and complaints still wait."""

    messages: tuple[Sent, ...]
    problems: tuple[str, ...]
    waiting: int


MOST_ATTACHMENT_BYTES: Final = 100 << 20
Ending: TypeAlias = tuple[Sent, BlindmatchError | None]
Taken: TypeAlias = tuple[Attached, str]
"""What the user attaches, sealed on the disk, and what the user must be told."""


class Messages:
    """The messages of one account; a `Device` is one."""

    _base: Base
    _keeper: AccountKeeper
    _files: Files
    _outbox: Outbox
    _ended: EndedMessages
    _sender: Sender
    _reporting: Reporting

    def outcomes(self) -> list[Sent]:
        """Return what came of messages that have ended, oldest first, of which nobody said yet that the user
        was shown it: all that bore an attachment, all that were not delivered, and texts that had waited. Of
        more than `MOST_ENDED` those that ended first are dropped."""
        return [self._sent_of(ended) for ended in self._ended.all()]

    def mark_shown(self, shown: Iterable[Sent]) -> None:
        """Forget what the user was shown of messages that have ended; durable on return. Call it once it was
        shown: before that a crash must find it here."""
        self._ended.forget([sent.number for sent in shown])

    def send_text(self, to: str, text: str) -> Sent:
        """Send a text; `RefusedError` if the relay will never take it, such as for an account it does not
        know; `MessengerError` if it cannot be sealed for `to`."""
        if self._keeper.account.has_session(to):
            return _only(self._told(self._sender.send_texts(self._ids([to]), text)))
        return _only(self._told(self._sender.advance(self._queue(self._ids([to]), text))))

    def send_text_to(self, group: Sequence[str], text: str) -> list[Sent]:
        """Send a text to each of `group` through a session of its own; what cannot be sent says so;
        `MalformedError` if the text is too long; nothing is queued then."""
        ids = self._ids(group)
        known = {to: name for to, name in ids.items() if self._keeper.account.has_session(to)}
        sent: list[Progress] = []
        with suppress(MessengerError):  # none of them then: each is tried by itself
            sent = self._sender.send_texts(known, text) if known else []
        done = {one.row.recipient for one in sent}
        others = self._queue({to: name for to, name in ids.items() if to not in done}, text)
        told = {one.row.recipient: self._sent(one) for one in (*sent, *self._sender.advance(others))}
        return [told[to] for to in ids]

    def send_picture(self, to: str, data: bytes, text: str = "") -> Sent:
        """Match a picture and send it. `PictureError` if it cannot be decoded and the policy is to refuse;
        nothing was sent; `RefusedError`, `MessengerError` as `send_text`; `ReportRefusedError` if a report
        was owed that cannot be made; the message was delivered."""
        return _only(self._attach([to], *self._take_picture(to, data), text))

    def send_picture_to(self, group: Sequence[str], data: bytes, text: str = "") -> list[Sent]:
        """Match a picture once and send it to each of `group`; what cannot be sent says so. `PictureError` as
        `send_picture`."""
        attached, notice = self._take_picture(", ".join(group), data)
        return [sent for sent, _ in self._attach(group, attached, notice, text)]

    def send_file(self, to: str, path: Path, text: str = "") -> Sent:
        """Send a file of up to 100 MiB. One that may be a picture is sent as one; a larger one is never
        whole in memory.
        Raises as `send_picture`; `StoreError` if it cannot be read, or not be kept until it is sent."""
        return _only(self._attach([to], *self._take_file(to, path), text))

    def send_files(self, group: Sequence[str], paths: Sequence[Path], text: str = "") -> list[Sent]:
        """Send files to each of `group`, one message for each; what cannot be sent says so. All are handed
        over before the outcome of any is looked at, so that the time in between tells nothing; raises as
        `send_file` for the first that cannot be taken, and names it: nothing was sent."""
        files: list[Taken] = []
        for path in paths:
            try:
                files.append(self._take_file(", ".join(group), path))
            except PictureError as error:
                raise PictureError(f"{path}: {error}") from error
        queued = [
            (row, notice)
            for attached, notice in files
            for row in self._queue(self._ids(group), text, attached)
        ]
        ends = self._sender.advance([row for row, _ in queued])
        return [self._sent(end, notice) for end, (_, notice) in zip(ends, queued, strict=True)]

    def _ids(self, group: Sequence[str]) -> dict[str, bytes]:
        return {to: self._base.rng.take(MESSAGE_ID_LENGTH) for to in group}

    def _queue(
        self, message_ids: Mapping[str, bytes], text: str, attached: Attached | None = None
    ) -> list[Outgoing]:
        """Compose and queue a message to each recipient: its commitment is made before anything is asked."""
        ref = None if attached is None else attached.ref
        now = self._base.clock_ms()
        refs = () if ref is None else (ref,)
        contents = {
            to: compose(text, refs, now, self._base.rng, self._sender.choose_checkpoint(to))
            for to in message_ids
        }
        try:
            return self._outbox.add(message_ids, contents, now, attached)
        except ProtocolError as error:
            raise MalformedError(error) from error

    def _take_picture(self, to: str, data: bytes) -> Taken:
        """Seal a picture for the accounts in `to` onto the disk, before anything is queued."""
        data = bytes(data)  # whatever the caller does with it
        picture = Picture.from_bytes(data)
        try:
            _ = picture.pixels
        except PictureError:
            if self._base.config.unreadable is Unreadable.REFUSE:
                raise
            return self._sealed(pieces(data), UNREADABLE_TYPE, MatchState.SKIPPED), unreadable(to)
        attached = self._sealed(pieces(data), f"image/{container.sniff(data).lower()}", MatchState.DUE)
        attached.taken = picture
        return attached, ""

    def _take_file(self, to: str, path: Path) -> Taken:
        """Seal a file likewise; one that is too large for a picture is never whole in memory."""
        chunks = read_chunks(path)
        size = path.stat().st_size if path.is_file() else 0
        if size <= MOST_BYTES:
            return self._take_picture(to, b"".join(chunks))
        if self._base.config.unreadable is Unreadable.REFUSE or size > MOST_ATTACHMENT_BYTES:
            raise PictureError(f"a file of {size} bytes is too large")
        return self._sealed(chunks, UNREADABLE_TYPE, MatchState.SKIPPED), unreadable(to)

    def _sealed(self, data: Iterable[bytes], media_type: str, matching: MatchState) -> Attached:
        sealing = AttachmentSealing(self._base.rng)
        file = self._files.write(sealing.blob(data))
        return Attached(0, matching, file, sealing.ref(media_type))

    def _attach(self, group: Sequence[str], attached: Attached, notice: str, text: str) -> list[Ending]:
        rows = self._queue(self._ids(group), text, attached)
        return self._told(self._sender.advance(rows), notice)

    def _told(self, ends: Sequence[Progress], notice: str = "") -> list[Ending]:
        return [(self._sent(one, notice), one.error) for one in ends]

    def _sent(self, progress: Progress, notice: str = "") -> Sent:
        row = progress.row
        report_id = progress.report_id
        kind = outcome_kind(progress.row)
        reported = report_id is not None and self._reporting.is_received(report_id)
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
            reported=reported,
            notice=notice or sent_notice(progress, kind, reported, self._base.config),
        )

    def _sent_of(self, ended: Ended) -> Sent:
        reported = bool(ended.report_id) and not self._reporting.is_waiting(ended.report_id)
        return Sent(
            number=ended.number,
            message_id=ended.message_id,
            recipient=ended.recipient,
            item=ended.item,
            delivered=ended.state is EndState.DELIVERED,
            outcome=OutcomeKind(ended.outcome),
            report_id=ended.report_id or None,
            reported=reported,
            notice=ended_notice(ended, reported, self._base.config),
        )


def _only(ends: list[Ending]) -> Sent:
    ((sent, error),) = ends
    if error is not None:
        raise error
    return sent


def check_provable(design: AnyDesign, item: Picture) -> None:
    """Make sure, before anything is sent, that a session could prove something; `PictureError` if the picture
    cannot be decoded, `DeviceError` if the design's sessions prove nothing, or the picture is not one that
    is matched."""
    if not can_prove(design):
        raise DeviceError(f"a session of {design.info.name} proves no absence; see docs/accountability.md")
    if item.quality < design.info.relation.minimum_quality:
        raise DeviceError("the picture's quality is too low for its hash to mean anything")


def prove_absence(matcher: MatchingClient, item: Picture, sent: Sent) -> AbsenceProof:
    """The proof for a picture that was sent and came to no match; `DeviceError` if it came to anything else,
    with the notice of what followed, or the list has changed since, or the roles give no answer that can be
    verified."""
    if sent.outcome is not OutcomeKind.NO_MATCH or sent.item is None:
        why = f"the message came to: {sent.outcome}; only what does not match can be shown to be absent"
        raise DeviceError(f"{why}. {sent.notice}" if sent.notice else why)
    signed, trace = matcher.record_session(item, sent.item)
    if not isinstance(trace.outcome, NoMatch):
        raise DeviceError("the picture is on the list now")
    replies = tuple(AbsenceReply(role, body) for one in trace.rounds for role, body in one.replies.items())
    return AbsenceProof(signed, item.hash, trace.state_before, trace.tape, replies)
