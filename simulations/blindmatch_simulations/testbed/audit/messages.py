"""Derives again what the messenger sends, and bounds how often a request is sent (docs/explanation/audit.md).

A number of requests can tell of a picture as well as their bytes. Each request is for something, of which
there is so much: a message, a picture's attachment, a body of a session, a message to look for. It is sent
once for it, and once more for each time it is recorded to have failed; nothing else explains a repetition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

from blindmatch_client.messages.expiry import ASK_AFTER_MS
from blindmatch_client.messages.relay import LOOK_AFTER_MS
from blindmatch_client.messages.sending import build_binding
from blindmatch_client.messenger.suite import SALT_LENGTH
from blindmatch_client.store.outbox import derive_request_id
from blindmatch_client.trace import EgressRecord, MessageTrace, Purpose, SessionTrace
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.contract import UNBOUND, AnyDesign, Binding, Learner, Party
from blindmatch_protocol.crypto.symmetric import TAG_LENGTH
from blindmatch_protocol.messages import franking
from blindmatch_protocol.messages.content import TEXT_BLOCK, clear_message
from blindmatch_protocol.messages.parts import BLOB_ID_LENGTH, AttachmentSealing, pieces
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from google.protobuf.message import DecodeError

from blindmatch_simulations.testbed.audit.records import (
    EXCHANGES,
    SEND,
    UNCOUNTED,
    Evidence,
    Finding,
    found,
    is_all_of,
    name_of,
    requests_of,
)

MESSAGE_OVERHEAD: Final = SALT_LENGTH + TAG_LENGTH
"""Of a sealed message's ciphertext over its padded plaintext."""


def check_messages(design: AnyDesign, evidence: Evidence) -> Iterator[Finding]:
    """Every message handed over is one that was sealed, with the commitment that its content has; without
    end-to-end encryption it is what was composed, and no more."""
    if not design.info.end_to_end:
        yield from _check_clear(design, evidence)
        return
    sealed = evidence.sealed
    numbers = Counter[str]()
    for message in evidence.messages:
        numbers[message.recipient] += message.content is not None
    for record in (record for record in evidence.records if record.method == SEND):
        for raw in record.requests:
            try:
                request = pb.SendRequest.FromString(raw)
                envelope = SealedMessage.decode(request.sealed)
            except (DecodeError, ProtocolError):
                yield found(record, "not a sealed message", len(raw))
                continue
            if request.clear:
                yield found(record, "a message in the clear", len(request.clear))
            size = len(envelope.ciphertext)
            header = envelope.header
            if size <= MESSAGE_OVERHEAD or (size - MESSAGE_OVERHEAD) % TEXT_BLOCK:
                yield found(record, "a ciphertext of a length no padded message has", size)
            most = numbers[request.recipient]
            if header.number >= max(1, most) or header.previous_chain_length > most:
                yield found(record, "a ratchet header counts messages that were not sealed", 8)
            yield from _check_committed(evidence, record, request, envelope, sealed)


def _check_clear(design: AnyDesign, evidence: Evidence) -> Iterator[Finding]:
    for record, request in requests_of(evidence.records, pb.SendRequest):
        trace = evidence.sealed.get(request.message_id)
        said = None if trace is None or trace.recipient != request.recipient else trace.content
        composed = b"" if said is None else clear_message(said, design.info)
        if request.sealed or request.clear != composed:
            size = len(request.sealed) + len(request.clear)
            yield found(record, "a message that was not composed under this id for this recipient", size)


def _check_committed(
    evidence: Evidence,
    record: EgressRecord,
    request: pb.SendRequest,
    envelope: SealedMessage,
    sealed: dict[bytes, MessageTrace],
) -> Iterator[Finding]:
    trace = sealed.get(request.message_id)
    if trace is None or trace.content is None or trace.recipient != request.recipient:
        rule = "a message that was not sealed under this id for this recipient"
        yield found(record, rule, len(request.sealed))
    elif franking.commit(trace.content, evidence.account, trace.recipient) != envelope.commitment:
        yield found(record, "a commitment that the message's content does not give", len(envelope.commitment))


