"""The committed vectors follow their schema, say what the designs do, and come out again from their tapes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.conformance.vector_classes import (
    BUGS,
    CLASSES,
    OTHER,
    class_of,
    names_in,
)
from blindmatch_simulations.evaluation.conformance.vectors import SCHEMA_NAME, as_text, vectors_of
from blindmatch_simulations.testbed.deployment.registry import built_in_designs, load_design
from dummy_designs import ECHO
from support.schemas import committed
from support.vector_replay import differences

FOLDER = Path(__file__).parents[1] / "vectors" / "designs"
NAMES = sorted(one.design.info.name for one in built_in_designs() if one.design.reduced() is None)
"""Those of large sizes have vectors of their own, beside the folder."""


def _vector(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return loaded


def test_every_built_in_design_has_vectors_and_nothing_else_lies_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {SCHEMA_NAME, *(f"{name}.json" for name in NAMES)}
    assert json.loads((FOLDER / SCHEMA_NAME).read_text("utf-8")) == committed("design-vectors")


@pytest.mark.parametrize("name", NAMES)
def test_vectors_follow_the_schema(name: str) -> None:
    jsonschema.validate(_vector(name), committed("design-vectors"))


@pytest.mark.parametrize("name", NAMES)
def test_the_design_does_what_its_vectors_say_from_the_recorded_tapes(name: str) -> None:
    assert list(differences(load_design(name), _vector(name))) == []


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_made_again_byte_for_byte(name: str) -> None:
    assert as_text(vectors_of(load_design(name))) == (FOLDER / f"{name}.json").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_vectors_have_failing_cases_of_every_message_and_step(name: str) -> None:
    vector = _vector(name)
    roles = set(load_design(name).info.roles)
    assert all(message["refused"] for message in vector["messages"])
    assert {case["role"] for case in vector["refused_requests"]} == roles
    assert {case["role"] for case in vector["refused_replies"]} == roles
    hows = {role: {c["how"] for c in vector["refused_files"] if c["role"] == role} for role in (*roles, None)}
    assert all({"missing", "empty", "altered: digest"} <= found for found in hows.values())
    assert "another epoch is expected" in hows[None]


@pytest.mark.parametrize("name", NAMES)
def test_each_failing_case_has_a_class_that_its_file_explains(name: str) -> None:
    vector = _vector(name)
    used = set(names_in(vector))
    assert set(vector["classes"]) == used
    assert OTHER not in used


def test_every_class_but_that_of_unknown_rules_has_a_vector_and_every_bug_a_class() -> None:
    assert {one for name in NAMES for one in names_in(_vector(name))} == set(CLASSES) - {OTHER}
    assert {one.bug for one in CLASSES.values()} == set(BUGS)


OF_OPRF_PSI = {
    "refused_requests": {
        "truncated": "truncated-message",
        "left over": "left-over-bytes",
        "last byte altered": "non-canonical-encoding",
        "first field altered": "other-epoch",
        "last 32 bytes zero": "identity-or-zero",
        "last 32 bytes 255": "non-canonical-encoding",
    },
    "refused_replies": {
        "truncated": "truncated-message",
        "left over": "left-over-bytes",
        "last byte altered": "false-proof",
        "first field altered": "other-epoch",
        "last 32 bytes zero": "identity-or-zero",
        "last 32 bytes 255": "non-canonical-encoding",
    },
    "refused_files": {
        "missing": "missing-file",
        "empty": "damaged-file",
        "cut in the middle": "damaged-file",
        "last byte missing": "damaged-file",
        "a byte more": "damaged-file",
        "altered: magic": "other-format",
        "altered: format version": "other-format",
        "altered: design": "altered-file",
        "altered: version": "altered-file",
        "altered: epoch": "altered-file",
        "altered: section table or parameters": "altered-file",
        "altered: length in the trailer": "damaged-file",
        "altered: digest": "altered-file",
        "altered: end mark": "damaged-file",
        "another epoch is expected": "other-epoch",
    },
}


@pytest.mark.parametrize("kind", OF_OPRF_PSI)
def test_the_class_of_a_case_fits_what_was_done(kind: str) -> None:
    vector = _vector("oprf-psi")
    assert {case["how"]: case["class"] for case in vector[kind]} == OF_OPRF_PSI[kind]


def test_a_rule_that_no_built_in_design_has_is_said_to_be_the_designs_own() -> None:
    assert class_of("my-design/reply: field colour: must be blue") == OTHER
    assert class_of("set.bin: the filter is missing") == OTHER


def test_failing_replies_of_several_rounds_are_of_every_round() -> None:
    vector = vectors_of(ECHO)
    jsonschema.validate(vector, committed("design-vectors"))
    assert {case["round"] for case in vector["refused_replies"]} == {0, 1, 2}
    assert list(differences(ECHO, vector)) == []


PLACES: tuple[tuple[str | int, ...], ...] = (
    (),
    ("set",),
    ("items", 0),
    ("messages", 0),
    ("messages", 1, "accepted", 0),
    ("messages", 1, "refused", 0),
    ("messages", 1, "fields", 0),
    ("sessions", 0),
    ("sessions", 0, "rounds", 0, 0),
    ("sessions", 0, "outcome"),
    ("sessions", 0, "outcome", "label"),
    ("refused_requests", 0),
    ("refused_replies", 0),
    ("refused_files", 0),
    ("refused_files", 1, "change"),
    ("classes",),
    ("classes", "false-proof"),
)


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_field_fails(place: tuple[str | int, ...]) -> None:
    vector: Any = copy.deepcopy(_vector("oprf-psi"))
    inner = vector
    for key in place:
        inner = inner[key]
    inner["comment"] = "unknown"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(vector, committed("design-vectors"))


def _altered(vector: dict[str, Any], *place: str | int) -> dict[str, Any]:
    """`vector` with the last hexadecimal digit at `place` changed."""
    inner: Any = vector
    for key in place[:-1]:
        inner = inner[key]
    text = inner[place[-1]]
    inner[place[-1]] = text[:-1] + ("0" if text[-1] != "0" else "1")
    return vector


@pytest.mark.parametrize(
    "place",
    [
        ("sessions", 0, "tape"),
        ("sessions", 0, "rounds", 0, 0, "body"),
        ("sessions", 0, "rounds", 0, 0, "tape"),
        ("sessions", 0, "outcome", "label", "salt"),
        ("messages", 1, "refused", 0, "rule"),
        ("refused_requests", 0, "rule"),
        ("refused_replies", 0, "rule"),
        ("refused_files", 0, "rule"),
    ],
)
def test_a_vector_that_says_something_else_is_noticed(place: tuple[str | int, ...]) -> None:
    vector = _altered(_vector("oprf-psi"), *place)
    try:
        found = list(differences(load_design("oprf-psi"), vector))
    except Exception as error:
        found = [str(error)]
    assert found


def test_the_command_writes_vectors(tmp_path: Path) -> None:
    assert run(["conformance", "hash-upload", "--write-vectors", str(tmp_path)]) == 0
    for path in tmp_path.iterdir():
        assert path.read_text("utf-8") == (FOLDER / path.name).read_text("utf-8")
