"""A world of fakes for each test that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fakes import World

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes worlds, and ends them after the test."""
    made: list[World] = []

    def make(design: Any, hashes: Any) -> World:
        made.append(World(tmp_path / str(len(made)), design, hashes))
        return made[-1]

    yield make
    for world in made:
        world.close()
