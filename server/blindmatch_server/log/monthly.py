"""A leaf of the stream `counts`: the counts of one month, one line of JSON, its keys in order."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from msgspec import Struct

FORMAT: Final = "blindmatch-monthly-counts"
VERSION: Final = 1
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class Month(Struct, frozen=True, order=True):
    """A month of the calendar, in UTC."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def following(self) -> Month:
        """The next one."""
        return self.after(1)

    def after(self, months: int) -> Month:
        """The month so many later."""
        years, month = divmod(self.month - 1 + months, 12)
        return Month(self.year + years, month + 1)

    @property
    def began_ms(self) -> int:
        """Its first millisecond, Unix time."""
        return int(datetime(self.year, self.month, 1, tzinfo=UTC).timestamp() * 1000)


def leaf_of(month: Month, counts: dict[str, int]) -> bytes:
    """The leaf of a month."""
    held = {"counts": counts, "format": FORMAT, "month": str(month), "version": VERSION}
    return (json.dumps(held, sort_keys=True, separators=(",", ":")) + "\n").encode()


def parse_leaf(raw: bytes) -> tuple[Month, dict[str, int]]:
    """Month and counts of a leaf; `ProtocolError` if it is not what `leaf_of` makes of them."""
    wrong = ProtocolError("counts", f"must be a line of {FORMAT}, version {VERSION}", "leaf")
    try:
        held = json.loads(raw)
        found, counts = _MONTH.fullmatch(held["month"]), {**held["counts"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise wrong from None
    if found is None or not all(type(value) is int and value >= 0 for value in counts.values()):
        raise wrong
    month = Month(int(found[1]), int(found[2]))
    if leaf_of(month, counts) != raw:
        raise wrong
    return month, counts
