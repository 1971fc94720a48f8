"""Fixtures for plaintext lists."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_server.curator import ListFormat, random_hashes
from blindmatch_server.curator.formats import READERS
from blindmatch_server.curator.formats.block import Block
from blindmatch_server.curator.rejects import Reject
from blindmatch_server.curator.source import Source


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Randomness:
    return seeded(request.node.name)


@pytest.fixture(scope="session")
def hexes() -> list[str]:
    """Sixty-four acceptable hashes in hex."""
    return [row.tobytes().hex() for row in random_hashes(64, seeded("hexes"))]


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "known.list"


class Read:
    """All that a format's reader makes of some bytes."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self.count = sum(block.read for block in blocks)
        self.hexes = [row.tobytes().hex() for block in blocks for row in block.hashes]
        self.rejects: list[Reject] = [reject for block in blocks for reject in block.rejects]
        self.removals = [bool(flag) for block in blocks for flag in self._flags(block)]

    @staticmethod
    def _flags(block: Block) -> Any:
        return np.zeros(len(block.hashes), np.bool_) if block.removals is None else block.removals

    @property
    def reasons(self) -> list[str]:
        return [reject.reason.value for reject in self.rejects]

    @property
    def places(self) -> list[tuple[int, int, int]]:
        return [tuple(reject.place) for reject in self.rejects]


@pytest.fixture(scope="session")
def read() -> Callable[[ListFormat, bytes], Read]:
    def run(list_format: ListFormat, data: bytes) -> Read:
        source = Source(io.BytesIO(data))
        result = Read(list(READERS[list_format](source)))
        assert source.read(1) == b"", "a reader reads its source to the end"
        return result

    return run
