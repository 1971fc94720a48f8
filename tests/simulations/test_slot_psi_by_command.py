"""Commands run slot-psi as they run any other design, itself and carried."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from blindmatch_simulations.evaluation.studies.best_order import (
    ALL_KINDS,
    FAR,
    FAR_ALONE,
    NEAR,
    NEAR_ALONE,
)
from support.command import in_process
from support.endorsed_by_command import endorse_list

NAME = "slot-psi"
SMALL = ("--set", "slot_bits=12", "--set", "probes=6")
"""Sizes of the form for checks, under the design's own name: an audit builds 2^12 slots in a tenth of a
second."""


@pytest.mark.parametrize("reference", [NAME, f"carried-{NAME}"])
def test_conformance_checks_it_and_what_carries_it(tmp_path: Path, reference: str) -> None:
    only = ("--only", "outcomes", "--only", "codec", "--only", "hand-over", "--only", "full size")
    ran = in_process(tmp_path, "conformance", reference, *only)
    assert ran.code == 0, ran.out
    assert "nothing failed" in ran.out
    assert f"all other checks ran on {reference}-insecure" in re.sub(r"[│\s]+", " ", ran.out)


def test_capacity_states_what_phones_open_of_a_uniform_list_by_formula(tmp_path: Path) -> None:
    """20,000 pictures of one phone: 20,000 * 2^(17 - 60) of the list, 2.3 * 10^-7 percent."""
    ran = in_process(tmp_path, "design", "capacity", NAME)
    lines = [line for line in ran.out.splitlines() if "uniform hashes" in line]
    year, life = ([part.strip() for part in line.split("│")[2:-1]] for line in lines)
    assert year == ["2.3e-07", "2.3e-05", "0.00023", "0.0023", "0.23"]
    # an account is limited by the year, and the key lives ten
    assert life == ["2.3e-06", "0.00023", "0.0023", "0.023", "2.3"]
    assert "20,000 pictures a year: 0.09% of accounts send more" in " ".join(ran.out.split())
    assert "is not used up" in ran.out


def test_capacity_states_what_first_questions_open_of_look_alikes_without_a_guess(tmp_path: Path) -> None:
    """Of real entries near a known picture; of far ones none opened so."""
    ran = in_process(tmp_path, "design", "capacity", NAME, "--json", "-")
    (own,) = json.loads(ran.out)["designs"].values()
    of_year = [one for one in own["shares"] if (one["kind"], one["span"]) == (ALL_KINDS, "a year")]
    shares = {(one["distance"], one["phones"]): one for one in of_year}
    assert 0.2 < shares[NEAR_ALONE, 1_000]["share"] < shares[NEAR, 1_000]["share"]
    assert shares[FAR_ALONE, 1_000_000]["share"] == 0
    # as pictures, not as tokens, of which each has 224
    assert 0.0005 < shares[FAR, 1_000]["share"] < 0.001 < 0.004 < shares[FAR, 10_000]["share"] < 0.01


def test_an_audit_builds_an_endorsed_epoch_again_from_list_and_seed(tmp_path: Path) -> None:
    run = endorse_list(tmp_path, ("north", "south"), (1, 2, 3), NAME)
    run("list", "publish", "known", "--design", NAME, *SMALL)
    found = json.loads(run("list", "audit", "--rebuild", "--design", NAME, "--json", "-"))
    assert set(found.values()) == {"passed"} and "rebuilt" in found
