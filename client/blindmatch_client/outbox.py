"""Messages on their way out, each a row that only ever moves forward.

QUEUED --upload, seal--> SEALED --relay has it--> SENT --report queued, if any--> DONE
  |  no relay for it        |                       |
  +--------------> FAILED   |                       +-- waits here while matching is DUE
                            +--relay has it, and it bears no picture------------> DONE

matching:  NONE (no picture) | DUE --> DECIDED | SKIPPED
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from hashlib import sha256
from struct import Struct
from typing import Any, Final

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.content import AttachmentRef, Content
from blindmatch_protocol.contract import AnyDesign, Flag, Label, Match, NoMatch, Outcome, Undisclosed, Voucher
from blindmatch_protocol.errors import ProtocolError

from blindmatch_client.store import Store, Value

REQUEST_TAG: Final = b"blindmatch/matching-request/1"
REQUEST_ID_BYTES: Final = 16


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
    """One message to one recipient. Messages of a group that bear one picture share `item` and `file`.

    `item`, `file` and `attachment` are None without an attachment, `sealed` before sealing; `content`, made
    when the message is queued, names the attachment as it was then. `outcome`, `epoch` and `matched_at_ms`
    are there once matching is DECIDED. `file` names the sealed attachment on this device, `uploaded` says
    whether the relay has it and `attachment` its blob id.
    """

    number: int
    message_id: bytes
    recipient: str
    queued_at_ms: int
    stage: Stage
    matching: Matching
    item: int | None
    file: str | None
    uploaded: bool
    outcome: bytes | None
    epoch: int | None
    matched_at_ms: int | None
    attachment: AttachmentRef | None
    content: Content | None
    sealed: bytes | None
    problem: str


@dataclass(frozen=True, slots=True, repr=False)
class Queued:
    """A sealed attachment that was written into `file`, and whether it is a picture to be matched."""

    file: str
    attachment: AttachmentRef
    matching: Matching


_FIELDS: Final = tuple(field.name for field in fields(Outgoing))
_SEALED: Final = frozenset({"recipient", "outcome", "attachment", "content", "sealed", "problem"})
_COLUMNS: Final = ", ".join(
    f"opened({name}, 'outgoing.{name}', message_id)" if name in _SEALED else name for name in _FIELDS
)


def _set(name: str) -> str:
    """An assignment in an UPDATE."""
    return f"{name} = sealed(?, 'outgoing.{name}', message_id)" if name in _SEALED else f"{name} = ?"


class Outbox:
    """The rows of outgoing messages."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        message_ids: Mapping[str, bytes],
        contents: Mapping[str, Content],
        at_ms: int,
        queued: Queued | None = None,
    ) -> list[int]:
        """Queue a message to each recipient; their numbers. Attachments are numbered from 0 on.

        Args:
            message_ids: a fresh id for each recipient.
            contents: of each message, by recipient.
            at_ms: Unix time in milliseconds.
            queued: the attachment, the same for all.
        """
        with self._store.transaction():
            item = None if queued is None else self._next_item()
            return [
                self._add(to, name, contents[to], at_ms, item, queued) for to, name in message_ids.items()
            ]

    def _add(
        self,
        to: str,
        message_id: bytes,
        content: Content,
        at_ms: int,
        item: int | None,
        queued: Queued | None,
    ) -> int:
        return self._store.insert(
            "INSERT INTO outgoing (message_id, recipient, content, queued_at_ms, stage, matching, item, file,"
            " attachment) VALUES (?1, sealed(?2, 'outgoing.recipient', ?1),"
            " sealed(?3, 'outgoing.content', ?1), ?4, ?5, ?6, ?7, ?8, sealed(?9, 'outgoing.attachment', ?1))",
            message_id,
            to,
            content.encode(),
            at_ms,
            Stage.QUEUED,
            Matching.NONE if queued is None else queued.matching,
            item,
            None if queued is None else queued.file,
            None if queued is None else queued.attachment.encode(),
        )

    def add_sealed(self, to: str, message_id: bytes, at_ms: int, sealed: bytes) -> Outgoing:
        """Queue a text that is sealed; save the account in the same transaction.

        Its content is not kept: without a picture nothing of it can be owed to anybody later.
        """
        number = self._store.insert(
            "INSERT INTO outgoing (message_id, recipient, queued_at_ms, stage, matching, sealed) VALUES"
            " (?1, sealed(?2, 'outgoing.recipient', ?1), ?3, ?4, ?5,"
            " sealed(?6, 'outgoing.sealed', ?1))",
            message_id,
            to,
            at_ms,
            Stage.SEALED,
            Matching.NONE,
            sealed,
        )
        values: dict[str, Any] = dict.fromkeys(_FIELDS)
        values |= {"number": number, "message_id": message_id, "recipient": to, "queued_at_ms": at_ms}
        values |= {"stage": Stage.SEALED, "matching": Matching.NONE, "sealed": sealed}
        return Outgoing(**values | {"uploaded": False, "problem": ""})

    def _next_item(self) -> int:
        row = self._store.one("SELECT COALESCE(MAX(item) + 1, 0) FROM outgoing")
        return 0 if row is None else int(row[0])

    def get(self, number: int) -> Outgoing:
        """The message with `number`; KeyError if there is none."""
        row = self._store.one(f"SELECT {_COLUMNS} FROM outgoing WHERE number = ?", number)  # noqa: S608
        if row is None:
            raise KeyError(number)
        values = dict(zip(_FIELDS, row, strict=True))
        values["stage"], values["matching"] = Stage(values["stage"]), Matching(values["matching"])
        values["uploaded"], values["problem"] = bool(values["uploaded"]), values["problem"] or ""
        for name, kind in (("attachment", AttachmentRef), ("content", Content)):
            if values[name] is not None:
                values[name] = kind.decode(values[name])
        return Outgoing(**values)

    def open(self) -> list[int]:
        """Numbers of the messages that are not done, oldest first."""
        rows = self._store.all(
            "SELECT number FROM outgoing WHERE stage IN ('queued', 'sealed', 'sent') ORDER BY number"
        )
        return [number for (number,) in rows]

    def awaits(self, item: int) -> bool:
        """Is a message that bears this picture not handed over yet?"""
        query = "SELECT 1 FROM outgoing WHERE item = ? AND stage IN ('queued', 'sealed')"
        return self._store.one(query, item) is not None

    def files(self) -> set[str]:
        """Sealed attachments that are still needed."""
        return {name for (name,) in self._store.all("SELECT file FROM outgoing WHERE file IS NOT NULL")}

    def request_id(self, item: int) -> bytes:
        """What a picture is asked about under, 16 bytes: the same at every attempt, also after a crash.

        It is in no relation to what the relay knows the message and the attachment by.

        Raises:
            KeyError: if there is no such picture, or it is done with.
        """
        row = self._store.one(
            "SELECT opened(attachment, 'outgoing.attachment', message_id) FROM outgoing"
            " WHERE item = ? AND attachment IS NOT NULL ORDER BY number LIMIT 1",
            item,
        )
        if row is None:
            raise KeyError(item)
        return request_id_of(AttachmentRef.decode(row[0]).key)

    def decided(self, item: int, outcome: Outcome, epoch: int, at_ms: int) -> None:
        """Matching of a picture came to `outcome`, for all messages that bear it."""
        values: dict[str, Value] = {"outcome": encode_outcome(outcome), "epoch": epoch}
        self._update(
            "item", item, values | {"matching": Matching.DECIDED, "matched_at_ms": at_ms, "problem": None}
        )

    def skipped(self, item: int, problem: str) -> None:
        """The picture is sent and never matched."""
        self._update("item", item, {"matching": Matching.SKIPPED, "problem": problem})

    def uploaded(self, file: str, attachment: AttachmentRef) -> None:
        """The attachment lies at the relay, for all messages that bear it.

        Not synced: if that is lost, the same bytes are uploaded again.
        """
        with self._store.transaction(synced=False):
            self._update("file", file, {"attachment": attachment.encode(), "uploaded": 1})

    def sealed(self, number: int, content: Content, sealed: bytes) -> None:
        """The message is sealed; save the account in the same transaction."""
        values = {"stage": Stage.SEALED, "content": content.encode(), "sealed": sealed, "problem": None}
        self._update("number", number, values)

    def sent(self, row: Outgoing) -> Outgoing:
        """The relay has the message; as it stands then. Without a picture it is done.

        Not synced: if that is lost, the relay is handed the same message under the same id again.
        """
        with self._store.transaction(synced=False):
            if row.matching is not Matching.NONE:
                self._update("number", row.number, {"stage": Stage.SENT})
                return replace(row, stage=Stage.SENT)
            gone: dict[str, Value] = {"stage": Stage.DONE, "content": None, "sealed": None}
            self._update("number", row.number, gone)
        return replace(row, stage=Stage.DONE, content=None, sealed=None)

    def close(self, number: int, stage: Stage, problem: str = "") -> None:
        """The message is done or has failed: what is not needed any more is dropped."""
        dropped = dict.fromkeys(("file", "attachment", "content", "sealed"))
        self._update("number", number, {"stage": stage, "problem": problem or None, **dropped})

    def troubled(self, number: int, problem: str) -> None:
        """Note why the message waits."""
        self._update("number", number, {"problem": problem})

    def _update(self, key: str, value: Value, values: Mapping[str, Value]) -> None:
        assignments = ", ".join(map(_set, values))
        statement = f"UPDATE outgoing SET {assignments} WHERE {key} = ?"  # noqa: S608 - names of columns
        self._store.run(statement, *values.values(), value)


def request_id_of(key: bytes) -> bytes:
    """What a picture whose attachment is sealed under `key` is asked about under, 16 bytes."""
    return sha256(REQUEST_TAG + key).digest()[:REQUEST_ID_BYTES]


_NO_MATCH, _UNDISCLOSED, _MATCH, _VOUCHER, _FLAG = b"\x00", b"\x01", b"\x02", b"\x03", b"\x04"
_SCORE: Final = Struct(">d")


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
        case Flag(score):
            return _FLAG + _SCORE.pack(score)


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
    if kind == _FLAG and len(body) == _SCORE.size:
        return Flag(*_SCORE.unpack(body))
    if stored not in (_NO_MATCH, _UNDISCLOSED):
        raise ProtocolError("outcome", "must be one of five kinds", "kind")
    return NoMatch() if stored == _NO_MATCH else Undisclosed()
