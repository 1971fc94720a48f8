"""`pdq <hex>` lines: one hash a line, `#` begins a comment line, blank lines are passed over.

Blocks in which every line is exactly ``pdq``, a space, 64 lower-case digits and LF are decoded as one
matrix of 69 columns; any other block goes line by line through the careful path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from blindmatch_server.curator.formats.block import Block, Gathering
from blindmatch_server.curator.formats.lines import Lines, Numbering, whole_lines
from blindmatch_server.curator.hexhash import DIGITS, decode_hex
from blindmatch_server.curator.rejects import Reason
from blindmatch_server.curator.source import Source

PREFIX: Final = b"pdq "
LINE_BYTES: Final = len(PREFIX) + DIGITS + 1
_PDQ_BLOCK_BYTES: Final = 4096 * LINE_BYTES
_PREFIX = np.frombuffer(PREFIX, np.uint8)


def read_pdq(source: Source) -> Iterator[Block]:
    """Blocks of `source`; one record a line that is neither blank nor a comment."""
    numbering = Numbering()
    for lines in whole_lines(source, _PDQ_BLOCK_BYTES):
        block = regular(lines.data)
        if block is None:
            yield careful(lines, numbering)
        else:
            numbering.records += block.read
            yield block


def regular(data: bytes) -> Block | None:
    """All records of `data` if each of its lines is regular and acceptable, else None."""
    if len(data) % LINE_BYTES:
        return None
    table = np.frombuffer(data, np.uint8).reshape(-1, LINE_BYTES)
    if not (table[:, : len(PREFIX)] == _PREFIX).all() or not (table[:, -1] == ord("\n")).all():
        return None
    hashes, valid = decode_hex(table[:, len(PREFIX) : -1])
    return Block(read=len(hashes), hashes=hashes) if valid.all() else None


def careful(lines: Lines, numbering: Numbering) -> Block:
    """The records of `lines`, each looked at by itself."""
    gathering = Gathering()
    for number, offset, line in lines.each():
        if line.startswith(b"#") or not line.strip():
            continue
        place = numbering.place(number, offset)
        if lines.too_long(line):
            gathering.reject(place, Reason.LINE_TOO_LONG)
        elif line.startswith(PREFIX):
            gathering.add(place, line[len(PREFIX) :])
        else:
            gathering.reject(place, _fault_of_line(line))
    return gathering.block()


def _fault_of_line(line: bytes) -> Reason:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    return Reason.HASH_MISSING if text.strip() == "pdq" else Reason.NOT_A_PDQ_LINE
