"""Opens the reports that left a device with the centre's own key, and holds each against what it may open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from blindmatch_client.egress import calls as methods
from blindmatch_client.trace import EgressRecord, Purpose
from blindmatch_proofs.franking import verify_opening, verify_stamp
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Flag, Match, Outcome, Party
from blindmatch_protocol.messages.report import Report, Slot, open_report, open_slot
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.picture import container
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError
from msgspec import Struct

from blindmatch_simulations.testbed.audit.records import Evidence, Finding, found


class _Sealed(Redacted, Struct, frozen=True):
    """A report as it left, whole; `item` if the calls named one."""

    report_id: bytes
    body: bytes
    item: int | None


def check_opened(design: AnyDesign, epoch: int, evidence: Evidence) -> Iterator[Finding]:
    """Every report that left opens what it may, and nothing else; one that does not open is a finding, and so
    is a slot that bears anything else. None without the centre's key."""
    if evidence.centre is None:
        return
    yield from _check_slots(evidence, evidence.centre)
    outcomes = {trace.item: trace.outcome for trace in evidence.traces}
    for sealed in _sealed_reports(evidence.records, evidence.centre):
        try:
            report = open_report(sealed.body, sealed.report_id, evidence.centre)
        except ProtocolError as error:
            yield _finding(sealed, sealed.item, f"not a report as the centre takes it: {error}")
            continue
        item = _item_of(report, sealed, evidence.files)
        if item is None:
            yield _finding(sealed, None, "a report bears no picture that was sent")
            continue
        declared = (report.design, report.version, report.epoch)
        if declared != (design.info.name, design.info.version, epoch):
            yield _finding(sealed, item, "a report names another design or epoch")
        for what in _opened_beyond(report, item, outcomes.get(item), evidence):
            yield _finding(sealed, item, f"a report opens {what}")


def _opened_beyond(report: Report, item: int, outcome: Outcome | None, evidence: Evidence) -> Iterator[str]:
    """What the report opens that it may not, in words."""
    file, records = evidence.files[item], evidence.records
    right = {
        "a finding of no session": _found(report, outcome),
        "another picture than the one that matched": report.picture == file,
        "more than a media type": report.media_type == f"image/{container.sniff(file).lower()}",
        "another sender than the device": (report.reporter, report.sender) == (evidence.account,) * 2,
        "a recipient to whom nothing was sent": report.recipient in ("", *evidence.told.contacts),
        "a time outside the run": _in_time(report, records),
        "parts of a message that did not leave": _opens_what_left(report, item, records),
        "something in place of the relay's stamp on it": _stamped(report, item, records, evidence.stamp_key),
    }
    yield from (what for what, holds in right.items() if not holds)


def _found(report: Report, outcome: Outcome | None) -> bool:
    """Is what the report says was found what its session came to?"""
    if isinstance(outcome, Flag):
        return report.flag == outcome
    return isinstance(outcome, Match) and outcome.label == report.label and report.flag is None


def count_reports(evidence: Evidence) -> int | None:
    """How many whole reports left the device, each counted once; None without the centre's key."""
    if evidence.centre is None:
        return None
    return len({sealed.report_id for sealed in _sealed_reports(evidence.records, evidence.centre)})


def _sealed_reports(records: Sequence[EgressRecord], centre: X25519PrivateKey) -> Iterator[_Sealed]:
    slots: dict[bytes, dict[int, Slot]] = defaultdict(dict)
    for record in records:
        if record.method != methods.SUBMIT.path:
            continue
        slot = _slot(record, centre)
        if slot is None:
            yield _Sealed(*_submitted(record), record.item)
        elif slot.count:
            slots[slot.submission][slot.position] = slot
    for submission, held in slots.items():
        whole = b"".join(held[position].data for position in sorted(held))
        if len(held) == next(iter(held.values())).count:
            yield _Sealed(submission, whole, None)


def _check_slots(evidence: Evidence, centre: X25519PrivateKey) -> Iterator[Finding]:
    """An empty slot says nothing, fragments are those of one report, and of each there are all."""
    whole, last = dict[bytes, dict[int, Slot]](), dict[bytes, EgressRecord]()
    drawn = set(evidence.drawn)
    for record in evidence.records:
        slot = _slot(record, centre)
        if slot is None:
            continue
        if not slot.count:
            if slot.position or slot.submission not in drawn:
                yield found(record, "an empty slot bears something", len(slot.submission) + 4)
            continue
        held, last[slot.submission] = whole.setdefault(slot.submission, {}), record
        if held.setdefault(slot.position, slot) != slot or next(iter(held.values())).count != slot.count:
            yield found(record, "a slot bears another fragment than before", len(slot.data))
    for submission, held in whole.items():
        if len(held) != next(iter(held.values())).count:
            size = sum(len(slot.data) for slot in held.values())
            yield found(last[submission], "fragments of a report that did not leave whole", size)


def _slot(record: EgressRecord, centre: X25519PrivateKey) -> Slot | None:
    """The slot that a record bears; None: none, and what it bears is judged as a report."""
    report_id, body = _submitted(record)
    try:
        return open_slot(body, report_id, centre) if record.purpose is Purpose.COVER else None
    except ProtocolError:
        return None  # no slot, and no report either, as the judgement will say


def _submitted(record: EgressRecord) -> tuple[bytes, bytes]:
    try:
        parts = [pb.SubmitPart.FromString(raw) for raw in record.requests]
    except DecodeError:
        return b"", b""
    return parts[0].report_id if parts else b"", b"".join(part.part.data for part in parts)


def _item_of(report: Report, sealed: _Sealed, files: Mapping[int, bytes]) -> int | None:
    if sealed.item is not None:
        return sealed.item if sealed.item in files else None
    return next((number for number, data in files.items() if data == report.picture), None)


def _in_time(report: Report, records: Sequence[EgressRecord]) -> bool:
    first, last = min(r.at_ms for r in records), max(r.at_ms for r in records)
    return all(first <= at <= last for at in (report.sent_at_ms, report.matched_at_ms))


def _opens_what_left(report: Report, item: int, records: Sequence[EgressRecord]) -> bool:
    """Does the report open the commitment of a message that left with this picture?"""
    if len(report.opening) != 1 or verify_opening(report.shown, report.opening[0]) != Passed():
        return False
    return report.opening[0].commitment in set(_commitments(item, records))


def _stamped(report: Report, item: int, records: Sequence[EgressRecord], key: bytes) -> bool:
    """Is its stamp the relay's, on a message that left with this picture?"""
    if not report.opening or len(report.stamp) != 1:
        return False
    (opening,), (stamp,) = report.opening, report.stamp
    of = (stamp, opening.commitment, report.sender, report.recipient)
    right = not key or verify_stamp(*of, key) == Passed()
    return right and stamp.message_id in {sent.message_id for sent in _sent(item, records)}


def _commitments(item: int, records: Sequence[EgressRecord]) -> Iterator[bytes]:
    for sent in _sent(item, records):
        with suppress(ProtocolError):
            yield SealedMessage.decode(sent.sealed).commitment


def _sent(item: int, records: Sequence[EgressRecord]) -> Iterator[pb.SendRequest]:
    """Messages that left with a picture; what is none is a finding of `records.check_forms`."""
    for record in records:
        if record.method == methods.SEND.path and record.item == item:
            for raw in record.requests:
                with suppress(DecodeError):
                    yield pb.SendRequest.FromString(raw)


def _finding(sealed: _Sealed, item: int | None, rule: str) -> Finding:
    return Finding(Party.CENTRE, item, rule, max(1, len(sealed.body)))
