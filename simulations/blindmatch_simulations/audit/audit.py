"""The whole audit of one device: records, sessions, and what arrived at the servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blindmatch_client.trace import EgressRecord, Purpose, SessionTrace
from blindmatch_protocol.contract import Item, Party, Voucher

from blindmatch_simulations.audit.finding import Finding
from blindmatch_simulations.audit.records import (
    check_arrivals,
    check_forms,
    check_matching,
    check_reports,
    check_request_ids,
    check_uploads,
    ciphertext_bytes,
)
from blindmatch_simulations.audit.replay import Counterpart, confirmed, explain, replay
from blindmatch_simulations.audit.reports import Reportable, check_opened, count_reports


@dataclass(frozen=True, slots=True, repr=False)
class Evidence:
    """What a device recorded of itself, and what is needed to hold it against.

    Attributes:
        records: all its egress.
        traces: all its matching sessions.
        items: its pictures by number.
        plain_sizes: length of each picture's file by number.
        arrived: request bytes that servers counted for it, by party and method; None: not measured.
        pool: pictures to take decoys from.
        reports: what its reports may be about, and the key that opens them; None: they are not opened.
    """

    records: Sequence[EgressRecord]
    traces: Sequence[SessionTrace]
    items: Mapping[int, Item]
    plain_sizes: Mapping[int, int]
    pool: Sequence[Item]
    arrived: Mapping[tuple[Party, str], int] | None = None
    reports: Reportable | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """The result.

    Attributes:
        findings: undeclared egress, empty if there is none.
        bytes_by: request bytes by party and purpose.
        ciphertext: bytes of end-to-end ciphertext among them.
        pictures: how many pictures were matched.
        sessions: how many sessions were derived again.
        arrivals_checked: whether the servers' counts were held against the seam's.
        reports_opened: how many reports were opened and held against what they may open; None: not looked at.
    """

    findings: tuple[Finding, ...]
    bytes_by: Mapping[tuple[Party, Purpose], int] = field(default_factory=dict)
    ciphertext: int = 0
    pictures: int = 0
    sessions: int = 0
    arrivals_checked: bool = False
    reports_opened: int | None = None

    @property
    def undeclared_bytes(self) -> int:
        """Bytes that nothing declared explains."""
        return sum(finding.size for finding in self.findings)


def audit_device(counterpart: Counterpart, evidence: Evidence) -> Audit:
    """Audit one device. Runs every recorded session again, several times (see `replay`)."""
    design, setup = counterpart.design, counterpart.setup
    traces = {trace.item: trace for trace in evidence.traces}
    matches = {n: confirmed(counterpart, trace, evidence.items[n]) for n, trace in traces.items()}
    vouchers = frozenset(n for n, trace in traces.items() if isinstance(trace.outcome, Voucher))
    findings = [
        *check_forms(evidence.records),
        *check_matching(design, design.epoch_of(setup), evidence.records, evidence.traces),
        *check_request_ids(design, evidence.records),
        *check_reports(evidence.records, matches, vouchers),
        *check_uploads(evidence.records, evidence.plain_sizes),
        *check_arrivals(evidence.records, evidence.arrived or {}),
    ]
    if evidence.reports is not None:
        findings += check_opened(
            design, design.epoch_of(setup), evidence.records, evidence.traces, evidence.reports
        )
    for trace in evidence.traces:
        item = evidence.items[trace.item]
        findings += replay(counterpart, trace, item)
        findings += explain(counterpart, trace, item, evidence.pool)
    return Audit(
        findings=tuple(findings),
        bytes_by=_bytes_by(evidence.records),
        ciphertext=ciphertext_bytes(evidence.records),
        pictures=len(evidence.items),
        sessions=len(evidence.traces),
        arrivals_checked=evidence.arrived is not None,
        reports_opened=count_reports(evidence.records, evidence.reports) if evidence.reports else None,
    )


def _bytes_by(records: Sequence[EgressRecord]) -> dict[tuple[Party, Purpose], int]:
    sums: dict[tuple[Party, Purpose], int] = {}
    for record in records:
        key = (record.party, record.purpose)
        sums[key] = sums.get(key, 0) + record.request_bytes
    return sums
