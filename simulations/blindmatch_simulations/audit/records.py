"""Holds what a device says it sent against what it should have sent, and against what arrived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from blindmatch_client.egress import methods
from blindmatch_client.messenger.suite import SALT_LENGTH
from blindmatch_client.outbox import REQUEST_ID_BYTES
from blindmatch_client.trace import EgressRecord, Purpose, SessionTrace
from blindmatch_protocol.committing_aead import TAG_LENGTH
from blindmatch_protocol.contract import AnyDesign, Learner, Party, Role
from blindmatch_protocol.cover import SLOT_SIZES
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.padding import TEXT_BLOCK, padded_attachment_length
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.sealed_message import SealedMessage
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Wire

from blindmatch_simulations.audit.finding import Finding

MESSAGE_OVERHEAD: Final = SALT_LENGTH + TAG_LENGTH
"""Of a sealed message's ciphertext over its padded plaintext."""

_EXCHANGES: Final = ("/blindmatch.v1.Matching/Exchange", "/blindmatch.v1.Matching/ExchangeLarge")
_SEND: Final = "/blindmatch.v1.Relay/Send"
_REQUESTS: Final[Mapping[str, type[Wire]]] = {
    method.path: method.request for method in vars(methods).values() if isinstance(method, methods.Method)
}
_PURPOSES: Final = {
    "Describe": {Purpose.SETUP},
    "FetchSetup": {Purpose.SETUP},
    "Exchange": {Purpose.MATCHING},
    "ExchangeLarge": {Purpose.MATCHING},
    "Register": {Purpose.ACCOUNT},
    "FetchBundle": {Purpose.ACCOUNT, Purpose.MESSAGE},
    "Upload": {Purpose.MESSAGE},
    "Download": {Purpose.MESSAGE},
    "Send": {Purpose.MESSAGE},
    "Receive": {Purpose.MESSAGE},
    "Acknowledge": {Purpose.MESSAGE},
    "Key": {Purpose.ACCOUNT, Purpose.REPORT, Purpose.VOUCHER},
    "Submit": {Purpose.REPORT, Purpose.COVER},
    "SubmitVoucher": {Purpose.VOUCHER},
    "Complain": {Purpose.COMPLAINT},
}


def check_forms(records: Iterable[EgressRecord]) -> Iterator[Finding]:
    """Every request is the one encoding of a message its method takes, for a purpose the method has."""
    for record in records:
        kind = _REQUESTS.get(record.method)
        name = record.method.rpartition("/")[2]
        if kind is None or record.purpose not in _PURPOSES.get(name, set()):
            yield _finding(record, f"{name} is not called for {record.purpose}", record.request_bytes)
            continue
        for request in record.requests:
            if not _canonical(kind, request):
                yield _finding(record, f"{name}: not the canonical form of a request", len(request))
        if record.method == _SEND:
            yield from _check_sealed(record)


def check_matching(
    design: AnyDesign, epoch: int, records: Iterable[EgressRecord], traces: Iterable[SessionTrace]
) -> Iterator[Finding]:
    """Every matching request is an envelope of a body that a recorded session sent, and none is missing.

    A call that was made again with the same bytes is declared (`retry_time`), one with others is not.
    """
    expected = _expected(design, epoch, traces)
    seen: set[tuple[int | None, Party, bytes]] = set()
    for record in records:
        if record.method not in _EXCHANGES:
            continue
        key = (record.item, record.party, _joined(record.requests))
        if key not in expected:
            yield _finding(record, "a request of no recorded session", record.request_bytes)
        seen.add(key)
    for item, party, sent in expected.keys() - seen:
        yield Finding(party, item, "a body of a recorded session that never went through the seam", len(sent))


def check_request_ids(design: AnyDesign, records: Iterable[EgressRecord]) -> Iterator[Finding]:
    """A server that learns gets a random name for each picture, the same at every attempt; no other gets one.

    What the name is made of is the device's secret: only its form can be held against anything.
    """
    length = REQUEST_ID_BYTES if Learner.SERVER in design.info.learns else 0
    items: dict[bytes, int | None] = {}
    named: dict[int | None, bytes] = {}
    for record in records:
        if record.method not in _EXCHANGES:
            continue
        given = _request_id(record)
        if len(given) != length:
            yield _finding(record, f"a request id must have {length} bytes", len(given))
        elif length and items.setdefault(given, record.item) != record.item:
            yield _finding(record, "two pictures share a request id", length)
        elif named.setdefault(record.item, given) != given:
            yield _finding(record, "a picture has two request ids", length)


