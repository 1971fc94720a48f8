"""Messages on their way out, each a row that only ever moves forward.

QUEUED --seal, upload--> SEALED --relay has it--> SENT --report queued, if any--> DONE
  |  no relay for it                                |
  +--------------> FAILED                           +-- waits here while matching is DUE

matching:  NONE (no picture) | DUE --> DECIDED | SKIPPED
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.content import AttachmentRef, Content
from blindmatch_protocol.contract import AnyDesign, Label, Match, NoMatch, Outcome, Undisclosed, Voucher
from blindmatch_protocol.errors import ProtocolError

from blindmatch_client.store import Store


class Stage(StrEnum):
    """How far a message is."""

    QUEUED = "queued"
    SEALED = "sealed"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"


class Matching(StrEnum):
    """How far the matching of its picture is."""

    NONE = "none"
    DUE = "due"
    DECIDED = "decided"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, repr=False)
class Outgoing:
    """One message. `item` and `picture` are None without a picture; `content` and `sealed` before sealing.

    `outcome`, `epoch` and `matched_at_ms` are there once matching is DECIDED.
    """

    number: int
    message_id: bytes
    recipient: str
    text: str
    queued_at_ms: int
    stage: Stage
    matching: Matching
    item: int | None
    media_type: str
    picture: bytes | None
    outcome: bytes | None
    epoch: int | None
    matched_at_ms: int | None
    attachment: AttachmentRef | None
    content: Content | None
    sealed: bytes | None
    problem: str


_FIELDS: Final = tuple(field.name for field in fields(Outgoing))
_COLUMNS: Final = ", ".join(_FIELDS)
_OPEN: Final = (Stage.QUEUED, Stage.SEALED, Stage.SENT)


class Outbox:
    """The rows of outgoing messages."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        message_id: bytes,
        recipient: str,
        text: str,
        at_ms: int,
        picture: bytes | None = None,
        media_type: str = "",
        matching: Matching = Matching.NONE,
    ) -> int:
        """Queue a message; its number. Pictures are numbered from 0 on."""
        return self._store.insert(
            "INSERT INTO outgoing (message_id, recipient, text, queued_at_ms, stage, matching, media_type,"
            " picture, item) VALUES (?, ?, ?, ?, ?, ?, ?, ?,"
            " CASE WHEN ? THEN (SELECT count(item) FROM outgoing) END)",
            message_id,
            recipient,
            text,
            at_ms,
            Stage.QUEUED,
            matching,
            media_type,
            picture,
            picture is not None,
        )

    def get(self, number: int) -> Outgoing:
        """The message with `number`; KeyError if there is none."""
        row = self._store.one(f"SELECT {_COLUMNS} FROM outgoing WHERE number = ?", number)  # noqa: S608
        if row is None:
            raise KeyError(number)
        values = dict(zip(_FIELDS, row, strict=True))
        values["stage"], values["matching"] = Stage(values["stage"]), Matching(values["matching"])
        for name, kind in (("attachment", AttachmentRef), ("content", Content)):
            if values[name] is not None:
                values[name] = kind.decode(values[name])
        return Outgoing(**values)

    def open(self) -> list[int]:
        """Numbers of the messages that are not done, oldest first."""
        rows = self._store.all("SELECT number FROM outgoing WHERE stage IN (?, ?, ?) ORDER BY number", *_OPEN)
        return [number for (number,) in rows]

    def decided(self, number: int, outcome: Outcome, epoch: int, at_ms: int) -> None:
        """Matching came to `outcome`."""
        self._store.run(
            "UPDATE outgoing SET matching = ?, outcome = ?, epoch = ?, matched_at_ms = ?, problem = ''"
            " WHERE number = ?",
            Matching.DECIDED,
            encode_outcome(outcome),
            epoch,
            at_ms,
            number,
        )

    def skipped(self, number: int, problem: str) -> None:
        """The picture is sent and never matched."""
        self._store.run(
            "UPDATE outgoing SET matching = ?, problem = ? WHERE number = ?",
            Matching.SKIPPED,
            problem,
            number,
        )

    def uploaded(self, number: int, attachment: AttachmentRef) -> None:
        """The attachment lies at the relay."""
        self._store.run("UPDATE outgoing SET attachment = ? WHERE number = ?", attachment.encode(), number)

    def sealed(self, number: int, content: Content, sealed: bytes) -> None:
        """The message is sealed; save the account in the same transaction."""
        self._store.run(
            "UPDATE outgoing SET stage = ?, content = ?, sealed = ?, problem = '' WHERE number = ?",
            Stage.SEALED,
            content.encode(),
            sealed,
            number,
        )

    def sent(self, number: int) -> None:
        """The relay has the message."""
        self._store.run("UPDATE outgoing SET stage = ? WHERE number = ?", Stage.SENT, number)

    def close(self, number: int, stage: Stage, problem: str = "") -> None:
        """The message is done or has failed: what is not needed any more is dropped."""
        self._store.run(
            "UPDATE outgoing SET stage = ?, problem = ?, text = '', picture = NULL, attachment = NULL,"
            " content = NULL, sealed = NULL WHERE number = ?",
            stage,
            problem,
            number,
        )

    def troubled(self, number: int, problem: str) -> None:
        """Note why the message waits."""
        self._store.run("UPDATE outgoing SET problem = ? WHERE number = ?", problem, number)


_NO_MATCH, _UNDISCLOSED, _MATCH, _VOUCHER = b"\x00", b"\x01", b"\x02", b"\x03"


def encode_outcome(outcome: Outcome) -> bytes:
    """An outcome as it is stored: a byte for its kind, then its message."""
    match outcome:
        case NoMatch():
            return _NO_MATCH
        case Undisclosed():
            return _UNDISCLOSED
        case Match(label):
            return _MATCH + label.encode()
        case Voucher(body):
            return _VOUCHER + body.encode()


def decode_outcome(design: AnyDesign, stored: bytes) -> Outcome:
    """The outcome that was stored.

    Raises:
        ProtocolError: if it is none of `design`.
    """
    kind, body = stored[:1], stored[1:]
    if kind == _MATCH:
        return Match(Label.decode(body))
    if kind == _VOUCHER:
        voucher: Message = decode_any(design.vouchers, body, f"{design.info.name}/voucher")
        return Voucher(voucher)
    if stored not in (_NO_MATCH, _UNDISCLOSED):
        raise ProtocolError("outcome", "must be one of four kinds", "kind")
    return NoMatch() if stored == _NO_MATCH else Undisclosed()
