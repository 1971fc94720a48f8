"""What is declared of openings: when vouchers are tried, and what that tells a modified device."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from blindmatch_server.centre.growth import GROWTH, next_attempt
from blindmatch_simulations.evaluation.attacks.arena import Arena
from blindmatch_simulations.evaluation.attacks.openings import BEFORE
from blindmatch_simulations.evaluation.attacks.run import run_attack
from blindmatch_simulations.evaluation.attacks.table import ATTACKS
from blindmatch_simulations.testbed.deployment.registry import load_design

NAMES = ("threshold-psi", "threshold-near")
MOST = 1_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_guess_that_makes_an_attempt_due_is_told_and_one_just_after_an_attempt_is_not(name: str) -> None:
    figure = run_attack(ATTACKS["shared-processor"], Arena(load_design(name), thorough=False)).figure
    assert list(figure.parts.values()) == [2.0, 2.0, 0.0]
    assert list(figure.parts) == list(BEFORE)


@pytest.mark.parametrize("name", NAMES)
def test_a_declaration_says_by_what_share_vouchers_grow_between_attempts(name: str) -> None:
    assert f"have grown by 1/{GROWTH} since it last did" in load_design(name).info.vouching.opened


def test_no_opening_is_late_below_33_vouchers_and_later_by_a_32nd_at_most() -> None:
    assert "none is late below 33" in Path("docs/designs/threshold-psi.md").read_text()
    counts = [1]
    while counts[-1] < MOST:
        counts.append(next_attempt(counts[-1], min(counts[-1], MOST), MOST))
    assert counts[:33] == list(range(1, 34))
    for before, after in pairwise(counts):
        assert after - before <= -(-before // GROWTH)
