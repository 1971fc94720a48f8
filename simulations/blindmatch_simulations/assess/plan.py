"""The plan: one TOML file that decides what every design is measured on."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import msgspec

from blindmatch_simulations.assess.errors import PlanError
from blindmatch_simulations.pictures.edits import BY_NAME

PLAN_VERSION: Final = 1
STANDARD: Final = "assess.toml"
QUICK: Final = "assess-quick.toml"
FULL: Final = "assess-full.toml"

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Pictures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Crops: how many are listed and how many are not, and the edits each kind is sent with."""

    listed: Positive
    unlisted: Positive
    edits: tuple[str, ...]
    unlisted_edits: tuple[str, ...]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The list: random hashes beside those of the listed pictures."""

    random: Count


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the second epoch adds and removes."""

    adds: Positive
    removes: Count


class Pick(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number of the pictures."""

    pictures: Count


class CorpusPick(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many pictures of each installed package are compared."""

    most_pictures: Count


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of one design's processes: seconds by the clock, MiB resident together."""

    run_seconds: Positive
    check_seconds: Count
    memory_mib: Positive


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A workload file, version 1."""

    version: int
    name: str
    seed: Count
    pictures: Pictures
    list: Listing
    update: Update
    audit: Pick
    alone: Pick
    corpus: CorpusPick
    limits: Limits


def plan_text(path: Path | None, committed: str = STANDARD) -> str:
    """The text of a workload file: the one at `path`, or the one that is `committed` under a name.

    Raises:
        PlanError: if the file cannot be read.
    """
    if path is None:
        return files("blindmatch_simulations").joinpath("data", committed).read_text("utf-8")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: cannot be read: {error}") from error


def read_plan(text: str) -> Plan:
    """The plan in a workload file's text.

    Raises:
        PlanError: if it is not TOML, has an unknown, missing or bad field, or is of another version.
    """
    try:
        plan = msgspec.convert(tomllib.loads(text), Plan)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PlanError(f"workload file: {error}") from error
    if plan.version != PLAN_VERSION:
        raise PlanError(f"workload file: version {plan.version}; this program reads {PLAN_VERSION}")
    unknown = [name for name in (*plan.pictures.edits, *plan.pictures.unlisted_edits) if name not in BY_NAME]
    if unknown or not plan.pictures.edits:
        raise PlanError(f"workload file: edits: no edit is called {', '.join(unknown) or 'by an empty list'}")
    return plan


def plan_digest(text: str) -> str:
    """SHA-256 of a workload file, in hex."""
    return sha256(text.encode()).hexdigest()
