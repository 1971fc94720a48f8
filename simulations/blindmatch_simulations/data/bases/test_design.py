"""Tests of base_design.py. They take about half a minute: python -m pytest test_base_design.py"""

from __future__ import annotations

from pathlib import Path

import blindmatch as bm

DESIGN = f"{Path(__file__).with_name('base_design.py')}:DESIGN"


def test_a_listed_picture_is_found_and_another_is_not() -> None:
    listed, other = bm.sample_pictures(2)
    opened = bm.open_design(DESIGN, pictures=[listed])
    assert opened.ask(listed).outcome == "match"
    assert opened.ask(other).outcome == "no match"


def test_conformance_fails_nothing_and_leaves_nothing_out() -> None:
    checks = bm.conformance(DESIGN)["checks"]
    bad = {one["check"]: one["reason"] for one in checks if one["verdict"] in ("failed", "not checked")}
    assert bad == {}
