"""The whole audit of one device, and the audit of sessions that were run in this process."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum

from blindmatch_client.egress import calls as methods
from blindmatch_client.settings import Consequence
from blindmatch_client.trace import EgressRecord, Purpose, Round, SessionTrace
from blindmatch_proofs.franking import verify_opening, verify_stamp
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Binding, Flag, Item, Match, Outcome, Party, Voucher
from blindmatch_protocol.messages.report import Report, Slot, open_report, open_slot
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.picture import container
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.testbed.audit.counterpart import Comparison, Counterpart, DecoyFinder
from blindmatch_simulations.testbed.audit.dictionary import dictionary_for, scan
from blindmatch_simulations.testbed.audit.messages import (
    check_bindings,
    check_ids,
    check_messages,
    check_repetition,
    check_request_ids,
    check_sessions,
    check_uploads,
)
from blindmatch_simulations.testbed.audit.records import (
    Evidence,
    Finding,
    check_arrivals,
    check_forms,
    check_matching,
    check_refused,
    check_reports,
    ciphertext_bytes,
    found,
    well_formed,
)
from blindmatch_simulations.testbed.audit.replay import (
    check_enrolments,
    confirmed,
    crashes_of,
    explain,
    held_by_roles,
    replay,
)
from blindmatch_simulations.testbed.inprocess.crashes import Crash
from blindmatch_simulations.testbed.inprocess.deployed import (
    Asked,
    Ran,
    carried_by,
    seen_by,
    seers,
)


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
        item = sealed.item
        if item is None:
            item = next((number for number, data in evidence.files.items() if data == report.picture), None)
        if item is None or item not in evidence.files:
            yield _finding(sealed, None, "a report bears no picture that was sent")
            continue
        declared = (report.design, report.version, report.epoch)
        if declared != (design.info.name, design.info.version, epoch):
            yield _finding(sealed, item, "a report names another design or epoch")
        for what in _opened_beyond(report, item, outcomes.get(item), evidence):
            yield _finding(sealed, item, f"a report opens {what}")


def _opened_beyond(report: Report, item: int, outcome: Outcome | None, evidence: Evidence) -> Iterator[str]:
    file = evidence.files[item]
    records = evidence.records
    first = min(r.at_ms for r in records)
    last = max(r.at_ms for r in records)
    times = report.sent_at_ms, report.matched_at_ms
    right = {
        "a finding of no session": _found(report, outcome),
        "another picture than the one that matched": report.picture == file,
        "more than a media type": report.media_type == f"image/{container.sniff(file).lower()}",
        "another sender than the device": (report.reporter, report.sender) == (evidence.account,) * 2,
        "a recipient to whom nothing was sent": report.recipient in ("", *evidence.told.contacts),
        "a time outside the run": first <= min(times) <= max(times) <= last,
        "parts of a message that did not leave": _opens_what_left(report, item, records),
        "something in place of the relay's stamp on it": _stamped(report, item, records, evidence.stamp_key),
    }
    yield from (what for what, holds in right.items() if not holds)


def _found(report: Report, outcome: Outcome | None) -> bool:
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
    """Empty slots bear nothing; fragments are of one report, and none is missing."""
    whole = dict[bytes, dict[int, Slot]]()
    last = dict[bytes, EgressRecord]()
    drawn = set(evidence.drawn)
    for record in evidence.records:
        slot = _slot(record, centre)
        if slot is None:
            continue
        if not slot.count:
            if slot.position or slot.submission not in drawn:
                yield found(record, "an empty slot bears something", len(slot.submission) + 4)
            continue
        held = whole.setdefault(slot.submission, {})
        last[slot.submission] = record
        if held.setdefault(slot.position, slot) != slot or next(iter(held.values())).count != slot.count:
            yield found(record, "a slot bears another fragment than before", len(slot.data))
    for submission, held in whole.items():
        if len(held) != next(iter(held.values())).count:
            size = sum(len(slot.data) for slot in held.values())
            yield found(last[submission], "fragments of a report that did not leave whole", size)


def _slot(record: EgressRecord, centre: X25519PrivateKey) -> Slot | None:
    """The slot in a record; None if there is none: what it bears is then judged as a report."""
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


def _opens_what_left(report: Report, item: int, records: Sequence[EgressRecord]) -> bool:
    """Does the report open the commitment of a message that left with this picture?"""
    if len(report.opening) != 1 or verify_opening(report.evidence) != Passed():
        return False
    for sent in _sent(item, records):
        with suppress(ProtocolError):
            if SealedMessage.decode(sent.sealed).commitment == report.opening[0].commitment:
                return True
    return False


def _stamped(report: Report, item: int, records: Sequence[EgressRecord], key: bytes) -> bool:
    """Is its stamp the relay's, on a message that left with this picture?"""
    if not report.opening or len(report.stamp) != 1:
        return False
    (opening,) = report.opening
    (stamp,) = report.stamp
    of = (stamp, opening.commitment, report.sender, report.recipient)
    right = not key or verify_stamp(*of, key) == Passed()
    return right and stamp.message_id in {sent.message_id for sent in _sent(item, records)}


