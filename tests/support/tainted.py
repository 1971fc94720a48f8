"""A results file that has every kind of row, and copies of it with a mark of script in one field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from blindmatch_simulations.measure.results import encode

MARK = "\"'><img src=x onerror=window.tainted=1><script>window.tainted=1</script>{{script}}"
SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
ROWS = ("token-psi", "targeted-access")
FREE = (
    "figures",
    "packages",
    "files",
    "recall_by_edit",
    "parameters",
    "stages",
    "roles",
    "shares",
    "recovered_by",
)
"""Objects whose keys are values, too."""

Place = tuple[str | int, ...]


def whole() -> dict[str, Any]:
    """Rows of designs, a study, one that failed, and attacks."""
    made: dict[str, Any] = json.loads((SAMPLE / "results.json").read_text("utf-8"))
    rows = [row for name in ROWS for row in made["rows"] if row["id"] == name]
    rows[0] |= {"lessened": "7 of 9", "recall_by_kind": deepcopy(rows[0]["recall_by_edit"][:1])}
    rows[0]["false_by_kind"] = deepcopy(rows[0]["recall_by_kind"])
    failed = {
        "kind": "row",
        "id": "bad",
        "status": "failed",
        "why": "it raised",
        "parameters": {"reference": "bad"},
    }
    attacks = json.loads((SAMPLE / "attacks.json").read_text("utf-8"))["rows"]
    distorted = next(row for row in attacks if row.get("budget", {}).get("distortion"))
    return {
        **made,
        "rows": [*rows, failed, attacks[0], distorted],
        "files": {"workload.toml": "0"},
        "digest": "",
    }


def places(value: Any, at: Place = (), seen: set[Place] | None = None) -> Iterator[Place]:
    """Every field that has a value of its own: of a list or an object with free keys, one of each form."""
    seen = set() if seen is None else seen
    if isinstance(value, dict | list) and value:
        items: Any = value.items() if isinstance(value, dict) else enumerate(value)
        for name, one in items:
            yield from places(one, (*at, name), seen)
        return
    form = tuple(
        "" if (isinstance(name, int) and not (depth == 1 and at[0] == "rows")) or before in FREE else name
        for depth, (before, name) in enumerate(zip(("", *at), at, strict=False))
    )  # fmt: skip
    if form not in seen:
        seen.add(form)
        yield at


def value_at(made: Any, at: Place) -> Any:
    for name in at:
        made = made[name]
    return made


def with_mark(made: dict[str, Any], at: Place, mark: object = MARK) -> dict[str, Any]:
    """A copy with the mark in one field."""
    copy: dict[str, Any] = json.loads(json.dumps(made))  # a deep copy would share what two rows share
    value_at(copy, at[:-1])[at[-1]] = mark
    return copy


def with_marked_keys(value: Any, above: str = "") -> Any:
    """A copy in which further free keys bear the mark."""
    if isinstance(value, list):
        return [with_marked_keys(one) for one in value]
    if not isinstance(value, dict):
        return value
    plain = {name: with_marked_keys(one, name) for name, one in value.items()}
    more = {f"{name}{MARK}": one for name, one in plain.items()} if above in FREE else {}
    return plain | more


KEPT = (("format",), ("digest",))
KEPT_LAST = (
    "kind",
    "status",
    "design",
    "option",
    "verdict",
    "relation",
    "content",
    "adversary",
    "check",
    "reference",
    "severity",
    "topic",
)
"""Not marked in a file that must be drawn: what decides what is drawn at all."""


def with_marked_words(made: dict[str, Any]) -> dict[str, Any]:
    """A copy in which every text bears the mark, but those that decide what is drawn."""

    def marked(value: Any, at: Place) -> Any:
        if isinstance(value, dict):
            return {name: marked(one, (*at, name)) for name, one in value.items()}
        if isinstance(value, list):
            return [marked(one, (*at, 0)) for one in value]
        kept = at in KEPT or at[-1] in KEPT_LAST or {"shows", "actors"} & set(at)
        return f"{value}{MARK}" if isinstance(value, str) and not kept else value

    done: dict[str, Any] = marked(made, ())
    return done


def as_file(made: dict[str, Any]) -> bytes:
    """As it would be dropped."""
    return encode(made)
