"""slot-psi is no built-in design yet: commands run it by its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blindmatch_protocol.designs.slot_psi import design
from blindmatch_simulations.evaluation.studies.best_order import (
    ALL_KINDS,
    FAR,
    FAR_ALONE,
    NEAR,
    NEAR_ALONE,
)
from support.command import in_process
from support.endorsed_by_command import endorse_list

BY_FILE = f"{design.__file__}:DESIGN"
SMALL = ("--set", "slot_bits=12", "--set", "probes=6")
"""Records of 2^12 slots are built in a tenth of a second; 48 tokens make a chance pair in a quarter of
pictures."""


@pytest.mark.parametrize("reference", [BY_FILE, f"carried-{BY_FILE}"], ids=["itself", "carried"])
def test_conformance_checks_it_and_what_carries_it(tmp_path: Path, reference: str) -> None:
    only = ("--only", "outcomes", "--only", "codec", "--only", "hand-over")
    ran = in_process(tmp_path, "conformance", reference, *SMALL, *only)
    assert ran.code == 0, ran.out
    assert "nothing failed" in ran.out


def test_capacity_states_what_phones_open_of_a_uniform_list_by_formula(tmp_path: Path) -> None:
    """20,000 pictures of one phone: 20,000 * 2^(17 - 60) of the list, 2.3 * 10^-7 percent."""
    ran = in_process(tmp_path, "design", "capacity", BY_FILE)
    lines = [line for line in ran.out.splitlines() if "uniform hashes" in line]
    year, life = ([part.strip() for part in line.split("│")[2:-1]] for line in lines)
    assert year == ["2.3e-07", "2.3e-05", "0.00023", "0.0023", "0.23"]
    # an account is limited by the year, and the key lives ten
    assert life == ["2.3e-06", "0.00023", "0.0023", "0.023", "2.3"]
    assert "20,000 pictures a year: 0.09% of accounts send more" in " ".join(ran.out.split())
    assert "is not used up" in ran.out


def test_capacity_states_what_first_questions_open_of_look_alikes_without_a_guess(tmp_path: Path) -> None:
    """Of real entries near a known picture; of far ones none opened so."""
    ran = in_process(tmp_path, "design", "capacity", BY_FILE, "--json", "-")
    (own,) = json.loads(ran.out)["designs"].values()
    of_year = [one for one in own["shares"] if (one["kind"], one["span"]) == (ALL_KINDS, "a year")]
    shares = {(one["distance"], one["phones"]): one for one in of_year}
    assert 0.2 < shares[NEAR_ALONE, 1_000]["share"] < shares[NEAR, 1_000]["share"]
    assert shares[FAR_ALONE, 1_000_000]["share"] == 0
    # as pictures, not as tokens, of which each has 224
    assert 0.0005 < shares[FAR, 1_000]["share"] < 0.001 < 0.004 < shares[FAR, 10_000]["share"] < 0.01


def test_an_audit_builds_an_endorsed_epoch_again_from_list_and_seed(tmp_path: Path) -> None:
    run = endorse_list(tmp_path, ("north", "south"), (1, 2, 3), BY_FILE)
    run("list", "publish", "known", "--design", BY_FILE, *SMALL)
    found = json.loads(run("list", "audit", "--rebuild", "--design", BY_FILE, "--json", "-"))
    assert set(found.values()) == {"passed"} and "rebuilt" in found
