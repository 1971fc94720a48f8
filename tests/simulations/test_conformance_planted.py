"""Cheats that older checks passed are caught, and honest designs that they failed pass."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import CERTIFYING, UNBOUND, Binding, NoState, Session
from blindmatch_simulations.evaluation.conformance import Options, check_design
from blindmatch_simulations.evaluation.conformance.run import NOT_SEEN, as_json
from blindmatch_simulations.testbed.deployment.registry import load_design
from dummy_designs import VOUCHERS
from planted import Planted
from planted.honest import CHECKS, HONEST
from planted.mutations.hooks import Psi

CLASSES = ("one_sided", "history", "vouchers", "views", "hosted", "outcomes", "thresholds")
CHEATS = [
    pytest.param(cheat, id=f"{name}-{cheat.name}".replace(" ", "-"))
    for name in CLASSES
    for cheat in import_module(f"planted.{name}").CHEATS
]


RUNS = (30, 30)
"""Honest designs are played as often as cheats, which are caught."""


@pytest.mark.slow
@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_that_older_checks_passed_is_caught(cheat: Planted) -> None:
    report = check_design(cheat.design(), Options(runs=RUNS, only=[cheat.check]))
    (failure,) = report.failed
    assert cheat.where in failure.step
    assert "raises" not in failure.rule


@pytest.mark.slow
@pytest.mark.parametrize("design", HONEST, ids=lambda kind: kind.__name__)
def test_what_the_tape_or_a_role_draws_is_no_leak(design: Callable[[], Any]) -> None:
    report = check_design(design(), Options(runs=RUNS, only=CHECKS))
    assert [report.line(result) for result in report.failed] == []


class Noting(Psi):
    """Notes what messages it is told of."""

    def __init__(self) -> None:
        self.told: list[Binding] = []

    def start(self, state: Any, setup: Any, item: Any, binding: Binding, rng: Any) -> Any:
        self.told.append(binding)
        raise InterruptedError


class NotingVouchers(Noting):
    vouchers = VOUCHERS.vouchers


def test_only_a_design_with_vouchers_is_told_of_the_message_that_a_picture_is_in() -> None:
    message = Binding(b"c" * 32, b"evidence")
    certifying = Binding(b"c" * 32, b"evidence", certify=True)
    for kind, told in ((Noting, [UNBOUND, CERTIFYING]), (NotingVouchers, [message, certifying])):
        design = kind()
        for binding in (message, certifying):
            with pytest.raises(InterruptedError):
                Session(design, None, NoState(), seeded("message")).start(None, binding)  # type: ignore[arg-type]
        assert design.told == told


def test_what_is_not_seen_stands_in_the_page_and_in_the_result() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "conformance.md").read_text()
    report = check_design(load_design("none"), Options(only=["codec"]))
    assert as_json(report)["not_seen"] == list(NOT_SEEN)
    assert all(f"| {what} | {why} | `" in page for what, why in NOT_SEEN.items())
