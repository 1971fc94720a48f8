"""Messages on their way in: opened, saved with the account's new state, then acknowledged.

    relay --Receive--> open --save content and account--> Acknowledge --> Download attachments --> shown

A message that cannot be opened is kept as a problem and acknowledged too, or it would come for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from blindmatch_protocol.content import Content
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_client.errors import MisbehavedError, RefusedError, ServiceError
from blindmatch_client.keys import AccountKeeper
from blindmatch_client.messenger import MessengerError, open_attachment
from blindmatch_client.messenger.errors import ReplayedMessageError
from blindmatch_client.relay import RelayClient
from blindmatch_client.store import Store

MOST_ATTACHMENT_BYTES: Final = 128 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Received:
    """A message that came.

    Attributes:
        sequence: the relay's number of it.
        sender: who sent it, as the relay says and the session proves.
        text: its text; empty if it could not be opened.
        pictures: its attachments, in order; one that could not be had is left out.
        media_types: of the attachments in `pictures`.
        sent_at_ms: by the sender's clock; 0 if it could not be opened.
        problem: what was wrong with it; empty if nothing.
    """

    sequence: int
    sender: str
    text: str
    pictures: tuple[bytes, ...]
    media_types: tuple[str, ...]
    sent_at_ms: int
    problem: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """Receives an account's messages."""

    keeper: AccountKeeper
    store: Store
    relay: RelayClient

    def receive(self, wait_ms: int) -> list[Received]:
        """Messages that are complete now and were not shown before.

        Raises:
            ServiceError: if the relay cannot be reached; what came before that is kept and shown next time.
        """
        try:
            self.relay.receive(wait_ms, self._take)
        finally:
            self._acknowledge()
        self._fetch_attachments()
        return self._fresh()

    def inbox(self) -> list[Received]:
        """All messages that came and are complete, shown or not."""
        rows = self.store.all(f"{_MESSAGES} ORDER BY sequence")
        return [self._received(*row) for row in rows]

    def _take(self, delivery: pb.Delivery) -> None:
        """Open and save one message, with the account's new state, in one transaction."""
        known = "SELECT 1 FROM incoming WHERE sequence = ?"
        if self.store.one(known, delivery.sequence) is not None:
            return
        try:
            with self.keeper.saving() as account:
                self._save(delivery, account.decrypt(delivery.sender, delivery.sealed), "")
        except MessengerError as error:
            # a repeat was shown when it came first
            self._save(delivery, None, str(error), isinstance(error, ReplayedMessageError))

    def _save(
        self, delivery: pb.Delivery, content: Content | None, problem: str, shown: bool = False
    ) -> None:
        with self.store.transaction():
            self.store.run(
                "INSERT INTO incoming (sequence, sender, content, accepted_at_ms, problem, shown)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                delivery.sequence,
                delivery.sender,
                None if content is None else content.encode(),
                delivery.accepted_at_ms,
                problem,
                shown,
            )
            for position in range(0 if content is None else len(content.attachments)):
                self.store.run(
                    "INSERT INTO attachment (sequence, position) VALUES (?, ?)", delivery.sequence, position
                )

    def _acknowledge(self) -> None:
        """Acknowledge what is saved; what fails here is acknowledged next time."""
        rows = self.store.all("SELECT sequence FROM incoming WHERE acknowledged = 0 ORDER BY sequence")
        sequences = [sequence for (sequence,) in rows]
        try:
            self.relay.acknowledge(sequences)
        except ServiceError:
            return
        with self.store.transaction():
            for sequence in sequences:
                self.store.run("UPDATE incoming SET acknowledged = 1 WHERE sequence = ?", sequence)

    def _fetch_attachments(self) -> None:
        missing = self.store.all(
            "SELECT sequence, position, content FROM attachment JOIN incoming USING (sequence)"
            " WHERE data IS NULL AND attachment.problem = '' ORDER BY sequence, position"
        )
        for sequence, position, content in missing:
            self._fetch(sequence, position, Content.decode(content))

    def _fetch(self, sequence: int, position: int, content: Content) -> None:
        """Get one attachment; a fault that may pass leaves it for the next time."""
        ref, data, problem = content.attachments[position], None, ""
        if ref.padded_size > MOST_ATTACHMENT_BYTES:
            problem = f"an attachment is larger than {MOST_ATTACHMENT_BYTES} bytes and was not fetched"
        else:
            try:
                data = open_attachment(self.relay.download(ref), ref)
            except (MisbehavedError, MessengerError) as error:
                problem = str(error)
            except RefusedError as error:
                problem = str(error) if error.status == "NOT_FOUND" else ""
            except ServiceError:
                return
        self.store.run(
            "UPDATE attachment SET data = ?, problem = ? WHERE sequence = ? AND position = ?",
            data,
            problem,
            sequence,
            position,
        )

    def _fresh(self) -> list[Received]:
        rows = self.store.all(f"{_MESSAGES} AND shown = 0 ORDER BY sequence")
        found = [self._received(*row) for row in rows]
        with self.store.transaction():
            for message in found:
                self.store.run("UPDATE incoming SET shown = 1 WHERE sequence = ?", message.sequence)
        return found

    def _received(self, sequence: int, sender: str, content: bytes | None, problem: str) -> Received:
        if content is None:
            return Received(sequence, sender, "", (), (), 0, problem)
        said = Content.decode(content)
        rows: Sequence[tuple[bytes | None, str]] = self.store.all(
            "SELECT data, problem FROM attachment WHERE sequence = ? ORDER BY position", sequence
        )
        pairs = [
            (data, ref.media_type) for (data, _), ref in zip(rows, said.attachments, strict=True) if data
        ]
        problems = [text for _, text in rows if text]
        pictures, types = tuple(data for data, _ in pairs), tuple(kind for _, kind in pairs)
        return Received(
            sequence,
            sender,
            said.text,
            pictures,
            types,
            said.sent_at,
            "; ".join([problem, *problems]).strip("; "),
        )


_MESSAGES: Final = (
    "SELECT sequence, sender, content, problem FROM incoming WHERE NOT EXISTS (SELECT 1 FROM attachment"
    " WHERE attachment.sequence = incoming.sequence AND data IS NULL AND attachment.problem = '')"
)
"""Messages of which nothing is missing any more."""
