"""Times of steps are measured in classes; they fail a design only if it claims that they are alike."""

from __future__ import annotations

from typing import ClassVar

import pytest
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import NoMatch
from blindmatch_protocol.designs import hash_upload, none, oprf_psi
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.games import GameSetup, game_of
from blindmatch_simulations.evaluation.conformance.leakage.play import Move
from blindmatch_simulations.evaluation.conformance.leakage.timing import STEPS, TIMED, claimed, timed_session
from blindmatch_simulations.testbed.pictures.pool import Pooled
from planted.mutations.devices import SkippedCover
from planted.mutations.hooks import Psi
from planted.mutations.timing import STEP, TICKS, WORK, SlowAndSilent

FEW = (32, 32)


def test_without_a_claim_a_slow_match_is_a_figure_and_no_failure() -> None:
    (result,) = check_design(SlowAndSilent(), Options(only=["timing"], runs=FEW, clocks=TICKS)).results
    assert result.verdict is Verdict.PASSED
    told = [one for one in result.figures["steps"] if one["interval"][0] > 0]
    assert ("receive", "a match or none") in {(one["step"], one["class"]) for one in told}
    assert "time of receive tells 'a match or none'" in result.reason
    assert "constant time is not claimed" in result.reason
    assert result.figures["claimed"] == []


def test_every_step_is_measured_for_every_class_that_is_timed() -> None:
    (result,) = check_design(oprf_psi.DESIGN, Options(only=["timing"], runs=(12, 12))).results
    assert result.verdict is Verdict.PASSED
    rows = [(one["class"], one["step"]) for one in result.figures["steps"]]
    assert sorted(rows) == sorted((name, step) for name in TIMED for step in STEPS)
    assert "no distinguisher in this suite exceeded" in result.reason


@pytest.mark.parametrize("design", [none.DESIGN, hash_upload.DESIGN], ids=lambda d: d.info.name)
def test_where_nobody_gets_anything_or_everything_is_declared_nothing_is_timed(design: object) -> None:
    (result,) = check_design(design, Options(only=["timing"])).results  # type: ignore[arg-type]
    assert result.verdict is Verdict.NOT_APPLICABLE


class Misspelt(Psi):
    """Claims constant time of a step that there is not."""

    constant_time: ClassVar[frozenset[str]] = frozenset({"starts"})


def test_a_claim_of_a_step_that_there_is_not_fails() -> None:
    (result,) = check_design(Misspelt(), Options(only=["timing"])).results
    assert result.verdict is Verdict.FAILED
    assert result.step == "constant_time"
    assert claimed(oprf_psi.DESIGN) == frozenset()


def test_a_session_that_sends_nothing_takes_no_time_in_later_steps() -> None:
    fixtures = Fixtures(SkippedCover())
    game = game_of(fixtures)
    (poor, _) = game.pool.of("poor")
    took = _times(game, poor, fixtures.rng("t"))
    assert took["start"] > 0 and took["answer"] == took["receive"] == 0
    assert _times(game, game.pool.of("listed")[0], fixtures.rng("t")) == dict.fromkeys(STEPS, STEP)
    assert game.outputs[poor.name] == (NoMatch.__name__, [], False)


def test_only_the_step_that_works_takes_longer() -> None:
    fixtures = Fixtures(SlowAndSilent())
    game = game_of(fixtures)
    listed, other = (_times(game, game.pool.of(kind)[0], fixtures.rng("t")) for kind in ("listed", "other"))
    assert listed == {**other, "receive": other["receive"] + WORK}


def _times(game: GameSetup, one: Pooled, rng: Randomness) -> dict[str, int]:
    events = timed_session(game.table.deployed, (Move(one),), rng, TICKS)
    return {event.kind: event.shape[0] for event in events}
