"""Vectors of slot-psi for other implementations: a set of small sizes and whole sessions, since a set of the
default sizes has megabytes of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from blindmatch_protocol.designs.slot_psi.design import DESIGN
from blindmatch_simulations.evaluation.conformance.vectors import as_text, vectors_of
from support.schemas import committed
from support.vector_replay import differences

PATH = Path(__file__).parents[1] / "vectors" / "slot-psi-v1-sessions.json"
SIZES = {"k": 16, "probes": 4, "slot_bits": 6}
"""Not secure."""


def vector() -> dict[str, Any]:
    held: dict[str, Any] = json.loads(PATH.read_text("utf-8"))
    return held


def test_they_follow_the_schema_and_have_both_outcomes() -> None:
    jsonschema.validate(vector(), committed("design-vectors"))
    outcomes = {held["item"]: held["outcome"]["outcome"] for held in vector()["sessions"]}
    assert outcomes == {"listed": "Match", "near-30": "Match", "poor": "NoMatch", "other": "NoMatch"}


def test_the_design_does_what_they_say_from_the_recorded_tapes() -> None:
    assert list(differences(DESIGN, vector())) == []


def test_they_are_made_again_byte_for_byte() -> None:
    assert as_text(vectors_of(DESIGN, SIZES)) == PATH.read_text("utf-8")


def test_they_have_failing_cases_of_every_message_and_step() -> None:
    held = vector()
    roles = set(DESIGN.info.roles)
    assert all(message["refused"] for message in held["messages"])
    assert {case["role"] for case in held["refused_requests"]} == roles
    assert {case["role"] for case in held["refused_replies"]} == roles
    assert {case["role"] for case in held["refused_files"]} == {*roles, None}


def test_a_session_that_is_altered_is_told() -> None:
    held = vector()
    reply = held["sessions"][0]["rounds"][1][0]
    reply["reply"] = reply["reply"][:-2] + f"{int(reply['reply'][-2:], 16) ^ 1:02x}"
    assert list(differences(DESIGN, held))
