"""The demo is judged by the design's own relation and the recall it declares."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from blindmatch_protocol.contract import AnyDesign, Near
from blindmatch_protocol.designs import oprf_psi, token_psi
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.cli.demo_tables import matches_words
from blindmatch_simulations.demo.checks import failures
from blindmatch_simulations.pictures.workload import TEXTS

MATCHING = 11


def demo_run(design: AnyDesign, matches: int, reports: int | None = None, wrong: int = 0) -> Any:
    """A run in which nothing else went wrong."""
    rows = [pb.ReportRow(state="received", checks="passed")] * (matches if reports is None else reports)
    return SimpleNamespace(
        design=design,
        workload=SimpleNamespace(sendings=[]),
        sent=[],
        pictures=[],
        received=[SimpleNamespace(text=text) for text in TEXTS],
        answered=True,
        oracle=[True] * MATCHING + [False] * 18,
        matches=matches,
        wrong=wrong,
        reports=rows,
        vouchers=[],
        audits={},
    )


def test_a_near_design_may_miss_what_its_recall_allows_and_says_so() -> None:
    for matches in (MATCHING, MATCHING - 1):
        assert failures(demo_run(token_psi.DESIGN, matches)) == []
    words = matches_words(demo_run(token_psi.DESIGN, MATCHING - 1))
    assert words == "10 matches, 11 expected, 1 missed at a declared recall of 98.9%"


def test_misses_that_its_recall_does_not_explain_make_the_demo_wrong() -> None:
    (words,) = failures(demo_run(token_psi.DESIGN, MATCHING - 3))
    assert words == "3 of 11 matches missed; declared recall 98.9%"


def test_an_exact_design_misses_nothing() -> None:
    (words,) = failures(demo_run(oprf_psi.DESIGN, MATCHING - 1))
    assert words == "1 of 11 matches missed; declared recall 100.0%"


@pytest.mark.parametrize("design", [oprf_psi.DESIGN, token_psi.DESIGN], ids=lambda one: one.info.name)
def test_a_match_that_is_none_and_a_report_that_is_missing_make_the_demo_wrong(design: AnyDesign) -> None:
    assert "1 matches are none" in failures(demo_run(design, MATCHING + 1))[0]
    assert "1 matches are none" in failures(demo_run(design, MATCHING, wrong=1))[0]
    (words,) = failures(demo_run(design, MATCHING, MATCHING - 1))
    assert words == "10 reports verified, 11 expected"


def test_a_relation_declares_full_recall_unless_it_says_less() -> None:
    assert Near(31).recall == oprf_psi.DESIGN.info.relation.recall == 1
    assert replace(Near(31), recall=0.5) != Near(31)
