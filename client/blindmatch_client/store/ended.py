"""Messages that have ended, kept until their user was shown what came of them.

    outgoing row --delivered, failed--> ended row, in the same transaction --shown--> deleted
    the relay says that a message expired ------^

An ended row stands in the table of outgoing messages, in the stage `ENDED`. It names no attachment, and its
length says nothing of what came of the message.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

from blindmatch_protocol.codec import Bool, Message, Text, UInt, Variable
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.content import NAME_MOST
from blindmatch_protocol.messages.franking import MESSAGE_ID_LENGTH
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_client.store.store import Store

ENDED: Final = "ended"
MOST_ENDED: Final = 1000
"""Of more that nobody was shown, those that ended first are dropped."""

BLOCK: Final = 1024
"""An ended row's content is padded to a multiple of so many bytes, which holds the words of every outcome."""

WORDS_MOST: Final = 1 << 14


class EndState(StrEnum):
    """How a message ended: the relay took it; it never will; the relay took it and nobody fetched it."""

    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class Ended(Redacted, Struct, frozen=True):
    """A message that has ended.

    Attributes:
        number: of its row; 0 before it has one.
        row: the row's name, which is not the message's where that may have a row already.
        queued_at_ms: when the message was queued; of one that expired, when the relay took it.
        outcome: what came of its picture, in words (`notices.OutcomeKind`).
        item: the picture's number, or None.
        report_id: of the report that was made of it; empty if none.
        named: whether that names the recipient.
        words: why it failed, or why its picture was not matched; empty if neither.
    """

    number: int
    row: bytes
    message_id: bytes
    queued_at_ms: int
    recipient: str
    state: EndState
    outcome: str
    item: int | None = None
    report_id: bytes = b""
    named: bool = True
    words: str = ""


class _Ended(Message, tag=0xF0, name="device/ended"):
    """The sealed part of an ended row; `item` is one more than the picture's number, or 0."""

    message_id: Annotated[bytes, Variable(MESSAGE_ID_LENGTH)]
    recipient: Annotated[str, Text(NAME_MOST)]
    state: Annotated[str, Text(16)]
    outcome: Annotated[str, Text(64)]
    item: Annotated[int, UInt(64)]
    report_id: Annotated[bytes, Variable(16)]
    named: Annotated[bool, Bool()]
    words: Annotated[str, Text(WORDS_MOST)]
    padding: Annotated[bytes, Variable(BLOCK)]


class EndedMessages:
    """The ended rows of one device's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, ended: Ended) -> None:
        """Keep a message under its number, in place of what was kept of it; one with number 0 gets one."""
        self._store.run(_INSERT, *self._values(ended))
        self._store.run(_DROP, ENDED, ENDED, MOST_ENDED - 1)

    def keep_later(self, ended: Ended) -> None:
        """Do the same with the next transaction, which also deletes the message's row."""
        self._store.later(_INSERT, *self._values(ended))
        self._store.later(_DROP, ENDED, ENDED, MOST_ENDED - 1)

    def _values(self, ended: Ended) -> tuple[int | None, bytes, int, str, bytes | None]:
        body = self._store.sealed(_encode(ended), "outgoing.body", ended.row)
        return ended.number or None, ended.row, ended.queued_at_ms, ENDED, body

    def all(self) -> list[Ended]:
        """Return what nobody was shown yet, in the order in which the messages were queued."""
        rows = self._store.all(
            "SELECT number, message_id, queued_at_ms, opened(body, 'outgoing.body', message_id)"
            " FROM outgoing WHERE stage = ? ORDER BY number",
            ENDED,
        )
        return [_decode(number, row, at_ms, body) for number, row, at_ms, body in rows]

    def forget(self, numbers: Iterable[int]) -> None:
        """Delete what the user was shown; a message that has not ended is left alone."""
        rows = [(number, ENDED) for number in numbers]
        self._store.run_each("DELETE FROM outgoing WHERE number = ? AND stage = ?", rows)


_INSERT: Final = (
    "INSERT OR REPLACE INTO outgoing (number, message_id, queued_at_ms, stage, item, body)"
    " VALUES (?, ?, ?, ?, NULL, ?)"
)
_DROP: Final = (
    "DELETE FROM outgoing WHERE stage = ? AND number <"
    " (SELECT number FROM outgoing WHERE stage = ? ORDER BY number DESC LIMIT 1 OFFSET ?)"
)


def _encode(ended: Ended) -> bytes:
    item = 0 if ended.item is None else ended.item + 1
    words = ended.words.encode()[:WORDS_MOST].decode(errors="ignore")
    said = _Ended(
        message_id=ended.message_id,
        recipient=ended.recipient,
        state=ended.state,
        outcome=ended.outcome,
        item=item,
        report_id=ended.report_id,
        named=ended.named,
        words=words,
        padding=b"",
    )
    return replace(said, padding=bytes(-len(said.encode()) % BLOCK)).encode()


def _decode(number: int, row: bytes, at_ms: int, body: bytes) -> Ended:
    said = _Ended.decode(body)
    return Ended(
        number,
        row,
        said.message_id,
        at_ms,
        said.recipient,
        EndState(said.state),
        said.outcome,
        said.item - 1 if said.item else None,
        said.report_id,
        said.named,
        said.words,
    )
