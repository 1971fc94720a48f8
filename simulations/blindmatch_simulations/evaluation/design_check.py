"""One check of a design: the demo, conformance, attacks, and an assessment beside a built-in of its relation.

Every part runs whatever the others came to. No further conformance check or attack begins once its part has
used up its work, in u (`measure.yardstick`), so that a busy machine changes no verdict; what did not begin is
not checked, and then neither is the design. The demo and the assessment are bounded by the number of their
pictures, and the assessment by the limits of its workload, too.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign, Category, Equal, Near, Nothing
from msgspec import Struct

from blindmatch_simulations.evaluation.assess.figures import NOT_COMPARABLE
from blindmatch_simulations.evaluation.assess.judging import NOTHING
from blindmatch_simulations.evaluation.assess.plan import plan_text
from blindmatch_simulations.evaluation.assess.results import Measured, Results
from blindmatch_simulations.evaluation.assess.running import Assessment
from blindmatch_simulations.evaluation.attacks.arena import Arena, Pair
from blindmatch_simulations.evaluation.attacks.run import (
    AttackRow,
    Failed,
    NotPlayed,
    Ran,
    play_all,
    results_of,
    run_attack,
)
from blindmatch_simulations.evaluation.attacks.table import pairs
from blindmatch_simulations.evaluation.conformance.run import CHECKS, Options, Report, check_design
from blindmatch_simulations.measure.phases import PhaseProgress
from blindmatch_simulations.measure.processes import used_cpu_seconds
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.measure.results import Results as Written
from blindmatch_simulations.measure.yardstick import reading
from blindmatch_simulations.testbed.audit import Undeclared
from blindmatch_simulations.testbed.demo.run import (
    CRASHED,
    DemoRun,
    crashes,
    failures,
    play_demo,
    undeclared,
    verified_reports,
)
from blindmatch_simulations.testbed.deployment.registry import (
    RegistryError,
    built_in_designs,
    is_path,
    load_design,
    path_of,
    portable_reference,
)
from blindmatch_simulations.testbed.inprocess.crashes import Crash, crash_of
from blindmatch_simulations.testbed.inprocess.plugin_contract import find_faults
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

WORKLOAD: Final = "assess-check.toml"
SET_SIZE: Final = 500
"""Random hashes on the demo's list."""
BESIDE: Final[Mapping[type, tuple[str, ...]]] = {
    Equal: ("oprf-psi", "device-list-hashed"),
    Near: ("token-psi", "third-party"),
    Category: ("device-classifier",),
    Nothing: ("none",),
}
"""Built-in designs to assess a design of a relation beside: the first that is there and is not the design."""
UNCOMPARED: Final = (
    "undeclared bytes: not comparable: no picture of it had another that agrees on all that is declared; "
    "conformance makes such pictures (its check egress)"
)
USED_UP: Final = "the work for this part was used up before"


class Budgets(Struct, frozen=True):
    """Work in u after which no further check, or attack, begins: at 60 microseconds 48 and 84 CPU seconds."""

    conformance_u: int = 800_000
    attacks_u: int = 1_400_000


class Part(Struct, frozen=True):
    """A part of the check.

    Attributes:
        verdict: passed, failed or not checked; or not comparable if nothing failed, but what left the devices
            had nothing to be compared with.
        says: what it came to, in words.
        problems: what failed or was not checked, a line each.
        again: the command that runs this part alone, whole.
        work_u: CPU time of the part in u.
    """

    name: str
    verdict: Verdict
    says: str
    problems: tuple[str, ...]
    again: str
    work_u: int
    cpu_seconds: float


class Came(Struct, frozen=True):
    """What a part came to before it is timed."""

    verdict: Verdict
    says: str
    problems: tuple[str, ...] = ()


class DesignCheck(Struct, frozen=True):
    """All of a design's check.

    Attributes:
        beside: the built-in design that it is assessed beside; empty if there is none.
        run: of the demo; None if it did not come to its end.
        assessed: None if the assessment did not come to its end.
    """

    design: AnyDesign
    reference: str
    beside: str
    u_us: float
    parts: tuple[Part, ...]
    run: DemoRun | None
    report: Report | None
    attacks: Written[AttackRow | NotPlayed] | None
    assessed: Results | None

    @property
    def is_as_declared(self) -> bool:
        """Did no part fail, and did each come to its end? One may have had nothing to compare with."""
        return all(part.verdict in (Verdict.PASSED, Verdict.NOT_COMPARABLE) for part in self.parts)

    @property
    def uncompared(self) -> list[str]:
        """Parts whose pictures had none to be compared with."""
        return [part.name for part in self.parts if part.verdict is Verdict.NOT_COMPARABLE]

    @property
    def rows(self) -> list[Measured]:
        """Rows of the assessment with figures, the design's own first."""
        found = [one for one in self.assessed.rows if isinstance(one, Measured)] if self.assessed else []
        return sorted(found, key=lambda row: row.design.name != self.design.info.name)


