"""What a call is: its method (blindmatch_v1.proto has no others), its record, its status; and a line, one
stream to a party on which calls are made (`Connect` in the .proto), from any thread.

    call --Ask--> stream ... stream --Answer{number}--> a thread that reads --> the call of that number
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from google.protobuf.message import DecodeError, Message
from google.protobuf.message import Message as Wire
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_client import errors
from blindmatch_client.trace import EgressRecord, Purpose

if TYPE_CHECKING:
    import grpc


Q = TypeVar("Q", bound=Wire)
P = TypeVar("P", bound=Wire)


class Method(Struct, Generic[Q, P], frozen=True):
    """A gRPC method.

    Attributes:
        request, reply: the messages it takes and gives.
        line: what it is called on a line, on which it is then called; empty for most.
    """

    path: str
    request: type[Q]
    reply: type[P]
    line: str = ""


_MATCHING: Final = "/blindmatch.v1.Matching/"
_RELAY: Final = "/blindmatch.v1.Relay/"
_CENTRE: Final = "/blindmatch.v1.Centre/"

DESCRIBE: Final = Method(_MATCHING + "Describe", pb.DescribeRequest, pb.Description)
FETCH_SETUP: Final = Method(_MATCHING + "FetchSetup", pb.SetupRequest, pb.Part)
EXCHANGE: Final = Method(_MATCHING + "Exchange", pb.Envelope, pb.Envelope)
EXCHANGE_LARGE: Final = Method(_MATCHING + "ExchangeLarge", pb.Envelope, pb.Envelope)
ENROLLED: Final = Method(_MATCHING + "Enrolled", pb.EnrolmentHead, pb.Held)
ENROL: Final = Method(_MATCHING + "Enrol", pb.EnrolPart, pb.Held)

REGISTER: Final = Method(_RELAY + "Register", pb.RegisterRequest, pb.RegisterReply)
FETCH_BUNDLE: Final = Method(_RELAY + "FetchBundle", pb.BundleRequest, pb.Bundle)
UPLOAD: Final = Method(_RELAY + "Upload", pb.Part, pb.UploadReply)
DOWNLOAD: Final = Method(_RELAY + "Download", pb.DownloadRequest, pb.Part)
SEND: Final = Method(_RELAY + "Send", pb.SendRequest, pb.SendReply, "send")
RECEIVE: Final = Method(_RELAY + "Receive", pb.ReceiveRequest, pb.Delivery, "receive")
ACKNOWLEDGE: Final = Method(_RELAY + "Acknowledge", pb.AcknowledgeRequest, pb.AcknowledgeReply, "acknowledge")
FETCH_EXPIRED: Final = Method(_RELAY + "FetchExpired", pb.ExpiredRequest, pb.ExpiredReply)
CONNECT: Final = _RELAY + "Connect"

CENTRE_KEY: Final = Method(_CENTRE + "Key", pb.CentreKeyRequest, pb.CentreKey)
SUBMIT: Final = Method(_CENTRE + "Submit", pb.SubmitPart, pb.Receipt)
COMPLAIN: Final = Method(_CENTRE + "Complain", pb.ComplainRequest, pb.Complaint)
SUBMIT_VOUCHER: Final = Method(_CENTRE + "SubmitVoucher", pb.Envelope, pb.Receipt)


class Entry(Redacted, Struct):
    """One call's record while it is being written; a retry is a call of its own."""

    opened: EgressRecord
    keep: bool
    tell: Callable[[EgressRecord, bytes], object]
    requests: list[bytes] = field(default_factory=list)
    request_bytes: int = 0
    reply_bytes: int = 0
    failed: bool = False

    def sending(self, body: bytes) -> None:
        self.request_bytes += len(body)
        if self.keep:
            self.requests.append(body)
        self.tell(self.opened, body)

    def record(self) -> EgressRecord:
        return replace(
            self.opened,
            requests=tuple(self.requests),
            reply_bytes=self.reply_bytes,
            unkept_bytes=0 if self.keep else self.request_bytes,
            failed=self.failed,
        )