def check_bindings(evidence: Evidence) -> Iterator[Finding]:
    """Every session was bound to a message that bears its picture, or to none, which says nothing. Of a
    picture whose messages were never sealed, as in an outage, this is not known."""
    bound: dict[int, list[Binding]] = {}
    for one in evidence.messages:
        if one.item is not None and one.content is not None:
            of = one.content, evidence.account, one.recipient, 0
            told = [build_binding(franking.disclose(*of, named)) for named in (True, False)]
            bound.setdefault(one.item, []).extend(told)
    for trace in evidence.traces:
        known = bound.get(trace.item, [trace.binding])
        if trace.binding not in (*known, UNBOUND):
            size = len(trace.binding.commitment + trace.binding.evidence)
            yield Finding(Party.CENTRE, trace.item, "bound to another message than its picture's", size)


def check_uploads(evidence: Evidence) -> Iterator[Finding]:
    """Every attachment is what its picture's file and its key give."""
    refs = {m.item: m.attachment for m in evidence.messages if m.attachment and m.item is not None}
    for record in (record for record in evidence.records if name_of(record) == "Upload"):
        parts = [pb.Part.FromString(raw) for raw in record.requests]
        data = b"".join(part.data for part in parts)
        item = -1 if record.item is None else record.item
        ref = refs.get(item)
        file = evidence.files.get(item)
        if ref is None or file is None:
            yield found(record, "an attachment of no picture that was sent", len(data))
            continue
        whole = b"".join(AttachmentSealing(replayed(ref.key + bytes(BLOB_ID_LENGTH))).blob(pieces(file)))
        if sha256(file).digest() != ref.digest or not is_all_of(whole, data, record):
            yield found(record, "an attachment that its picture and its key do not give", len(data))
        if any(part.size != (len(whole) if at == 0 else 0) for at, part in enumerate(parts)):
            yield found(record, "a part that bears another size than the attachment's", 8)


def check_request_ids(design: AnyDesign, evidence: Evidence) -> Iterator[Finding]:
    """A server that learns gets the name that follows from the attachment's key; no other gets one."""
    learns = Learner.SERVER in design.info.learns
    keys = {one.item: one.attachment.key for one in evidence.messages if one.attachment and learns}
    for record in (record for record in evidence.records if record.method in EXCHANGES):
        given = _request_id(record)
        key = None if record.item is None else keys.get(record.item)
        if given != (b"" if key is None else derive_request_id(key)) or (learns and key is None):
            yield found(record, "a request id that the attachment's key does not give", len(given))


def _request_id(record: EgressRecord) -> bytes:
    try:
        return b"".join(pb.Envelope.FromString(raw).request_id for raw in record.requests)
    except DecodeError:
        return b""


def check_ids(evidence: Evidence) -> Iterator[Finding]:
    """Ids and keys are drawn at random, and nothing drawn is used twice for different things."""
    drawn = set(evidence.drawn)
    uses = dict[bytes, tuple[str, Hashable]]()
    for record, value, use, thing in _drawn(evidence):
        first, of = uses.setdefault(value, (use, thing))
        if value not in drawn:
            yield found(record, f"{_one(use)} that was not drawn at random", len(value))
        elif any(value in trace.tape for trace in evidence.traces):
            yield found(record, f"{_one(use)} that a session drew", len(value))
        elif (first, of) != (use, thing):
            rule = f"is {_one(first)} too" if first != use else "serves twice"
            yield found(record, f"{_one(use)} that {rule}", len(value))


def _one(use: str) -> str:
    return f"an {use}" if use[0] in "aeiou" else f"a {use}"


def _drawn(evidence: Evidence) -> Iterator[tuple[EgressRecord, bytes, str, Hashable]]:
    sealed = evidence.sealed
    by_item = {m.item: m for m in evidence.messages if m.item is not None}
    for record in evidence.records:
        for use, value in _ids(record):
            yield record, value, use, record.item
        if name_of(record) == "Send":
            trace = sealed.get(pb.SendRequest.FromString(record.requests[0]).message_id)
            if trace is not None and trace.content is not None:
                yield record, trace.content.franking_key, "franking key", (trace.recipient, trace.content.id)
        if name_of(record) == "Upload" and record.item in by_item:
            attachment = by_item[record.item].attachment
            assert attachment is not None
            yield record, attachment.key, "attachment key", record.item


