"""What a call is: its method (blindmatch_v1.proto has no others), its record, its status."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from google.protobuf.message import Message as Wire
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_client.errors import RefusedError, ServiceError, ServiceUnavailableError, UnreachedError
from blindmatch_client.trace import EgressRecord, Purpose

if TYPE_CHECKING:
    import grpc


Q = TypeVar("Q", bound=Wire)
P = TypeVar("P", bound=Wire)


class Method(Struct, Generic[Q, P], frozen=True):
    """A gRPC method.

    Attributes:
        path: its full name.
        request, reply: the messages it takes and gives.
        line: what it is called on a line (line.py), on which it is then called; empty for most.
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
CONNECT: Final = _RELAY + "Connect"

CENTRE_KEY: Final = Method(_CENTRE + "Key", pb.CentreKeyRequest, pb.CentreKey)
SUBMIT: Final = Method(_CENTRE + "Submit", pb.SubmitPart, pb.Receipt)
COMPLAIN: Final = Method(_CENTRE + "Complain", pb.ComplainRequest, pb.Complaint)
SUBMIT_VOUCHER: Final = Method(_CENTRE + "SubmitVoucher", pb.Envelope, pb.Receipt)


class Totals(Struct, frozen=True):
    """Sums over the calls of one method at one party; they stay when records are dropped."""

    calls: int = 0
    request_bytes: int = 0
    reply_bytes: int = 0


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
        """Keep a request that is about to leave."""
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
        most_records: older ones are dropped from then on and live on in `totals` alone; None keeps all,
            as an audit needs.
        keep_requests: whether requests themselves are kept, as an audit needs, or their lengths alone. What
            is kept is in memory: without this an attachment of 100 MiB is too, part by part.

    Attributes:
        tell: hears of each request before it leaves, with the record of its call as it was opened; it may be
            called from a thread of gRPC's.
    """

    def __init__(self, most_records: int | None = None, keep_requests: bool = True) -> None:
        self._most = most_records
        self._keep = keep_requests
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._dropped: dict[tuple[Party, str], Totals] = {}
        self._next = 0
        self.tell: Callable[[EgressRecord, bytes], object] = lambda opened, body: None

    def open(self, party: Party, method: str, purpose: Purpose, item: int | None, at_ms: int) -> Entry:
        """Begin the record of a call that has not gone out yet."""
        with self._lock:
            opened = EgressRecord(self._next, party, method, purpose, item, (), 0, at_ms)
            entry = Entry(opened, self._keep, self.tell)
            self._next += 1
            self._entries.append(entry)
            if self._most is not None and len(self._entries) > self._most:
                _add(self._dropped, self._entries.pop(0))
        return entry

    def records(self) -> tuple[EgressRecord, ...]:
        """All records that are kept, in order; those of calls under way are as they stand."""
        with self._lock:
            return tuple(entry.record() for entry in self._entries)

    def totals(self) -> Mapping[tuple[Party, str], Totals]:
        """Sums by party and method over all calls there ever were."""
        with self._lock:
            sums = dict(self._dropped)
            for entry in self._entries:
                _add(sums, entry)
        return sums


def _add(sums: dict[tuple[Party, str], Totals], entry: Entry) -> None:
    key = entry.opened.party, entry.opened.method
    before = sums.get(key, Totals())
    sums[key] = Totals(
        before.calls + 1,
        before.request_bytes + entry.request_bytes,
        before.reply_bytes + entry.reply_bytes,
    )


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


def translate(party: Party, error: grpc.RpcError) -> ServiceError:
    """The error of this room that stands for `error` of a call to `party`."""
    return failure(party, *_status(error))


def failure(party: Party, code: str, detail: str = "", retry_after_ms: int | None = None) -> ServiceError:
    """The error of this room that stands for a status, by its name."""
    if code == "UNAVAILABLE" and detail.startswith(NO_CONNECTION):
        return UnreachedError(party, _UNAVAILABLE[code])
    if code in _UNAVAILABLE:
        return ServiceUnavailableError(party, _UNAVAILABLE[code])
    advice = _ADVICE.get(code, "asking again will not help")
    return RefusedError(party, code, printable(detail), advice, retry_after_ms)


def _status(error: object) -> tuple[str, str, int | None]:
    """What a failed call raises is both an error and the call itself; the types do not say so."""
    import grpc

    if not isinstance(error, grpc.Call):
        return "UNKNOWN", "", None
    trailing = dict(error.trailing_metadata() or ())
    return error.code().name, error.details() or "", milliseconds(trailing.get(RETRY_AFTER))


def milliseconds(text: str | bytes | None) -> int | None:
    """A number of at most nine digits, or None."""
    known = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 10
    return int(str(text)) if known else None


def printable(text: str, most: int = DETAIL_MOST) -> str:
    """Another party's words, `most` characters of them, made safe for a terminal and a log."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])
