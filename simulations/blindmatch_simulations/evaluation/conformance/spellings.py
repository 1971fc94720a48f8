"""How bytes may spell others: as they are, as text, backwards, inverted, or against their neighbours.

    readings       of bytes: raw, from hexadecimal, base64 or a decimal number, backwards, inverted
    neighbours     rows of one width under one pad, or each coded as what it differs by from the one before
                   (exclusive or, difference): what two entries differ by stands there

A cipher, a permutation of bits and rows cut into columns are not undone.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from itertools import permutations
from typing import Final

import numpy as np
from blindmatch_protocol.codec import Rows

from blindmatch_simulations.testbed.audit.dictionary import OPAQUE, standing

LEAST_DIGITS: Final = 16
MOST_DIGITS: Final = 4300
"""What Python takes for one number."""
WIDTHS: Final = range(32, 65)
"""Widths of a row: a hash, or a hash, an id and a salt; the pad may be as short as a byte."""
LEAST_DISTINCT: Final = 5
"""Distinct bytes that a piece of a secret, or what two entries differ by, must have: zeros, counters and text
are in many places."""


def spelt(text: str) -> Iterator[tuple[str, bytes]]:
    """Every byte string that a text may spell, and how."""
    yield "raw", text.encode("latin-1", "ignore")
    yield "raw", text.encode()
    for run in re.findall(r"[0-9a-fA-F]{16,}", text):
        yield from (
            ("in hexadecimal", bytes.fromhex(run[at : len(run) - (len(run) - at) % 2])) for at in (0, 1)
        )
    for run in re.findall(r"[A-Za-z0-9+/_-]{11,}", text):
        usual = run.replace("-", "+").replace("_", "/")
        yield from (
            ("in base64", b64decode(f"{usual[at:]}{'A' * (-len(usual[at:]) % 4)}")) for at in range(4)
        )
    for run in re.findall(rf"[0-9]{{{LEAST_DIGITS},{MOST_DIGITS}}}", text):
        value = int(run)
        yield from (("as a number", value.to_bytes(-(-len(run) // 2), order)) for order in ("big", "little"))


def readings(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Every byte string that `raw` may stand for, and how."""
    yield from spelt(raw.decode("latin-1"))
    yield "backwards", raw[::-1]
    yield "inverted", bytes(np.invert(np.frombuffer(raw, np.uint8)))


def beside_neighbours(raw: bytes) -> Iterator[bytes]:
    """`raw`, and what its rows differ by from the next ones, for every width."""
    yield raw
    content = np.frombuffer(raw, np.uint8)
    yield from ((content[width:] ^ content[:-width]).tobytes() for width in WIDTHS if width < len(raw))


def differences(rows: Rows) -> frozenset[bytes]:
    """The first bytes of what any two rows differ by: as exclusive or, and as a difference of numbers."""
    size = rows.shape[1]
    numbers = [int.from_bytes(row.tobytes(), "big") for row in rows]
    made = (
        each.to_bytes(size, "big")[:OPAQUE]
        for one, other in permutations(numbers, 2)
        for each in (one ^ other, (one - other) % (1 << 8 * size))
    )
    return frozenset(one for one in made if len(set(one)) >= LEAST_DISTINCT)


def spells_all(raw: bytes, rows: Rows) -> bool:
    """Does every row stand in `raw`, in one spelling? Of three rows or more, which are not alike."""
    ways: dict[str, list[bytes]] = {}
    for how, read in readings(raw):
        ways.setdefault(how, []).append(read)
    owns = {row.tobytes() for row in rows}
    if any(all(own in read for own in owns) for read in (b"\0".join(reads) for reads in ways.values())):
        return True
    wanted = differences(rows)
    return any(len(standing(read, wanted)) >= len(owns) - 1 for read in beside_neighbours(raw))
