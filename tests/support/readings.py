"""Readings of the yardstick for tests of the commands that measure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from blindmatch_simulations.measure import yardstick


@contextmanager
def short_readings() -> Iterator[None]:
    """Within the block the load on several threads is taken as long as u is, not five times as long.

    Only whether a row is called disturbed depends on it, and on a busy machine any row may be.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yardstick, "_LONGER", 1)
        yield
