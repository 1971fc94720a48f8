"""Honest designs of unusual but fair construction raise no alarm."""

from __future__ import annotations

from typing import Any

import pytest
from blindmatch_simulations.evaluation.conformance.run import Options, check_design
from planted.fair import FAIR

CHEAP = ("outcomes", "codec", "tape", "egress", "declarations", "resources", "order")


@pytest.mark.parametrize("name", FAIR)
def test_an_unusual_honest_design_passes_the_cheap_checks(name: str) -> None:
    assert failures(FAIR[name](), CHEAP) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FAIR)
def test_an_unusual_honest_design_raises_no_alarm(name: str) -> None:
    assert failures(FAIR[name](), ()) == []


def failures(design: Any, only: tuple[str, ...]) -> list[str]:
    report = check_design(design, Options(only=only))
    return [report.line(result) for result in (*report.failed, *report.unchecked)]
