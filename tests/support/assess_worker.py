"""What an assessment forks its designs' processes off, for tests: a large group is small, and a public key is
computed once.

``quick_workers()`` has assessments take it in the place of the worker that it goes on as.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest
from blindmatch_simulations.evaluation.assess import observing, running, worker
from x3dh.pre_key_pair import PreKeyPair

GROUP = 8
"""People of its large group."""

main = worker.main


def prepare(many: bool) -> None:
    observing.LARGE_GROUP = GROUP  # type: ignore[misc]
    PreKeyPair.pub = property(lru_cache(1 << 14)(PreKeyPair.pub.fget))  # type: ignore[method-assign]
    worker.prepare(many)


@contextmanager
def quick_workers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        patch.setattr(running, "WORKER", "support.assess_worker")
        yield
