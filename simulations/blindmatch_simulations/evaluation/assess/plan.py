"""The plan: one TOML file that decides what every design is measured on."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import msgspec
from blindmatch_protocol.codec.errors import BlindmatchError

from blindmatch_simulations.data import text_at
from blindmatch_simulations.testbed.pictures.crops import BY_NAME

PLAN_VERSION: Final = 3
STANDARD: Final = "assess.toml"
QUICK: Final = "assess-quick.toml"
FULL: Final = "assess-full.toml"

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class AssessError(BlindmatchError):
    """An assessment cannot be made or taken up."""


class PlanError(AssessError):
    """A workload file cannot be used."""


class Pictures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Crops: how many are listed and how many are not, and the edits each are sent with, listed ones with the
    standard suite if none are named; and as many listed pictures as unlisted ones of each further kind."""

    listed: Positive
    unlisted: Positive
    edits: tuple[str, ...] = msgspec.field(default_factory=lambda: tuple(BY_NAME))
    unlisted_edits: tuple[str, ...]
    of_each_kind: Count = 0


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The list: random hashes beside those of the listed pictures."""

    random: Count


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the second epoch adds and removes."""

    adds: Positive
    removes: Count


class Pick(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pictures: Count


class AlonePick(Pick, frozen=True):
    """How many pictures' sessions are timed in one process; CPU, in u, that building a list of a second
    length may take, 0 for none."""

    length_u: Count = 0


class Sweep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values to measure on in turn: of parameters, `random` hashes of the list, `seeds`; a grid of all."""

    set: dict[str, tuple[int, ...]] = {}
    random: tuple[Count, ...] = ()
    seeds: tuple[Count, ...] = ()


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of one design's processes: MiB resident together, and work in u (`measure.yardstick`), so that a
    busy machine changes no result. `run_seconds`, by the clock, ends a process that hangs, and is no budget.

    A design that takes more than `picture_u` for a picture gets a smaller list; one that would take more than
    `pictures_u` for all of them sends fewer. No check begins once `check_u` are used up.
    """

    run_seconds: Positive
    check_u: Count
    memory_mib: Positive
    picture_u: Positive = 200_000
    pictures_u: Positive = 12_000_000


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A workload file, version 3.

    Attributes:
        parameters: of the designs that have them, in the place of their defaults.
        sweep: what is measured at each point of a grid (`assess.sweep`).
        committed_checks: take conformance checks of committed evidence, where the code is the same.
    """

    version: int
    name: str
    seed: Count
    pictures: Pictures
    list: Listing
    update: Update
    audit: Pick
    alone: AlonePick
    limits: Limits
    parameters: dict[str, int] = {}
    sweep: Sweep | None = None
    committed_checks: bool = False


def plan_text(path: Path | None, committed: str = STANDARD) -> str:
    """The text of a workload file: the one at `path`, or the one that is `committed` under a name;
    `PlanError` if the file cannot be read."""
    return text_at(path, committed, PlanError)


def read_plan(text: str) -> Plan:
    """The plan in a workload file's text; `PlanError` if it is not TOML, has an unknown, missing or bad
    field, or is of another version."""
    try:
        held = tomllib.loads(text)
        if held.get("version", PLAN_VERSION) != PLAN_VERSION:
            raise PlanError(f"workload file: version {held['version']}; this program reads {PLAN_VERSION}")
        plan = msgspec.convert(held, Plan)
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        broken = "" if isinstance(error, msgspec.ValidationError) else "not TOML: "
        raise PlanError(f"workload file: {broken}{error}") from error
    unknown = [name for name in (*plan.pictures.edits, *plan.pictures.unlisted_edits) if name not in BY_NAME]
    if unknown or not plan.pictures.edits:
        raise PlanError(f"workload file: edits: no edit is called {', '.join(unknown) or 'by an empty list'}")
    return plan


def plan_digest(text: str) -> str:
    """SHA-256 of a workload file, in hex."""
    return sha256(text.encode()).hexdigest()
