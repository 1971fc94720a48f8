"""Which rows of a matrix of hashes are equal, by sorting: exact, and the same whatever an adversary lists.

Rows are sorted by their first eight bytes, which takes a tenth of sorting them whole, and whole where these
are equal. Hashes that were chosen to have one beginning cost what sorting all of them whole costs.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows

Indices: TypeAlias = npt.NDArray[np.int64]


def group_rows(rows: Rows) -> tuple[Indices, Indices]:
    """Number equal rows alike.

    Args:
        rows: uint8, shape (n, 32).

    Returns:
        The group of each row, int64 (n,), numbered from 0 on; and for each group the index of its first
        row, int64 (number of groups,).
    """
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(-1, 4)
    order = np.argsort(words[:, 0])
    opens = np.ones(len(order), np.bool_)
    alike = np.zeros(len(order) + 1, np.bool_)
    alike[1:-1] = np.diff(words[order, 0]) == 0
    tied = np.flatnonzero(alike[:-1] | alike[1:])
    order[tied], opens[tied] = _sorted(words, order[tied])
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(opens) - 1
    return group, order[opens]


def _sorted(words: npt.NDArray[np.uint64], rows: Indices) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """These rows in order, equal ones as they came; and which of them differ from the one before."""
    found = words[rows]
    order = np.lexsort((rows, found[:, 3], found[:, 2], found[:, 1], found[:, 0]))
    opens = np.ones(len(rows), np.bool_)
    opens[1:] = (found[order[1:]] != found[order[:-1]]).any(axis=1)
    return rows[order], opens


def latest_rows(group: Indices, times: npt.NDArray[np.int64], removals: npt.NDArray[np.bool_]) -> Indices:
    """For each group that occurs, in order, the index of its latest row.

    Of rows of one time a removal counts, of several alike the last one.
    """
    order = np.lexsort((removals, times, group))
    closes = np.ones(len(order), np.bool_)
    closes[:-1] = group[order][1:] != group[order][:-1]
    return order[closes]
