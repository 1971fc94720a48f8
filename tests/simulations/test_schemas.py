"""Every file of a results folder, and every recording, has a JSON Schema that is that of its types."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from support import schemas
from support.pages import ROOT

SAMPLE: Final = ROOT / "docs" / "sample"


def _values(path: Path) -> list[Any]:
    """What a file holds, by line if it has lines; of many rows that are alike, some: a validator is slow."""
    text = path.read_text("utf-8")
    if path.suffix == ".toml":
        return [tomllib.loads(text)]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    held = json.loads(text)
    step = {"attacks.json": 16, "results.json": 8}.get(path.name)
    return [held | {"rows": held["rows"][::step]}] if step else [held]


OF: Final = {
    "results.json": "results-v4",
    "attacks.json": "results-v4",
    "workload.toml": f"workload-v{tomllib.loads((SAMPLE / 'workload.toml').read_text())['version']}",
    "designs/*.json": "designs-v4",
    "rows/*.jsonl": "rows-v2",
    "*.jsonl": "recordings-v2",
    "try.json": "try-v1",
}
"""Schemas of the files of a folder, by pattern."""
DRAWN: Final = ("README.md", "findings.html", "report.html", "follow.html", "follow.svg", "made.json")
"""Drawn from those, or none of `assess`'s."""


@pytest.mark.parametrize("pattern", OF)
def test_every_file_of_a_results_folder_is_by_its_schema(pattern: str) -> None:
    valid = jsonschema.Draft202012Validator(schemas.committed(OF[pattern]))
    found = sorted(SAMPLE.glob(pattern))
    assert found
    for path in found:
        values = _values(path)
        # a validator is slow: of many rows of one kind some, and the last ones, which are of other kinds
        chosen = values if len(values) < 60 or pattern != "rows/*.jsonl" else values[:4] + values[-16:]
        assert [error.message for one in chosen for error in valid.iter_errors(one)] == [], path.name
    assert not valid.is_valid({**values[0], "more": 1})


def test_no_file_of_a_results_folder_is_without_a_schema() -> None:
    known = {path for pattern in (*OF, *DRAWN) for path in SAMPLE.glob(pattern)}
    assert {path for path in SAMPLE.rglob("*") if path.is_file()} - known == set()


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("designs-v4", schemas.of_designs),
        ("workload-v3", schemas.of_workloads),
        ("recordings-v2", schemas.of_recordings),
        ("try-v1", schemas.of_tried),
    ],
)
def test_a_schema_is_that_of_its_types(name: str, made: Callable[[], dict[str, Any]]) -> None:
    assert schemas.committed(name) == made()
    jsonschema.Draft202012Validator.check_schema(made())