class Checker(Struct):
    """Runs the parts of one design's check and holds what each found."""

    reference: str
    design: AnyDesign
    phase: PhaseProgress
    budgets: Budgets
    u_us: float
    run: DemoRun | None = None
    report: Report | None = None
    attacks: Written[AttackRow | NotPlayed] | None = None
    assessed: Results | None = None

    def part(self, name: str, again: str, act: Callable[[], Came]) -> Part:
        """Run a part; what it raises is its failure, and the others go on."""
        before = used_cpu_seconds()
        try:
            came = act()
        except BlindmatchError as error:
            came = Came(Verdict.FAILED, "did not come to its end", (str(error),))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plug-in may raise anything
            crash = crash_of(error, self.design)
            came = Came(Verdict.FAILED, "did not come to its end", _crash_lines([crash]))
        spent = used_cpu_seconds() - before
        return Part(
            name,
            came.verdict,
            came.says,
            came.problems,
            again,
            round(1e6 * spent / self.u_us),
            round(spent, 1),
        )

    def stop_after(self, budget_u: int) -> Callable[[], str]:
        """Return what says why nothing more begins: from now on `budget_u` may be used."""
        began = used_cpu_seconds()

        def why() -> str:
            spent = 1e6 * (used_cpu_seconds() - began) / self.u_us
            return USED_UP if spent > budget_u else ""

        return why

    def demo(self, home: Path) -> Came:
        self.run = run = play_demo(home, self.reference, SET_SIZE, self.phase)
        ended = crashes(run)
        wrong = (*_crash_lines(ended), *(one for one in failures(run) if not ended or one != CRASHED))
        reports = verified_reports(run)
        says = f"{len(run.sent)} pictures sent, {run.matches} matched, {reports} reports verified"
        if not wrong and undeclared(run) is Undeclared.NOT_COMPARABLE:
            return Came(Verdict.NOT_COMPARABLE, says, (UNCOMPARED,))
        return Came(Verdict.FAILED if wrong else Verdict.PASSED, says, wrong)

    def conformance(self) -> Came:
        progress = self.phase("conformance")
        begun = list[str]()

        def watch(name: str) -> None:
            progress(len(begun), len(CHECKS))
            begun.append(name)

        stop = self.stop_after(self.budgets.conformance_u)
        self.report = report = check_design(self.design, Options(), watch, stop)
        progress(len(CHECKS), len(CHECKS))
        counted = Counter(str(one.verdict) for one in report.results)
        problems = [report.line(one) for one in report.failed]
        problems += [f"not checked: {one.check}: {one.reason}" for one in report.unchecked]
        says = ", ".join(f"{count} {verdict}" for verdict, count in counted.items())
        return Came(_worst(bool(report.failed), bool(report.unchecked)), says, tuple(problems))

    def attack(self) -> Came:
        every = pairs([self.design])
        progress = self.phase("attacks")
        stop = self.stop_after(self.budgets.attacks_u)
        rans = list[Ran]()
        failed = list[Failed]()
        unplayed = list[Pair]()
        left = list[str]()

        def play(pair: Pair) -> Ran:
            return run_attack(pair.attack, Arena(pair.design))

        for _, made in play_all(_until(every, stop, left), play, unplayed):
            if isinstance(made, Failed):
                failed.append(made)
            else:
                rans.append(made)
            progress(len(rans) + len(failed) + len(unplayed), len(every))
        progress(len(every), len(every))
        self.attacks = results_of(rans, False, unplayed, failed)
        broken = [one for one in rans if one.broken]
        problems = [f"{one.attack.name}: succeeded, against the claim: {one.attack.claim}" for one in broken]
        problems += [f"{one.attack.name}: failed: {one.why}" for one in failed]
        problems += [f"not played: {name}: {USED_UP}" for name in left]
        declared = sum(one.figure.succeeded for one in rans) - len(broken)
        withstood = len(rans) - declared - len(broken)
        says = f"{len(rans)} played: {withstood} withstood, {declared} succeed as declared; "
        says += f"{len(unplayed)} need what the design has not"
        return Came(_worst(bool(broken or failed), bool(left)), says, tuple(problems))

    def assess(self, out: Path, beside: str, cache: Path | None) -> Came:
        references = [self.reference, *([beside] if beside else [])]
        command = "blindmatch design check"
        text = plan_text(None, WORKLOAD)
        self.assessed = made = Assessment(out, text, references, command, self.phase, None, cache).run()
        problems = list[str]()
        says = "no row of its own"
        uncompared = False
        for row in made.rows:
            if isinstance(row, Measured) and row.design.name == self.design.info.name:
                problems += _wrong(row)
                uncompared = _is_uncompared(row)
                says = "figures below" if not beside else f"figures below, beside {beside}"
            elif not isinstance(row, Measured) and row.id != beside:
                problems.append(f"the row failed: {row.why}")
                says = "no figures"
        if uncompared and not problems:
            return Came(Verdict.NOT_COMPARABLE, says, (UNCOMPARED,))
        return Came(Verdict.FAILED if problems else Verdict.PASSED, says, tuple(problems))


