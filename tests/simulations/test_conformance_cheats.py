"""Every planted cheat is caught by the check that must catch it; the score is complete."""

from __future__ import annotations

import pytest
from blindmatch_simulations.evaluation.conformance import Options, check_design
from planted.mutations.table import CHEATS, Cheat

LEAST_CHEATS = 16


def test_there_are_enough_different_cheats() -> None:
    assert len({cheat.name for cheat in CHEATS}) == len(CHEATS) >= LEAST_CHEATS


@pytest.mark.slow
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name.replace(" ", "-"))
def test_a_planted_cheat_is_caught(cheat: Cheat) -> None:
    search = cheat.move
    options = Options(runs=search.runs, only=[search.check], clocks=search.clocks, device=search.device)
    with search.planted():
        report = check_design(cheat.weakness(), options)
    (failure,) = report.failed
    assert failure.step
    assert search.where in failure.step
    assert failure.rule
    assert "raises" not in failure.rule