def _sent(item: int, records: Sequence[EgressRecord]) -> Iterator[pb.SendRequest]:
    """Messages that left with a picture; malformed ones are findings of `records.check_forms`."""
    for record in records:
        if record.method == methods.SEND.path and record.item == item:
            for raw in record.requests:
                with suppress(DecodeError):
                    yield pb.SendRequest.FromString(raw)


def _finding(sealed: _Sealed, item: int | None, rule: str) -> Finding:
    return Finding(Party.CENTRE, item, rule, max(1, len(sealed.body)))


class Undeclared(StrEnum):
    """What an audit came to."""

    NONE = "none"
    FOUND = "found"
    NOT_COMPARABLE = "not comparable"
    NOT_CHECKED = "not checked"


class Audit(Struct, frozen=True):
    """The result.

    Attributes:
        findings: undeclared egress, empty if there is none.
        bytes_by: request bytes by party and purpose.
        ciphertext: bytes of end-to-end ciphertext among them.
        comparisons: with how many pictures each session's bytes to each party were compared.
        reports_opened: how many reports were opened and held against what they may open; None: not looked at.
        crashes: errors of the design's own code, each once, which are no findings: nobody sent anything.
    """

    findings: tuple[Finding, ...]
    bytes_by: Mapping[tuple[Party, Purpose], int] = field(default_factory=dict)
    ciphertext: int = 0
    pictures: int = 0
    sessions: int = 0
    comparisons: tuple[Comparison, ...] = ()
    reports_opened: int | None = None
    crashes: tuple[Crash, ...] = ()

    @property
    def undeclared_bytes(self) -> int:
        return sum(finding.size for finding in self.findings)

    @property
    def undeclared(self) -> Undeclared:
        """Whether there were any; not comparable if sessions sent something that nothing agrees with, and not
        checked if the design crashed, so that nothing was sent that could be."""
        if self.findings:
            return Undeclared.FOUND
        if self.crashes:
            return Undeclared.NOT_CHECKED
        compared = any(one.comparable for one in self.comparisons)
        return Undeclared.NONE if compared or not self.comparisons else Undeclared.NOT_COMPARABLE


def audit_device(counterpart: Counterpart, evidence: Evidence) -> Audit:
    """Audit one device. Runs every recorded session again, several times (see `replay`)."""
    findings = [*check_forms(evidence.records), *check_arrivals(evidence.records, evidence.arrived or {})]
    readable = replace(evidence, records=well_formed(evidence.records))
    counterpart = replace(counterpart, enrolments=held_by_roles(counterpart, evidence.enrolments))
    findings += _check_records(counterpart, readable)
    findings += check_opened(counterpart.design, counterpart.design.epoch_of(counterpart.setup), readable)
    finder = DecoyFinder(counterpart, evidence.pool)
    comparisons = list[Comparison]()
    crashes = list[Crash]()
    for trace in evidence.traces:
        item = evidence.items[trace.item]
        ended = crashes_of(counterpart, trace, item)
        if not ended:
            explained = explain(finder, trace, item)
            findings += [*replay(counterpart, trace, item), *explained.findings]
            comparisons += explained.comparisons
            ended = explained.crashes
        crashes += ended
    sizes = Counter[tuple[Party, Purpose]]()
    for record in evidence.records:
        sizes[record.party, record.purpose] += record.request_bytes
    return Audit(
        findings=tuple(findings),
        bytes_by=sizes,
        ciphertext=ciphertext_bytes(readable.records) if counterpart.design.info.end_to_end else 0,
        pictures=len(evidence.items),
        sessions=len(evidence.traces),
        comparisons=tuple(comparisons),
        reports_opened=count_reports(readable),
        crashes=tuple({(one.step, one.error, one.trace): one for one in reversed(crashes)}.values())[::-1],
    )


