"""Whoever holds a listed picture and its label files reports about others; the checks must fail each.

    the recipient   a device reports that somebody sent it the picture
    a service       relay and matcher report a message between two others, with a commitment made up for it
    another design  relay and matcher report under a design whose provider reads messages, with no commitment
    a repetition    a device reports one message of its own again and again

The picture is on the list, the label is right, the relay stamps whatever it is asked to, and all of it is
sealed to the centre as a report should be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.egress.methods import SUBMIT
from blindmatch_client.trace import Purpose
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.content import AttachmentRef, Content, compose
from blindmatch_protocol.contract import Match, Party
from blindmatch_protocol.franking import disclose
from blindmatch_protocol.parts import SUBMISSION, split
from blindmatch_protocol.report import Report, seal_report
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.stamp import Stamp, Stamped
from blindmatch_server.authority import Identity, Kind
from blindmatch_server.centre import subjects, verify
from blindmatch_server.centre.keys import PUBLIC_KEY
from blindmatch_server.key_files import read_key

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena, AttackError
from blindmatch_simulations.attacks.figure import Figure, counted, tally
from blindmatch_simulations.attacks.loopback import Loopback, drawn, loopback
from blindmatch_simulations.deployment.devices import now_ms
from blindmatch_simulations.deployment.operators import centre_list

ALICE, BOB, MALLORY = "alice", "bob", "mallory"
OTHER_DESIGN: Final = "provider-scan"
PICTURE: Final = 1
TYPE: Final = "image/png"
PASSED: Final = "passed"


@dataclass(frozen=True, slots=True, repr=False)
class Forgery:
    """A report that says what it must not."""

    case: str
    submitter: Identity
    report: Report


def run(arena: Arena) -> Figure:
    """Count the reports that pass every check, by case."""
    with loopback(arena, [drawn(PICTURE)]) as held:
        cases = passed(arena, held, list(_forged(arena, held)))
    return counted("reports that passed", but_the_first(cases, "a repetition"))


def passed(arena: Arena, held: Loopback, forged: Sequence[Forgery]) -> dict[str, tuple[int, int]]:
    """Submit reports; how many of each case passed every check, and were tried."""
    for one in arena.each(forged):
        _submit(held, one)
    checks = {row.report_id: row.checks for row in centre_list(held.deployment).reports}
    return tally((one.case, checks[one.report.report_id] == PASSED) for one in forged)


def but_the_first(cases: dict[str, tuple[int, int]], case: str) -> dict[str, tuple[int, int]]:
    """Without the report of `case` that is true; raises `AttackError` if none passed."""
    times, tries = cases[case]
    if not times:
        raise AttackError("the first report of a device about a message of its own does not pass")
    return cases | {case: (times - 1, tries - 1)}


def _forged(arena: Arena, held: Loopback) -> Iterator[Forgery]:
    made = Reports(arena, held)
    mallory = Identity(Kind.DEVICE, MALLORY)
    yield Forgery("the recipient", mallory, made.report(mallory, ALICE, MALLORY))
    for party in (Party.PROVIDER, Party.MATCHER):
        service = Identity.of(party)
        yield Forgery("a service", service, made.report(service, ALICE, BOB))
        without = replace(made.report(service, ALICE, BOB), design=OTHER_DESIGN, recipient="", opening=())
        yield Forgery("another design", service, without)
    own = made.content()
    for _ in range(3):
        yield Forgery("a repetition", mallory, made.report(mallory, MALLORY, BOB, own))


class Reports:
    """Makes reports from what mallory's device learns of a listed picture."""

    def __init__(self, arena: Arena, held: Loopback) -> None:
        self._rng, self._design = arena.rng("reports"), held.design
        watched, self._data = held.device(MALLORY), drawn(PICTURE)
        self._key = read_key(held.deployment.relay_stamp_key)
        held.device(BOB)
        watched.device.send_picture(BOB, self._data)
        (trace,) = watched.traces
        assert isinstance(trace.outcome, Match)
        self._label = trace.outcome.label

    def content(self) -> Content:
        """A message with the picture, which nobody has sent."""
        digest = hashlib.sha256(self._data).digest()
        ref = AttachmentRef(self._rng.take(16), self._rng.take(32), digest, len(self._data), TYPE)
        return compose("", (ref,), now_ms(), self._rng)

    def report(
        self, reporter: Identity, sender: str, recipient: str, content: Content | None = None
    ) -> Report:
        """A report of `reporter` that `sender` sent the picture to `recipient`."""
        shown, opening = disclose(content or self.content(), sender, recipient, 0)
        info, name, now = self._design.info, self._rng.take(16), now_ms()
        stamp = Stamp(name, now, Stamped(opening.commitment, sender, recipient, name, now).mac(self._key))
        return Report(
            report_id=self._rng.take(16),
            design=info.name,
            version=info.version,
            epoch=1,
            label=self._label,
            reporter=reporter.account,
            sender=sender,
            recipient=recipient,
            sent_at_ms=shown.sent_at,
            matched_at_ms=now_ms(),
            media_type=TYPE,
            opening=(opening,),
            picture=self._data,
            stamp=(stamp,),
        )


def _submit(held: Loopback, forgery: Forgery) -> None:
    deployment, report = held.deployment, forgery.report
    body = seal_report(report, read_key(deployment.centre_keys / PUBLIC_KEY))
    credentials = deployment.caller_credentials(forgery.submitter, deployment.folder_of(forgery.submitter))
    egress = Egress(deployment.directory(), credentials, Recorder(), now_ms)
    try:
        head = pb.SubmitPart(report_id=report.report_id)
        egress.upload(Call(Party.CENTRE, SUBMIT, Purpose.REPORT), lambda: split(SUBMISSION, head, body))
    finally:
        egress.close()


ATTACK: Final = Adversary(
    name="framing",
    means=Means(frozenset({Party.DEVICE, Party.MATCHER, Party.PROVIDER}), has="a listed picture, its label"),
    claim=Claim(
        "A device reports what it sent itself; a service reports where the deployed design gives "
        "it pictures in the clear, else nothing"
    ),
    budget="eight reports",
    move=run,
    weakness=replacing(
        (verify, "check_reporter", lambda *_: Passed()),
        (verify, "check_design", lambda *_: Passed()),
        (subjects, "settle", lambda connection, report_id, assessment: assessment),
    ),
    against=frozenset({"oprf-psi", "token-psi"}),
)
