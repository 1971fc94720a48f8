"""Games over lists: two lists that agree on what a device may learn of them, told apart by a device or not.

A malicious device may ask about hashes of its choice: what that opens is declared as a fact (any_hash,
any_token), so no game is played for it. Whoever has the roles' files beside a device has the list in effect
if a dictionary of entries opens it; then no game is played either, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.contract import Match, Party

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.leakage.game import Finding, Run, judge
from blindmatch_simulations.conformance.leakage.games import run_counts, split, summary
from blindmatch_simulations.conformance.leakage.list_secrecy import list_declared
from blindmatch_simulations.conformance.leakage.list_view import LIST_DISTINGUISHERS, NO_GUESSES, view_of
from blindmatch_simulations.conformance.leakage.lists import (
    LIST_SCENARIOS,
    ListPair,
    built,
    material,
    playable_pair,
)
from blindmatch_simulations.conformance.leakage.stage import Stage, stage_of
from blindmatch_simulations.inprocess.deployed import run_session
from blindmatch_simulations.inprocess.seeded import flag
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed

DEVICE: Final = "semi-honest device"
FULL_QUALITY: Final = 100
TRIED: Final = 8
PUBLISHED: Final = 2
"""Every run publishes a set, so that in quick mode there are two thirds of the usual runs."""


def check_lists(bench: Bench) -> Passed:
    """What a device gets of one list and of another, that agree on the declared facts, is alike."""
    if list_declared(bench):
        raise NotApplicableError("the list is declared to devices")
    stage = stage_of(bench)
    held = material(bench, stage)
    played = [one for one in LIST_SCENARIOS if bench.held_out or not one.large]
    pairs = {one.name: playable_pair(one, held) for one in played}
    classes = {name: pair for name, pair in pairs.items() if pair is not None}
    if not classes:
        raise NotApplicableError("no pair of lists agrees on what is declared to devices")
    figures: dict[str, Any] = {"parameters": stage.values, "known_to": _knowing(bench, stage)}
    findings = [_class(bench, stage, name, pair, len(classes)) for name, pair in classes.items()]
    words = [summary(DEVICE, findings, figures, len(classes))]
    words += [f"{name}: {how}" for name, how in figures["known_to"].items()]
    return Passed("; ".join(words), figures)


def _class(bench: Bench, stage: Stage, name: str, pair: ListPair, classes: int) -> Finding:
    training, held = play_lists(bench, stage, name, pair, classes)
    finding = judge(name, training, held, NO_GUESSES, classes, LIST_DISTINGUISHERS)
    if finding.measured.told_apart:
        rule = f"lists told apart by {finding.best!r}, advantage {finding.measured.words()}"
        raise BrokenError(f"{DEVICE}: {name}", rule)
    return finding


def play_lists(
    bench: Bench, stage: Stage, name: str, pair: ListPair, classes: int
) -> tuple[list[Run], list[Run]]:
    """Training and held-out runs of one class; every run has a set of its own, with keys of its own."""

    def run(number: int) -> Run:
        rng = bench.rng(f"lists/{name}/{number}")
        coin = flag(rng)
        build = built(bench, stage, pair.right if coin else pair.left, rng)
        return Run(view_of(build, pair.asked, rng), pair, coin)

    return split(bench, run, *run_counts(bench, classes, PUBLISHED))


def _knowing(bench: Bench, stage: Stage) -> dict[str, str]:
    """How the coalition of a device and everybody with a role knows the list, or that it was not seen to."""
    parties = set(bench.design.info.roles.values())
    if not parties:
        return {}
    name = " with ".join(sorted({Party.DEVICE, *parties}))
    return {name: knows_list(bench, stage) or "no game; this suite has not seen it open the list"}


def knows_list(bench: Bench, stage: Stage) -> str:
    """How whoever has all roles' files knows the list in effect; empty if this suite does not see it."""
    build = stage.table.deployed.build
    raws = [build.files[name] for names in build.published.roles.values() for name in names]
    entries, others = build.entries[:TRIED], bench.pool.others[:TRIED]
    if all(any(row.tobytes() in raw for raw in raws) for row in entries):
        return "knows the list, which stands in the roles' files, so no game is played"
    if _opened(bench, stage, entries) == len(entries) and not _opened(bench, stage, others):
        return "knows the list in effect: the roles' files open it for whoever guesses, so no game is played"
    return ""


@dataclass(frozen=True, slots=True, repr=False)
class Guess:
    """A hash without a picture."""

    hash: bytes

    @property
    def quality(self) -> int:
        """As good as can be."""
        return FULL_QUALITY

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        """Every bit equally reliable, shape (256,)."""
        bits = np.unpackbits(np.frombuffer(self.hash, np.uint8))
        return (2 * bits.astype(np.float32) - 1).astype(np.float32)

    @property
    def luminance(self) -> npt.NDArray[np.float32]:
        """None: one black pixel, shape (1, 1)."""
        return np.zeros((1, 1), np.float32)

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """None: one black pixel, shape (1, 1, 3)."""
        return np.zeros((1, 1, 3), np.uint8)


def _opened(bench: Bench, stage: Stage, hashes: Any) -> int:
    """How many guesses the device's own code and the roles' state say are listed."""
    return sum(_listed(bench, stage, Guess(row.tobytes())) for row in hashes)


def _listed(bench: Bench, stage: Stage, guess: Guess) -> bool:
    try:
        ran = run_session(stage.table.deployed, guess, bench.rng(f"guess/{guess.hash.hex()}"))
    except Exception:
        return False  # refused; or the design looks at pixels, and a bare hash has none
    verdicts: Sequence[Any] = [asked.verdict for step in ran.rounds for asked in step if asked.verdict]
    return isinstance(ran.outcome, Match) or any(verdict.label is not None for verdict in verdicts)
