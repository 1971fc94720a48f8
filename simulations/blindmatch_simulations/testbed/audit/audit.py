"""The whole audit of one device: records, sessions, and what arrived at the servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from blindmatch_client.settings import Consequence
from blindmatch_client.trace import EgressRecord, Purpose
from blindmatch_protocol.contract import Party, Voucher
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.testbed.audit.counterpart import Comparison, Counterpart, DecoyFinder
from blindmatch_simulations.testbed.audit.dictionary import scan
from blindmatch_simulations.testbed.audit.enrolments import check_enrolments, held_by_roles
from blindmatch_simulations.testbed.audit.evidence import Evidence, Finding
from blindmatch_simulations.testbed.audit.messages import (
    check_bindings,
    check_ids,
    check_messages,
    check_request_ids,
    check_uploads,
)
from blindmatch_simulations.testbed.audit.records import (
    check_arrivals,
    check_forms,
    check_matching,
    check_refused,
    check_reports,
    ciphertext_bytes,
    well_formed,
)
from blindmatch_simulations.testbed.audit.repetition import check_repetition, check_sessions
from blindmatch_simulations.testbed.audit.replay import confirmed, explain, replay
from blindmatch_simulations.testbed.audit.reports import check_opened, count_reports


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
        pictures: how many pictures were matched.
        sessions: how many sessions were derived again.
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
        """Bytes that nothing declared explains."""
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
