"""Bounds how often a request is sent: a number of requests can tell of a picture as well as their bytes.

Each request is for something, of which there is so much: a message, a picture's attachment, a body of a
session, a message to look for. It is sent once for it, and once more for each time it is recorded to have
failed; nothing else explains a repetition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from blindmatch_client.messages.relay import LOOK_AFTER_MS
from blindmatch_client.trace import EgressRecord, Purpose, SessionTrace
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_simulations.testbed.audit.evidence import Evidence, Finding, found
from blindmatch_simulations.testbed.audit.records import EXCHANGES, UNCOUNTED, name_of

Key = tuple[Party, str, Purpose, Hashable]

_PUBLISHED_MOST: Final = 2
"""Pre-keys are published twice at once if the relay holds few."""


def check_repetition(evidence: Evidence) -> Iterator[Finding]:
    """No request more often than what it is for allows (matching requests: `check_matching`;
    enrolments: `check_enrolments`)."""
    records = [record for record in evidence.records if record.method not in UNCOUNTED]
    limits, counts, failed = _limits(evidence), Counter[Key](), Counter[Key]()
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
            return _setup_file(first)
        case "Download" | "Acknowledge":
            return first
        case _:
            return None


def _setup_file(raw: bytes) -> tuple[int, str]:
    """Epoch and name of the set-up file that a request is for, from whatever offset on."""
    request = pb.SetupRequest.FromString(raw)
    return request.epoch, request.name


def _limits(evidence: Evidence) -> Mapping[Key, int]:
    """How often what is counted by method alone may be sent, and bundles of one account fetched."""
    told, seconds = evidence.told, _seconds(evidence.records)
    refused = sum(record.failed for record in evidence.records if record.method in EXCHANGES)
    published = _PUBLISHED_MOST * (told.registered + 1000 * seconds // LOOK_AFTER_MS)
    slots = 0 if told.slot_s is None else seconds // told.slot_s + 2
    limits: dict[Key, int] = {
        (Party.PROVIDER, "Register", Purpose.ACCOUNT, None): published,
        (Party.PROVIDER, "Receive", Purpose.MESSAGE, None): told.polls,
        (Party.CENTRE, "Key", Purpose.ACCOUNT, None): told.registered,
        (Party.CENTRE, "Complain", Purpose.COMPLAINT, None): told.complaints,
        (Party.CENTRE, "Submit", Purpose.COVER, None): slots,
    }
    for party in {record.party for record in evidence.records}:
        limits[party, "Describe", Purpose.SETUP, None] = told.registered + refused
    for name, started in _started(evidence.records).items():
        limits[Party.PROVIDER, "FetchBundle", Purpose.ACCOUNT, name] = max(1, len(started))
    return limits


def _started(records: Iterable[EgressRecord]) -> dict[str, set[bytes]]:
    """Sessions that were started with each account: a bundle is fetched for each."""
    started: dict[str, set[bytes]] = {}
    for raw in (raw for record in records if name_of(record) == "Send" for raw in record.requests):
        request = pb.SendRequest.FromString(raw)
        try:
            sealed = SealedMessage.decode(request.sealed)
        except ProtocolError:
            continue
        if sealed.initial:
            started.setdefault(request.recipient, set()).add(sealed.session)
    return started


def _seconds(records: Sequence[EgressRecord]) -> int:
    times = [record.at_ms for record in records]
    return (max(times) - min(times)) // 1000 if times else 0


def _check_order(records: Iterable[EgressRecord]) -> Iterator[Finding]:
    """Numbers that a device chooses go up, or are the same every time."""
    last, broken_off, waits = 0, set[tuple[int, str]](), set[int]()
    for record in records:
        for raw in record.requests:
            match name_of(record):
                case "Acknowledge":
                    given = list(pb.AcknowledgeRequest.FromString(raw).sequences)
                    if given != sorted(set(given)) or (given and given[0] <= last and not record.failed):
                        yield found(record, "acknowledges out of order, or twice", len(raw))
                    last = max([last, *([] if record.failed else given)])
                case "FetchSetup":
                    request = pb.SetupRequest.FromString(raw)
                    if request.offset and _setup_file(raw) not in broken_off:
                        yield found(record, "goes on with a file that was not broken off", len(raw))
                    broken_off = {*broken_off, _setup_file(raw)} if record.failed else broken_off
                case "Receive":
                    waits.add(pb.ReceiveRequest.FromString(raw).wait_ms)
                    if len(waits) > 1:
                        yield found(record, "waits for messages for another time than before", len(raw))


def _check_count(evidence: Evidence) -> Iterator[Finding]:
    """No more messages than the device was told to send, and to nobody else."""
    told, seen = evidence.told, set[bytes]()
    for record in evidence.records:
        for raw in record.requests:
            match name_of(record):
                case "Send":
                    seen.add(pb.SendRequest.FromString(raw).message_id)
                    to = pb.SendRequest.FromString(raw).recipient
                    if len(seen) > told.messages:
                        yield found(record, "more messages than it was told to send", len(raw))
                case "FetchBundle":
                    to = pb.BundleRequest.FromString(raw).account
                case _:
                    continue
            if to not in told.contacts:
                yield found(record, "a name that it was not told to write to", len(raw))


def _check_told(evidence: Evidence) -> Iterator[Finding]:
    """No set-up files, messages and attachments but those that are there for the device."""
    told, blobs = evidence.told, set[bytes]()
    for record in evidence.records:
        for raw in record.requests:
            match name_of(record):
                case "FetchSetup" if _setup_file(raw) not in told.setup:
                    yield found(record, "a set-up file that is not there", len(raw))
                case "Acknowledge":
                    given = pb.AcknowledgeRequest.FromString(raw).sequences
                    if max(given, default=0) > told.received:
                        yield found(record, "acknowledges a message that was not for it", len(raw))
                case "Download":
                    blobs.add(pb.DownloadRequest.FromString(raw).blob_id)
                    if len(blobs) > told.received:
                        yield found(record, "an attachment of no message that was for it", len(raw))


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
