"""Places in matrices: where extremes stand, and where values ascend.

In     the rows of one matrix or sequence of a message, or of a section of a set file
Out    one byte, 0 or 1, for each of `WIDTH` questions about places, the same number for every matrix

Whoever may choose the order of what it sends can say something by it, even if every row by itself is uniform:
which of n rows is the least says log2(n) bits, and whether row i + 1 exceeds row i says one. No byte, length
or count has them, and that rows are in order is one of n! orders. The questions are the ones that such a
message is read by: the low bits of an extreme's place, in which half it stands, whether it is first or last;
the signs of the first differences and how many rows ascend. They are asked of rows as byte strings, of
columns and inside of rows. For uniform independent rows each extreme stands at each place with probability
1/n, and each sign of a difference is fair.

Ties count for the first place, as `argmin` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

SIGNS: Final = 16
"""Differences of neighbouring rows whose signs are asked for one by one."""
EDGE_COLUMNS: Final = 4
"""Columns at either end that are looked at."""
INNER_ROWS: Final = 4
"""Rows that are looked at inside, from the first one on."""
_OF_ROWS: Final = 2 * 6 + SIGNS + 4
_OF_LINE: Final = 6
WIDTH: Final = _OF_ROWS + _OF_LINE * (2 * EDGE_COLUMNS + INNER_ROWS)
"""Questions about one matrix."""


def places_of(rows: Sequence[bytes]) -> bytes:
    """Return the answers for one matrix; zeros from where it has no more rows or columns.

    Args:
        rows: two or more. Columns are looked at only where all rows have one length.
    """
    answers = _of_rows(rows)
    width = len(rows[0])
    if width > 1 and all(len(row) == width for row in rows):
        matrix = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)
        columns = [*range(min(width, EDGE_COLUMNS)), *range(max(width - EDGE_COLUMNS, EDGE_COLUMNS), width)]
        lines = [
            _of_lines(matrix[:, columns].T, 2 * EDGE_COLUMNS),
            _of_lines(matrix[:INNER_ROWS], INNER_ROWS),
        ]
        answers += [answer for line in lines for answer in line]
    return bytes(answers).ljust(WIDTH, b"\0")


def _of_rows(rows: Sequence[bytes]) -> list[int]:
    count = len(rows)
    numbers = range(len(rows))
    least = min(numbers, key=rows.__getitem__)
    greatest = max(numbers, key=rows.__getitem__)
    ascends = [int(rows[at] < rows[at + 1]) for at in range(count - 1)]
    ascents = sum(ascends)
    signs = ascends[:SIGNS] + [0] * (SIGNS - len(ascends[:SIGNS]))
    return [
        *_of_extreme(least, count),
        *_of_extreme(greatest, count),
        *signs,
        *(ascents & 1, int(2 * ascents >= count), int(ascents == 0), int(ascents == count - 1)),
    ]


def _of_extreme(place: int, count: int) -> tuple[int, ...]:
    bits = (place & 1, place >> 1 & 1, place >> 2 & 1)
    return *bits, int(2 * place >= count), int(place == 0), int(place == count - 1)


def _of_lines(lines: npt.NDArray[np.uint8], most: int) -> list[int]:
    """Return, line by line, parity and half of both extremes' places, and of the number of ascents.

    Args:
        lines: uint8, shape (lines, values).
        most: lines that there is room for.
    """
    values = lines.shape[1]
    found = [lines.argmin(axis=1), lines.argmax(axis=1), (lines[:, :-1] < lines[:, 1:]).sum(axis=1)]
    asked = [answer for places in found for answer in (places & 1, 2 * places >= values)]
    flat = np.stack(asked, axis=1).astype(np.uint8).ravel().tolist()
    return [*flat, *([0] * (_OF_LINE * most - len(flat)))]
