"""Test vectors of blindmatch's designs: `FOLDER` has the files, `names` and `read` open those of designs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("data")
SCHEMA = "schema.json"


def names(folder: Path = FOLDER / "designs") -> list[str]:
    """Return the names of the designs that have vectors in a folder."""
    return sorted(path.stem for path in folder.glob("*.json") if path.name != SCHEMA)


def read(name: str, folder: Path = FOLDER / "designs") -> dict[str, Any]:
    """Return the vectors of a design; raises `FileNotFoundError` if there are none."""
    vector: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return vector
