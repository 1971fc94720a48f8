"""When the vouchers of an account are tried next: once they have grown by a fixed share; see `opening`."""

from __future__ import annotations

from typing import Final

GROWTH: Final = 32
"""A pile is tried again once its count has grown by one part in so many, and by one at least."""


def next_attempt(count: int, rows: int, most: int) -> int:
    """Return the count at which a pile is tried next.

    Args:
        count: at which it was tried.
        rows: vouchers of it that are there, `most` at most; fewer than `count` once some were erased.
        most: vouchers of a pile that are tried at most.
    """
    grown = count + max(1, -(-min(count, 2 * rows) // GROWTH))
    return min(grown, most) if count < most else grown
