"""The import of a file of hashes in a process of its own, which ends itself at a chosen point."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from blindmatch_protocol.codec.randomness import seeded
from blindmatch_server.curator import import_list, open_list
from blindmatch_server.curator.formats import text

from support.dying import Points, die


def import_life(source: Path, target: Path, point: str) -> tuple[int, int]:
    """Import `source` into the list `target`; fsyncs and renames, and blocks that were read.

    `point` is ``before:N`` or ``after:N`` (the N-th fsync or rename), ``block:N`` (after the N-th block was
    read), or ``never``.
    """
    points = Points(point)
    blocks = list[int]()
    os.fsync, os.rename, os.replace = map(points.around, (os.fsync, os.rename, os.replace))
    text._PDQ_BLOCK_BYTES = 8 * text.LINE_BYTES  # type: ignore[misc]

    def progress(done: int, total: int) -> None:
        blocks.append(done)
        if points.when == "block" and len(blocks) == points.number:
            die()

    with ExitStack() as stack:
        onto = stack.enter_context(open_list(target)) if target.exists() else None
        import_list(source, target, seeded("salts"), onto=onto, progress=progress)
    return points.seen, len(blocks)
