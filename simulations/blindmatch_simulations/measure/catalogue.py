"""What is always the same about each row that a bench can measure, by id: `data/bench-rows.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from blindmatch_simulations.data import table_of
from blindmatch_simulations.measure.results import Strict
from blindmatch_simulations.measure.row import Target


class Kind(Strict, frozen=True):
    """A row's words, what times are for one of, e.g. ``entry``, and the target, if it has one."""

    what: str
    per: str = ""
    target: Target | None = None


CATALOGUE: Final[Mapping[str, Kind]] = {
    f"{part}/{name}": kind
    for part, rows in msgspec.convert(table_of("bench-rows"), dict[str, dict[str, Kind]]).items()
    for name, kind in rows.items()
}
