"""Messages on their way in: opened, saved with the account's new state, then acknowledged.

    relay --Receive--> open --save content and account--> Download attachments --> complete, shown
                                                     +--> Acknowledge

What came while others were saved is saved together, and many are acknowledged together. A message that cannot
be opened is kept as a problem and acknowledged too, or it would come for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindmatch_protocol.content import AttachmentRef, Content
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_client.errors import MisbehavedError, RefusedError, ServiceError, StoreError
from blindmatch_client.files import Files, read_chunks
from blindmatch_client.keys import AccountKeeper
from blindmatch_client.messenger import Account, MessengerError
from blindmatch_client.messenger.attachment import opened, verified
from blindmatch_client.messenger.errors import IdentityChangedError, ReplayedMessageError
from blindmatch_client.relay import RelayClient
from blindmatch_client.store import Store

MOST_ATTACHMENT_BYTES: Final = 128 << 20
ACKNOWLEDGE_EVERY: Final = 200
"""While messages keep coming, so many are acknowledged at a time: the relay keeps no more of them."""


@dataclass(frozen=True, slots=True, repr=False)
class ReceivedFile:
    """An attachment that came; it lies sealed on the device and is opened when it is read."""

    path: Path
    ref: AttachmentRef

    @property
    def media_type(self) -> str:
        """As the sender says."""
        return self.ref.media_type

    def read(self) -> bytes:
        """All of it, in memory.

        Raises:
            AttachmentError: if the file was altered on the device.
            StoreError: if it cannot be read.
        """
        return b"".join(opened(read_chunks(self.path), self.ref))

    def save(self, path: Path) -> None:
        """Write it to `path`, piece by piece; nothing stands there unless all of it is authentic.

        Raises:
            AttachmentError: if the file was altered on the device.
            StoreError: if one cannot be read or written.
        """
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                for piece in opened(read_chunks(self.path), self.ref):
                    file.write(piece)
            part.replace(path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, repr=False)
class Received:
    """A message that came.

    Attributes:
        sequence: the relay's number of it.
        sender: who sent it, as the relay says and the session proves.
        text: its text; empty if it could not be opened.
        attachments: in order; one that could not be had is left out.
        sent_at_ms: by the sender's clock; 0 if it could not be opened.
        problem: what was wrong with it; empty if nothing.
    """

    sequence: int
    sender: str
    text: str
    attachments: tuple[ReceivedFile, ...]
    sent_at_ms: int
    problem: str

    @property
    def pictures(self) -> tuple[bytes, ...]:
        """The attachments' content, whole; raises what `ReceivedFile.read` raises."""
        return tuple(file.read() for file in self.attachments)

    @property
    def media_types(self) -> tuple[str, ...]:
        """Of the attachments."""
        return tuple(file.media_type for file in self.attachments)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Receives an account's messages."""

    keeper: AccountKeeper
    store: Store
    files: Files
    relay: RelayClient

    def receive(self, wait_ms: int, on_complete: Callable[[int], None]) -> list[Received]:
        """Messages that are complete now and were not shown before.

        Args:
            wait_ms: wait for more so long after the last one.
            on_complete: told of every so many more messages that are on disk with all that belongs to
                them, as soon as they are.

        Raises:
            ServiceError: if the relay cannot be reached; what came before that is kept and shown next time.
        """
        owed = 0

        def take(some: Sequence[pb.Delivery]) -> None:
            nonlocal owed
            self._take(some, on_complete)
            owed += len(some)
            if owed >= ACKNOWLEDGE_EVERY:
                self._acknowledge()
                owed = 0

        try:
            self.relay.receive(wait_ms, take)
        finally:
            self._acknowledge()
        self._fetch_attachments()
        return self._fresh()

    def inbox(self) -> list[Received]:
        """All messages that came and are complete, shown or not."""
        rows = self.store.all(f"{_MESSAGES} ORDER BY sequence")
        return [self._received(*row) for row in rows]

    def _take(self, some: Sequence[pb.Delivery], on_complete: Callable[[int], None]) -> None:
        """Open and save messages, with the account's new state, in one transaction; fetch what they bear."""
        plain, bearing = 0, set[int]()
        with self.keeper.saving() as account:
            for delivery in some:
                if self._is_known(delivery.sequence):
                    continue
                if self._open(account, delivery):
                    bearing.add(delivery.sequence)
                else:
                    plain += 1
        if plain:
            on_complete(plain)
        if bearing:
            missing = self._fetch_attachments(min(bearing))
            on_complete(len(bearing - missing))

    def _is_known(self, sequence: int) -> bool:
        return self.store.one("SELECT 1 FROM incoming WHERE sequence = ?", sequence) is not None

    def _open(self, account: Account, delivery: pb.Delivery) -> bool:
        """Does it bear attachments?"""
        try:
            content = account.decrypt(delivery.sender, delivery.sealed)
        except MessengerError as error:
            if isinstance(error, IdentityChangedError):
                account.note_identity(delivery.sender, error.identity)
            # the account is as it was, and so are the others' messages; a repeat was shown when it came first
            self._save(delivery, None, str(error), isinstance(error, ReplayedMessageError))
            return False
        self._save(delivery, content, "")
        return bool(content.attachments)

    def _save(
        self, delivery: pb.Delivery, content: Content | None, problem: str, shown: bool = False
    ) -> None:
        self.store.run(
            "INSERT INTO incoming (sequence, sender, content, accepted_at_ms, problem, shown) VALUES"
            " (?1, sealed(?2, 'incoming.sender', ?1), sealed(?3, 'incoming.content', ?1), ?4,"
            " sealed(?5, 'incoming.problem', ?1), ?6)",
            delivery.sequence,
            delivery.sender,
            None if content is None else content.encode(),
            delivery.accepted_at_ms,
            problem or None,
            shown,
        )
        for position in range(0 if content is None else len(content.attachments)):
            self.store.run(
                "INSERT INTO attachment (sequence, position) VALUES (?, ?)", delivery.sequence, position
            )

    def _acknowledge(self) -> None:
        """Acknowledge what is saved; what fails here is acknowledged next time.

        That it was done is not synced: without it the relay is told once more.
        """
        rows = self.store.all("SELECT sequence FROM incoming WHERE acknowledged = 0 ORDER BY sequence")
        sequences = [sequence for (sequence,) in rows]
        try:
            self.relay.acknowledge(sequences)
        except ServiceError:
            return
        with self.store.transaction(synced=False):
            self.store.run_each("UPDATE incoming SET acknowledged = 1 WHERE sequence = ?", rows)

    def _fetch_attachments(self, since: int = 0) -> set[int]:
        """Get what is missing of messages from sequence `since` on; those that still lack something."""
        missing = self.store.all(
            "SELECT sequence, position, opened(content, 'incoming.content', sequence)"
            " FROM attachment JOIN incoming USING (sequence)"
            " WHERE file IS NULL AND attachment.problem IS NULL AND sequence >= ?"
            " ORDER BY sequence, position",
            since,
        )
        return {
            sequence
            for sequence, position, content in missing
            if not self._fetch(sequence, position, Content.decode(content))
        }

    def _fetch(self, sequence: int, position: int, content: Content) -> bool:
        """Get one attachment; False: a fault that may pass leaves it for the next time."""
        ref, name, problem = content.attachments[position], None, None
        if ref.padded_size > MOST_ATTACHMENT_BYTES:
            problem = f"an attachment is larger than {MOST_ATTACHMENT_BYTES} bytes and was not fetched"
        else:
            try:
                name = self.relay.download(ref, lambda blob: self.files.write(verified(blob, ref)))
            except (MisbehavedError, MessengerError) as error:
                problem = str(error)
            except RefusedError as error:
                if error.status != "NOT_FOUND":
                    return False
                problem = str(error)
            except ServiceError:
                return False
        self.store.run(
            "UPDATE attachment SET file = ?3, problem = sealed(?4, 'attachment.problem', ?5)"
            " WHERE sequence = ?1 AND position = ?2",
            sequence,
            position,
            name,
            problem,
            _row(sequence, position),
        )
        return True

    def _fresh(self) -> list[Received]:
        rows = self.store.all(f"{_MESSAGES} AND shown = 0 ORDER BY sequence")
        found = [self._received(*row) for row in rows]
        shown = [(message.sequence,) for message in found]
        self.store.run_each("UPDATE incoming SET shown = 1 WHERE sequence = ?", shown)
        return found

    def files_kept(self) -> set[str]:
        """Sealed attachments of messages that came."""
        return {name for (name,) in self.store.all("SELECT file FROM attachment WHERE file IS NOT NULL")}

    def _received(self, sequence: int, sender: str, content: bytes | None, problem: str | None) -> Received:
        if content is None:
            return Received(sequence, sender, "", (), 0, problem or "")
        said = Content.decode(content)
        rows: Sequence[tuple[str | None, str | None]] = self.store.all(
            "SELECT file, opened(problem, 'attachment.problem', sequence || '/' || position) FROM attachment"
            " WHERE sequence = ? ORDER BY position",
            sequence,
        )
        pairs = zip(rows, said.attachments, strict=True)
        files = tuple(ReceivedFile(self.files.path(name), ref) for (name, _), ref in pairs if name)
        problems = filter(None, [problem, *(text for _, text in rows)])
        return Received(sequence, sender, said.text, files, said.sent_at, "; ".join(problems))


def _row(sequence: int, position: int) -> str:
    """What an attachment's sealed problem is bound to."""
    return f"{sequence}/{position}"


_MESSAGES: Final = (
    "SELECT sequence, opened(sender, 'incoming.sender', sequence),"
    " opened(content, 'incoming.content', sequence), opened(problem, 'incoming.problem', sequence)"
    " FROM incoming WHERE NOT EXISTS (SELECT 1 FROM attachment"
    " WHERE attachment.sequence = incoming.sequence AND file IS NULL AND attachment.problem IS NULL)"
)
"""Messages of which nothing is missing any more."""
