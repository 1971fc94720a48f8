"""The rows of an assessment, in the results file that every command writes (`measure.results`).

``results.json`` stands beside ``workload.toml``, ``rows/NAME.jsonl`` and ``designs/NAME.json``; `files` has
the SHA-256 of each. The file's `options` are the whole workload.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from blindmatch_simulations.evaluation.assess.observed import (
    Audited,
    Check,
    Copies,
    Described,
    Extracted,
    KeyUse,
    Offence,
    ServerCost,
    Traffic,
    Updated,
)
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed
from blindmatch_simulations.evaluation.studies.targeted.access import Opened
from blindmatch_simulations.measure import results
from blindmatch_simulations.measure.results import Figure, Row, Strict
from blindmatch_simulations.measure.row import BenchRow


class Recall(Strict, frozen=True):
    """Listed pictures found: of one edit, or in one range of distances."""

    name: str
    sent: int
    found: int | None
    share: Figure


class Measured(Row, frozen=True, kw_only=True, tag="design"):
    """A design's row; its parameters are `reference` and `entries`.

    Attributes:
        copies: how many pictures it was sent, and why its shares do not compare with others' if so. Unset in
            files of before it was noted.
        id: names the design's files.
        recall_by_kind, false_by_kind: listed pictures found, and others that led to a match, by kind of
            picture; unset where one kind was sent.
    """

    id: Annotated[str, Meta(pattern="^[A-Za-z0-9._-]+$")]
    design: Described
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
    key: KeyUse | None = None
    extraction: Extracted | None = None
    lessened: str = ""
    copies: Copies | UnsetType = UNSET
    recall_by_kind: tuple[Recall, ...] | UnsetType = UNSET
    false_by_kind: tuple[Recall, ...] | UnsetType = UNSET

    @property
    def name(self) -> str:
        """Of the design's files in the folder."""
        return self.id

    @property
    def entries(self) -> int:
        """Of the list."""
        return int(self.parameters["entries"])


class Studied(Row, frozen=True, kw_only=True, tag="study"):
    """An option that is no design: measured in one process, on messages that are made up.

    Attributes:
        option: of the catalogue.
        page: that describes it.
        opened: every attempt.
    """

    option: str
    page: str
    opened: tuple[Opened, ...]


Design: TypeAlias = Measured | Studied | Row
"""A row; what could not be measured leaves a `Row` that failed, with its reference."""
Results: TypeAlias = results.Results[Measured | Studied | Row]
AnyResults: TypeAlias = results.Results[Measured | Studied | BenchRow | AttackRow | NotPlayed | Row]
"""Of any command."""
