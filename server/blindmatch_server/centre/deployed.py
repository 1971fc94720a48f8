"""What is deployed, and who may report there what; a report chooses neither, and nobody skips a check.

a device    reports where the design tells devices of matches, and only what it sent itself
a service   reports where the design gives it pictures in the clear, and learns of matches by that
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.contract import AnyDesign, Info, Label, Learner
from blindmatch_protocol.messages.report import Report
from msgspec import Struct

from blindmatch_server.centre.assessment import NotAvailable, Verdict
from blindmatch_server.hosting.authority import Identity, Kind


class Deployed(Struct, frozen=True):
    """What a deployment runs.

    Attributes:
        design: its design.
        epochs: what the curator's key has signed (`published.signed_epochs`), as they are when it is called.
        endorsed: whether the entry of a label is endorsed in an epoch; all are, where there is no policy.
    """

    design: AnyDesign
    epochs: Callable[[], Collection[int]]
    endorsed: Callable[[int, Label], Passed | Failed] = lambda epoch, label: Passed()


def check_design(report: Report, deployed: Deployed) -> Verdict:
    """Whether the report is of the design, version and an epoch that are deployed."""
    info = deployed.design.info
    if (report.design, report.version) != (info.name, info.version):
        return Failed(f"what is deployed here is {info.name}, version {info.version}")
    epochs = deployed.epochs()
    if not epochs:
        return NotAvailable("the centre knows no published epoch")
    if report.epoch not in epochs:
        return Failed("no such epoch was published here")
    return Passed()


def check_reporter(report: Report, submitter: Identity, info: Info) -> Verdict:
    """Whether the party that handed the report in may report this, in the design that is deployed."""
    if report.reporter != submitter.account:
        return Failed("another party handed the report in")
    if submitter.kind is Kind.DEVICE:
        return _check_device(report, info)
    return _check_service(report, submitter, info)


def _check_device(report: Report, info: Info) -> Verdict:
    if Learner.DEVICE not in info.learns:
        return Failed(f"in {info.name} devices do not learn of matches, and report none")
    if report.sender != report.reporter:
        return Failed("a device reports what it sent itself, nothing else")
    return Passed()


def _check_service(report: Report, service: Identity, info: Info) -> Verdict:
    sees = service.party is not None and info.sees_content(service.party)
    if not sees or Learner.SERVER not in info.learns:
        return Failed(f"in {info.name} the {service.words} sees no picture, and reports none")
    if report.opening or report.recipient:
        return Failed("a service opens no commitment, and names no recipient")
    return Passed()
