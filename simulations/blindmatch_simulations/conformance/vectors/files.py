"""Vector files: one for each built-in design, and the JSON Schema they follow."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.conformance.vectors.make import vectors_of

SCHEMA_NAME: Final = "schema.json"
_SCHEMA_DATA: Final = "data/design-vectors.schema.json"


def schema() -> dict[str, Any]:
    """The JSON Schema of a vector file; it allows no unknown field."""
    loaded: dict[str, Any] = json.loads(_schema_text())
    return loaded


def write_vectors(designs: list[AnyDesign], folder: Path) -> list[Path]:
    """Write ``NAME.json`` for each design, and the schema beside them; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for design in designs:
        path = folder / f"{design.info.name}.json"
        path.write_text(as_text(vectors_of(design)), "utf-8")
        written.append(path)
    (folder / SCHEMA_NAME).write_text(_schema_text(), "utf-8")
    return [*written, folder / SCHEMA_NAME]


def as_text(vector: dict[str, Any]) -> str:
    """A vector as it stands in its file."""
    return json.dumps(vector, indent=1) + "\n"


def _schema_text() -> str:
    return files("blindmatch_simulations").joinpath(_SCHEMA_DATA).read_text("utf-8")