def check_whole(
    reference: str,
    phase: PhaseProgress,
    work: Path,
    out: Path | None = None,
    cache: Path | None = None,
    budgets: Budgets | None = None,
) -> DesignCheck:
    """Run all parts of the check of a design.

    Args:
        reference: a name, or path.py:NAME.
        work: a folder for what is needed meanwhile.
        out: where the assessment is kept; in `work` if it is None.
        cache: see `Assessment`.

    Raises:
        RegistryError: there is no such design, or it cannot be loaded.
    """
    design = load_design(reference)
    check_names(design, reference)
    beside = built_in_beside(design)
    checker = Checker(reference, design, phase, budgets or Budgets(), reading().u_us)
    name = portable_reference(reference)
    designs = ",".join([name, beside] if beside else [name])
    place = work / "assessed" if out is None else out
    parts = (
        checker.part("demo", _command("demo", "--design", name), lambda: checker.demo(work / "demo")),
        checker.part("conformance", _command("conformance", name), checker.conformance),
        checker.part("attacks", _command("attack", "run", "--design", name), checker.attack),
        checker.part(
            "assessment",
            _command("assess", "--quick", "--designs", designs, "--out", "DIR"),
            lambda: checker.assess(place, beside, cache),
        ),
    )
    found = (checker.run, checker.report, checker.attacks, checker.assessed)
    return DesignCheck(design, reference, beside, checker.u_us, parts, *found)


def check_names(design: AnyDesign, reference: str) -> None:
    """Refuse a plug-in that is called like a built-in design, or has misspelt methods or tags of others.

    Raises:
        RegistryError: names each fault.
    """
    if not is_path(reference):
        return
    faults = list(find_faults(design))
    if (name := design.info.name) in {one.design.info.name for one in built_in_designs()}:
        faults.insert(0, f"info.name: {name} is blindmatch's own; give the design another name")
    if faults:
        raise RegistryError(f"{path_of(reference)}: {'; '.join(faults)}")


def built_in_beside(design: AnyDesign) -> str:
    """Return the built-in design of the same kind of relation to assess a design beside; empty if there is
    none."""
    for name in BESIDE.get(type(design.info.relation), ()):
        if name == design.info.name:
            continue
        try:
            load_design(name)
        except RegistryError:  # its libraries are not installed
            continue
        return name
    return ""


def in_u(row: Measured, name: str) -> Figure:
    """Return a figure of a row that is in CPU milliseconds in u, with its interval."""
    figure = row.figures[name]
    conditions = row.conditions
    if figure.value is None or conditions is None:
        return Figure(None, figure.why or "u was not measured", unit="u")
    u_of_a_ms = 1000 / conditions.u_us
    low, high = (None if end is None else end * u_of_a_ms for end in (figure.low, figure.high))
    return Figure(figure.value * u_of_a_ms, figure.why, low=low, high=high, n=figure.n, unit="u")


def _until(every: list[Pair], stop: Callable[[], str], left: list[str]) -> Iterator[Pair]:
    """Give pairs until work is used up; `left` gets the names of attacks that were to be played after."""
    for pair in every:
        if pair.unplayed or not stop():
            yield pair
        else:
            left.append(pair.attack.name)


def _wrong(row: Measured) -> list[str]:
    """Return what figures of a row must not say of a design that does as it declares."""
    found = []
    for name, words in (
        ("undeclared_bytes", "undeclared bytes"),
        ("wrong_outcomes", "share of wrong outcomes"),
    ):
        figure = row.figures[name]
        if figure.value is None and not figure.why.startswith((NOTHING, NOT_COMPARABLE)):
            found.append(f"{words}: not measured: {figure.why}")
        elif figure.value:
            found.append(f"{figure.value:g} {words}")
    return found


def _is_uncompared(row: Measured) -> bool:
    figure = row.figures["undeclared_bytes"]
    return figure.value is None and figure.why.startswith(NOT_COMPARABLE)


def _crash_lines(crashes: Sequence[Crash]) -> tuple[str, ...]:
    """Return each crash in words, with where in the design's own code it came up."""
    return tuple("".join((one.words, *(f"\n  at {frame}" for frame in one.trace))) for one in crashes)


def _worst(has_failed: bool, is_unfinished: bool) -> Verdict:
    return Verdict.FAILED if has_failed else Verdict.NOT_CHECKED if is_unfinished else Verdict.PASSED


def _command(*words: str) -> str:
    return shlex.join(["blindmatch", *words])
