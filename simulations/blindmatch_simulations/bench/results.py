"""The results file: machine, options and rows, by a schema of its own with a version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from blindmatch_simulations.measure.machine import machine
from blindmatch_simulations.measure.row import Row

FORMAT: Final = "blindmatch-bench"
VERSION: Final = 1
"""Goes up when a reader of the earlier schema would misread or refuse a file."""


def results(rows: Sequence[Row], options: Mapping[str, int | float | str]) -> dict[str, Any]:
    """The content of a results file."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "options": dict(options),
        "rows": [row.as_json() for row in rows],
    }


def schema() -> dict[str, Any]:
    """The JSON schema of results files, draft 2020-12."""
    text = (
        files("blindmatch_simulations.bench").joinpath(f"results-v{VERSION}.schema.json").read_text("utf-8")
    )
    loaded: dict[str, Any] = json.loads(text)
    return loaded
