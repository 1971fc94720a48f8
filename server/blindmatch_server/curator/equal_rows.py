"""Which rows of a matrix of hashes are equal, by sorting: exact, and the same whatever an adversary lists."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows

Indices: TypeAlias = npt.NDArray[np.int64]


def groups(rows: Rows) -> tuple[Indices, Indices]:
    """Number equal rows alike.

    Args:
        rows: uint8, shape (n, 32).

    Returns:
        The group of each row, int64 (n,), numbered from 0 on; and for each group the index of its first
        row, int64 (number of groups,).
    """
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(-1, 4)
    order = np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0]))
    ordered = words[order]
    opens = np.ones(len(order), np.bool_)
    opens[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(opens) - 1
    return group, order[opens]


def latest(group: Indices, times: npt.NDArray[np.int64], removals: npt.NDArray[np.bool_]) -> Indices:
    """For each group that occurs, in order, the index of its latest row.

    Of rows of one time a removal counts, of several alike the last one.
    """
    order = np.lexsort((removals, times, group))
    closes = np.ones(len(order), np.bool_)
    closes[:-1] = group[order][1:] != group[order][:-1]
    return order[closes]
