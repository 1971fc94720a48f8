"""What a design may leave out, driven by one dummy that has it all, over real servers and on the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from blindmatch_simulations.evaluation.assess.observed import described
from blindmatch_simulations.evaluation.assess.results import check_folder
from blindmatch_simulations.testbed.deployment.operators import centre_list
from blindmatch_simulations.testbed.pictures.crops import crops
from blindmatch_simulations.testbed.scenario.operations import (
    AddDevice,
    Flush,
    Operation,
    Publish,
    Receive,
    SendPicture,
    Start,
)
from blindmatch_simulations.testbed.scenario.run import play
from blindmatch_simulations.testbed.scenario.world import World
from dummy_designs import CONFIGURED
from msgspec.structs import replace
from support.assess_page import results_folder
from support.assess_rows import observed, row
from support.drawn import drawn

PICTURES: Final = tuple(crop.data for crop in crops(2, 1))
PUBLISH: Final = Publish(PICTURES, random=12)
BEFORE: Final[tuple[Operation, ...]] = (PUBLISH, Start(), AddDevice("bob"), AddDevice("ann"))
FIRST, SECOND = (SendPicture("ann", "bob", one) for one in PICTURES)
DUMMIES: Final = Path(__file__).parents[1] / "dummy_designs.py"


def played(
    home: Path, name: str, *steps: Operation
) -> tuple[list[bool | None], Mapping[str, tuple[int, int]]]:
    """Which messages left, and how many vouchers of each account the centre holds and has opened."""
    with World.create(home, f"{DUMMIES}:{name}") as world:
        events = list(play(world, (*BEFORE, *steps), threads=True))
        assert [event.error for event in events] == [""] * len(events)
        held = centre_list(world.deployment).vouchers
        delivered = [event.delivered for event in events[len(BEFORE) :]]
        return delivered, {one.account: (one.held, one.opened) for one in held}


def test_a_carrier_lets_an_account_ask_as_often_as_the_design_says(tmp_path: Path) -> None:
    of_bob = SendPicture("bob", "ann", PICTURES[0])
    delivered, held = played(tmp_path / "home", "CONFIGURED", *[FIRST] * 4, of_bob)
    assert delivered == [True, True, True, False, True]
    assert {name: count for name, (count, _) in held.items()} == {"ann": 3, "bob": 1}


@pytest.mark.parametrize(("name", "opened"), [("CONFIGURED", 2), ("ONE_EPOCH", 0)])
def test_vouchers_of_several_epochs_add_up_if_the_design_says_that_they_are_of_one_period(
    tmp_path: Path, name: str, opened: int
) -> None:
    # the servers that she was connected to have ended
    again = [Flush("ann"), Receive("ann", 99, 0.4)] * 3
    _, held = played(tmp_path / "home", name, FIRST, PUBLISH, SECOND, *again)
    assert held == {"ann": (2, opened)}


def test_a_fact_of_its_own_says_what_is_seen_and_which_abuse_it_allows(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "report")
    own = row(replace(observed(), design=replace(described(CONFIGURED, {}), name="quoted")))
    made = drawn(folder, replace(check_folder(folder), rows=(own,)))
    assert "third hash , declared" in made.opened("quoted.sees")
    assert "third asks for pictures of its choice (hash)" in made.opened("quoted.abuse")
    search = made.words("abuse").partition("Search for anything")[2].partition("List opened by clients")[0]
    assert "third asks for pictures of its choice (nobody at all): quoted" in search
