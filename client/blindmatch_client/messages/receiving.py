"""Messages on their way in: opened, saved with the account's new state, then acknowledged.

    relay --Receive--> open --save content and account--> Download attachments --> complete, shown
                                                     +--sync--> Acknowledge

A message that cannot be opened is kept as a problem and acknowledged too (recovery.py).
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
from blindmatch_client.messages.relay import RelayClient, stamp_of
from blindmatch_client.messenger.state import AccountKeeper
from blindmatch_client.settings import Base
from blindmatch_client.store.incoming import Asked, Came
from blindmatch_client.store.store_file import Files, read_chunks

if TYPE_CHECKING:
    from blindmatch_client.messenger.account import Account


class ReceivedFile(Redacted, Struct, frozen=True):
    """An attachment that came; it lies sealed on the device and is opened when it is read."""

    path: Path
    ref: AttachmentRef

    @property
    def media_type(self) -> str:
        """As the sender says."""
        return self.ref.media_type

    def read(self) -> bytes:
        """All of it, in memory; `AttachmentError` if the file was altered on the device, `StoreError` if it
        cannot be read."""
        return b"".join(opened(read_chunks(self.path), self.ref))

    def save(self, path: Path) -> None:
        """Write it to `path`, piece by piece; nothing stands there unless all of it is authentic. Raises as
        `read`, and `StoreError` if it cannot be written."""
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
        attachments: in order; one that could not be had is left out.
        sent_at_ms: by the sender's clock; 0 if it could not be opened.
        problem: what was wrong with it; empty if nothing.
        stamp: the relay's, for the centre, should the recipient ever complain; None if it gave none.
        from_centre: it was opened under the key that the centre's notices come from.
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
"""What is true, when a problem is shown, of a message that could not be opened."""

ANSWERED: Final = "could not open messages of yours; they were queued to be sent again"
REPEATED: Final = "the message came before, under another id"
MOST_ATTACHMENT_BYTES: Final = 128 << 20
ACKNOWLEDGE_EVERY: Final = 200
"""While messages keep coming, so many are acknowledged at a time: the relay keeps no more of them."""


class Receiver(Struct, frozen=True):
    """Receives an account's messages.

    Attributes:
        hear: takes note of the checkpoint that a message of a peer bears, which may be none.
        recovery: of messages that cannot be opened.
        _came: what this call of `receive` saved and is to show, so that it is not read again.
    """

    base: Base
    keeper: AccountKeeper
    files: Files
    relay: RelayClient
    hear: Callable[[str, bytes], None]
    recovery: Recovery
    _came: dict[int, Came] = field(default_factory=dict)

    def receive(self, wait_ms: int, on_complete: Callable[[int], None]) -> list[Received]:
        """Messages that are complete now and were not shown before; more are waited for until none came for
        `wait_ms`. `on_complete` is told of every so many more that are saved with all that belongs to them.
        `ServiceError` if the relay cannot be reached; what came before that is kept and shown next time."""
        owed = 0

        def take(some: Sequence[pb.Delivery]) -> None:
            nonlocal owed
            self._take(some, on_complete)
            owed += len(some)
            if owed >= ACKNOWLEDGE_EVERY:
                self._acknowledge()
                owed = 0

        try:
            try:
                self.relay.receive(wait_ms, take)
            finally:
                self._acknowledge()
            self._fetch_attachments()
            found = self._messages(f"{_COMPLETE} AND shown = 0 ORDER BY sequence")
            shown = [(message.sequence,) for message in found]
            self.base.store.run_each("UPDATE incoming SET shown = 1 WHERE sequence = ?", shown)
            return found
        finally:
            self._came.clear()

    def inbox(self) -> list[Received]:
        return self._messages(f"{_COMPLETE} ORDER BY sequence")

    def _take(self, some: Sequence[pb.Delivery], on_complete: Callable[[int], None]) -> None:
        """Open and save messages, with the account's new state, in one transaction; fetch what they bear."""
        plain = 0
        bearing = set[int]()
        with self.keeper.saving(synced=False) as account:
            known = self._known(some)
            for delivery in some:
                if delivery.sequence in known:
                    continue
                known.add(delivery.sequence)
                if self._open(account, delivery):
                    bearing.add(delivery.sequence)
                else:
                    plain += 1
        if plain:
            on_complete(plain)
        if bearing:
            missing = self._fetch_attachments(min(bearing))
            on_complete(len(bearing - missing))

    def _known(self, some: Sequence[pb.Delivery]) -> set[int]:
        """Numbers of messages that came before; since they come again, the relay was not told so. The relay
        counts upwards, so most are above all that came."""
        (newest,) = self.base.store.one("SELECT max(sequence) FROM incoming") or (None,)
        if newest is None or all(delivery.sequence > newest for delivery in some):
            return set()
        query = "UPDATE incoming SET acknowledged = 0 WHERE sequence IN (SELECT value FROM json_each(?))"
        numbers = json.dumps([delivery.sequence for delivery in some])
        return {sequence for (sequence,) in self.base.store.all(f"{query} RETURNING sequence", numbers)}

    def _open(self, account: Account, delivery: pb.Delivery) -> bool:
        try:
            opened = self._plain(account, delivery)
        except (errors.MessengerError, ProtocolError) as error:
            if isinstance(error, errors.IdentityChangedError):
                account.note_identity(delivery.sender, error.identity)
            # the account is as it was, and so are the others' messages; a repeat was shown when it came first
            repeat = isinstance(error, errors.ReplayedMessageError) and self._is_copy(delivery)
            named = len(delivery.message_id) == MESSAGE_ID_LENGTH
            lost = isinstance(error, errors.UNOPENED) and named and not repeat
            self._save(delivery, None, str(error), repeat, lost)
            return False
        content = opened.content
        problem = self.recovery.hear(delivery.sender, opened.unopened)
        if opened.unopened and not content.text and not content.attachments:
            self._save(delivery, None, problem or ANSWERED, shown=not problem)
            return False
        # sealed again, where the session ended before the relay said that it has it
        rows = self.base.store.all("SELECT sequence FROM incoming WHERE content_id = ?", content.id)
        if any(self._read(sequence).sender == delivery.sender for (sequence,) in rows):
            self._save(delivery, None, REPEATED, shown=True)
            return False
        if delivery.sender == NOTICES:  # all have one size on their way, and no length to be known by here
            content = replace(content, text=content.text.rstrip(" "))
        self._save(delivery, content, problem)
        self.hear(delivery.sender, content.checkpoint)
        return bool(content.attachments)

    def _is_copy(self, delivery: pb.Delivery) -> bool:
        """Did the relay deliver the same message before? It says when it accepted one."""
        query = "SELECT sequence FROM incoming WHERE accepted_at_ms = ?"
        rows = self.base.store.all(query, delivery.accepted_at_ms)
        named = (delivery.sender, delivery.message_id)
        before = (self._read(sequence) for (sequence,) in rows)
        return any((came.sender, came.message_id) == named for came in before)

    def read_again(self, received: Sequence[Received]) -> list[Received]:
        """Return the messages with what is true of their problems now, such as that a sender was asked."""
        return [
            self._received(one.sequence, self._read(one.sequence)) if one.problem else one for one in received
        ]

    def unopened(self) -> list[Unopened]:
        query = "SELECT sequence FROM incoming WHERE asked = 0 ORDER BY sequence DESC LIMIT ?"
        came = {sequence: self._read(sequence) for (sequence,) in self.base.store.all(query, UNOPENED_MOST)}
        return [Unopened(sequence, one.sender, one.message_id) for sequence, one in sorted(came.items())]

    def _plain(self, account: Account, delivery: pb.Delivery) -> Franked:
        """What a message says; one in the clear is taken only where the design has no end-to-end encryption,
        and there no other. A sender that no account can be called is not believed."""
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
        lost: bool = False,
    ) -> None:
        stamp = stamp_of(delivery.message_id, delivery.accepted_at_ms, delivery.stamp)
        said = () if content is None else (content,)
        stamps = () if stamp is None else (stamp,)
        sender = delivery.sender if is_account(delivery.sender) else ascii(delivery.sender)[:NAME_MOST]
        came = self._came[delivery.sequence] = Came(sender, said, problem, stamps, delivery.message_id[:16])
        self.base.store.run(
            "INSERT INTO incoming (sequence, accepted_at_ms, shown, content_id, asked, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(delivery.sequence, delivery.accepted_at_ms, shown, None if content is None else content.id),
            Asked.NO if lost else None,
            self.base.store.sealed(came.encode(), "incoming.body", delivery.sequence),
        )
        for position in range(0 if content is None else len(content.attachments)):
            self.base.store.run(
                "INSERT INTO attachment (sequence, position) VALUES (?, ?)", delivery.sequence, position
            )

    def _acknowledge(self) -> None:
        """Bring what is saved to the disk, and acknowledge it; what fails here comes again."""
        query = "UPDATE incoming SET acknowledged = 1 WHERE acknowledged = 0 RETURNING sequence"
        with self.base.store.transaction():
            rows = self.base.store.all(query)
        with suppress(errors.ServiceError):
            self.relay.acknowledge(sorted(sequence for (sequence,) in rows))

    def _fetch_attachments(self, since: int = 0) -> set[int]:
        """Get what is missing of messages from sequence `since` on; those that still lack something."""
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

    def _messages(self, query: str) -> list[Received]:
        numbers = [sequence for (sequence,) in self.base.store.all(query)]
        return [self._received(number, self._read(number)) for number in numbers]

    def _read(self, sequence: int) -> Came:
        if sequence in self._came:
            return self._came[sequence]
        query = "SELECT opened(body, 'incoming.body', sequence) FROM incoming WHERE sequence = ?"
        (body,) = self.base.store.one(query, sequence) or (b"",)
        return Came.decode(body)

    def list_files(self) -> set[str]:
        """Sealed attachments of messages that came."""
        return {name for (name,) in self.base.store.all("SELECT file FROM attachment WHERE file IS NOT NULL")}

    def _received(self, sequence: int, came: Came) -> Received:
        if not came.content:
            query = "SELECT asked FROM incoming WHERE sequence = ?"
            (asked,) = self.base.store.one(query, sequence) or (None,)
            problem = "; ".join(filter(None, [came.problem, REQUESTS.get(asked)]))
            return Received(sequence, came.sender, "", (), 0, problem)
        (said,) = came.content
        stamp = next(iter(came.stamp), None)
        centre = self.base.config.centre
        # what was opened of the centre's own account was under the configured key
        official = centre is not None and self.base.design.info.end_to_end and came.sender == centre.account
        if not said.attachments:
            return Received(sequence, came.sender, said.text, (), said.sent_at, came.problem, stamp, official)
        rows: Sequence[tuple[str | None, str | None]] = self.base.store.all(
            "SELECT file, opened(problem, 'attachment.problem', sequence || '/' || position) FROM attachment"
            " WHERE sequence = ? ORDER BY position",
            sequence,
        )
        pairs = zip(rows, said.attachments, strict=True)
        files = tuple(ReceivedFile(self.files.path(name), ref) for (name, _), ref in pairs if name)
        problems = filter(None, [came.problem, *(text for _, text in rows)])
        problem = "; ".join(problems)
        return Received(sequence, came.sender, said.text, files, said.sent_at, problem, stamp, official)


_COMPLETE: Final = (
    "SELECT sequence FROM incoming"
    " WHERE NOT EXISTS (SELECT 1 FROM attachment"
    " WHERE attachment.sequence = incoming.sequence AND file IS NULL AND attachment.problem IS NULL)"
)
"""Messages of which nothing is missing any more."""
