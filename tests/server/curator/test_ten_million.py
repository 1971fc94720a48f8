"""A list as long as real ones: one bad byte is found, among ten million lines and in the list file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_server.curator import Reason, import_list, open_list, rejects_path
from blindmatch_server.curator.source import ListFileError

ENTRIES = 10_000_000
BAD = 7_654_321
"""Number of the record with a bad byte, from 1 on."""
LINE = 69
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_BLOCK = 1 << 17


def _write_hex(into: np.ndarray, rows: np.ndarray) -> None:
    into[:, ::2] = _HEX[rows >> 4]
    into[:, 1::2] = _HEX[rows & 15]


class Lines(io.RawIOBase):
    """`pdq` lines of distinct hashes, made as they are read."""

    name = "lines"

    def __init__(self) -> None:
        super().__init__()
        hashes = np.random.default_rng(1).integers(0, 256, (_BLOCK, 32), np.uint8)
        self._lines = np.full((_BLOCK, LINE), ord("\n"), np.uint8)
        self._lines[:, :4] = np.frombuffer(b"pdq ", np.uint8)
        _write_hex(self._lines[:, 4:68], hashes)
        self._made = 0
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._held:
            self._held = memoryview(self._next())
        data = self._held[: len(buffer)]
        self._held = self._held[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def _next(self) -> bytes:
        count = min(_BLOCK, ENTRIES - self._made)
        numbers = np.arange(self._made, self._made + count, dtype="<u8")
        lines = self._lines[:count].copy()
        _write_hex(lines[:, 20:36], numbers.view(np.uint8).reshape(-1, 8))
        if self._made < BAD <= self._made + count:
            lines[BAD - 1 - self._made, 40] = ord("g")
        self._made += count
        return lines.tobytes()


@pytest.mark.slow
def test_one_bad_byte_in_ten_million_lines_and_in_their_list_is_found(tmp_path: Path, rng: Any) -> None:
    into = tmp_path / "big.list"
    summary = import_list(io.BufferedReader(Lines(), 1 << 20), into, rng)
    assert (summary.read, summary.entries, summary.duplicates) == (ENTRIES, ENTRIES - 1, 0)
    assert summary.rejected == {Reason.HASH_NOT_HEX: 1}
    (reject,) = map(json.loads, rejects_path(into).read_text().splitlines())
    assert (reject["record"], reject["line"], reject["offset"]) == (BAD, BAD, (BAD - 1) * LINE)
    with open_list(into) as listed:
        place = listed.footer.sections["hashes"].offset + 32 * (ENTRIES // 2) + 5
    with into.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(ListFileError, match="section hashes was altered"):
        open_list(into)
    into.unlink()
