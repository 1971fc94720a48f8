"""What a demo run must have come to, and what is wrong with one that did not."""

from __future__ import annotations

from typing import Final

from blindmatch_client.device import OutcomeKind
from blindmatch_client.settings import Consequence
from blindmatch_protocol.contract import Learner
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_simulations.measure.intervals import at_least
from blindmatch_simulations.testbed.audit import Undeclared
from blindmatch_simulations.testbed.demo.endorsed import ENDORSERS
from blindmatch_simulations.testbed.demo.run import WITNESSES, DemoRun
from blindmatch_simulations.testbed.pictures.workload import TEXTS

PASSED: Final = "passed"
_FOUND: Final = frozenset({OutcomeKind.MATCH, OutcomeKind.FLAG})
_UNASKED: Final = frozenset({OutcomeKind.DUE, OutcomeKind.SKIPPED})


IMPLAUSIBLE: Final = 0.001
"""A run is wrong if so many misses or more have a lower probability at the declared recall."""


def expected_reports(run: DemoRun) -> int:
    """How many reports the centre should have verified: one a match, if anybody learns of matches and devices
    are to report."""
    reports = run.consequence is Consequence.REPORT and run.design.info.learns != {Learner.NOBODY}
    return run.matches if reports else 0


def refused(run: DemoRun) -> int:
    """Messages that devices refused to send, since their pictures match."""
    return sum(not one.delivered and one.outcome in _FOUND for one in run.sent)


def _handed_over(run: DemoRun) -> bool:
    """Was every message sent but those that are to be refused, and none of these?"""
    refuses = run.consequence is Consequence.REFUSE
    return all(one.delivered is not (refuses and one.outcome in _FOUND) for one in run.sent)


def missed(run: DemoRun) -> int:
    """Pictures that match by the design's own relation and that were not found."""
    return sum(run.oracle) - (run.matches - wrong(run))


def wrong(run: DemoRun) -> int:
    """Matches that are none: pictures that do not match, or more matches than there are such pictures."""
    return max(run.wrong, run.matches - sum(run.oracle), 0)


def plausibility(run: DemoRun) -> float:
    """The probability of so many misses or more at the recall that the design declares: exact binomial."""
    return at_least(missed(run), sum(run.oracle), 1 - run.design.info.relation.recall)


def verified_reports(run: DemoRun) -> int:
    """Reports that passed the centre's checks, and vouchers that it has opened."""
    opened = sum(row.opened for row in run.vouchers)
    return sum(map(_passed, run.reports)) + opened


def unverified_reports(run: DemoRun) -> int:
    """Reports that have not passed the centre's checks."""
    return sum(not _passed(row) for row in run.reports)


def _passed(row: pb.ReportRow) -> bool:
    """Did a report pass the machine's checks? What people decide afterwards stands apart."""
    return row.checks == PASSED


def intact(run: DemoRun) -> int:
    """How many pictures reached Bob, bit for bit and in order."""
    got = list(run.pictures)
    pairs = zip(run.workload.sendings, run.sent, strict=True)
    sent = (sending.data for sending, one in pairs if one.delivered)
    return sum(a == b for a, b in zip(sent, got, strict=False))


def undeclared_bytes(run: DemoRun) -> int:
    """Bytes that left a device and that nothing declared explains."""
    return sum(audit.undeclared_bytes for audit in run.audits.values())


def bundled_bytes(run: DemoRun) -> int:
    """The same of the bundled pictures that are audited beside the user's own."""
    return 0 if run.bundled is None else run.bundled.undeclared_bytes


def not_audited(run: DemoRun) -> bool:
    """Are the pictures the user's own, and could the design not be audited on bundled ones either?"""
    return run.bundled is not None and run.bundled.undeclared is Undeclared.NOT_COMPARABLE


def not_compared(run: DemoRun) -> list[str]:
    """Names of the user's own pictures for which something is sent to match them, and that were compared with
    no other picture that agrees on the facts."""
    compared = {one.item for audit in run.audits.values() for one in audit.comparisons if one.comparable}
    asks = run.bundled is not None and run.bundled.comparisons
    pairs = zip(run.workload.sendings, run.sent, strict=True)
    return [sending.name for sending, one in pairs if asks and one.item not in compared]


def undeclared(run: DemoRun) -> Undeclared:
    """Whether there were any; not comparable if nothing was found and no session could be compared."""
    ends = {audit.undeclared for audit in run.audits.values()}
    return next(end for end in (Undeclared.FOUND, Undeclared.NOT_COMPARABLE, Undeclared.NONE) if end in ends)


def failures(run: DemoRun) -> list[str]:
    """What is not as it should be, in words; empty if the run is right."""
    verified, recall = verified_reports(run), run.design.info.relation.recall
    texts = [message.text for message in run.received if message.text]
    checks = {
        f"{intact(run)} of {len(run.sent)} pictures arrived as sent, {refused(run)} refused": (
            intact(run) + refused(run) == len(run.sent)
        ),
        "texts did not arrive as sent": texts == list(TEXTS),
        "Bob's answer did not arrive": run.answered,
        f"{wrong(run)} matches are none by the design's own relation": wrong(run) == 0,
        f"{missed(run)} of {sum(run.oracle)} matches missed; declared recall {recall:.1%}": (
            plausibility(run) >= IMPLAUSIBLE
        ),
        f"{verified} reports verified, {expected_reports(run)} expected": verified == expected_reports(run),
        f"{unverified_reports(run)} reports did not pass the checks": unverified_reports(run) == 0,
        f"{undeclared_bytes(run)} undeclared bytes left a device": undeclared_bytes(run) == 0,
        f"{bundled_bytes(run)} undeclared bytes were sent for bundled pictures": bundled_bytes(run) == 0,
        "the audit of a device is not clean": not any(audit.findings for audit in run.audits.values()),
        "a message was held back, or sent and not to be": _handed_over(run),
        "the epoch was logged, and not cosigned by every witness": (
            run.logged is None or len(run.witnesses) == WITNESSES
        ),
        "the list was endorsed by fewer than it was to be": (
            not run.submitters or run.endorsers == ENDORSERS
        ),
        "a picture was not asked about": all(one.outcome not in _UNASKED for one in run.sent),
    }
    return [words for words, holds in checks.items() if not holds]


def unasked(run: DemoRun) -> list[str]:
    """What the device told its user of pictures that it could not match, each notice once."""
    return list(dict.fromkeys(one.notice for one in run.sent if one.outcome in _UNASKED))
