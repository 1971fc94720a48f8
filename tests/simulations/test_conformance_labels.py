"""Labels say what is known of their entry and nothing else, and vouchers open from the threshold on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from blindmatch_protocol.contract import Label, Match
from blindmatch_protocol.designs import oprf_psi, third_party
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from dummy_designs import CONFIGURED, VOUCHERS
from msgspec.structs import replace
from planted.mutations import labels
from planted.mutations.table import CHEATS

PLANTED = (
    "an unconfirmed label of a set that is no filter",
    "the hash in the place of signatures",
    "a byte after eight signatures of zeros",
    "bytes of a design's own that it takes for signatures",
    "a server reads more in the place of signatures",
    "a threshold of two that opens at one match",
    "a threshold that counts pictures on no list",
)


@pytest.mark.parametrize("name", PLANTED)
def test_a_label_that_says_more_and_a_voucher_that_opens_too_early_are_caught(name: str) -> None:
    (cheat,) = [one for one in CHEATS if one.name == name]
    (failure,) = check_design(cheat.weakness(), Options(only=["outcomes"])).failed
    assert cheat.move.where in failure.step
    assert "crash" not in failure.rule


@pytest.mark.parametrize(
    ("design", "values"),
    [
        (lambda: oprf_psi.DESIGN, {"filter": 1}),
        (lambda: oprf_psi.DESIGN, {"signatures": 2}),
        (lambda: third_party.DESIGN, {}),
        (lambda: VOUCHERS, {}),
        (lambda: CONFIGURED, {}),
        (labels.OpensAtTwo, {}),
    ],
)
def test_labels_of_filters_signed_ones_and_those_of_vouchers_pass(
    design: Callable[[], Any], values: dict[str, int]
) -> None:
    (result,) = check_design(design(), Options(only=["outcomes"], values=values)).results
    assert result.verdict is Verdict.PASSED, result.reason


def third_partys_label() -> tuple[Any, Label]:
    """The set-up of third-party, and a label of it as a device gets it."""
    fixtures = Fixtures(third_party.DESIGN)
    outcome = fixtures.honest["listed/0"].outcome
    assert isinstance(outcome, Match)
    return fixtures.deployed.setup, outcome.label


def test_third_party_verifies_the_signatures_of_its_labels_alone() -> None:
    setup, label = third_partys_label()
    assert third_party.DESIGN.is_signed(setup, label)
    assert not third_party.DESIGN.is_signed(setup, replace(label, entry_id=label.entry_id + 1))
    assert not third_party.DESIGN.is_signed(setup, replace(label, signatures=bytes(64)))


def test_a_design_that_makes_no_signatures_takes_zeros_alone() -> None:
    setup, label = third_partys_label()
    assert not oprf_psi.DESIGN.is_signed(setup, label)
    assert oprf_psi.DESIGN.is_signed(setup, replace(label, signatures=bytes(512)))
