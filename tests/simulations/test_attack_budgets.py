"""What an attack spent is counted from what it asked; what it does not have is left out."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from blindmatch_simulations.evaluation.attacks.arena import Arena
from blindmatch_simulations.evaluation.attacks.figure import Distortion, Spending, distortion
from blindmatch_simulations.evaluation.attacks.run import AttackRow, Ran, results_of, run_attack
from blindmatch_simulations.evaluation.attacks.table import ATTACKS
from blindmatch_simulations.measure.results import encode
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, encoded
from blindmatch_simulations.testbed.pictures.pool import picture
from PIL import Image


def ran(name: str, design: str) -> Ran:
    return run_attack(ATTACKS[name], Arena(load_design(design), thorough=False))


def grey(level: int, side: int = 16) -> bytes:
    return encoded(Image.fromarray(np.full((side, side, 3), level, np.uint8)))


def test_requests_are_those_that_roles_answered() -> None:
    assert ran("guessing", "oprf-psi").budget.queries == 10
    assert ran("all-shares", "split-psi").budget.queries == 20  # two parties answer each


def test_what_an_attack_does_not_have_is_left_out_and_never_zero() -> None:
    made = ran("stolen-device", "device-list")  # nobody is asked, no picture is edited
    (row,) = json.loads(encode(results_of([made])))["rows"]
    assert set(row["budget"]) == {"compute_u", "list_share"}
    assert row["budget"]["list_share"] == 0.2 and row["budget"]["compute_u"] > 0
    assert "queries" not in made.budget.words()


def test_a_file_of_before_has_no_budget() -> None:
    (row,) = json.loads(encode(results_of([ran("stolen-device", "device-list")])))["rows"]
    del row["budget"]
    assert msgspec.convert(row, AttackRow).budget is msgspec.UNSET


def test_what_an_earlier_run_made_is_counted_again() -> None:
    alone = Spending().measured(lambda: None)[1].compute_u
    again = Spending(reused_s=10.0).measured(lambda: None)[1].compute_u
    assert isinstance(alone, float) and isinstance(again, float) and again > 1000 + alone


def test_distortion_is_of_values_from_0_to_1() -> None:
    found = distortion("darker", [(grey(153), grey(102))])
    assert found.linf == pytest.approx(0.2) and found.values == 16 * 16 * 3 and found.pictures == 1
    assert found.l2 == pytest.approx(0.2 * np.sqrt(found.values), rel=1e-4)


def test_no_edit_is_no_distortion_and_every_edit_is_some() -> None:
    data = encoded(Image.fromarray(picture(1).pixels))
    apart = {name: distortion(name, [(data, edit.apply(data))]) for name, edit in BY_NAME.items()}
    none = apart.pop("identical")
    assert (none.l2, none.linf, none.ssim) == (0, 0, 1)
    assert all(one.l2 > 0 and 0 < one.linf <= 1 and one.ssim < 1 for one in apart.values())


def test_a_picture_of_another_size_is_compared_at_the_originals() -> None:
    assert distortion("resize-0.5", [(grey(80), grey(80, 8))]).l2 == 0


def test_the_mildest_edit_that_takes_out_half_is_stated() -> None:
    exact, near = (ran("fixed-edits", name).budget.distortion for name in ("oprf-psi", "device-list"))
    assert isinstance(exact, Distortion) and isinstance(near, Distortion)
    order = list(BY_NAME)
    assert order.index("identical") < order.index(exact.edit) < order.index(near.edit)
    assert near.ssim < exact.ssim
