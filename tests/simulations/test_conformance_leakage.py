"""Intervals, pairs that agree on facts, extractors: the parts of the leakage measurement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from blindmatch_protocol.contract import (
    Adversary,
    Answer,
    AnyDesign,
    Fact,
    Label,
    Leak,
    Party,
    Severity,
    Verdict,
)
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.designs import hash_upload, oprf_psi, provider_scan
from blindmatch_protocol.designs.hash_upload import Compared, HashUpload
from blindmatch_simulations.evaluation.conformance import Options, check_design
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.game import (
    DISTINGUISHERS,
    ERROR,
    Finding,
    Run,
    bound,
    judge,
    together,
)
from blindmatch_simulations.evaluation.conformance.leakage.games import check_semi_honest, game_of, run_counts
from blindmatch_simulations.evaluation.conformance.leakage.list_secrecy import NO_GUESSES
from blindmatch_simulations.evaluation.conformance.leakage.play import SCENARIOS, Event, opponents, playable
from blindmatch_simulations.evaluation.conformance.leakage.power import at_once
from blindmatch_simulations.evaluation.conformance.run import GAMES, QUICK
from blindmatch_simulations.measure.intervals import advantage, at_least, clopper_pearson
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from blindmatch_simulations.testbed.pictures.pool import make_pool
from dummy_designs import SHARES, VOUCHERS, Shares
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (8, 10, 0.4439, 0.9748)],
)
def test_intervals_are_the_published_ones(successes: int, trials: int, low: float, high: float) -> None:
    """Clopper and Pearson's 95 percent limits for ten trials."""
    assert clopper_pearson(successes, trials, 0.95) == pytest.approx((low, high), abs=1e-4)


def test_a_tail_is_the_binomial_one() -> None:
    assert at_least(8, 10, 0.5) == pytest.approx(56 / 1024)
    assert [at_least(least, 10, 0.5) for least in (-1, 0, 11)] == [1.0, 1.0, 0.0]
    assert (at_least(1, 10, 0.0), at_least(10, 10, 1.0)) == (0.0, 1.0)


@given(st.integers(1, 400), st.data())
def test_an_interval_holds_its_estimate_and_narrows_with_less_confidence(
    trials: int, data: st.DataObject
) -> None:
    right = data.draw(st.integers(0, trials))
    wide = advantage(right, trials, 0.999)
    narrow = advantage(right, trials, 0.9)
    assert wide.low <= narrow.low <= wide.value <= narrow.high <= wide.high


@pytest.mark.parametrize("design", [hash_upload.DESIGN, oprf_psi.DESIGN], ids=lambda d: d.info.name)
@pytest.mark.parametrize("adversary", list(Adversary))
def test_pairs_agree_on_every_declared_fact(design: AnyDesign, adversary: Adversary) -> None:
    fixtures = Fixtures(design)
    game = game_of(fixtures)
    deployed = game.table.deployed
    for opponent in opponents(design, adversary):
        for scenario in SCENARIOS:
            for pair in playable(scenario, game.pool, deployed, opponent, game.outputs):
                left = [opponent.project(move.one.item, deployed.setup) for move in pair.left]
                assert left == [opponent.project(move.one.item, deployed.setup) for move in pair.right]


def test_every_scenario_is_played_against_a_matcher_that_is_told_nothing_of_the_picture() -> None:
    fixtures = Fixtures(oprf_psi.DESIGN)
    (alone, *_) = opponents(oprf_psi.DESIGN, Adversary.SEMI_HONEST)
    game = game_of(fixtures)
    for scenario in SCENARIOS:
        assert playable(scenario, game.pool, game.table.deployed, alone, game.outputs)


def test_a_coalition_that_is_not_named_learns_what_its_parts_do() -> None:
    alone = frozenset({Party.PROVIDER})
    both = frozenset({Party.PROVIDER, Party.CURATOR})
    design = provider_scan.DESIGN
    assert told(design, alone, Adversary.MALICIOUS)
    assert told(design, both, Adversary.MALICIOUS) == told(design, alone, Adversary.MALICIOUS)
    assert told(design, frozenset({Party.CURATOR}), Adversary.MALICIOUS) == ()


class TooMuch(HashUpload):
    """Declares a fact that nobody gets."""

    info = replace(HashUpload.info, name="too-much")

    def leakage(self) -> tuple[Leak, ...]:
        name = Fact(
            "my.first_pixel",
            "the first pixel",
            Severity.HASH,
            lambda item, _: int(item.pixels[0, 0, 0]) << 40,
        )
        return tuple(replace(leak, facts=(*leak.facts, name)) for leak in super().leakage())


def test_a_fact_that_no_extractor_recovers_is_called_over_told() -> None:
    (result,) = check_design(TooMuch(), Options(only=["tightness"])).results
    assert "matcher: my.first_pixel" in result.figures["over_declared"]
    assert not any("every_hash" in name for name in result.figures["over_declared"])
    assert "over-declared" in result.reason


