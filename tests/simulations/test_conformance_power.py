"""What a pass of a game would have caught: exact, printed, and true of planted leaks."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.conformance.leakage.game import (
    CERTAIN,
    DISTINGUISHERS,
    ERROR,
    Finding,
    Rest,
    Run,
    judge,
)
from blindmatch_simulations.evaluation.conformance.leakage.list_secrecy import NO_GUESSES
from blindmatch_simulations.evaluation.conformance.leakage.play import Event
from blindmatch_simulations.evaluation.conformance.leakage.power import POWER, Looks, at_once
from blindmatch_simulations.measure.intervals import advantage

CLASSES = 11
ONE_LOOK = at_once(48, 1 - ERROR / CLASSES)
TWO_LOOKS = Looks(112, 40, 1 - ERROR / CLASSES)
TRAINING = 400
"""So many that training finds the leak."""
SEEDS = 400


def planted(looks: Looks, told: float, seed: int) -> Finding:
    """Judge a class whose views have a number that is the coin with this advantage."""
    rng = np.random.Generator(np.random.PCG64(seed))

    def runs(count: int) -> list[Run]:
        coins = rng.integers(2, size=count).astype(bool)
        numbers = coins == (rng.random(count) < (1 + told) / 2)
        return [
            Run([Event(Party.MATCHER, "request", 0, shape=(bool(number),))], None, bool(coin))
            for coin, number in zip(coins, numbers, strict=True)
        ]

    training = runs(TRAINING)
    first = runs(looks.first)
    rest = looks.runs - looks.first
    more = Rest(rest, lambda: runs(rest)) if rest else None
    return judge("planted", training, first, NO_GUESSES, CLASSES, DISTINGUISHERS[:3], more)


@pytest.mark.parametrize("looks", [ONE_LOOK, TWO_LOOKS], ids=["one look", "two looks"])
def test_a_leak_of_the_stated_advantage_is_caught_as_often_as_is_stated(looks: Looks) -> None:
    """95 % of 400 are 380, with a standard deviation of 4.4."""
    assert looks.caught is not None
    found = [planted(looks, looks.caught, seed) for seed in range(SEEDS)]
    assert {one.best for one in found} == {"numbers and row order"}
    assert {one.looks for one in found} == {looks}
    assert 363 <= sum(one.measured.told_apart for one in found) <= 397
    weaker = [planted(looks, looks.caught - 0.15, seed) for seed in range(SEEDS)]
    assert sum(one.measured.told_apart for one in weaker) < 340


def test_an_honest_class_seldom_gets_a_second_look_and_does_not_fail() -> None:
    found = [planted(TWO_LOOKS, 0.0, seed) for seed in range(SEEDS)]
    again = sum(one.measured.runs == TWO_LOOKS.runs for one in found)
    assert 0 < again < SEEDS / 3
    assert {one.measured.runs for one in found} == {TWO_LOOKS.first, TWO_LOOKS.runs}
    assert sum(one.measured.told_apart for one in found) <= 2


def test_two_looks_fail_an_honest_design_no_oftener_than_all_runs_in_one() -> None:
    whole = at_once(TWO_LOOKS.runs, TWO_LOOKS.confidence)
    assert 0 < TWO_LOOKS.chance(0.0) <= whole.chance(0.0) <= (1 - TWO_LOOKS.confidence) / 2


@pytest.mark.parametrize("looks", [ONE_LOOK, TWO_LOOKS, at_once(720, 0.9995)])
def test_the_stated_advantage_is_the_least_that_is_caught_with_95_percent(looks: Looks) -> None:
    assert looks.caught is not None
    assert looks.chance(looks.caught) == pytest.approx(POWER)
    assert looks.chance(looks.caught - 0.01) < POWER - 0.005


def test_the_chance_of_two_looks_is_that_of_every_way_in_which_runs_can_go() -> None:
    """By enumeration of the first look and the whole, weighing each by binomial coefficients."""
    looks = Looks(16, 7, 0.9)
    told = 0.6
    p = (1 + told) / 2
    least = looks.least_right
    assert least is not None
    ways = 0.0
    for first in range(looks.least_first, looks.first + 1):
        for later in range(looks.runs - looks.first + 1):
            if first + later >= least:
                number = comb(looks.first, first) * comb(looks.runs - looks.first, later)
                ways += number * p ** (first + later) * (1 - p) ** (looks.runs - first - later)
    assert looks.least_first > 0
    assert looks.chance(told) == pytest.approx(ways)


def test_as_many_right_guesses_fail_as_the_interval_says() -> None:
    least = TWO_LOOKS.least_right
    assert least is not None
    assert advantage(least, TWO_LOOKS.runs, TWO_LOOKS.confidence).told_apart
    assert not advantage(least - 1, TWO_LOOKS.runs, TWO_LOOKS.confidence).told_apart


def test_four_runs_catch_nothing() -> None:
    looks = at_once(4, 0.99)
    assert (looks.least_right, looks.caught, looks.chance(1.0)) == (None, None, 0.0)


def test_the_power_of_each_pass_is_printed_and_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With 48 runs in one of 15 classes 0.698; over 720 runs, at the confidence of all classes, 0.192."""
    path = tmp_path / "conformance.json"
    assert (
        run(["conformance", "oprf-psi", "--only", "games", "--only", "list games", "--json", str(path)]) == 0
    )
    printed = " ".join(capsys.readouterr().out.replace("\u2502", " ").split())
    assert "would have caught an advantage of 0.698 in one class or 0.192 in every class with 95 %" in printed
    assert "would have caught an advantage of 0.473 in one class" in printed
    result = json.loads(path.read_text())
    assert result["conformance"] == 4
    for check in result["checks"]:
        for name, game in check["figures"].items():
            if name.startswith("semi-honest"):
                looks = Looks(game["most_runs"], game["first_runs"], 1 - ERROR / game["classes"])
                assert (game["power"], game["fails_from"]) == (POWER, looks.least_right)
                assert game["caught"] == pytest.approx(looks.caught, abs=1e-4)
                every = at_once(game["held_out_runs"], CERTAIN)
                assert game["caught_together"] == pytest.approx(every.caught, abs=1e-4)
