"""The whole audit of one device, and the audit of sessions that were run in this process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

from blindmatch_client.settings import Consequence
from blindmatch_client.trace import EgressRecord, Purpose, Round, SessionTrace
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Binding, Item, Party, Voucher
from blindmatch_protocol.picture.decode import Picture
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
    well_formed,
)
from blindmatch_simulations.testbed.audit.replay import (
    check_enrolments,
    confirmed,
    explain,
    held_by_roles,
    replay,
)
from blindmatch_simulations.testbed.audit.reports import check_opened, count_reports
from blindmatch_simulations.testbed.inprocess.deployed import (
    Asked,
    OpenDesign,
    Ran,
    carried_by,
    drawn_binding,
    run_session,
    seen_by,
    seers,
)
from blindmatch_simulations.testbed.pictures.crops import crops


class Undeclared(StrEnum):
    """What an audit came to."""

    NONE = "none"
    FOUND = "found"
    NOT_COMPARABLE = "not comparable"


class Audit(Struct, frozen=True):
    """The result.

    Attributes:
        findings: undeclared egress, empty if there is none.
        bytes_by: request bytes by party and purpose.
        ciphertext: bytes of end-to-end ciphertext among them.
        comparisons: with how many pictures each session's bytes to each party were compared.
        arrivals_checked: whether the servers' counts were held against the seam's.
        reports_opened: how many reports were opened and held against what they may open; None: not looked at.
    """

    findings: tuple[Finding, ...]
    bytes_by: Mapping[tuple[Party, Purpose], int] = field(default_factory=dict)
    ciphertext: int = 0
    pictures: int = 0
    sessions: int = 0
    comparisons: tuple[Comparison, ...] = ()
    arrivals_checked: bool = False
    reports_opened: int | None = None

    @property
    def undeclared_bytes(self) -> int:
        return sum(finding.size for finding in self.findings)

    @property
    def undeclared(self) -> Undeclared:
        """Whether there were any; not comparable if sessions sent something that nothing agrees with."""
        if self.findings:
            return Undeclared.FOUND
        compared = any(one.comparable for one in self.comparisons)
        return Undeclared.NONE if compared or not self.comparisons else Undeclared.NOT_COMPARABLE


def audit_device(counterpart: Counterpart, evidence: Evidence) -> Audit:
    """Audit one device. Runs every recorded session again, several times (see `replay`)."""
    findings = [*check_forms(evidence.records), *check_arrivals(evidence.records, evidence.arrived or {})]
    readable = replace(evidence, records=well_formed(evidence.records))
    counterpart = replace(counterpart, enrolments=held_by_roles(counterpart, evidence.enrolments))
    findings += _check_records(counterpart, readable)
    findings += check_opened(counterpart.design, counterpart.design.epoch_of(counterpart.setup), readable)
    finder, comparisons = DecoyFinder(counterpart, evidence.pool), list[Comparison]()
    for trace in evidence.traces:
        item = evidence.items[trace.item]
        findings += replay(counterpart, trace, item)
        found, compared = explain(finder, trace, item)
        findings += found
        comparisons += compared
    return Audit(
        findings=tuple(findings),
        bytes_by=_bytes_by(evidence.records),
        ciphertext=ciphertext_bytes(readable.records) if counterpart.design.info.end_to_end else 0,
        pictures=len(evidence.items),
        sessions=len(evidence.traces),
        comparisons=tuple(comparisons),
        arrivals_checked=evidence.arrived is not None,
        reports_opened=count_reports(readable),
    )


def _check_records(counterpart: Counterpart, evidence: Evidence) -> Iterator[Finding]:
    design, records = counterpart.design, evidence.records
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


def _bytes_by(records: Sequence[EgressRecord]) -> dict[tuple[Party, Purpose], int]:
    sums: dict[tuple[Party, Purpose], int] = {}
    for record in records:
        key = (record.party, record.purpose)
        sums[key] = sums.get(key, 0) + record.request_bytes
    return sums


BUNDLED: Final = (12, 3)
"""Number and seed of the bundled pictures that are audited beside a user's own."""
FEW: Final = 2
"""Of these, that a design is asked about whose sessions are dear."""


def audit_bundled(counterpart: Counterpart, opened: OpenDesign, rng: Randomness) -> Audit:
    """Ask about bundled pictures, which may be compared with others, and audit that."""
    items = [Picture.from_bytes(one.data) for one in crops(*BUNDLED)]
    asked = items[:FEW] if opened.design.reduced() is not None else items
    bindings = [drawn_binding(opened.design, rng) for _ in asked]
    sessions = {
        number: (item, run_session(opened, item, rng, binding=binding), binding)
        for number, (item, binding) in enumerate(zip(asked, bindings, strict=True))
    }
    findings, comparisons = audit_sessions(replace(counterpart, enrolments=opened.held), sessions, items)
    return Audit(tuple(findings), pictures=len(asked), sessions=len(asked), comparisons=tuple(comparisons))


def audit_sessions(
    counterpart: Counterpart,
    sessions: Mapping[int, tuple[Item, Ran, Binding]],
    pool: Sequence[Item],
    compared: Collection[int] | None = None,
) -> tuple[list[Finding], list[Comparison]]:
    """Findings, and what was compared.

    Args:
        sessions: pictures with their sessions, and the message that each is in.
        pool: pictures to compare with.
        compared: the sessions that are run again; None: all.
    """
    finder, findings, comparisons = DecoyFinder(counterpart, pool), list[Finding](), list[Comparison]()
    for number, (item, ran, binding) in sessions.items():
        if compared is None or number in compared:
            trace = _trace(number, ran, binding)
            found, of_it = explain(finder, trace, item)
            findings += [*replay(counterpart, trace, item), *found]
            comparisons += of_it
    return [*findings, *_pieces(counterpart, sessions)], comparisons


def _pieces(counterpart: Counterpart, sessions: Mapping[int, tuple[Item, Ran, Binding]]) -> Iterator[Finding]:
    """No body, and no reply that is carried, holds a piece of a picture that is not declared to whoever gets
    it."""
    design, items = counterpart.design, {number: item for number, (item, *_) in sessions.items()}
    for party in seers(design):
        dictionary = dictionary_for(counterpart, party, items, {})
        for number, (_, ran, _) in sessions.items():
            for body in _seen(counterpart, party, ran):
                if dictionary.in_opaque(body):
                    yield Finding(party, number, "a body holds a piece of a picture", len(body))


def _seen(counterpart: Counterpart, party: Party, ran: Ran) -> list[bytes]:
    design, seen = counterpart.design, seen_by(counterpart.design, party)
    bodies = [counterpart.read(party, to, body) for to, body in ran.bodies() if to in seen]
    carried = carried_by(design, {party})
    return bodies + [asked.reply.encode() for asked in ran.asked if asked.role in carried]


def _trace(number: int, ran: Ran, binding: Binding) -> SessionTrace:
    rounds = tuple(map(_round, ran.rounds))
    return SessionTrace(number, ran.state_before.encode(), ran.tape, rounds, ran.outcome, binding)


def _round(asked: Sequence[Asked]) -> Round:
    bodies = {one.role: one.body.encode() for one in asked}
    return Round(bodies, {one.role: one.reply.encode() for one in asked})
