"""Messages on their way out, each a row that moves forward; what is attached has a row of its own.

       <--sessions end--
QUEUED --upload, seal--> SEALED --relay has it--> SENT --report queued, if any--> DONE
  |  no relay for it        |                       |
  +--------------> FAILED   |                       +-- waits here while matching is DUE
                            +--relay has it, and it bears no picture------------> DONE

What is SEALED for a session that ends is QUEUED once more, under another id: the relay may have the message
as it was sealed, and takes no other under its id. Whoever can open both shows one of them (receiving.py).

matching:  NONE (no picture) | DUE --> DECIDED | SKIPPED

A row that is DONE or FAILED is deleted; what the user is to be told of it is kept apart (ended.py). Whoever
moves one forward has it in memory; it is read again only after a start, or to be tried again. What a row says
is sealed whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Text, UInt, Variable, decode_any
from blindmatch_protocol.codec import Sequence as Several
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Flag, Label, Match, NoMatch, Outcome, Undisclosed, Voucher
from blindmatch_protocol.messages import franking
from blindmatch_protocol.messages.content import NAME_MOST, AttachmentRef, Content
from blindmatch_protocol.messages.franking import MESSAGE_ID_LENGTH, Evidence, Stamp
from blindmatch_protocol.messages.sealed_message import UNOPENED_MOST
from blindmatch_protocol.picture.decode import Picture
from msgspec import Struct

from blindmatch_client.store.store import Store


class SendState(StrEnum):
    QUEUED = "queued"
    SEALED = "sealed"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"


class MatchState(StrEnum):
    NONE = "none"
    DUE = "due"
    DECIDED = "decided"
    SKIPPED = "skipped"


class Attached(Redacted, Struct, eq=False):
    """An attachment on its way out, one for all messages that bear it.

    Attributes:
        file: the sealed attachment on this device; None once no message needs it.
        ref: names the blob as the relay knows it, once it is `uploaded`; None with `file`.
        outcome: of matching, with the epoch it was asked in and the time, once it is DECIDED.
        owed: the id of the report or voucher that was made of it; empty before.
        taken: in memory alone: the picture, if the user attached it just now.
    """

    item: int
    matching: MatchState
    file: str | None
    ref: AttachmentRef | None
    uploaded: bool = False
    outcome: Outcome | None = None
    epoch: int = 0
    matched_at_ms: int = 0
    owed: bytes = b""
    taken: Picture | None = None


class Outgoing(Redacted, Struct, eq=False):
    """One message to one recipient.

    `content`, made when the message is queued, names the attachment as it was then; `sealed` is there while
    it is SEALED. Both are dropped once they are not needed. `problem` says why it waits or failed.
    `evidence` is in memory alone: what its picture was asked about with, if that was done since. `named` says
    whether that names the recipient: if no other message was to bear the picture. `stamps` are the relay's,
    once it has the message: with the recipient, and without. `unopened` are messages of the recipient's that
    it asks for again; `resent` counts how often it was sent before, because the recipient could not open it.
    `waited` is in memory alone: an earlier call left the message waiting, and its user was told so.
    """

    number: int
    message_id: bytes
    queued_at_ms: int
    state: SendState
    recipient: str
    content: Content | None = None
    sealed: bytes = b""
    problem: str = ""
    attached: Attached | None = None
    evidence: Evidence | None = None
    named: bool = True
    stamps: tuple[Stamp, ...] = ()
    unopened: tuple[bytes, ...] = ()
    resent: int = 0
    waited: bool = False

    @property
    def item(self) -> int | None:
        """Return the number of its attachment, or None if it has none."""
        return None if self.attached is None else self.attached.item

    @property
    def matching(self) -> MatchState:
        """Return the state of its picture's matching."""
        return MatchState.NONE if self.attached is None else self.attached.matching

    def disclose(self, sender: str) -> Evidence:
        """Return what a report discloses of the message beside its picture; computed once."""
        if self.evidence is None:
            assert self.content is not None
            self.evidence = franking.disclose(self.content, sender, self.recipient, 0, self.named)
        return self.evidence


_NO_MATCH = b"\x00"
_UNDISCLOSED = b"\x01"
_MATCH = b"\x02"
_VOUCHER = b"\x03"
_FLAG = b"\x04"


def encode_outcome(outcome: Outcome) -> bytes:
    """Encode an outcome for the store: a byte for its kind, then its message."""
    match outcome:
        case NoMatch():
            return _NO_MATCH
        case Undisclosed():
            return _UNDISCLOSED
        case Match(label):
            return _MATCH + label.encode()
        case Voucher(body):
            return _VOUCHER + body.encode()
        case Flag():
            return _FLAG + outcome.encode()