def _ids(record: EgressRecord) -> Iterator[tuple[str, bytes]]:
    for at, raw in enumerate(record.requests):
        match name_of(record):
            case "Send":
                yield "message id", pb.SendRequest.FromString(raw).message_id
            case "Complain":
                yield "complaint id", pb.ComplainRequest.FromString(raw).complaint_id
            case "Submit":
                part = pb.SubmitPart.FromString(raw)
                if at == 0 or part.report_id:
                    yield "report id" if at == 0 else "report id in a later part", part.report_id


Key = tuple[Party, str, Purpose, Hashable]

_PUBLISHED_MOST: Final = 2
"""Pre-keys are published twice at once if the relay holds few."""


def check_repetition(evidence: Evidence) -> Iterator[Finding]:
    """No request more often than what it is for allows (matching requests: `check_matching`;
    enrolments: `check_enrolments`)."""
    records = [record for record in evidence.records if record.method not in UNCOUNTED]
    limits = _limits(evidence)
    counts = Counter[Key]()
    failed = Counter[Key]()
    for record in records:
        key = (record.party, name_of(record), record.purpose, _subject(record))
        counts[key] += 1
        if counts[key] > limits.get(key, limits.get((*key[:3], None), 1)) + failed[key]:
            yield found(record, f"{key[1]}: sent more often than declared", record.request_bytes)
        failed[key] += record.failed
    yield from _check_order(records)
    yield from _check_count(evidence)
    yield from _check_told(evidence)


def _subject(record: EgressRecord) -> Hashable:
    """What a request is for: a thing there is one of, or None for what is counted by method alone."""
    first = record.requests[0] if record.requests else b""
    match name_of(record):
        case "Send":
            return bytes(pb.SendRequest.FromString(first).message_id)
        case "Upload" | "SubmitVoucher":
            return record.item
        case "Submit" if record.purpose is Purpose.REPORT:
            return record.item
        case "FetchBundle":
            return str(pb.BundleRequest.FromString(first).account)
        case "FetchSetup":
            request = pb.SetupRequest.FromString(first)
            return request.epoch, request.name
        case "Download" | "Acknowledge":
            return first
        case _:
            return None


def _limits(evidence: Evidence) -> Mapping[Key, int]:
    """How often what is counted by method alone may be sent, and bundles of one account fetched."""
    told = evidence.told
    times = [record.at_ms for record in evidence.records]
    seconds = (max(times) - min(times)) // 1000 if times else 0
    refused = sum(
        record.failed
        for record in evidence.records
        if record.method in EXCHANGES or name_of(record) == "SubmitVoucher"
    )
    looked = told.registered + 1000 * seconds // LOOK_AFTER_MS
    published = _PUBLISHED_MOST * looked
    slots = 0 if told.slot_s is None else seconds // told.slot_s + 2
    limits: dict[Key, int] = {
        (Party.PROVIDER, "Register", Purpose.ACCOUNT, None): published,
        (Party.PROVIDER, "Receive", Purpose.MESSAGE, None): told.polls,
        (Party.PROVIDER, "FetchExpired", Purpose.MESSAGE, None): told.registered
        + 1000 * seconds // ASK_AFTER_MS,
        (Party.CENTRE, "Key", Purpose.ACCOUNT, None): told.registered,
        (Party.CENTRE, "Complain", Purpose.COMPLAINT, None): told.complaints,
        (Party.CENTRE, "Submit", Purpose.COVER, None): slots,
    }
    # a device whose set failed looks for a newer one with each picture that it is told to send
    for_newer = told.messages if any(map(_failed_inside, evidence.traces)) else 0
    for party in {record.party for record in evidence.records}:
        limits[party, "Describe", Purpose.SETUP, None] = looked + refused + for_newer
    for name, started in _started(evidence.records).items():
        limits[Party.PROVIDER, "FetchBundle", Purpose.ACCOUNT, name] = max(1, len(started))
    return limits


