"""Operators see by the command whose opening was given up, and why: a plug-in's opener never returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from blindmatch_server.centre import service
from blindmatch_server.centre.opening import OVER_BUDGET, OpeningLimits
from blindmatch_simulations.testbed.pictures.crops import crops
from blindmatch_simulations.testbed.scenario.operations import AddDevice, Publish, SendPicture, Start
from blindmatch_simulations.testbed.scenario.run import play
from blindmatch_simulations.testbed.scenario.world import World
from support.command import in_process

PLUG_IN: Final = Path(__file__).parents[1] / "support/stubborn_opener.py"
PICTURES: Final = tuple(crop.data for crop in crops(2, 1))
FEW_U: Final = 100_000


def in_json(home: Path, *arguments: object) -> Any:
    ran = in_process(home, *arguments, "--json", "-")
    assert ran.out, ran.err
    return ran.json


def rows_of(home: Path, check: str) -> list[dict[str, Any]]:
    found = in_json(home, "doctor", "--design", f"{PLUG_IN}:STUBBORN")
    return [dict(one) for one in found if one["check"] == check]


@pytest.mark.slow
def test_operators_see_whose_opening_was_given_up_and_why_and_others_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "OpeningLimits", lambda most, *_: OpeningLimits(most, FEW_U))
    with World.create(tmp_path / "home", f"{PLUG_IN}:STUBBORN") as world:
        home = world.deployment.home
        assert rows_of(home, "openings") == []
        sent = [SendPicture(*pair, one) for pair in (("bob", "ann"), ("ann", "bob")) for one in PICTURES]
        steps = (Publish(PICTURES, random=12), Start(), AddDevice("bob"), AddDevice("ann"), *sent)
        events = list(play(world, steps, threads=True))
        assert [event.error for event in events] == [""] * len(events)
        piles: list[dict[str, Any]] = []
        while not (piles and piles[0]["opened"] and piles[1]["problem"]):
            in_json(home, "centre", "list")
            piles = in_json(home, "centre", "vouchers", "list")
        assert [(one["account"], one["opened"], one["problem"]) for one in piles] == [
            ("ann", 2, ""),
            ("bob", 0, OVER_BUDGET),
        ]
        (shown,) = in_json(home, "centre", "vouchers", "show", "bob")["periods"]
        assert shown["problem"] == OVER_BUDGET
        for words in (["list"], ["show", "bob"]):
            assert f"bob, not opened: {OVER_BUDGET}" in in_process(home, "centre", "vouchers", *words).out
        told = in_json(home, "centre", "vouchers", "answer", "bob")
        assert "problem" not in str(told), "it would say that some of bob's vouchers are visible"
        (found,) = rows_of(home, "openings")
        assert found["status"] == "warning" and f"bob: {OVER_BUDGET}" in found["what"]
        assert "ann" not in found["what"] and "start the centre again" in found["remedy"]
