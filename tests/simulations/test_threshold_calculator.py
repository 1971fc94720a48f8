"""`design threshold`: how many matches an account needs, so that false ones hardly ever open one."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.population.inputs import read_inputs
from blindmatch_simulations.evaluation.population.model import LITERATURE, literature, model
from blindmatch_simulations.evaluation.population.threshold import (
    MOST,
    Bursts,
    alone,
    hiding,
    needed,
    opened_by_chance,
    with_bursts,
)


def test_the_published_figure_of_one_in_a_trillion_is_found() -> None:
    # 30 matches, each by chance for 1 picture in a million: 1 account in 10^12 where it has 5.8 million
    assert alone(5_800_000, 1e-6)[30] == pytest.approx(1.1e-12, rel=0.03)


@pytest.mark.parametrize(
    ("pictures", "rate", "error", "least"),
    [(1000, 1e-6, 1e-12, 4), (10_000, 4.3e-5, 1e-12, 12), (100_000, 1.4e-2, 1e-9, 1629)],
)
def test_thresholds_of_independent_false_matches_are_those_that_were_computed_apart(
    pictures: int, rate: float, error: float, least: int
) -> None:
    assert needed(alone(pictures, rate), error) == least


def test_bursts_decide_the_threshold_where_independence_gives_twelve() -> None:
    found = with_bursts(10_000, 4.3e-5, Bursts(1e-3, 10))
    assert needed(found, 1e-12) == 199
    assert found[30] == pytest.approx(4.95e-5, rel=0.01)
    assert needed(with_bursts(10_000, 4.3e-5, Bursts(0, 1)), 1e-12) == 12


@pytest.mark.parametrize("scale", [1, 300])  # the second begins below the smallest float64
def test_chances_with_bursts_are_those_of_drawn_accounts(scale: int) -> None:
    draws = 100_000
    rate = 1 / 400
    bursts = Bursts(0.2 * scale, 4.0)
    pictures = 1662 * scale
    rng = np.random.default_rng(23)
    events = rng.poisson(bursts.events, draws)
    more = np.where(events > 0, rng.negative_binomial(np.maximum(events, 1), 1 / bursts.size), 0)
    drawn = rng.poisson(pictures * rate, draws) + events + more
    found = with_bursts(pictures, rate, bursts)
    for share in (0.9, 0.5, 0.1, 0.01):
        at = int(np.quantile(drawn, 1 - share))
        assert found[at] == pytest.approx(float((drawn >= at).mean()), abs=4 * (share / draws) ** 0.5)


def test_with_bursts_besides_no_fewer_accounts_open_than_without() -> None:
    """A Poisson number of matches reaches four less often than the binomial one, where six are expected."""
    few = alone(100, 0.06)
    seldom = Bursts(1e-3, 10)
    assert few[4] == pytest.approx(0.857, abs=5e-4)
    assert (with_bursts(100, 0.06, seldom) >= few).all()
    given = read_inputs(None)
    its = model(given, literature(given), 10**6, 1)
    independent, bursty = opened_by_chance(its, 0.06, seldom, 4, 60)
    assert bursty >= independent > 0


def test_an_account_never_has_more_matches_than_pictures() -> None:
    assert needed(with_bursts(14, 1e-3, Bursts(1, 100)), 1e-12) == 15
    assert needed(alone(14, 0.9), 1e-12) == 15


def test_a_threshold_beyond_what_is_looked_for_is_not_given() -> None:
    assert needed(with_bursts(10**6, 0.02, Bursts(0, 1)), 1e-12) is None
    assert needed(alone(10**6, 0.02), 1e-12) is None
    assert needed(with_bursts(10**6, 1e-6, Bursts(0.1, 190)), 1e-12) == pytest.approx(5000, rel=0.3)
    assert with_bursts(10**6, 1e-6, Bursts(0.1, 190)).shape == (MOST + 1,)


def test_what_synthetic_vouchers_hide_is_what_counting_says() -> None:
    pictures = 100
    share = 0.01
    masses = [comb(pictures, k) * share**k * (1 - share) ** (pictures - k) for k in range(pictures + 1)]
    found = hiding(30, pictures, share, 32)
    assert found.advantage == pytest.approx(max(masses))
    # total variation between the number of vouchers and the same with one more
    shifted = [0.0, *masses]
    assert found.advantage == pytest.approx(
        sum(abs(a - b) for a, b in zip([*masses, 0.0], shifted, strict=True)) / 2
    )
    assert sum(masses[found.synthetic + 1 :]) <= 1e-4 < sum(masses[found.synthetic :])
    assert found.utility == 31
    assert hiding(30, 14, 0.0, 32).advantage == 1


def test_a_year_counts_every_account_by_its_own_activity() -> None:
    given = read_inputs(None)
    its = model(given, literature(given), 10**6, 1)
    none, bursty = opened_by_chance(its, 0.0, Bursts(1e-3, 10), 5, 30)
    assert none == 0
    assert 0 < bursty < 10**6 * 1e-3 * 365 / 30
    everybody, _ = opened_by_chance(its, 1.0, Bursts(0, 1), 1, 30)
    assert everybody == pytest.approx(10**6 * 365 / 30)


def test_the_command_shows_both_and_says_which_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "t.json"
    options = ["--rate", "4.3e-5", "--threshold", "12", "--json", str(result)]
    assert run(["design", "threshold", *options]) == 0
    made = json.loads(result.read_text())
    assert made["version"] == 1
    assert {one["account"] for one in made["thresholds"]} == {
        "median",
        "mean",
        "1 in 1,000",
        "1 in 1 million",
    }
    assert all(one["independent"] <= one["bursts"] for one in made["thresholds"])
    assert made["year"][0]["independent"] < made["year"][0]["bursts"]
    assert "burst model" in made["says"]
    said = " ".join(capsys.readouterr().out.split())
    assert "edited copies of one picture that are listed, or near an entry, are several" in said


def test_without_a_rate_the_break_even_and_what_was_measured_of_the_design_are_taken() -> None:
    from blindmatch_simulations.evaluation.population.running import rates

    found = {one.name: one for one in rates("token-psi", None, read_inputs(None))}
    assert list(found) == ["half wrong", LITERATURE, "photographs list", "mixed list"]
    assert 0 <= found["photographs list"].rate < found["mixed list"].rate < 1
    assert (
        "committed evidence" in found["mixed list"].source
        and "scaled from a list of" in found["mixed list"].source
    )
    assert 1 / found["half wrong"].rate == pytest.approx(146_000, rel=1e-3)
    assert run(["design", "threshold", "--design", "nosuch"]) != 0
    unmeasured = [one.name for one in rates("device-classifier", None, read_inputs(None))]
    assert unmeasured == ["half wrong", LITERATURE], "none of its own"


@pytest.mark.parametrize("name", ["threshold-psi", "threshold-near"])
def test_a_design_s_threshold_says_that_copies_of_one_picture_count(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["design", "show", name, "--json", "-"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    said = shown["parameters"]["threshold"]["says"]
    assert "copies of one picture with different hashes are several" in said
