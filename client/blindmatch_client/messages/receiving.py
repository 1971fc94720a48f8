"""Receive messages: open them, save them with the account's new state, then acknowledge them.

    relay --Receive--> open --save content and account--> Download attachments --> complete, shown
                                                     +--sync--> Acknowledge

A message that cannot be opened is kept as a problem, and acknowledged too (recovery.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blindmatch_protocol.account_name import NOTICES, is_account, is_user
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.content import NAME_MOST, AttachmentRef, ClearMessage, Content
from blindmatch_protocol.messages.franking import MESSAGE_ID_LENGTH, Stamp
from blindmatch_protocol.messages.parts import AttachmentError, opened, verified
from blindmatch_protocol.messages.sealed_message import UNOPENED_MOST, Franked
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_client import errors
from blindmatch_client.messages.recovery import Recovery, Unopened
from blindmatch_client.messages.relay import RelayClient, build_stamp
from blindmatch_client.messenger.state import AccountKeeper
from blindmatch_client.settings import Base
from blindmatch_client.store.incoming import Asked, Came
from blindmatch_client.store.store_file import Files, read_chunks

if TYPE_CHECKING:
    from blindmatch_client.messenger.account import Account


class ReceivedFile(Redacted, Struct, frozen=True):
    """An attachment that came. It is kept sealed on the device and opened when it is read."""

    path: Path
    ref: AttachmentRef

    @property
    def media_type(self) -> str:
        """The media type that the sender gave."""
        return self.ref.media_type

    def read(self) -> bytes:
        """Return the whole content.

        Raises:
            AttachmentError: The file was altered on the device.
            StoreError: It cannot be read.
        """
        return b"".join(opened(read_chunks(self.path), self.ref))

    def save(self, path: Path) -> None:
        """Write the content to `path`, piece by piece; nothing is left there unless all of it is authentic.

        Raises:
            AttachmentError: The file was altered on the device.
            StoreError: It cannot be read, or `path` cannot be written.
        """
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                for piece in opened(read_chunks(self.path), self.ref):
                    file.write(piece)
            part.replace(path)
        except OSError as error:
            raise errors.StoreError(f"{path}: cannot be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)


class Received(Redacted, Struct, frozen=True):
    """A message that came.

    Attributes:
        sequence: the relay's number of it.
        sender: who sent it, as the relay says and the session proves.
        attachments: in order; one that could not be fetched is left out.
        sent_at_ms: by the sender's clock; 0 if it could not be opened.
        problem: what was wrong with it; empty if nothing.
        stamp: the relay's stamp on it, which lets the recipient complain to the centre; None if it gave none.
        from_centre: True if it was opened under the key of the centre's notices.
    """

    sequence: int
    sender: str
    text: str
    attachments: tuple[ReceivedFile, ...]
    sent_at_ms: int
    problem: str
    stamp: Stamp | None = None
    from_centre: bool = False

    @property
    def pictures(self) -> tuple[bytes, ...]:
        """The attachments' content, whole; raises what `ReceivedFile.read` raises."""
        return tuple(file.read() for file in self.attachments)


ASKED: Final = "its sender was asked to send it again"
REQUESTS: Final = {
    Asked.NO: "its sender has not been asked to send it again",
    Asked.QUEUED: "a request to send it again waits on this device",
    Asked.SENT: ASKED,
}
"""Words about the request for an unopened message, by how far it is when the problem is shown."""

ANSWERED: Final = "could not open messages of yours; they were queued to be sent again"
REPEATED: Final = "the message came before, under another id"
MOST_ATTACHMENT_BYTES: Final = 128 << 20
ACKNOWLEDGE_EVERY: Final = 200
"""Messages after which an acknowledgement is sent while more keep coming: the relay stores no more."""