def _check_records(counterpart: Counterpart, evidence: Evidence) -> Iterator[Finding]:
    design = counterpart.design
    records = evidence.records
    traces = {trace.item: trace for trace in evidence.traces}
    matches = {n: confirmed(counterpart, trace, evidence.items[n]) for n, trace in traces.items()}
    ends = {n: trace.outcome for n, trace in traces.items()}
    vouchers = {n: end.body.encode() for n, end in ends.items() if isinstance(end, Voucher)}
    yield from check_matching(design, design.epoch_of(counterpart.setup), records, evidence.traces)
    yield from check_request_ids(design, evidence)
    reports = evidence.told.consequence is Consequence.REPORT
    yield from check_reports(records, matches if reports else {}, vouchers)
    yield from check_refused(evidence, matches)
    yield from check_messages(design, evidence)
    yield from check_bindings(evidence)
    yield from check_uploads(evidence)
    yield from check_ids(evidence)
    yield from check_enrolments(counterpart, evidence)
    yield from check_repetition(evidence)
    yield from check_sessions(records, evidence.traces)
    yield from scan(counterpart, evidence)


def audit_sessions(
    counterpart: Counterpart,
    sessions: Mapping[int, tuple[Item, Ran, Binding]],
    pool: Sequence[Item],
    compared: Collection[int] | None = None,
) -> tuple[list[Finding], list[Comparison]]:
    """Findings, and what was compared, of `sessions`: pictures with their sessions, and the message that each
    is in. Those in `compared` (None: all) are run again, and held against pictures of `pool`."""
    finder = DecoyFinder(counterpart, pool)
    findings = list[Finding]()
    comparisons = list[Comparison]()
    for number, (item, ran, binding) in sessions.items():
        if compared is None or number in compared:
            rounds = tuple(map(_round, ran.rounds))
            before = ran.state_before.encode()
            trace = SessionTrace(number, before, ran.tape, rounds, ran.outcome, binding)
            explained = explain(finder, trace, item, catch=False)
            findings += [*replay(counterpart, trace, item), *explained.findings]
            comparisons += explained.comparisons
    return [*findings, *_pieces(counterpart, sessions)], comparisons


def _pieces(counterpart: Counterpart, sessions: Mapping[int, tuple[Item, Ran, Binding]]) -> Iterator[Finding]:
    """No body, and no reply that is carried, holds a piece of a picture that is not declared to whoever gets
    it."""
    design = counterpart.design
    items = {number: item for number, (item, *_) in sessions.items()}
    for party in seers(design):
        dictionary = dictionary_for(counterpart, party, items, {})
        for number, (_, ran, _) in sessions.items():
            for body in _seen(counterpart, party, ran):
                if dictionary.in_opaque(body):
                    yield Finding(party, number, "a body holds a piece of a picture", len(body))


def _seen(counterpart: Counterpart, party: Party, ran: Ran) -> list[bytes]:
    design = counterpart.design
    seen = seen_by(counterpart.design, party)
    bodies = [counterpart.read(party, to, body) for to, body in ran.bodies() if to in seen]
    carried = carried_by(design, {party})
    return bodies + [asked.reply.encode() for asked in ran.asked if asked.role in carried]


def _round(asked: Sequence[Asked]) -> Round:
    bodies = {one.role: one.body.encode() for one in asked}
    return Round(bodies, {one.role: one.reply.encode() for one in asked})
