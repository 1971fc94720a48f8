"""Committed data: catalogues of options and of figures, figures from outside, plain words, workloads."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any


def text_of(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def text_at(path: Path | None, committed: str, error: Callable[[str], Exception]) -> str:
    """A user's file, or this folder's `committed` one; raises an `error` that says why it cannot be read."""
    try:
        return text_of(committed) if path is None else path.read_text("utf-8")
    except OSError as failed:
        raise error(f"{path}: cannot be read: {failed.strerror}") from failed
    except UnicodeDecodeError as failed:
        raise error(f"{path}: not UTF-8") from failed


def table_of(name: str) -> dict[str, Any]:
    return tomllib.loads(text_of(f"{name}.toml"))


@cache
def committed(name: str) -> Any:
    """What ``data/NAME.json`` holds; read once, and not to be changed."""
    return json.loads(text_of(f"{name}.json"))


def volumes() -> dict[str, dict[str, Any]]:
    """Figures from outside by id, each with its title, unit, source and provenance."""
    return {row["id"]: row for row in committed("volumes")["figures"]}
