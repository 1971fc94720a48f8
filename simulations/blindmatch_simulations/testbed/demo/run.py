"""The main job, end to end, and what a run of it must have come to.

curator publishes --> relay, matcher, centre start --> Alice and Bob register --> Alice sends
--> each picture is matched --> Bob receives --> the centre checks --> what left the devices is audited
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from blindmatch_client.device import OutcomeKind, Sent
from blindmatch_client.messages.receiving import Received
from blindmatch_client.settings import Consequence, check_consequence
from blindmatch_proofs.tlog import TlogProof
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Learner, Party
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.epochs.published import Publication, read_logged
from msgspec import Struct, field

from blindmatch_simulations.measure.intervals import at_least
from blindmatch_simulations.measure.phases import PhaseProgress, PhaseTimes
from blindmatch_simulations.testbed.audit import Audit, Undeclared
from blindmatch_simulations.testbed.demo.conversation import (
    ENDORSERS,
    SUBMITTERS,
    Conversation,
    endorsed_list,
)
from blindmatch_simulations.testbed.demo.workload import TEXTS, Workload, demo_workload
from blindmatch_simulations.testbed.deployment.curating import add_references, open_named
from blindmatch_simulations.testbed.deployment.devices import Options
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.crashes import Crash
from blindmatch_simulations.testbed.inprocess.steps import below
from blindmatch_simulations.testbed.scenario.run import Player
from blindmatch_simulations.testbed.scenario.world import World

LIST: Final = "demo"
WITNESSES: Final = 2
"""Of the log that the demo runs."""
NUMBERS: Final = 1 << 20
"""Of which one is drawn, as conformance's seed decides: what a design meets in one it meets in the other."""


class DemoRun(Redacted, Struct, frozen=True):
    """Everything that a run brought to light.

    Attributes:
        sent: what became of each picture, in the order of the workload.
        pictures: his messages' pictures; those in `received` go with his device's folder.
        oracle: whether each picture is to be found: it matches by the plaintext oracle and, where there are
            vouchers, enough do and its own is not made up.
        matches: how many there were, as known to whoever learns of them.
        wrong: those of them that a device learnt and that are none by the oracle.
        vouchers: what the centre holds and has opened, by account.
        opened_below: how many were open when the sender was one match below the design's threshold; None
            if it has none, or too few pictures match.
        counted: what each server counted, by account and method.
        setup_bytes: what a device fetched once.
        on_schedule: whether reports left in the slots of a cover schedule.
        franking: what messages bore of their sender's key.
        by_outsider: reports whose files show somebody without secret keys that the sender sent the picture.
        submitters: organisations that submitted the list.
        endorsers: those whose endorsements devices checked.
        logged: index of the epoch's leaf in the log that devices checked.
        witnesses: those whose cosignatures they had.
    """

    design: AnyDesign
    entries: int
    workload: Workload
    sent: Sequence[Sent]
    received: Sequence[Received]
    pictures: Sequence[bytes]
    answered: bool
    oracle: Sequence[bool]
    matches: int
    wrong: int
    reports: Sequence[pb.ReportRow]
    vouchers: Sequence[pb.VoucherRow]
    opened_below: int | None
    audits: Mapping[str, Audit]
    counted: Mapping[Party, Sequence[pb.Counter]]
    setup_bytes: int
    on_schedule: bool = False
    consequence: Consequence = Consequence.REPORT
    franking: FrankingMode = DEFAULT_MODE
    by_outsider: int = 0
    submitters: tuple[str, ...] = ()
    endorsers: tuple[str, ...] = ()
    logged: int | None = None
    witnesses: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def play_demo(
    home: Path,
    reference: str,
    set_size: int,
    phase: PhaseProgress,
    options: Options | None = None,
    franking: FrankingMode = DEFAULT_MODE,
) -> DemoRun:
    """Run the demo in the new folder `home`, with `set_size` random hashes on the list beside those of the
    listed pictures, and what both devices' users decide in `options`. `DesignError` if devices are to keep a
    schedule, and do not report in this design, or a consequence is to follow from outcomes that they do not
    learn; `BlindmatchError` if a part fails."""
    design = load_design(reference)
    phases = PhaseTimes(phase)
    options = options or Options()
    check_consequence(options.consequence, True, design.info)
    if options.cover is not None and Learner.DEVICE not in design.info.learns:
        raise DesignError(f"design {design.info.name}: its devices make no reports for a cover schedule")
    with phases("pictures"):
        workload = demo_workload(below(system_randomness(), NUMBERS), design.info.relation)
    with World.create(home, reference, design, WITNESSES, franking=franking) as world:
        with phases("log started"):  # the list's epoch is logged before it is served
            world.start(world.log_parties)
        publication, endorsers = endorsed_list(world, workload, LIST, set_size, phases)
        with open_named(world.deployment, LIST) as entries:
            with phases("centre taught") as progress:
                listed = [Picture.from_bytes(picture.data) for picture in workload.listed]
                add_references(world.deployment, entries, listed, progress)
            with phases("servers started"):
                world.start()
            talk = Conversation(Player(world), workload, entries, phases, options)
            try:
                return _held(talk, publication, endorsers, franking)
            except BlindmatchError:
                world.check_alive()  # a server that has ended says why, which is the reason of the rest
                raise


