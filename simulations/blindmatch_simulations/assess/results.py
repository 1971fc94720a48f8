"""The results file: its types, its JSON Schema and its version.

``results.json`` stands beside ``workload.toml``, ``rows/NAME.jsonl`` and ``designs/NAME.json``; `files` has
the SHA-256 of each, and `digest` is that of ``results.json`` itself with an empty `digest`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from blindmatch_simulations.assess.observed import (
    Audited,
    Check,
    Described,
    KeyUse,
    Offence,
    ServerCost,
    Struct,
    Traffic,
    Updated,
)

FORMAT: Final = "blindmatch-assess"
VERSION: Final = 2
"""Goes up when a reader of the earlier schema would misread or refuse a file."""


class Figure(Struct, frozen=True):
    """A number with its interval; `value` is None if it was not measured, and `why` says why then.

    Attributes:
        low, high: 95 % interval of a share, or the lowest and highest of repeated timings.
        n: trials, pictures or repetitions behind it.
        pairs: pairs of a picture and an entry behind it, for false matches.
        resolution: of an advantage's upper bound: what guessing alone gives over as many runs.
    """

    value: float | None
    why: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    pairs: int | None = None
    resolution: float | None = None


class Recall(Struct, frozen=True):
    """Listed pictures found: of one edit, or in one range of distances."""

    name: str
    sent: int
    found: int | None
    share: Figure


class Failed(Struct, frozen=True):
    """What a design that could not be measured leaves."""

    status: Literal["failed"]
    reference: str
    name: str
    reason: str
    seconds: float


class Measured(Struct, frozen=True):
    """A design's row."""

    status: Literal["measured"]
    reference: str
    name: str
    design: Described
    entries: int
    figures: dict[str, Figure]
    recall_by_edit: tuple[Recall, ...]
    recall_by_distance: tuple[Recall, ...]
    traffic: tuple[Traffic, ...]
    servers: tuple[ServerCost, ...]
    audit: Audited
    update: Updated
    offence: Offence
    tries_until_hidden: tuple[int, ...]
    checks: tuple[Check, ...]
    checks_why: str
    stages: dict[str, float]
    peak_mib_all: float
    seconds: float
    key: KeyUse | None = None


class Design(Struct, frozen=True):
    """One of the two."""

    measured: Measured | None = None
    failed: Failed | None = None


class PairDistances(Struct, frozen=True):
    """PDQ distances between different pictures of one kind.

    Attributes:
        kind: photographs or clip art.
        packages: where the pictures come from.
        histogram: how many pairs have each distance, 0 to 256.
    """

    kind: str
    packages: tuple[str, ...]
    pictures: int
    pairs: int
    histogram: tuple[int, ...]


class Machine(Struct, frozen=True):
    """What it was measured on: kind and versions, no names of hosts or people."""

    processor: str
    cores: int
    memory_mib: int
    system: str
    python: str
    packages: dict[str, str]


class Results(Struct, frozen=True):
    """Version 2 of the results file."""

    format: Literal["blindmatch-assess"]
    version: Literal[2]
    made_at: str
    command: str
    seed: int
    workload: str
    machine: Machine
    plan: dict[str, Any]
    designs: tuple[Design, ...]
    distances: tuple[PairDistances, ...]
    files: dict[str, str]
    digest: str


def schema() -> dict[str, Any]:
    """The JSON Schema of the results file; ``results-v2.schema.json`` is this, committed."""
    made = msgspec.json.schema(Results)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{FORMAT} {VERSION}", **made}


def encode(value: Any) -> bytes:
    """Indented JSON with a line end, in one form for one value."""
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n"
