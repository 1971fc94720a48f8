"""What a curator hides in cells of a threshold table that no listed entry needs, and who finds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol.designs.threshold_psi import table
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.evaluation.attacks.arena import Arena
from blindmatch_simulations.evaluation.attacks.loopback import drawn
from blindmatch_simulations.evaluation.attacks.planted_cells import keys_to_plant, planting
from blindmatch_simulations.evaluation.attacks.run import run_attack
from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design
from support.command import in_process
from support.endorsed_by_command import endorse_list

TO_CENTRE = ("threshold-psi", "threshold-near")


@pytest.mark.slow
@pytest.mark.parametrize("name", TO_CENTRE)
def test_pictures_in_spare_cells_are_visible_though_a_policy_binds_the_list(name: str) -> None:
    figure = run_attack(ATTACKS["planted-cell"], Arena(load_design(name), thorough=False)).figure
    assert figure.parts == {"beside the list": 20, "beside an endorsed list": 3}


@pytest.mark.slow
@pytest.mark.parametrize("name", TO_CENTRE)
def test_an_honest_table_makes_no_such_picture_visible(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "blindmatch_simulations.evaluation.attacks.planted_cells.keys_to_plant",
        lambda design, hashes: keys_to_plant(design, hashes)[:0],
    )
    figure = run_attack(ATTACKS["planted-cell"], Arena(load_design(name), thorough=False)).figure
    assert figure.parts == {"beside the list": 0, "beside an endorsed list": 0}


def test_unendorsed_entries_are_tried_where_the_centre_learns_outcomes_and_once_where_devices_do() -> None:
    designs = [one.design for one in all_designs().values()]
    made = [one for one in pairs(designs) if one.attack.name == "unendorsed"]
    played = [one.design.info.name for one in made if not one.unplayed]
    assert set(TO_CENTRE) < set(played) and len(played) == len(TO_CENTRE) + 1
    (told,) = set(played) - set(TO_CENTRE)
    spared = {one.design.info.name: one.unplayed for one in made if "played against" in one.unplayed}
    assert spared and all(why.endswith(f"played against {told}") for why in spared.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", TO_CENTRE)
def test_an_unendorsed_entry_is_visible_at_the_centre_where_devices_check_nothing(name: str) -> None:
    arena = Arena(load_design(name), thorough=False)
    weakened = run_attack(ATTACKS["unendorsed"], arena, weakened=True).figure
    assert set(weakened.parts.values()) == {1}
    assert set(run_attack(ATTACKS["unendorsed"], arena).figure.parts.values()) == {0}


@pytest.mark.parametrize(("entries", "more"), [(1_000, 93), (65_536, 716)])
def test_a_table_has_room_for_as_many_keys_more_as_its_page_says(entries: int, more: int) -> None:
    page = " ".join(Path("docs/designs/threshold-psi.md").read_text().split())
    assert f"{entries:,} " in page and f"took {more}" in page
    hashes = np.random.default_rng(1).integers(0, 256, (entries + more, 32), np.uint8)
    domains = (table.Domain(1, bytes([attempt]) * 32, entries) for attempt in range(8))
    assert any(table._peeled(one.places(hashes), one.cells) is not None for one in domains)


def test_who_builds_an_endorsed_table_again_finds_what_was_planted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    design = load_design("threshold-psi")
    run = endorse_list(tmp_path, ("north", "south", "west"), (1, 2), design.info.name)
    victim = np.frombuffer(Picture.from_bytes(drawn(3)).hash, np.uint8).reshape(1, 32)
    with planting(keys_to_plant(design, victim))():
        run("list", "publish", "known", "--design", design.info.name)
    assert "failed" not in run("list", "audit", "--design", design.info.name)
    built_again = in_process(home, "list", "audit", "--rebuild", "--design", design.info.name)
    assert "set.bin: not what the endorsed list gives" in built_again.out + built_again.err