class Recorder:
    """Records in memory, in the order in which calls began; safe to use from several threads.

    Args:
        most_records: older ones are dropped from then on; None keeps all, as an audit needs.
        keep_requests: whether requests themselves are kept, as an audit needs, or their lengths alone. What
            is kept is in memory: without this an attachment of 100 MiB is too, part by part.

    Attributes:
        tell: hears of each request before it leaves, with the record of its call as it was opened; it may be
            called from a thread of gRPC's.
    """

    def __init__(self, most_records: int | None = None, keep_requests: bool = True) -> None:
        self._keep = keep_requests
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=most_records)
        self._next = 0
        self.tell: Callable[[EgressRecord, bytes], object] = lambda opened, body: None

    def open(self, party: Party, method: str, purpose: Purpose, item: int | None, at_ms: int) -> Entry:
        """Begin the record of a call that has not gone out yet."""
        with self._lock:
            opened = EgressRecord(self._next, party, method, purpose, item, (), 0, at_ms)
            entry = Entry(opened, self._keep, self.tell)
            self._next += 1
            self._entries.append(entry)
        return entry

    def records(self) -> tuple[EgressRecord, ...]:
        """All records that are kept, in order; those of calls under way are as they stand."""
        with self._lock:
            return tuple(entry.record() for entry in self._entries)


NO_CONNECTION: Final = "failed to connect to all addresses"
"""How gRPC's words begin where a call was never sent."""

DETAIL_MOST: Final = 200

RETRY_AFTER: Final = "retry-after-ms"
"""Trailing metadata by which a server says when it would answer."""

_UNAVAILABLE: Final = {
    "UNAVAILABLE": (
        "cannot be reached: check that it runs, its address, and that both certificates are of one authority"
    ),
    "DEADLINE_EXCEEDED": "did not answer in time: it may be overloaded, try again later",
    "CANCELLED": "broke the call off: try again later",
    "ABORTED": "broke the call off: try again later",
    "INTERNAL": "failed inside: its operator must look at it",
    "UNKNOWN": "failed inside: its operator must look at it",
    "DATA_LOSS": "lost data: its operator must look at it",
}

_ADVICE: Final = {
    "UNAUTHENTICATED": "check the device's certificate",
    "PERMISSION_DENIED": "this account may not do that",
    "RESOURCE_EXHAUSTED": "a limit was reached, try again later",
    "FAILED_PRECONDITION": "the set or the state it speaks of is another, fetch it anew",
    "ALREADY_EXISTS": "it is taken: choose another name",
    "NOT_FOUND": "check the name",
    "UNIMPLEMENTED": "it runs another version or another design",
}


def translate(party: Party, error: Exception) -> errors.ServiceError:
    """The error of this room that stands for `error` of a call to `party`."""
    import grpc

    if not isinstance(error, grpc.Call):  # what is raised is both, which the types do not say
        return failure(party, "UNKNOWN")
    wait = dict(error.trailing_metadata() or ()).get(RETRY_AFTER)
    return failure(party, error.code().name, error.details() or "", milliseconds(wait))


def failure(
    party: Party, code: str, detail: str = "", retry_after_ms: int | None = None
) -> errors.ServiceError:
    """The error of this room that stands for a status, by its name."""
    if code == "UNAVAILABLE" and detail.startswith(NO_CONNECTION):
        return errors.UnreachedError(party, _UNAVAILABLE[code])
    if code in _UNAVAILABLE:
        return errors.ServiceUnavailableError(party, _UNAVAILABLE[code])
    advice = _ADVICE.get(code, "asking again will not help")
    return errors.RefusedError(party, code, printable(detail), advice, retry_after_ms)


def milliseconds(text: str | bytes | None) -> int | None:
    known = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 10
    return int(str(text)) if known else None


