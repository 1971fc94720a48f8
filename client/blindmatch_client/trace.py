"""Record what a device does, so that an audit can compare what left it with what it was made of.

Records are kept in memory, and only if an audit asks for them. They hold secrets and never leave the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TypeAlias

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import UNBOUND, Binding, Outcome, Party, Role
from blindmatch_protocol.messages.content import AttachmentRef, Content
from msgspec import Struct, field


class Purpose(StrEnum):
    """What a request is sent for."""

    ACCOUNT = "account"
    ENROLMENT = "enrolment"
    MESSAGE = "message"
    SETUP = "setup"
    MATCHING = "matching"
    REPORT = "report"
    VOUCHER = "voucher"
    COVER = "cover"
    COMPLAINT = "complaint"


class EgressRecord(Redacted, Struct, frozen=True):
    """One request that left the device.

    Attributes:
        item: number of the picture it was sent for, or None.
        requests: the serialised protobuf messages that were sent, in order.
        unkept_bytes: length of requests that were sent and not kept.
        failed: True if the call ended in an error, so that it may be repeated.
    """

    sequence: int
    party: Party
    method: str
    purpose: Purpose
    item: int | None
    requests: tuple[bytes, ...]
    reply_bytes: int
    at_ms: int
    unkept_bytes: int = 0
    failed: bool = False

    @property
    def request_bytes(self) -> int:
        return self.unkept_bytes + sum(map(len, self.requests))


class Encodings(Mapping[Role, bytes]):
    """The canonical encodings of messages by role, in the order of the roles.

    Messages are encoded when an encoding is read, so that a device whose traces nobody reads does no extra
    work.
    """

    __slots__ = ("_messages",)

    def __init__(self, messages: Mapping[Role, Message]) -> None:
        self._messages = {role: messages[role] for role in sorted(messages)}

    def __getitem__(self, role: Role) -> bytes:
        return self._messages[role].encode()

    def __iter__(self) -> Iterator[Role]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)


class Round(Redacted, Struct, frozen=True):
    """One round of a session: canonical encodings of the bodies sent and of the replies, by role."""

    bodies: Mapping[Role, bytes]
    replies: Mapping[Role, bytes]


class SessionTrace(Redacted, Struct, frozen=True):
    """One picture's matching session, with all that is needed to run it again.

    Attributes:
        rounds: what was sent and received; the last one lacks replies if it failed.
        outcome: None if the session failed.
    """

    item: int
    state_before: bytes
    tape: bytes
    rounds: tuple[Round, ...]
    outcome: Outcome | None
    binding: Binding = UNBOUND


class MessageTrace(Redacted, Struct, frozen=True):
    """One outgoing message, with all that is needed to derive its commitment and ciphertexts again.

    It is recorded before it is matched or sent, and again, with its content, when it is sealed.

    Attributes:
        item: number of its picture, or None.
        attachment: with the key that sealed it, or None.
        content: what was sealed, with the key that opens the commitment; None before that.
    """

    message_id: bytes
    recipient: str
    item: int | None
    attachment: AttachmentRef | None
    content: Content | None = None


class EnrolmentTrace(Redacted, Struct, frozen=True):
    """An account's enrolment, with all that is needed to make it again.

    It holds secrets and never leaves the device.

    Attributes:
        bodies: the canonical encodings of what each role is given to keep.
    """

    key: bytes
    state_before: bytes
    tape: bytes
    bodies: Mapping[Role, bytes]


Trace: TypeAlias = SessionTrace | MessageTrace | EnrolmentTrace


class Traces(Redacted, Struct):
    """Collects a device's traces; pass `add` as the device's `trace`."""

    sessions: list[SessionTrace] = field(default_factory=list)
    messages: list[MessageTrace] = field(default_factory=list)
    enrolments: list[EnrolmentTrace] = field(default_factory=list)

    def add(self, trace: Trace) -> None:
        match trace:
            case SessionTrace():
                self.sessions.append(trace)
            case MessageTrace():
                self.messages.append(trace)
            case EnrolmentTrace():
                self.enrolments.append(trace)
