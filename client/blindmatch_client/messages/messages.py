"""What a user sends: texts, pictures and files, to one or to several, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from blindmatch_protocol.codec.errors import BlindmatchError, PictureError, ProtocolError
from blindmatch_protocol.messages.attachment import AttachmentSealing
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.messages.parts import pieces
from blindmatch_protocol.picture import container
from blindmatch_protocol.picture.decode import DEFAULT_LIMITS
from blindmatch_protocol.picture.item import Picture

from blindmatch_client.messages.notices import sent_notice, unreadable
from blindmatch_client.messages.outbox import Outbox
from blindmatch_client.messages.results import Sent, outcome_kind
from blindmatch_client.messages.sending import Progress, Sender
from blindmatch_client.messenger.errors import MalformedError, MessengerError
from blindmatch_client.messenger.keys import AccountKeeper
from blindmatch_client.reports.reporting import Reporting
from blindmatch_client.settings.base import Base
from blindmatch_client.settings.config import Unreadable
from blindmatch_client.store.files import Files, read_chunks
from blindmatch_client.store.outgoing import Attached, MatchState, Outgoing, SendState

MESSAGE_ID_BYTES: Final = 16
UNREADABLE_TYPE: Final = "application/octet-stream"
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
    _sender: Sender
    _reporting: Reporting

    def send_text(self, to: str, text: str) -> Sent:
        """Send a text.

        Raises:
            RefusedError: if the relay will never take it, such as for an account it does not know.
            MessengerError: if it cannot be sealed for `to`.
        """
        if self._keeper.account.has_session(to):
            return _only(self._told(self._sender.send_texts(self._ids([to]), text)))
        return _only(self._told(self._sender.advance(self._queue(self._ids([to]), text))))

    def send_text_to(self, group: Sequence[str], text: str) -> list[Sent]:
        """Send a text to each of `group` through a session of its own; what cannot be sent says so.

        Raises:
            MalformedError: if the text is too long; nothing is queued then.
        """
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
        """Match a picture and send it.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse; nothing was sent.
            RefusedError, MessengerError: as `send_text`.
            ReportRefusedError: if a report was owed that cannot be made; the message was delivered.
        """
        return _only(self._attach([to], *self._take_picture(to, data), text))

    def send_picture_to(self, group: Sequence[str], data: bytes, text: str = "") -> list[Sent]:
        """Match a picture once and send it to each of `group`; what cannot be sent says so.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse; nothing was sent.
        """
        attached, notice = self._take_picture(", ".join(group), data)
        return [sent for sent, _ in self._attach(group, attached, notice, text)]

    def send_file(self, to: str, path: Path, text: str = "") -> Sent:
        """Send a file of up to 100 MiB. One that may be a picture is sent as one; a larger one is never
        whole in memory.

        Raises:
            PictureError: if it is no picture and the policy is to refuse, or too large; nothing was sent.
            StoreError: if it cannot be read, or not be kept until it is sent.
            RefusedError, MessengerError, ReportRefusedError: as `send_picture`.
        """
        return _only(self._attach([to], *self._take_file(to, path), text))

    def send_files(self, group: Sequence[str], paths: Sequence[Path], text: str = "") -> list[Sent]:
        """Send files to each of `group`, one message for each; what cannot be sent says so. All are handed
        over before the outcome of any is looked at, so that the time in between tells nothing.

        Raises:
            PictureError, StoreError: as `send_file`, for any of them; nothing was sent. The first names it.
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
            for row in self._queue(self._ids(group), text, attached)
        ]
        ends = self._sender.advance([row for row, _ in queued])
        return [self._sent(end, notice) for end, (_, notice) in zip(ends, queued, strict=True)]

    def _ids(self, group: Sequence[str]) -> dict[str, bytes]:
        return {to: self._base.rng.take(MESSAGE_ID_BYTES) for to in group}

    def _queue(
        self, message_ids: Mapping[str, bytes], text: str, attached: Attached | None = None
    ) -> list[Outgoing]:
        """Compose and queue a message to each recipient: its commitment is made before anything is asked.

        Raises:
            MalformedError: if the text is too long; nothing is queued then.
        """
        ref = None if attached is None else attached.ref
        now, refs = self._base.clock_ms(), () if ref is None else (ref,)
        contents = {
            to: compose(text, refs, now, self._base.rng, self._sender.to_tell(to)) for to in message_ids
        }
        try:
            return self._outbox.add(message_ids, contents, now, attached)
        except ProtocolError as error:
            raise MalformedError(error) from error

    def _take_picture(self, to: str, data: bytes) -> Taken:
        """Seal a picture for the accounts in `to` onto the disk, before anything is queued.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse.
        """
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
        """The same of a file; one that is too large for a picture is never whole in memory.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse, or is too large.
            StoreError: if it cannot be read.
        """
        chunks, size = read_chunks(path), path.stat().st_size if path.is_file() else 0
        if size <= DEFAULT_LIMITS.most_bytes:
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
        """How far messages came, and what stopped each, if something did."""
        return [(self._sent(one, notice), one.error) for one in ends]

    def _sent(self, progress: Progress, notice: str = "") -> Sent:
        row, report_id, kind = progress.row, progress.report_id, outcome_kind(progress.row)
        reported = report_id is not None and self._reporting.is_received(report_id)
        if progress.error is not None:
            notice = str(progress.error)
        return Sent(
            number=row.number,
            message_id=row.message_id,
            item=row.item,
            delivered=row.state in (SendState.SENT, SendState.DONE),
            outcome=kind,
            report_id=report_id,
            reported=reported,
            notice=notice or sent_notice(progress, kind, reported, self._base.config),
        )


def _only(ends: list[Ending]) -> Sent:
    """The one message's end; raises what stopped it."""
    ((sent, error),) = ends
    if error is not None:
        raise error
    return sent
