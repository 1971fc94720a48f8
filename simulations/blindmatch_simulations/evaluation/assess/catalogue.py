"""Every figure of a design: what it says, its unit, its criterion, and its rows: `data/figures.toml`."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from blindmatch_simulations.data import table_of


class Kind(Struct, frozen=True):
    """A kind of figure.

    Attributes:
        criterion: one of the five.
        title: short, for a table's head.
        unit: of the value; ``share`` is of 1.
        says: how it was measured, in a sentence.
        rows: the kind of raw rows it is made from.
    """

    criterion: str
    title: str
    unit: str
    says: str
    rows: str


FIGURES: Final[dict[str, Kind]] = {
    name: Kind(criterion, **fields)
    for criterion, figures in table_of("figures").items()
    for name, fields in figures.items()
}
