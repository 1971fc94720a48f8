"""What is known of how a cost grows with the list: the slope between two measured lengths, no more."""

from __future__ import annotations

import re
from typing import Final

_LINE: Final = re.compile(r"line through ([\d,]+) and ([\d,]+) entries")


def through(here: int, other: int, grows: bool) -> str:
    """Return what is said of a slope between two lengths of the list."""
    told = "" if grows else "; it does not grow, as far as this resolves"
    return f"line through {here:,} and {other:,} entries{told}"


def lengths_of(why: str) -> tuple[int, ...]:
    """Return the lengths of the list of which `through` speaks; none of another text."""
    found = _LINE.search(why)
    return tuple(int(one.replace(",", "")) for one in found.groups()) if found else ()
