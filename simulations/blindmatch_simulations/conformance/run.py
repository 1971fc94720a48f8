"""Runs the checks of one design and gathers their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Final

from blindmatch_client.device import Device
from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.conformance.bench import CLOCKS, Bench, Clocks
from blindmatch_simulations.conformance.checks import CHECKS, Check
from blindmatch_simulations.inprocess.verdict import (
    BrokenError,
    NotApplicableError,
    NotComparableError,
    Passed,
    Result,
    Verdict,
)

QUICK: Final = (32, 48)
GAMES: Final = (2_000, 10_000)
"""Training and held-out runs: quick, per class of pairs; with the large games, per game."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a design is checked.

    Attributes:
        seed: decides pictures, lists and all randomness.
        games: play the large games, with at least 10,000 held-out runs each.
        runs: other numbers of (training, held-out) runs for each class of pairs.
        values: parameters other than their defaults.
        only: names of the checks to run; all if it is empty.
        clocks: nanoseconds that a thread has worked, and that have passed, for the times of steps.
        device: the kind of device that is run whole.
    """

    seed: int = 1
    games: bool = False
    runs: tuple[int, int] | None = None
    values: Mapping[str, int] = field(default_factory=dict)
    only: Sequence[str] = ()
    clocks: Clocks = CLOCKS
    device: type[Device] = Device


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts on one design, and the seconds each took; CPU seconds where the work is done here."""

    design: str
    version: int
    seed: int
    games: bool
    results: tuple[Result, ...]
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[Result, ...]:
        """What failed."""
        return tuple(result for result in self.results if result.verdict is Verdict.FAILED)

    def line(self, result: Result) -> str:
        """Design, step, rule and seed of a failure on one line."""
        rule = " ".join(result.rule.split())
        return f"{self.design}: {result.check}: {result.step}: {rule} (seed {self.seed})"


def check_design(
    design: AnyDesign, options: Options | None = None, watch: Callable[[str], None] = lambda name: None
) -> Report:
    """Run the checks; `watch` is told the name of each before it runs."""
    options = options or Options()
    runs = options.runs or QUICK
    bench = Bench(design, options.seed, runs, options.values, options.clocks, options.device)
    bench.held_out = GAMES[1] if options.games else 0
    results: list[Result] = []
    seconds: dict[str, float] = {}
    spent: dict[str, float] = {}
    try:
        for check in (c for c in CHECKS if not options.only or c.name in options.only):
            watch(check.name)
            start, used = perf_counter(), process_time()
            results.append(run_check(check, bench))
            seconds[check.name] = round(perf_counter() - start, 2)
            spent[check.name] = round(process_time() - used, 2)
    finally:
        bench.close()
    info = design.info
    return Report(info.name, info.version, options.seed, options.games, tuple(results), seconds, spent)


def run_check(check: Check, bench: Bench) -> Result:
    """One check's verdict."""
    return judged(check.name, lambda: check.run(bench))


def judged(name: str, act: Callable[[], Passed]) -> Result:
    """The verdict of the check called `name`; an error nobody foresaw is a failure of the design, too."""
    try:
        passed = act()
    except NotApplicableError as reason:
        return Result(name, Verdict.NOT_APPLICABLE, str(reason))
    except NotComparableError as reason:
        return Result(name, Verdict.NOT_COMPARABLE, str(reason))
    except BrokenError as broken:
        return Result(
            name,
            Verdict.FAILED,
            str(broken),
            step=broken.step,
            rule=broken.rule,
            evidence=broken.evidence,
        )
    except Exception as error:
        rule = f"raises {type(error).__name__}: {error}"
        return Result(name, Verdict.FAILED, rule, step=_step_of(error), rule=rule)
    return Result(name, Verdict.PASSED, passed.reason, passed.figures)


def _step_of(error: Exception) -> str:
    """The design's step that an unforeseen error came out of: the innermost one on the stack."""
    steps = (
        "leakage",
        "publish",
        "update",
        "open_setup",
        "epoch_of",
        "open_role",
        "enrol",
        "prepare",
        "start",
        "receive",
        "conclude",
        "answer",
        "simulate",
    )
    found, trace = "check", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_name
        found = name if name in steps else found
        trace = trace.tb_next
    return found
