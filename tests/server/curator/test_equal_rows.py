"""Equal hashes are found whatever they begin with."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_server.curator.inspection import group_rows


@pytest.mark.parametrize("common", [0, 7, 8, 9, 16, 31, 32])
@pytest.mark.parametrize("count", [0, 1, 2, 50, 400])
def test_groups_are_those_of_whole_rows_in_their_order(common: int, count: int) -> None:
    """Rows are drawn from a few, so that there are equal ones; the first `common` bytes have two values."""
    rng = np.random.default_rng(100 * common + count)
    few = rng.integers(0, 256, (40, 32), np.uint8)
    few[:, :common] = rng.integers(0, 2, (40, 1), np.uint8)
    rows = few[rng.integers(0, 40, count)]
    group, first = group_rows(rows)
    keys = [tuple(row.reshape(4, 8)[:, ::-1].ravel()) for row in rows]  # in the order of little-endian words
    distinct = sorted(set(keys))
    assert group.tolist() == [distinct.index(key) for key in keys]
    assert first.tolist() == [keys.index(key) for key in distinct]