def printable(text: str, most: int = DETAIL_MOST) -> str:
    """Another party's words, `most` characters of them, made safe for a terminal and a log."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


MOST_HELD_BYTES: Final = 8 << 20
"""Of the answers to one call that nobody has taken yet; a party that sends more misbehaves."""


class Line:
    """An open line; made by `Channels.line`."""

    def __init__(self, party: Party, channel: grpc.Channel, path: str) -> None:
        self._party = party
        self._changed = threading.Condition()
        self._calls: dict[int, Replies] = {}
        self._unsent: SimpleQueue[bytes] = SimpleQueue()
        self._next = 0
        self._end: errors.ServiceError | None = None
        call: Any = channel.stream_stream(path)
        self._stream = call(iter(self._unsent.get, b""))
        self._reader = threading.Thread(target=self._read, name=f"line to {party}", daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """Is nothing taken on it any more?"""
        return self._end is not None

    def call(self, field: str, request: bytes, entry: Entry) -> Replies:
        """Make a call, of the method that a `field` of `Ask` names. Raises what ended the line, if it has."""
        with self._changed:
            if self._end is not None:
                raise self._end
            replies = self._calls[self._next] = Replies(self, self._party, self._next, field, entry)
            self._next += 1
            ask = pb.Ask()
            getattr(ask, field).SetInParent()
            getattr(ask, field).MergeFromString(request)
            self._unsent.put(ask.SerializeToString())
        return replies

    def wait(self, answers: deque[Any], until: float) -> None:
        """Wait until one of a call's `answers` is there; `ServiceError` if the line has ended, or there is
        none at `until`."""
        with self._changed:
            while not answers:
                if self._end is not None:
                    raise self._end
                if not self._changed.wait(max(0.0, until - time.monotonic())) and not answers:
                    self._finish(failure(self._party, "DEADLINE_EXCEEDED"))

    def forget(self, number: int) -> None:
        """No more answers are expected for a call."""
        self._calls.pop(number, None)

    def close(self) -> None:
        with self._changed:
            self._finish(failure(self._party, "CANCELLED"))
        self._reader.join()

    def _finish(self, end: errors.ServiceError) -> None:
        if self._end is None:
            self._end = end
            self._unsent.put(b"")
            self._stream.cancel()
            self._changed.notify_all()

    def _read(self) -> None:
        import grpc  # with the first call

        end = failure(self._party, "CANCELLED")
        try:
            for raw in self._stream:
                with self._changed:
                    self._take(raw)
                    self._changed.notify_all()
        except grpc.RpcError as error:
            end = translate(self._party, error)
        with self._changed:
            self._finish(end)

    def _take(self, raw: bytes) -> None:
        try:
            answer = pb.Answer.FromString(raw)
        except DecodeError:
            self._finish(errors.MisbehavedError(self._party, "not an Answer"))
            return
        replies = self._calls.get(answer.number)
        if replies is not None and replies.put(answer, len(raw)) > MOST_HELD_BYTES:
            self._finish(errors.MisbehavedError(self._party, "more is sent than was asked for"))


class Replies:
    """The answers to one call."""

    def __init__(self, line: Line, party: Party, number: int, field: str, entry: Entry) -> None:
        self._line = line
        self._entry = entry
        self._party = party
        self._number = number
        self._field = field
        self._answers: deque[tuple[pb.Answer, int]] = deque()
        self._held = 0

    def put(self, answer: pb.Answer, size: int) -> int:
        """Add an answer of `size` bytes; how many bytes nobody has taken."""
        self._held += size
        self._answers.append((answer, size))
        return self._held

    def one(self, seconds: float) -> Message:
        """The reply. Raises `ServiceError` if there is none in time, or something else."""
        try:
            return self._reply(time.monotonic() + seconds)[1]
        finally:
            self._line.forget(self._number)

    def batches(self, seconds: float) -> Generator[list[Message]]:
        """Many replies until they end; together those that came while another answer was waited for. Raises
        as `one`; a line that is left before that is closed, since nothing else ends the call."""
        until = time.monotonic() + seconds
        ended = False
        try:
            while not ended:
                batch: list[Message] = []
                while not ended and (not batch or self._answers):
                    name, reply = self._reply(until, "ended")
                    ended = name == "ended"
                    batch += [reply] if name == self._field else []
                if batch:
                    yield batch
        finally:
            self._line.forget(self._number)
            if not ended:
                self._line.close()

    def _reply(self, until: float, *others: str) -> tuple[str, Message]:
        self._line.wait(self._answers, until)
        answer, size = self._answers.popleft()
        self._held -= size
        name = str(answer.WhichOneof("reply"))
        if name not in (self._field, "refused", *others):
            raise errors.MisbehavedError(self._party, "a call on a line has its own reply")
        reply: Any = getattr(answer, name)
        if name == "refused":
            raise failure(self._party, printable(reply.status), reply.text, reply.retry_after_ms or None)
        self._entry.reply_bytes += reply.ByteSize()
        return name, reply