def _failed_inside(trace: SessionTrace) -> bool:
    """Did a session come to no outcome although everything that it asked was answered?"""
    return trace.outcome is None and all(one.replies for one in trace.rounds)


def _started(records: Iterable[EgressRecord]) -> dict[str, set[bytes]]:
    """Sessions that were started with each account: a bundle is fetched for each."""
    started: dict[str, set[bytes]] = {}
    for _, request in requests_of(records, pb.SendRequest):
        try:
            sealed = SealedMessage.decode(request.sealed)
        except ProtocolError:
            continue
        if sealed.initial:
            started.setdefault(request.recipient, set()).add(sealed.session)
    return started


def _check_order(records: Iterable[EgressRecord]) -> Iterator[Finding]:
    """Numbers that a device chooses go up, or are the same every time."""
    last = 0
    broken_off = set[tuple[int, str]]()
    waits = set[int]()
    for record, request in requests_of(records, pb.AcknowledgeRequest, pb.SetupRequest, pb.ReceiveRequest):
        size = request.ByteSize()
        match request:
            case pb.AcknowledgeRequest(sequences=sequences):
                given = list(sequences)
                if given != sorted(set(given)) or (given and given[0] <= last and not record.failed):
                    yield found(record, "acknowledges out of order, or twice", size)
                last = max([last, *([] if record.failed else given)])
            case pb.SetupRequest(epoch=epoch, name=name, offset=offset):
                if offset and (epoch, name) not in broken_off:
                    yield found(record, "goes on with a file that was not broken off", size)
                broken_off = {*broken_off, (epoch, name)} if record.failed else broken_off
            case pb.ReceiveRequest(wait_ms=wait_ms):
                waits.add(wait_ms)
                if len(waits) > 1:
                    yield found(record, "waits for messages for another time than before", size)


def _check_count(evidence: Evidence) -> Iterator[Finding]:
    """No more messages than the device was told to send, and to nobody else."""
    told = evidence.told
    seen = set[bytes]()
    for record, sent in requests_of(evidence.records, pb.SendRequest):
        seen.add(sent.message_id)
        if len(seen) > told.messages:
            yield found(record, "more messages than it was told to send", sent.ByteSize())
        if sent.recipient not in told.contacts:
            yield found(record, "a name that it was not told to write to", sent.ByteSize())
    for record, asked in requests_of(evidence.records, pb.BundleRequest):
        if asked.account not in told.contacts:
            yield found(record, "a name that it was not told to write to", asked.ByteSize())


def _check_told(evidence: Evidence) -> Iterator[Finding]:
    """No set-up files, messages and attachments but those that are there for the device."""
    told = evidence.told
    blobs = set[bytes]()
    for record, request in requests_of(
        evidence.records, pb.SetupRequest, pb.AcknowledgeRequest, pb.DownloadRequest, pb.ExpiredRequest
    ):
        size = request.ByteSize()
        match request:
            case pb.SetupRequest(epoch=epoch, name=name) if (epoch, name) not in told.setup:
                yield found(record, "a set-up file that is not there", size)
            case pb.AcknowledgeRequest(sequences=given):
                if max(given, default=0) > told.received:
                    yield found(record, "acknowledges a message that was not for it", size)
            case pb.ExpiredRequest(after=after):
                if after > told.expired:
                    yield found(record, "acknowledges a message that had not expired", size)
            case pb.DownloadRequest(blob_id=blob_id):
                blobs.add(blob_id)
                if len(blobs) > told.received:
                    yield found(record, "an attachment of no message that was for it", size)


def check_sessions(records: Sequence[EgressRecord], traces: Sequence[SessionTrace]) -> Iterator[Finding]:
    """A picture is asked about again only after something that was sent for it has failed."""
    failed = Counter(record.item for record in records if record.failed)
    sessions = Counter(trace.item for trace in traces)
    for trace in traces:
        extra = sessions[trace.item] - 1 - failed[trace.item]
        if extra > 0 and trace.rounds:
            sessions[trace.item] -= 1
            party = next(record.party for record in records if record.item == trace.item)
            size = sum(len(body) for one in trace.rounds for body in one.bodies.values())
            yield Finding(party, trace.item, "asked about again, and nothing had failed", max(1, size))
