"""What a device recorded, held against what it was told to do, should have sent, and what arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from blindmatch_client.egress import calls as methods
from blindmatch_client.settings import Consequence
from blindmatch_client.trace import EgressRecord, EnrolmentTrace, MessageTrace, Purpose, SessionTrace
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Item, Party, Role
from blindmatch_protocol.messages.report import SLOT_SIZES
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Wire
from msgspec import Struct, field

from blindmatch_simulations.testbed.inprocess.telling import Difference


class Told(Struct, frozen=True):
    """What a device was told to do, by whoever drove it: nothing it sends goes beyond.

    Attributes:
        polls: how often it was told to look for messages.
        received: messages that were for it, each with one attachment at most.
        expired: messages of its own that expired at the relay.
        setup: set-up files that are there to be fetched, each with its epoch.
        slot_s: seconds between the slots of its cover schedule, or None.
    """

    contacts: frozenset[str] = frozenset()
    messages: int = 0
    registered: int = 0
    polls: int = 0
    complaints: int = 0
    received: int = 0
    expired: int = 0
    setup: frozenset[tuple[int, str]] = frozenset()
    slot_s: int | None = None
    consequence: Consequence = Consequence.REPORT


class Evidence(Redacted, Struct, frozen=True):
    """What a device recorded of itself, and what is needed to hold it against.

    Attributes:
        messages: its messages as they were sealed, with their keys.
        drawn: all randomness it drew, one part for each time it asked.
        items: its pictures by number.
        files: each picture's file by number.
        arrived: request bytes that servers counted for it, by party and method; None: not measured.
        centre: the centre's secret key, which opens reports; None: they are not opened.
        stamp_key: of relay and centre; empty: not known.
    """

    account: str
    told: Told
    records: Sequence[EgressRecord]
    traces: Sequence[SessionTrace]
    items: Mapping[int, Item]
    pool: Sequence[Item]
    messages: Sequence[MessageTrace] = ()
    enrolments: Sequence[EnrolmentTrace] = ()
    drawn: Sequence[bytes] = ()
    files: Mapping[int, bytes] = field(default_factory=dict)
    arrived: Mapping[tuple[Party, str], int] | None = None
    centre: X25519PrivateKey | None = None
    stamp_key: bytes = b""

    @property
    def sealed(self) -> dict[bytes, MessageTrace]:
        """Messages by id, as they were last noted."""
        return {message.message_id: message for message in self.messages}


class Finding(Struct, frozen=True):
    """Undeclared egress.

    Attributes:
        party: who got the bytes, or should have and did not.
        size: bytes that are not explained; a request that was skipped counts with its length.
        told: the field that tells the picture from another one, with both values, if there is such a field.
        other: the other picture: `POOL` and its number in the pool, or `FORGED` and a number.
    """

    party: Party
    item: int | None
    rule: str
    size: int
    told: Difference | None = None
    other: str = ""

    def words(self, names: Mapping[int, str], pool: Mapping[int, str]) -> str:
        """The finding in a sentence, with pictures by the names that are given; else by their numbers."""
        mine = "no picture" if self.item is None else names.get(self.item, f"picture {self.item}")
        said = f"{self.party}, {mine}: {self.rule}, {self.size} bytes"
        return f"{said}; {self.told.words(mine, self.other_name(pool))}" if self.told else said

    def other_name(self, pool: Mapping[int, str]) -> str:
        """The name of the other picture."""
        kind, _, number = self.other.partition("/")
        if kind == POOL:
            return pool.get(int(number), self.other)
        return f"a forged picture that agrees ({self.other})"


POOL: Final = "pool"
FORGED: Final = "forged"
"""Of a picture that was put together from views of others (`counterpart.Forge`)."""


def found(record: EgressRecord, rule: str, size: int) -> Finding:
    """A finding in a request that left; it counts at least one byte."""
    return Finding(record.party, record.item, rule, max(1, size))


EXCHANGES: Final = ("/blindmatch.v1.Matching/Exchange", "/blindmatch.v1.Matching/ExchangeLarge")
ENROLMENTS: Final = (methods.ENROLLED.path, methods.ENROL.path)
UNCOUNTED: Final = (*EXCHANGES, *ENROLMENTS)
"""What is counted where it is derived again."""
SEND: Final = "/blindmatch.v1.Relay/Send"

REQUESTS: Final[Mapping[str, type[Wire]]] = {
    method.path: method.request for method in vars(methods).values() if isinstance(method, methods.Method)
}

W = TypeVar("W", bound=Wire)

PURPOSES: Final = {
    "Describe": {Purpose.SETUP},
    "FetchSetup": {Purpose.SETUP},
    "Exchange": {Purpose.MATCHING},
    "ExchangeLarge": {Purpose.MATCHING},
    "Enrolled": {Purpose.ENROLMENT},
    "Enrol": {Purpose.ENROLMENT},
    "Register": {Purpose.ACCOUNT},
    "FetchBundle": {Purpose.ACCOUNT, Purpose.MESSAGE},
    "Upload": {Purpose.MESSAGE},
    "Download": {Purpose.MESSAGE},
    "Send": {Purpose.MESSAGE},
    "Receive": {Purpose.MESSAGE},
    "Acknowledge": {Purpose.MESSAGE},
    "FetchExpired": {Purpose.MESSAGE},
    "Key": {Purpose.ACCOUNT, Purpose.REPORT, Purpose.VOUCHER},
    "Submit": {Purpose.REPORT, Purpose.COVER},
    "SubmitVoucher": {Purpose.VOUCHER},
    "Complain": {Purpose.COMPLAINT},
}


def name_of(record: EgressRecord) -> str:
    return record.method.rpartition("/")[2]


def requests_of(records: Iterable[EgressRecord], *kinds: type[W]) -> Iterator[tuple[EgressRecord, W]]:
    """Requests of these kinds, each read, with the call that it is of."""
    for record in records:
        for kind in kinds:
            if REQUESTS[record.method] is kind:
                yield from ((record, kind.FromString(raw)) for raw in record.requests)


def is_all_of(whole: bytes, data: bytes, record: EgressRecord) -> bool:
    """Did the whole leave, or its beginning in a call that failed?"""
    return whole == data or (record.failed and whole.startswith(data))


_Body = tuple[int | None, Party, bytes]


def well_formed(records: Iterable[EgressRecord]) -> list[EgressRecord]:
    """Those whose requests can be read; the others are findings of `check_forms`."""
    return [record for record in records if not any(True for _ in check_forms([record]))]


def check_forms(records: Iterable[EgressRecord]) -> Iterator[Finding]:
    """Every request is the one encoding of a message its method takes, for a purpose the method has."""
    for record in records:
        kind = REQUESTS.get(record.method)
        name = name_of(record)
        if kind is None or record.purpose not in PURPOSES.get(name, set()):
            yield found(record, f"{name} is not called for {record.purpose}", record.request_bytes)
            continue
        for request in record.requests:
            if not _canonical(kind, request):
                yield found(record, f"{name}: not the canonical form of a request", len(request))


def check_matching(
    design: AnyDesign, epoch: int, records: Iterable[EgressRecord], traces: Iterable[SessionTrace]
) -> Iterator[Finding]:
    """Every matching request is an envelope of a body that a recorded session sent, and none is missing. Only
    a call that was made again with the same bytes after it had failed is declared (`retry_time`)."""
    expected: Counter[_Body] = Counter(
        (trace.item, design.info.asked(role), _enveloped(design, epoch, role, body))
        for trace in traces
        for one in trace.rounds
        for role, body in one.bodies.items()
    )
    sent = Counter[_Body]()
    failed = Counter[_Body]()
    for record in records:
        if record.method not in EXCHANGES:
            continue
        key = (record.item, record.party, _joined(record.requests))
        sent[key] += 1
        if key not in expected:
            yield found(record, "a request of no recorded session", record.request_bytes)
        elif sent[key] > expected[key] + failed[key]:
            yield found(record, "sent again, and nothing had failed", record.request_bytes)
        failed[key] += record.failed
    for item, party, body in expected.keys() - sent.keys():
        yield Finding(party, item, "a body of a recorded session that never went through the seam", len(body))


def check_reports(
    records: Sequence[EgressRecord], confirmed: Mapping[int, bool], vouchers: Mapping[int, bytes]
) -> Iterator[Finding]:
    """Reports are for confirmed matches alone, vouchers are those that sessions ended in."""
    for record in records:
        name = name_of(record)
        if record.purpose is Purpose.COVER:
            parts = [pb.SubmitPart.FromString(raw).part for raw in record.requests]
            if record.item is not None or [len(part.data) in SLOT_SIZES for part in parts] != [True]:
                yield found(record, "a slot of a cover schedule has one size", record.request_bytes)
        elif name == "Submit" and (record.item is None or not confirmed.get(record.item, False)):
            yield found(record, "a report without a confirmed match", record.request_bytes)
        if name == "SubmitVoucher":
            body = b"".join(pb.Envelope.FromString(raw).body for raw in record.requests)
            whole = vouchers.get(-1 if record.item is None else record.item)
            if whole is None or not is_all_of(whole, body, record):
                yield found(record, "a voucher of no recorded session", record.request_bytes)


def check_refused(evidence: Evidence, confirmed: Mapping[int, bool]) -> Iterator[Finding]:
    """A device that refuses matching pictures sends nothing of their messages, and all others."""
    if evidence.told.consequence is not Consequence.REFUSE:
        return
    for record in evidence.records:
        if record.purpose is Purpose.MESSAGE and record.item is not None and confirmed.get(record.item):
            yield found(record, "a message that is refused", record.request_bytes)


def check_arrivals(
    records: Sequence[EgressRecord], arrived: Mapping[tuple[Party, str], int]
) -> Iterator[Finding]:
    """What servers counted is what the seam recorded; more means that something went around the seam."""
    sent = Counter[tuple[Party, str]]()
    for record in records:
        sent[record.party, record.method] += record.request_bytes
    for key, size in arrived.items():
        extra = size - sent[key]
        if extra > 0:
            yield Finding(key[0], None, f"{key[1]}: arrived, but did not pass the seam", extra)


def ciphertext_bytes(records: Sequence[EgressRecord]) -> int:
    sealed = sum(len(one.sealed) for _, one in requests_of(records, pb.SendRequest))
    return sealed + sum(len(one.data) for _, one in requests_of(records, pb.Part))


def _enveloped(design: AnyDesign, epoch: int, role: Role, body: bytes) -> bytes:
    """What identifies a body on the wire: the head's fields, then the body, whatever its parts."""
    info = design.info
    head = pb.Envelope(design=info.name, version=info.version, epoch=epoch, role=role)
    return bytes(head.SerializeToString(deterministic=True)) + b"\0" + body


def _joined(requests: Sequence[bytes]) -> bytes:
    """The same of recorded envelopes; fields where they do not belong make it differ."""
    try:
        envelopes = [pb.Envelope.FromString(raw) for raw in requests]
    except DecodeError:
        return b""
    body = b"".join(envelope.body for envelope in envelopes)
    if not envelopes or envelopes[0].body_size not in (0, len(body)):
        return b""
    for at, envelope in enumerate(envelopes):
        envelope.body = b""
        envelope.body_size = 0
        envelope.request_id = b"" if at == 0 else envelope.request_id
        if at and envelope.ByteSize():
            return b""
    return bytes(envelopes[0].SerializeToString(deterministic=True)) + b"\0" + body


def _canonical(kind: type[Wire], raw: bytes) -> bool:
    try:
        parsed = kind.FromString(raw)
    except DecodeError:
        return False
    again = type(parsed)()
    again.CopyFrom(parsed)
    again.DiscardUnknownFields()
    return bool(again.SerializeToString(deterministic=True) == raw)
