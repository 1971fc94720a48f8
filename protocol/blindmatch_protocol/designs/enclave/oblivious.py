"""Nearest entry of a list, with the same memory accesses whatever is asked.

An index, or reading the row that was found, would show the host by its pages what is looked for. So all
hashes are compared, and every row goes into the label under a mask of zeros or ones. That holds for which
memory is read and in what order, not for the time that numpy's instructions take.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.contract import Label
from blindmatch_protocol.sets.plain_list import PlainList

BLOCK: Final = 1 << 15
"""Rows that are masked at once."""
Words: TypeAlias = npt.NDArray[np.uint64]


def nearest(held: PlainList, asked: bytes, most: int, counts: bool) -> tuple[bool, Label]:
    """Whether an entry is within `most` bits of `asked`, 32 bytes; its label, or zeros.

    Of several nearest ones it is the first. `counts`: False finds nothing, after the same accesses.
    """
    hashes, own = held.hashes.view(np.uint64), np.frombuffer(asked, np.uint64)
    apart = np.zeros(len(hashes), np.uint64)
    for word in range(4):
        apart += np.bitwise_count(hashes[:, word] ^ own[word])
    rank = apart << np.uint64(32) | np.arange(len(hashes), dtype=np.uint64)
    best = rank.min(initial=np.uint64(2**64 - 1))
    chosen = (rank == best) & (apart <= most) & counts
    mask = np.uint64(0) - chosen.astype(np.uint64)
    columns = (hashes, held.ids.reshape(-1, 1), held.salts.view(np.uint64))
    entry_hash, entry_id, salt = (_selected(column, mask) for column in columns)
    return bool(chosen.any()), Label(entry_hash.tobytes(), int(entry_id[0]), salt.tobytes())


def _selected(column: Words, mask: Words) -> Words:
    """The row whose mask is ones, or zeros if there is none; uint64 (width,)."""
    found = np.zeros(column.shape[1], np.uint64)
    for start in range(0, len(column), BLOCK):
        block = column[start : start + BLOCK] & mask[start : start + BLOCK, None]
        found |= np.bitwise_or.reduce(block, axis=0)
    return found