def decode_outcome(design: AnyDesign, stored: bytes) -> Outcome:
    """Read a stored outcome; `ProtocolError` if it is none of `design`."""
    kind = stored[:1]
    body = stored[1:]
    if kind == _MATCH:
        return Match(Label.decode(body))
    if kind == _VOUCHER:
        voucher: Message = decode_any(design.vouchers, body, f"{design.info.name}/voucher")
        return Voucher(voucher)
    if kind == _FLAG:
        return Flag.decode(body, "outcome")
    if stored not in (_NO_MATCH, _UNDISCLOSED):
        raise ProtocolError("outcome", "must be one of five kinds", "kind")
    return NoMatch() if stored == _NO_MATCH else Undisclosed()


REQUEST_TAG: Final = b"blindmatch/matching-request/1"
REQUEST_ID_BYTES: Final = 16


class _Said(Message, tag=0xE0, name="device/outgoing"):
    """The sealed part of a message's row."""

    recipient: Annotated[str, Text(NAME_MOST)]
    content: Annotated[tuple[Content, ...], Several(Nested(Content), 1)]
    sealed: Annotated[bytes, Variable(1 << 20)]
    problem: Annotated[str, Text(1 << 16)]
    stamps: Annotated[tuple[Stamp, ...], Several(Nested(Stamp), 2)]
    unopened: Annotated[tuple[bytes, ...], Several(Fixed(MESSAGE_ID_LENGTH), UNOPENED_MOST)]
    resent: Annotated[int, UInt(8)]
    named: Annotated[int, UInt(8)]


class _Kept(Message, tag=0xE1, name="device/attached"):
    """The sealed part of an attachment's row."""

    matching: Annotated[str, Text(16)]
    file: Annotated[str, Text(64)]
    uploaded: Annotated[int, UInt(8)]
    ref: Annotated[tuple[AttachmentRef, ...], Several(Nested(AttachmentRef), 1)]
    outcome: Annotated[bytes, Variable(16 << 20)]
    epoch: Annotated[int, UInt(64)]
    matched_at_ms: Annotated[int, UInt(64)]
    owed: Annotated[bytes, Variable(REQUEST_ID_BYTES)]


