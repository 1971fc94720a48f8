"""Randomness that no tape covers: what is checked instead of bytes, and that it is no way around a check."""

from __future__ import annotations

import pytest
from blindmatch_protocol.contract import AnyDesign
from blindmatch_simulations.evaluation.conformance.run import Options, check_design
from blindmatch_simulations.evaluation.conformance.vectors import vectors_of
from blindmatch_simulations.testbed.inprocess.verdict import Result, Verdict
from dummy_designs import MASKED, NATIVE, Native, SaltTells, ShowsNone
from support.vector_replay import differences

CHECKS = ("tape", "one set-up", "executor", "repetition", "draws", "surroundings")


def results(design: AnyDesign, *checks: str) -> dict[str, Result]:
    return {one.check: one for one in check_design(design, Options(only=list(checks))).results}


def test_a_design_with_declared_native_randomness_passes_and_the_verdict_says_what_was_compared() -> None:
    found = results(NATIVE, *CHECKS, "egress")
    assert {name: one.verdict for name, one in found.items() if one.verdict is not Verdict.PASSED} == {}
    for name in ("tape", "executor", "repetition", "draws", "surroundings"):
        assert "libsodium draws the salt" in found[name].reason, name
    assert "native randomness" not in results(MASKED, "tape")["tape"].reason


class Undeclared(Native):
    info = MASKED.info


@pytest.mark.parametrize(
    ("design", "check", "rule"),
    [
        (Undeclared(), "tape", "the same tape gives other bodies"),
        (ShowsNone(), "tape", "everything comes from the tape"),
        (SaltTells(), "egress", "tell of the picture"),
    ],
)
def test_native_randomness_must_be_declared_must_be_there_and_hides_nothing(
    design: AnyDesign, check: str, rule: str
) -> None:
    found = results(design, check)[check]
    assert (found.verdict, rule in found.rule) == (Verdict.FAILED, True), found.reason


def test_vectors_of_such_a_design_are_replayed_by_lengths_and_outcomes() -> None:
    vectors = vectors_of(NATIVE)
    assert list(differences(NATIVE, vectors)) == []
    vectors["sessions"][0]["rounds"][0][0]["body"] += "00"
    assert any("other lengths" in said for said in differences(NATIVE, vectors))
