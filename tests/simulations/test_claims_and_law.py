"""Rates that others state are shown as claims, each with its unit, and the law as it was last read."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from blindmatch_server.centre.notices import statute
from blindmatch_simulations.cli.centre import as_json
from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess.results import check_folder
from support.command import in_process
from support.drawn import Drawn, drawn
from support.pages import ROOT
from support.schemas import committed as schema

SAMPLE = ROOT / "docs" / "sample"


@pytest.fixture(scope="module")
def sample() -> Drawn:
    return drawn(SAMPLE, check_folder(SAMPLE))


def spaced(words: str) -> str:
    return " ".join(words.split())


def test_claimed_rates_are_by_their_schema_and_state_what_each_is_a_rate_of() -> None:
    valid = jsonschema.Draft202012Validator(schema("claimed-rates-v1"))
    held = committed("claimed-rates")
    assert [error.message for error in valid.iter_errors(held)] == []
    assert {one["unit"] for one in held["rows"]} == {"picture", "pair", "account", "not stated", "not found"}
    assert "not stated" in {one["list"] for one in held["rows"]}
    assert len({one["id"] for one in held["rows"]}) == len(held["rows"]) == 7


@pytest.mark.parametrize(
    "edit",
    [
        lambda row: row.pop("unit"),
        lambda row: row.update(unit="item"),
        lambda row: row.update(status="measured"),
        lambda row: row.update(rate=2),
        lambda row: row.update(source=""),
        lambda row: row.update(more=1),
    ],
)
def test_a_claim_without_a_unit_or_that_calls_itself_measured_is_refused(
    edit: Callable[[dict[str, Any]], object],
) -> None:
    held = copy.deepcopy(committed("claimed-rates"))
    edit(held["rows"][0])
    assert not jsonschema.Draft202012Validator(schema("claimed-rates-v1")).is_valid(held)


def test_the_page_has_every_claim_with_a_hollow_mark_beside_what_was_measured(sample: Drawn) -> None:
    tree = next(one for one in sample.tree().iter() if one.get("id") == "flagged-claims")
    rows = list(tree.iter("tr"))[1:]
    told = [spaced(" ".join(row.itertext())) for row in rows]
    fills = [next(one.get("fill") for one in row.iter("path")) for row in rows]
    claims = committed("claimed-rates")["rows"]
    own = len(rows) - len(claims)
    assert own == 2 and all("measured:" in one for one in told[:own])
    assert fills == ["currentColor"] * own + ["none"] * len(claims)
    for words, claim in zip(told[own:], claims, strict=True):
        assert words.startswith(f"{claim['status']}: {claim['of']}") and "measured:" not in words
        assert all(spaced(claim[name]) in words for name in ("unit", "list", "pictures", "says", "source"))
    assert "never as measured here" in spaced(" ".join(tree.itertext()))


def test_the_law_is_told_as_it_was_read_wherever_a_policy_reader_meets_it(sample: Drawn) -> None:
    law = statute().law
    assert date.fromisoformat(law.lapsed_on) == date(2026, 4, 3)
    for part in (
        "Regulation (EU) 2021/1232 lapsed on 3 April 2026",
        "Its successor is Regulation (EU) 2026/1881 of 24 July 2026",
        "reportedly leaves out communications to which end-to-end encryption is",
        "read in secondary sources: check the Official Journal",
    ):
        assert part in law.words
        assert part in spaced(sample.words("flagged"))
        assert part in spaced((ROOT / "docs" / "how-to" / "centre.md").read_text("utf-8"))
    for page in ("explanation/report", "explanation/threat-model"):
        words = spaced((ROOT / "docs" / f"{page}.md").read_text("utf-8"))
        assert "reportedly leaves out end-to-end encrypted communications" in words


def test_no_page_notice_or_form_cites_the_lapsed_regulation_as_if_in_force(sample: Drawn) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    code = [*(ROOT / "server").rglob("*.py"), *(ROOT / "simulations").rglob("*.py")]
    data = [ROOT / "server" / "blindmatch_server" / "centre" / "statute.json"]
    held = {str(one): spaced(one.read_text("utf-8")) for one in (*pages, *code)}
    held |= {str(one): json.dumps(json.loads(one.read_text("utf-8"))["statistics_form"]) for one in data}
    held["the page"] = spaced(sample.words("flagged"))
    for name, words in held.items():
        for found in re.finditer(r"2021/1232", words):
            assert "lapsed" in words[max(0, found.start() - 60) : found.end() + 40], name


def test_delays_of_notices_are_those_of_a_proposal() -> None:
    assert "a proposal and not law" in statute().notice_to_user.source


def test_the_transparency_report_and_the_statistics_of_the_centre_have_the_law_beside_them() -> None:
    assert json.loads(as_json(2026, []))["law"] == statute().law.words
    help_ = in_process(Path(), "centre", "hold", "--help")
    assert "a proposal" in spaced(help_.out + help_.err)