def _request_id(record: EgressRecord) -> bytes:
    try:
        return b"".join(pb.Envelope.FromString(raw).request_id for raw in record.requests)
    except DecodeError:
        return b""


def check_reports(
    records: Sequence[EgressRecord], confirmed: Mapping[int, bool], vouchers: frozenset[int]
) -> Iterator[Finding]:
    """Reports are for confirmed matches alone, vouchers for sessions that ended in one."""
    for record in records:
        name = record.method.rpartition("/")[2]
        if record.purpose is Purpose.COVER:
            yield from _check_slot(record)
        elif name == "Submit" and (record.item is None or not confirmed.get(record.item, False)):
            yield _finding(record, "a report without a confirmed match", record.request_bytes)
        if name == "SubmitVoucher" and record.item not in vouchers:
            yield _finding(record, "a voucher of no recorded session", record.request_bytes)


def _check_slot(record: EgressRecord) -> Iterator[Finding]:
    """A slot of a cover schedule is one part of a size class, whatever is in it; nothing names a picture."""
    parts = [pb.SubmitPart.FromString(raw).part for raw in record.requests]
    if record.item is not None or [len(part.data) in SLOT_SIZES for part in parts] != [True]:
        yield _finding(record, "a slot of a cover schedule has one size", record.request_bytes)


def check_arrivals(
    records: Sequence[EgressRecord], arrived: Mapping[tuple[Party, str], int]
) -> Iterator[Finding]:
    """What servers counted is what the seam recorded; more means that something went around the seam."""
    sent: dict[tuple[Party, str], int] = {}
    for record in records:
        sent[record.party, record.method] = sent.get((record.party, record.method), 0) + record.request_bytes
    for key, size in arrived.items():
        extra = size - sent.get(key, 0)
        if extra > 0:
            yield Finding(key[0], None, f"{key[1]}: arrived, but did not pass the seam", extra)


def ciphertext_bytes(records: Iterable[EgressRecord]) -> int:
    """Bytes of end-to-end ciphertext: sealed messages and attachments."""
    total = 0
    for record in records:
        if record.method == _SEND:
            total += sum(len(pb.SendRequest.FromString(raw).sealed) for raw in record.requests)
        elif record.method.endswith("/Upload"):
            total += sum(len(pb.Part.FromString(raw).data) for raw in record.requests)
    return total


def _expected(
    design: AnyDesign, epoch: int, traces: Iterable[SessionTrace]
) -> dict[tuple[int | None, Party, bytes], None]:
    return {
        (trace.item, design.info.roles[role], _enveloped(design, epoch, role, body)): None
        for trace in traces
        for one in trace.rounds
        for role, body in one.bodies.items()
    }


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
    """No unknown fields, no second encoding."""
    try:
        parsed = kind.FromString(raw)
    except DecodeError:
        return False
    again = type(parsed)()
    again.CopyFrom(parsed)
    again.DiscardUnknownFields()
    return bool(again.SerializeToString(deterministic=True) == raw)


def _check_sealed(record: EgressRecord) -> Iterator[Finding]:
    for raw in record.requests:
        try:
            request = pb.SendRequest.FromString(raw)
            sealed = SealedMessage.decode(request.sealed)
        except (DecodeError, ProtocolError):
            yield _finding(record, "not a sealed message", len(raw))
            continue
        if not _is_text_ciphertext(len(sealed.ciphertext)):
            yield _finding(record, "a ciphertext of a length no padded message has", len(raw))


def _is_text_ciphertext(length: int) -> bool:
    return length > MESSAGE_OVERHEAD and (length - MESSAGE_OVERHEAD) % TEXT_BLOCK == 0


def check_uploads(records: Iterable[EgressRecord], plain_sizes: Mapping[int, int]) -> Iterator[Finding]:
    """Attachments have the padded length of the picture they belong to."""
    uploads = [r for r in records if r.method.endswith("/Upload")]
    for item, group in groupby(uploads, key=lambda record: record.item):
        for record in group:
            size = sum(len(pb.Part.FromString(raw).data) for raw in record.requests)
            known = plain_sizes.get(item) if item is not None else None
            if known is None or size != padded_attachment_length(known) + TAG_LENGTH:
                yield _finding(record, "an attachment of another length than its padded picture", size)


def _finding(record: EgressRecord, rule: str, size: int) -> Finding:
    return Finding(record.party, record.item, rule, max(1, size))
