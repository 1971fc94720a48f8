"""What a list is read from, and what is no plain spelling of it."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_simulations.evaluation.conformance.spellings import spells_all
from blindmatch_simulations.testbed.audit.dictionary import standing

ROWS: Rows = np.frombuffer(seeded("spellings").take(20 * 32), np.uint8).reshape(20, 32)
PAD = seeded("pad")
SHUFFLED = [*range(1, 256, 2), *range(0, 256, 2)]


def _records(width: int) -> bytes:
    """Each hash in a record with other bytes, all under one pad."""
    rest = np.frombuffer(seeded("rest").take(20 * (width - 32)), np.uint8).reshape(20, width - 32)
    return (np.hstack([ROWS, rest]) ^ np.frombuffer(PAD.take(width), np.uint8)).tobytes()


def _numbers(rows: Rows) -> list[int]:
    return [int.from_bytes(row.tobytes(), "big") for row in rows]


SPELLINGS: dict[str, Callable[[], bytes]] = {
    "plain": ROWS.tobytes,
    "backwards": ROWS[:, ::-1].tobytes,
    "inverted": lambda: (~ROWS).tobytes(),
    "hexadecimal": lambda: ROWS.tobytes().hex().encode(),
    "base64": lambda: b64encode(b"x" + ROWS.tobytes()),
    "base64, in lines": lambda: b"\n".join(b64encode(row.tobytes()) for row in ROWS),
    "decimal, in lines": lambda: "\n".join(map(str, _numbers(ROWS))).encode(),
    "under a byte": lambda: (ROWS ^ 0x5A).tobytes(),
    "under a pad": lambda: _records(32),
    "in records under a pad": lambda: _records(56),
    "each added to the one before": lambda: b"".join(
        ((b - a) % (1 << 256)).to_bytes(32, "big") for a, b in pairwise([5, *_numbers(ROWS)])
    ),
    "each on the one before by exclusive or": lambda: (ROWS[1:] ^ ROWS[:-1]).tobytes(),
}
OTHERS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "random bytes": lambda: seeded("others").take(5000),
    "all but one": ROWS[1:].tobytes,
    "all but one, under a pad": lambda: _records(32)[: 19 * 32],
    # what docs/reference/conformance.md says that nobody sees
    "enciphered": lambda: bytes(
        a ^ b for a, b in zip(ROWS.tobytes(), seeded("key").take(20 * 32), strict=True)
    ),
    "in columns": ROWS.T.tobytes,
    "with bits permuted": lambda: np.packbits(np.unpackbits(ROWS, axis=1)[:, SHUFFLED], axis=1).tobytes(),
    "in records longer than 64 bytes": lambda: _records(80),
    "compressed": lambda: zlib.compress(ROWS.tobytes() + bytes(500)),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_plain_spelling_of_the_list_is_read(name: str) -> None:
    assert spells_all(seeded("before").take(101) + SPELLINGS[name]() + b"\0after", ROWS)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_plain_spelling_is_not(name: str) -> None:
    assert not spells_all(OTHERS[name](), ROWS)


def test_pieces_are_found_wherever_they_stand() -> None:
    value = seeded("value").take(100)
    pieces = frozenset(value[at : at + 8] for at in (0, 7, 50, 92))
    assert standing(value, pieces | {bytes(8)}) == pieces
    assert not standing(value[:7], pieces)
    assert not standing(value, frozenset())