class Receiver(Struct, frozen=True):
    """Receives an account's messages.

    Attributes:
        hear: notes the checkpoint in a message of a peer, which may be empty.
        recovery: asks for messages that cannot be opened.
        _came: messages that this call of `receive` saved and will show, so that they are not read again.
    """

    base: Base
    keeper: AccountKeeper
    files: Files
    relay: RelayClient
    hear: Callable[[str, bytes], None]
    recovery: Recovery
    _came: dict[int, Came] = field(default_factory=dict)

    def receive(self, wait_ms: int, on_complete: Callable[[int], None]) -> list[Received]:
        """Receive messages until none came for `wait_ms`.

        Args:
            on_complete: Called with the number of messages that were just saved with all their attachments.

        Returns:
            The messages that are complete now and were not shown before.

        Raises:
            ServiceError: The relay cannot be reached; what came before is kept and shown next time.
        """
        unacknowledged = 0

        def take(deliveries: Sequence[pb.Delivery]) -> None:
            nonlocal unacknowledged
            self._take(deliveries, on_complete)
            unacknowledged += len(deliveries)
            if unacknowledged >= ACKNOWLEDGE_EVERY:
                self._acknowledge()
                unacknowledged = 0

        try:
            try:
                self.relay.receive(wait_ms, take)
            finally:
                self._acknowledge()
            self._fetch_attachments()
            messages = self._list_messages(f"{_COMPLETE} AND shown = 0 ORDER BY sequence")
            shown = [(message.sequence,) for message in messages]
            self.base.store.run_each("UPDATE incoming SET shown = 1 WHERE sequence = ?", shown)
            return messages
        finally:
            self._came.clear()

    def list_inbox(self) -> list[Received]:
        """List all messages that are complete, shown or not."""
        return self._list_messages(f"{_COMPLETE} ORDER BY sequence")

    def _take(self, deliveries: Sequence[pb.Delivery], on_complete: Callable[[int], None]) -> None:
        """Open and save messages, with the account's new state, in one transaction; fetch attachments."""
        plain = 0
        with_attachments = set[int]()
        with self.keeper.saving(synced=False) as account:
            known = self._reopen_known(deliveries)
            for delivery in deliveries:
                if delivery.sequence in known:
                    continue
                known.add(delivery.sequence)
                if self._open(account, delivery):
                    with_attachments.add(delivery.sequence)
                else:
                    plain += 1
        if plain:
            on_complete(plain)
        if with_attachments:
            missing = self._fetch_attachments(min(with_attachments))
            on_complete(len(with_attachments - missing))

    def _reopen_known(self, deliveries: Sequence[pb.Delivery]) -> set[int]:
        """Mark messages that came before as not acknowledged, since they come again; return their numbers."""
        (newest,) = self.base.store.one("SELECT max(sequence) FROM incoming") or (None,)
        # the relay counts upwards, so most deliveries are above all that came: no search is needed
        if newest is None or all(delivery.sequence > newest for delivery in deliveries):
            return set()
        query = "UPDATE incoming SET acknowledged = 0 WHERE sequence IN (SELECT value FROM json_each(?))"
        numbers = json.dumps([delivery.sequence for delivery in deliveries])
        return {sequence for (sequence,) in self.base.store.all(f"{query} RETURNING sequence", numbers)}

    def _open(self, account: Account, delivery: pb.Delivery) -> bool:
        """Open and save a message, or save the problem; return True if it has attachments to fetch."""
        try:
            opened = self._read_plain(account, delivery)
        except (errors.MessengerError, ProtocolError) as error:
            if isinstance(error, errors.IdentityChangedError):
                account.note_identity(delivery.sender, error.identity)
            # the account is unchanged, so other messages are not affected; a copy was shown as it came first
            is_copy = isinstance(error, errors.ReplayedMessageError) and self._is_copy(delivery)
            has_id = len(delivery.message_id) == MESSAGE_ID_LENGTH
            is_lost = isinstance(error, errors.UNOPENED) and has_id and not is_copy
            self._save(delivery, None, str(error), is_copy, is_lost)
            return False
        content = opened.content
        problem = self.recovery.hear(delivery.sender, opened.unopened)
        if opened.unopened and not content.text and not content.attachments:
            self._save(delivery, None, problem or ANSWERED, shown=not problem)
            return False
        # a sender seals a message again if its session ended before the relay acknowledged it
        rows = self.base.store.all("SELECT sequence FROM incoming WHERE content_id = ?", content.id)
        if any(self._read(sequence).sender == delivery.sender for (sequence,) in rows):
            self._save(delivery, None, REPEATED, shown=True)
            return False
        if delivery.sender == NOTICES:  # the centre pads notices to one size, so that none shows its length
            content = replace(content, text=content.text.rstrip(" "))
        self._save(delivery, content, problem)
        self.hear(delivery.sender, content.checkpoint)
        return bool(content.attachments)

    def _is_copy(self, delivery: pb.Delivery) -> bool:
        """Tell if the relay delivered the same message before, accepted at the same time."""
        query = "SELECT sequence FROM incoming WHERE accepted_at_ms = ?"
        rows = self.base.store.all(query, delivery.accepted_at_ms)
        named = (delivery.sender, delivery.message_id)
        before = (self._read(sequence) for (sequence,) in rows)
        return any((came.sender, came.message_id) == named for came in before)

    def read_again(self, received: Sequence[Received]) -> list[Received]:
        """Return the messages with their problems as they stand now, such as that a sender was asked."""
        return [
            self._describe(message.sequence, self._read(message.sequence)) if message.problem else message
            for message in received
        ]

    def list_unopened(self) -> list[Unopened]:
        """List the latest unopened messages that no sender was asked for yet, in the order they came."""
        query = "SELECT sequence FROM incoming WHERE asked = 0 ORDER BY sequence DESC LIMIT ?"
        came = {sequence: self._read(sequence) for (sequence,) in self.base.store.all(query, UNOPENED_MOST)}
        return [
            Unopened(sequence, message.sender, message.message_id)
            for sequence, message in sorted(came.items())
        ]

    def _read_plain(self, account: Account, delivery: pb.Delivery) -> Franked:
        """Open a message. One in the clear is accepted if the design has no end-to-end encryption, and then
        no other; a sender must have the name of an account."""
        if delivery.sender != NOTICES and not is_user(delivery.sender):
            raise ProtocolError("delivery", "must be the name of an account", "sender")
        if self.base.design.info.end_to_end:
            return account.unseal(delivery.sender, delivery.sealed)
        return Franked(ClearMessage.decode(delivery.clear).content, b"", ())

    def _save(
        self,
        delivery: pb.Delivery,
        content: Content | None,
        problem: str,
        shown: bool = False,
        is_lost: bool = False,
    ) -> None:
        stamp = build_stamp(delivery.message_id, delivery.accepted_at_ms, delivery.stamp)
        contents = () if content is None else (content,)
        stamps = () if stamp is None else (stamp,)
        sender = delivery.sender if is_account(delivery.sender) else ascii(delivery.sender)[:NAME_MOST]
        came = Came(sender, contents, problem, stamps, delivery.message_id[:16])
        self._came[delivery.sequence] = came
        self.base.store.run(
            "INSERT INTO incoming (sequence, accepted_at_ms, shown, content_id, asked, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(delivery.sequence, delivery.accepted_at_ms, shown, None if content is None else content.id),
            Asked.NO if is_lost else None,
            self.base.store.sealed(came.encode(), "incoming.body", delivery.sequence),
        )
        for position in range(0 if content is None else len(content.attachments)):
            self.base.store.run(
                "INSERT INTO attachment (sequence, position) VALUES (?, ?)", delivery.sequence, position
            )

    def _acknowledge(self) -> None:
        """Sync what was saved to the disk, and acknowledge it; if that fails the relay delivers it again."""
        query = "UPDATE incoming SET acknowledged = 1 WHERE acknowledged = 0 RETURNING sequence"
        with self.base.store.transaction():
            rows = self.base.store.all(query)
        with suppress(errors.ServiceError):
            self.relay.acknowledge(sorted(sequence for (sequence,) in rows))

    def _fetch_attachments(self, since: int = 0) -> set[int]:
        """Fetch missing attachments of messages from `since` on; return the messages that still lack some."""
        missing = self.base.store.all(
            "SELECT sequence, position FROM attachment"
            " WHERE file IS NULL AND problem IS NULL AND sequence >= ? ORDER BY sequence, position",
            since,
        )
        return {
            sequence
            for sequence, position in missing
            if not self._fetch(sequence, position, self._read(sequence).content[0].attachments[position])
        }

    def _fetch(self, sequence: int, position: int, ref: AttachmentRef) -> bool:
        """Fetch an attachment, or note why it never will be; return False if it can be tried again later."""
        name = None
        problem = None
        if ref.padded_size > MOST_ATTACHMENT_BYTES:
            problem = f"an attachment is larger than {MOST_ATTACHMENT_BYTES} bytes and was not fetched"
        else:
            try:
                name = self.relay.download(ref, lambda blob: self.files.write(verified(blob, ref)))
            except (errors.MisbehavedError, AttachmentError) as error:
                problem = str(error)
            except errors.RefusedError as error:
                if error.status != "NOT_FOUND":
                    return False
                problem = str(error)
            except errors.ServiceError:
                return False
        self.base.store.run(
            "UPDATE attachment SET file = ?3, problem = sealed(?4, 'attachment.problem', ?5)"
            " WHERE sequence = ?1 AND position = ?2",
            sequence,
            position,
            name,
            problem,
            f"{sequence}/{position}",
        )
        return True

    def _list_messages(self, query: str) -> list[Received]:
        numbers = [sequence for (sequence,) in self.base.store.all(query)]
        return [self._describe(number, self._read(number)) for number in numbers]

    def _read(self, sequence: int) -> Came:
        if sequence in self._came:
            return self._came[sequence]
        query = "SELECT opened(body, 'incoming.body', sequence) FROM incoming WHERE sequence = ?"
        (body,) = self.base.store.one(query, sequence) or (b"",)
        return Came.decode(body)

    def list_files(self) -> set[str]:
        """List the files of sealed attachments of messages that came."""
        return {name for (name,) in self.base.store.all("SELECT file FROM attachment WHERE file IS NOT NULL")}

    def _describe(self, sequence: int, came: Came) -> Received:
        if not came.content:
            query = "SELECT asked FROM incoming WHERE sequence = ?"
            (asked,) = self.base.store.one(query, sequence) or (None,)
            problem = "; ".join(filter(None, [came.problem, REQUESTS.get(asked)]))
            return Received(sequence, came.sender, "", (), 0, problem)
        (content,) = came.content
        stamp = next(iter(came.stamp), None)
        centre = self.base.config.centre
        # a session with the centre's account is always under the configured key
        from_centre = (
            centre is not None and self.base.design.info.end_to_end and came.sender == centre.account
        )
        if not content.attachments:
            return Received(
                sequence, came.sender, content.text, (), content.sent_at, came.problem, stamp, from_centre
            )
        rows: Sequence[tuple[str | None, str | None]] = self.base.store.all(
            "SELECT file, opened(problem, 'attachment.problem', sequence || '/' || position) FROM attachment"
            " WHERE sequence = ? ORDER BY position",
            sequence,
        )
        pairs = zip(rows, content.attachments, strict=True)
        files = tuple(ReceivedFile(self.files.path(name), ref) for (name, _), ref in pairs if name)
        problems = filter(None, [came.problem, *(text for _, text in rows)])
        problem = "; ".join(problems)
        return Received(
            sequence, came.sender, content.text, files, content.sent_at, problem, stamp, from_centre
        )


_COMPLETE: Final = (
    "SELECT sequence FROM incoming"
    " WHERE NOT EXISTS (SELECT 1 FROM attachment"
    " WHERE attachment.sequence = incoming.sequence AND file IS NULL AND attachment.problem IS NULL)"
)
"""Query for the messages of which no attachment is missing any more."""