@pytest.mark.parametrize(
    "design", [provider_scan.DESIGN, hash_upload.DESIGN, oprf_psi.DESIGN], ids=lambda d: d.info.name
)
def test_no_design_here_declares_too_much(design: AnyDesign) -> None:
    (result,) = check_design(design, Options(only=["tightness"])).results
    assert result.figures["over_declared"] == []
    assert all(result.figures["recovered_by"].values())


class UndeclaredCoalition(Shares):
    """Says that the three parties learn nothing even together."""

    info = replace(Shares.info, name="undeclared-coalition")

    def leakage(self) -> tuple[Leak, ...]:
        return ()


@pytest.mark.slow
def test_shares_that_give_the_hash_together_are_told_apart_by_the_coalition_alone() -> None:
    (result,) = check_design(UndeclaredCoalition(), Options(only=["games"], runs=(24, 24))).results
    assert result.step.startswith("semi-honest party_a with party_b with party_c: ")
    assert "dictionary" in result.rule


def test_pairs_agree_on_the_design_s_own_outcome_also_where_it_misses_what_the_oracle_finds() -> None:
    fixtures = Fixtures(MissesNear())
    outputs = game_of(fixtures).outputs
    assert outputs["near-30/0"] == outputs["other/0"] != outputs["listed/0"]
    (result,) = check_design(MissesNear(), Options(only=["games"], runs=(24, 24))).results
    assert result.step == ""


class MissesNear(HashUpload):
    """Finds the very hash alone, and says it finds near ones; a miss is its own outcome."""

    info = replace(HashUpload.info, name="misses-near")

    def answer(self, role: Any, state: Any, requests: Any, rng: Any, executor: Any) -> Answer:
        answer = super().answer(role, state, requests, rng, executor)
        near = [
            verdict.label and verdict.label.entry_hash != request.body.hash
            for verdict, request in zip(answer.verdicts, requests, strict=True)
        ]
        nothing = Compared(False, Label(bytes(32), 0, bytes(16)))
        replies = [nothing if far else reply for far, reply in zip(near, answer.replies, strict=True)]
        return Answer(
            replies, [Verdict(None) if far else v for far, v in zip(near, answer.verdicts, strict=True)]
        )


@pytest.mark.parametrize(
    # no extractor of the suite reads the list out of what a device computes from shares that it knows
    ("design", "unrecovered"),
    [(SHARES, ["device: shares.list"]), (VOUCHERS, [])],
    ids=["shares", "vouchers"],
)
def test_facts_are_recovered_from_shares_and_from_vouchers(design: AnyDesign, unrecovered: list[str]) -> None:
    (result,) = check_design(design, Options(only=["tightness"])).results
    assert result.figures["over_declared"] == unrecovered


@pytest.mark.slow
def test_the_large_games_hold_out_ten_thousand_runs_for_each_coalition() -> None:
    fixtures = Fixtures(hash_upload.DESIGN)
    fixtures.held_out = 10_000
    figures = check_semi_honest(fixtures).figures
    fixtures.close()
    assert all(figures[name]["held_out_runs"] >= 10_000 for name in figures if name != "parameters")
    assert figures["semi-honest matcher"]["together_advantage"] < 0.05


@settings(max_examples=4)
@given(st.integers(2, 1 << 16))
def test_outcomes_are_the_oracle_s_for_any_seed(seed: int) -> None:
    (result,) = check_design(oprf_psi.DESIGN, Options(seed=seed, only=["outcomes"])).results
    assert str(result.verdict) == "passed", result.reason


def test_the_pool_has_the_kinds_it_says() -> None:
    pool = make_pool(7)
    assert all(one.item.quality < 50 for one in pool.of("poor"))
    assert all(one.item.quality >= 50 for one in pool.pictures if one.kind != "poor")
    for twin in pool.of("twin-listed", "twin-other"):
        original = next(one for one in pool.pictures if f"twin/{one.name}" == twin.name)
        assert twin.item.hash == original.item.hash
        assert twin.item.pixels.tobytes() != original.item.pixels.tobytes()


@pytest.mark.parametrize(
    ("classes", "counts"), [(1, (32, 48)), (16, (32, 48)), (17, (21, 32)), (32, (21, 32)), (33, (16, 24))]
)
def test_many_classes_have_fewer_quick_runs_each(classes: int, counts: tuple[int, int]) -> None:
    assert run_counts(Fixtures(hash_upload.DESIGN, runs=(32, 48)), classes) == counts


def test_large_games_have_ten_thousand_held_out_runs_whatever_the_classes() -> None:
    fixtures = Fixtures(hash_upload.DESIGN, runs=(32, 48))
    fixtures.held_out = 10_000
    assert run_counts(fixtures, 42, 2) == (79, 239)
    assert all(run_counts(fixtures, k)[1] * k >= 10_000 for k in range(1, 60))