class Outbox:
    def __init__(self, store: Store, design: AnyDesign, rng: Randomness) -> None:
        self._store = store
        self._design = design
        self._rng = rng

    def add(
        self,
        message_ids: Mapping[str, bytes],
        contents: Mapping[str, Content],
        at_ms: int,
        attached: Attached | None = None,
    ) -> list[Outgoing]:
        """Queue a message to each recipient, all with the same attachment, which gets its number here."""
        with self._store.transaction():
            if attached is not None:
                query = "SELECT seq + 1 FROM sqlite_sequence WHERE name = 'attached'"
                (attached.item,) = self._store.one(query) or (0,)
                self._store.run(
                    "INSERT INTO attached VALUES (?1, sealed(?2, 'attached.body', ?1))",
                    *(attached.item, _encode_attached(attached)),
                )
            rows = [
                Outgoing(0, name, at_ms, SendState.QUEUED, to, contents[to], attached=attached)
                for to, name in message_ids.items()
            ]
            for row in rows:
                row.named = len(rows) == 1
                self.insert(row)
        return rows

    def requeue(self, recipient: str) -> None:
        """Queue sealed messages to `recipient` again; the caller ends the sessions in that transaction."""
        for row in self.list_waiting():
            if row.recipient == recipient and row.state is SendState.SEALED:
                row.message_id = self._rng.take(MESSAGE_ID_LENGTH)
                row.state = SendState.QUEUED
                row.sealed = b""
                self._store.run(
                    "UPDATE outgoing SET message_id = ?1, stage = ?2, body = sealed(?3, 'outgoing.body', ?1)"
                    " WHERE number = ?4",
                    *(row.message_id, row.state, _encode_row(row), row.number),
                )

    def list_waiting(self) -> list[Outgoing]:
        """List the messages that are not done, oldest first."""
        known: dict[int, Attached] = {}
        rows = self._store.all(
            "SELECT number, message_id, queued_at_ms, stage, opened(body, 'outgoing.body', message_id), item"
            " FROM outgoing WHERE stage IN ('queued', 'sealed', 'sent') ORDER BY number"
        )
        waiting: list[Outgoing] = []
        for number, message_id, at_ms, state, body, item in rows:
            said = _Said.decode(body)
            if item is not None and item not in known:
                known[item] = self._load_attached(item)
            row = Outgoing(number, message_id, at_ms, SendState(state), said.recipient, waited=True)
            row.content = next(iter(said.content), None)
            row.sealed = said.sealed
            row.problem = said.problem
            row.stamps = said.stamps
            row.unopened = said.unopened
            row.resent = said.resent
            row.named = bool(said.named)
            row.attached = None if item is None else known[item]
            waiting.append(row)
        return waiting

    def count(self) -> int:
        """Count the messages that are not done."""
        query = "SELECT count(*) FROM outgoing WHERE stage IN ('queued', 'sealed', 'sent')"
        (count,) = self._store.one(query) or (0,)
        return int(count)

    def is_awaited(self, attached: Attached) -> bool:
        """Tell if a message with this attachment is not handed over yet."""
        query = "SELECT 1 FROM outgoing WHERE item = ? AND stage IN ('queued', 'sealed')"
        return self._store.one(query, attached.item) is not None

    def list_files(self) -> set[str]:
        """Return the names of the files that attachments need."""
        rows = self._store.all("SELECT opened(body, 'attached.body', item) FROM attached")
        return {_Kept.decode(body).file for (body,) in rows}

    def mark_sent(self, row: Outgoing) -> None:
        """Note that the relay has stamped the message; without an attachment it is done, and its row deleted.

        The write is not synced, and for a text it waits for the next write: if it is lost, the relay is
        handed the same message under the same id again.
        """
        if row.attached is None:
            row.state = SendState.DONE
            self._store.later("DELETE FROM outgoing WHERE number = ?", row.number)
            return
        row.state = SendState.SENT
        with self._store.transaction(synced=False):
            self.save(row)

    def finish(self, row: Outgoing) -> str | None:
        """Mark a message for which nothing is owed as done, and delete its row.

        Returns:
            The attachment's file, if no other message needs it.
        """
        row.state = SendState.DONE
        self._store.run("DELETE FROM outgoing WHERE number = ?", row.number)
        return self._drop(row.attached)

    def fail(self, row: Outgoing, problem: str) -> str | None:
        """Mark a message as one that will never leave, and delete its row; returns the file as `finish`."""
        row.state = SendState.FAILED
        row.problem = problem
        row.content = None
        row.sealed = b""
        self._store.run("DELETE FROM outgoing WHERE number = ?", row.number)
        return self._drop(row.attached)

    def _drop(self, attached: Attached | None) -> str | None:
        """Delete the row of an attachment that no message needs any more, or save it."""
        if attached is None:
            return None
        if self._store.one("SELECT 1 FROM outgoing WHERE item = ?", attached.item) is not None:
            self.save_attached(attached)
            return None
        file = attached.file
        attached.file = None
        attached.ref = None
        attached.taken = None
        self._store.run("DELETE FROM attached WHERE item = ?", attached.item)
        return file

    def save(self, row: Outgoing) -> None:
        """Save a message without its attachment."""
        self._store.run(
            "UPDATE outgoing SET stage = ?1, body = sealed(?2, 'outgoing.body', message_id)"
            " WHERE number = ?3",
            *(row.state, _encode_row(row), row.number),
        )

    def save_whole(self, row: Outgoing) -> None:
        """Save a message and its attachment."""
        with self._store.transaction():
            self.save(row)
            if row.attached is not None:
                self.save_attached(row.attached)

    def save_attached(self, attached: Attached) -> None:
        self._store.run(
            "UPDATE attached SET body = sealed(?2, 'attached.body', ?1) WHERE item = ?1",
            *(attached.item, _encode_attached(attached)),
        )

    def insert(self, row: Outgoing) -> None:
        """Queue a message, and number it.

        Its attachment must have its row. A sealed message is queued in the transaction that saves the
        account.
        """
        row.number = self._store.insert(
            "INSERT INTO outgoing (message_id, queued_at_ms, stage, item, body) VALUES (?, ?, ?, ?, ?)",
            *(row.message_id, row.queued_at_ms, row.state, row.item),
            self._store.sealed(_encode_row(row), "outgoing.body", row.message_id),
        )

    def _load_attached(self, item: int) -> Attached:
        row = self._store.one("SELECT opened(body, 'attached.body', item) FROM attached WHERE item = ?", item)
        if row is None:
            raise KeyError(item)
        kept = _Kept.decode(row[0])
        made = Attached(item, MatchState(kept.matching), kept.file or None, next(iter(kept.ref), None))
        made.uploaded = bool(kept.uploaded)
        made.epoch = kept.epoch
        made.matched_at_ms = kept.matched_at_ms
        made.outcome = decode_outcome(self._design, kept.outcome) if kept.outcome else None
        made.owed = kept.owed
        return made


def derive_request_id(key: bytes) -> bytes:
    """Derive the id, 16 bytes, under which a picture is asked about from the key of its attachment.

    It is the same at every attempt, also after a crash, and cannot be linked to the ids by which the relay
    knows message and attachment.
    """
    return sha256(REQUEST_TAG + key).digest()[:REQUEST_ID_BYTES]


def _encode_row(row: Outgoing) -> bytes:
    content = () if row.content is None else (row.content,)
    more = (row.stamps, row.unopened, row.resent, int(row.named))
    return _Said(row.recipient, content, row.sealed, row.problem, *more).encode()


def _encode_attached(attached: Attached) -> bytes:
    outcome = b"" if attached.outcome is None else encode_outcome(attached.outcome)
    ref = () if attached.ref is None else (attached.ref,)
    state = (attached.matching, attached.file or "", attached.uploaded, ref)
    return _Kept(*state, outcome, attached.epoch, attached.matched_at_ms, attached.owed).encode()