def _held(
    talk: Conversation, publication: Publication, endorsers: tuple[str, ...], franking: FrankingMode
) -> DemoRun:
    found = talk.run()
    logged = read_logged(publication.folder)
    assert logged is not None
    proof = TlogProof.parse(logged.proof)
    return DemoRun(
        design=talk.world.design,
        entries=len(talk.entries),
        workload=talk.workload,
        setup_bytes=publication.setup_bytes,
        submitters=SUBMITTERS,
        endorsers=endorsers,
        logged=proof.index,
        witnesses=tuple(one.name for one in proof.note.signatures[1:]),
        on_schedule=talk.options.cover is not None,
        consequence=talk.options.consequence,
        franking=franking,
        seconds=talk.phases.seconds,
        **found,
    )


PASSED: Final = "passed"
"""Of the machine's checks; what people decide afterwards stands apart."""
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
    return sum(not one.delivered and one.outcome in _FOUND for one in run.sent)


def _handed_over(run: DemoRun) -> bool:
    """Was every message sent, except exactly those that must be refused?"""
    refuses = run.consequence is Consequence.REFUSE
    return all(one.delivered is not (refuses and one.outcome in _FOUND) for one in run.sent)


def missed(run: DemoRun) -> int:
    """Pictures that match by the design's own relation and that were not found."""
    return sum(run.oracle) - (run.matches - wrong(run))


class ListedSent(NamedTuple):
    """What became of the listed pictures that were sent, whatever the design calls a match.

    Attributes:
        hidden_by: of those missed, how many an edit hides from the design's own relation, by the edit's name.
        unasked: of those missed, how many were never asked about, whatever they match: the matching failed.
    """

    sent: int
    found: int
    hidden_by: Mapping[str, int]
    unasked: int = 0

    @property
    def missed(self) -> int:
        return self.sent - self.found


def listed_sent(run: DemoRun) -> ListedSent:
    """Count the listed pictures that were sent, those found, and those that an edit hides."""
    every = zip(run.workload.sendings, run.oracle, run.sent, strict=True)
    listed = [
        (sending.edit, expected, sent.outcome in _UNASKED)
        for sending, expected, sent in every
        if sending.listed
    ]
    # the oracle leaves out vouchers that too few matches or a made-up one keep shut, which no edit does
    hidden = Counter(
        edit for edit, expected, is_unasked in listed if not (expected or is_unasked) and edit != "identical"
    )
    found = sum(expected for _, expected, _ in listed) - missed(run)
    unasked = sum(is_unasked for *_, is_unasked in listed)
    return ListedSent(len(listed), max(0, found), {} if run.design.vouchers else dict(hidden), unasked)


def wrong(run: DemoRun) -> int:
    """False matches: of pictures that do not match, or more matches than pictures that do."""
    return max(run.wrong, run.matches - sum(run.oracle), 0)


def verified_reports(run: DemoRun) -> int:
    """Reports that passed the centre's checks, and vouchers that it has opened."""
    return sum(row.checks == PASSED for row in run.reports) + sum(row.opened for row in run.vouchers)


def intact(run: DemoRun) -> int:
    """How many pictures reached Bob, bit for bit and in order."""
    got = list(run.pictures)
    pairs = zip(run.workload.sendings, run.sent, strict=True)
    sent = (sending.data for sending, one in pairs if one.delivered)
    return sum(a == b for a, b in zip(sent, got, strict=False))


def undeclared_bytes(run: DemoRun) -> int:
    """Bytes that left a device and that nothing declared explains."""
    return sum(audit.undeclared_bytes for audit in run.audits.values())


def undeclared(run: DemoRun) -> Undeclared:
    """Whether there were any; not checked if nothing was found and the design crashed; not comparable if no
    session could be compared."""
    ends = {audit.undeclared for audit in run.audits.values()}
    worst = (Undeclared.FOUND, Undeclared.NOT_CHECKED, Undeclared.NOT_COMPARABLE, Undeclared.NONE)
    return next(end for end in worst if end in ends)


def crashes(run: DemoRun) -> list[Crash]:
    """Errors of the design's own code on devices and in roles, each once."""
    return list(dict.fromkeys(one for audit in run.audits.values() for one in audit.crashes))


CRASHED: Final = "the design crashed, so its devices' egress is not checked"


def failures(run: DemoRun) -> list[str]:
    """What is not as it should be, in words; empty if the run is right."""
    verified = verified_reports(run)
    recall = run.design.info.relation.recall
    unverified = sum(row.checks != PASSED for row in run.reports)
    texts = [message.text for message in run.received if message.text]
    checks = {
        # what else is wrong may follow from it
        CRASHED: not crashes(run),
        f"{intact(run)} of {len(run.sent)} pictures arrived as sent, {refused(run)} refused": (
            intact(run) + refused(run) == len(run.sent)
        ),
        "texts did not arrive as sent": texts == list(TEXTS),
        "Bob's answer did not arrive": run.answered,
        f"{wrong(run)} matches are none by the design's own relation": wrong(run) == 0,
        f"{missed(run)} of {sum(run.oracle)} matches missed; declared recall {recall:.1%}": (
            at_least(missed(run), sum(run.oracle), 1 - recall) >= IMPLAUSIBLE
        ),
        f"{verified} reports verified, {expected_reports(run)} expected": verified == expected_reports(run),
        f"{run.opened_below} vouchers were opened below the threshold": not run.opened_below,
        f"{unverified} reports did not pass the checks": unverified == 0,
        f"{undeclared_bytes(run)} undeclared bytes left a device": undeclared_bytes(run) == 0,
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