CLASSES: Final = 42
"""As many as oprf-psi has."""
QUICK_GAMES: Final = Fixtures(oprf_psi.DESIGN, runs=QUICK)
LARGE_GAMES: Final = Fixtures(oprf_psi.DESIGN, runs=QUICK)
LARGE_GAMES.held_out = GAMES[1]


def planted(counts: tuple[int, int], leaks: Callable[[int], float], seed: int) -> list[Finding]:
    """A finding for each class, whose views have one byte that is the coin with the class's advantage."""
    rng = np.random.Generator(np.random.PCG64(seed))
    findings = []
    for at in range(CLASSES):
        coins = rng.integers(2, size=sum(counts)).astype(bool)
        kept = rng.random(sum(counts)) < (1 + leaks(at)) / 2
        runs = [
            Run([Event(Party.MATCHER, "request", 0, bytes([int(bit)]))], None, bool(coin))
            for coin, bit in zip(coins, coins == kept, strict=True)
        ]
        tried = DISTINGUISHERS[:4]
        findings.append(judge(str(at), runs[: counts[0]], runs[counts[0] :], NO_GUESSES, CLASSES, tried))
    return findings


def is_caught(findings: list[Finding]) -> bool:
    try:
        together("together", [one.not_told("class", "{!r}") for one in findings])
    except BrokenError:
        return True
    return False


def test_an_advantage_in_one_class_of_many_stays_below_the_bound_and_is_caught_as_often_as_is_said() -> None:
    """One half in one class of 42: the bound over all runs together was 0.11, and no word told that quick
    games catch it 4 times in 100."""
    sizes = {"quick": run_counts(QUICK_GAMES, CLASSES), "large": run_counts(LARGE_GAMES, CLASSES)}
    found = {
        size: [planted(counts, lambda at: 0.5 if at == 7 else 0.0, seed) for seed in range(20)]
        for size, counts in sizes.items()
    }
    told = {size: [bound(one) for one in every] for size, every in found.items()}
    caught = {size: sum(map(is_caught, every)) for size, every in found.items()}
    assert caught["quick"] <= 3 and caught["large"] == 20
    assert {one["caught"] > 0.9 for one in told["quick"]} == {True}
    assert {0.3 < one["caught"] < 0.4 for one in told["large"]} == {True}
    for one in (*told["quick"], *told["large"]):
        assert one["interval"][1] > 0.5 and one["resolution"] <= one["interval"][1]


def test_what_is_said_to_be_caught_is_caught_with_95_percent() -> None:
    """Of guesses at that advantage, by the binomial distribution, and not at one that is smaller by 0.05."""
    for runs, classes in ((24, 42), (48, 1), (239, 42), (10_000, 1)):
        one = at_once(runs, 1 - ERROR / classes)
        least = next(n for n in range(runs + 1) if advantage(n, runs, one.confidence).told_apart)
        assert one.caught is not None
        assert at_least(least, runs, (1 + one.caught) / 2) == pytest.approx(0.95)
        assert at_least(least, runs, (1 + one.caught - 0.05) / 2) < 0.94
    assert at_once(4, 0.99).caught is None, "four runs tell nothing, not even four right guesses"


def test_a_little_in_every_class_is_caught_by_all_of_them_together() -> None:
    counts = run_counts(QUICK_GAMES, CLASSES)
    games = [planted(counts, lambda at: 0.4, seed) for seed in range(10)]
    alone = sum(any(one.measured.told_apart for one in findings) for findings in games)
    assert alone <= 3 and sum(map(is_caught, games)) == 10


def test_honest_games_of_many_classes_fail_in_few_of_a_hundred() -> None:
    counts = run_counts(QUICK_GAMES, CLASSES)
    assert sum(is_caught(planted(counts, lambda at: 0.0, seed)) for seed in range(60)) <= 1


def of_one_look(name: str, right: int, runs: int, classes: int) -> Finding:
    confidence = 1 - ERROR / classes
    return Finding(name, "by chance", advantage(right, runs, confidence), right, at_once(runs, confidence))


def test_no_bound_lies_below_what_guessing_gives() -> None:
    lucky = of_one_look("lucky", 5, 48, 1)
    assert lucky.measured.high < lucky.measured.resolution
    assert (
        bound([lucky])["interval"][1] == bound([lucky])["resolution"] == round(lucky.measured.resolution, 4)
    )


def test_what_one_of_many_honest_games_meets_by_chance_does_not_fail_all_classes_together() -> None:
    """551 of 1,008: token-psi with cheating roles and seed 1; seeds 2 and 3 had 510 and 474."""
    findings = [*(of_one_look(str(at), 13, 24, 42) for at in range(41)), of_one_look("last", 18, 24, 42)]
    assert sum(one.right for one in findings) == 551
    assert together("matcher", findings).low > 0
    worse = [*findings[:-12], *(of_one_look("more", 15, 24, 42) for _ in range(12))]
    with pytest.raises(BrokenError, match="told apart over all"):
        together("matcher", worse)
