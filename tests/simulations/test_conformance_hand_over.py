"""A real device hands a message over before it looks at the outcome; one that does not is found, by order."""

from __future__ import annotations

from typing import Any

import pytest
from blindmatch_protocol.contract import AnyDesign, Match, Ready, Step
from blindmatch_protocol.designs import hash_upload, none, oprf_psi, provider_scan, token_psi
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.hand_over import CLASSES, check_hand_over
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, Result
from dummy_designs import BRIGHT
from planted.mutations.devices import ProofNotChecked
from planted.mutations.hooks import Psi
from planted.mutations.timing import TICKS, WORK, WORKED, HastyDevice

RUNS = 240


class Peeks(Psi):
    """Looks at the outcome by itself when the replies come, and works longer on a match."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> Step[Any]:
        step = super().receive(session, setup, replies, rng)
        assert isinstance(step, Ready)
        if isinstance(Psi().conclude(step.session, setup), Match):
            WORKED.spend(WORK)
        return step


def result_of(design: AnyDesign, **options: Any) -> Result:
    (result,) = check_design(design, Options(only=["hand-over"], **options)).results
    return result


def bench_with_runs(design: AnyDesign) -> Fixtures:
    fixtures = Fixtures(design, clocks=TICKS)
    fixtures.held_out = RUNS
    return fixtures


@pytest.mark.parametrize("design", [oprf_psi.DESIGN, token_psi.DESIGN], ids=lambda d: d.info.name)
def test_an_honest_device_works_every_outcome_out_after_the_hand_over(design: AnyDesign) -> None:
    result = result_of(design)
    assert result.verdict is Verdict.PASSED
    assert (result.figures["concluded"], result.figures["pictures"]) == (3, 3)


def test_a_device_that_looks_first_is_found() -> None:
    result = result_of(Psi(), device=HastyDevice)
    assert result.verdict is Verdict.FAILED and result.step == "hand-over: match"
    assert result.rule == "the outcome is worked out before the relay has the message"


def test_a_design_that_says_done_is_told_that_its_outcome_is_there_before() -> None:
    result = result_of(ProofNotChecked())
    assert result.verdict is Verdict.PASSED and result.figures["concluded"] == 0
    assert "so before it" in result.reason


@pytest.mark.parametrize("design", [none.DESIGN, provider_scan.DESIGN], ids=lambda d: d.info.name)
def test_where_nobody_is_asked_or_a_server_alone_learns_there_is_nothing_to_hide(design: AnyDesign) -> None:
    assert result_of(design).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("design", [hash_upload.DESIGN, BRIGHT], ids=lambda d: d.info.name)
def test_where_the_hand_over_hides_nothing_a_device_that_refuses_is_run_all_the_same(
    design: AnyDesign,
) -> None:
    result = result_of(design)
    assert result.verdict is Verdict.PASSED and result.reason.startswith("a device that refuses sent nothing")


def test_time_before_the_upload_that_depends_on_the_outcome_is_found_with_the_games() -> None:
    with pytest.raises(BrokenError, match="time to the first byte of the upload tells") as caught:
        check_hand_over(bench_with_runs(Peeks()))
    assert caught.value.step == "hand-over: a match or none"
    passed = check_hand_over(bench_with_runs(Psi()))
    assert set(passed.figures["time"]) == set(CLASSES)
