"""A figure of an inputs file: its value with unit, source and provenance."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Whole = Annotated[int, msgspec.Meta(ge=1)]
Provenance = Literal["verified", "secondary", "recalled", "assumption"]
T = TypeVar("T", int, float)


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict and frozen."""


class Sourced(Strict, frozen=True):
    """Attributes:
    source: where the figure is from, or why it was assumed.
    provenance: verified at its source, secondary, recalled, or an assumption of ours.
    """

    source: str
    provenance: Provenance


class Figure(Sourced, Generic[T], frozen=True):
    """A number; `low` and `high`, both or none, are what the sensitivity moves it to."""

    value: T
    unit: str
    low: T | None = None
    high: T | None = None


Share = Figure[Fraction]
Amount = Figure[Annotated[float, msgspec.Meta(ge=0)]]
Positive = Figure[Annotated[float, msgspec.Meta(gt=0)]]
Counted = Figure[Whole]
