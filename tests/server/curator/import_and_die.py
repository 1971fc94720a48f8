"""Imports a file of hashes and kills itself at a chosen point; run as a process by test_import_kills.

    import_and_die.py SOURCE INTO POINT

POINT is ``before:N`` or ``after:N`` (the N-th fsync or rename), ``block:N`` (after the N-th block was
read), or ``never``. An import that ends prints how many of both there were.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from blindmatch_protocol.randomness import seeded
from blindmatch_server.curator import import_list, open_list
from blindmatch_server.curator.formats import pdq_lines

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.dying import Points, die


def main(source: str, into: str, point: str) -> None:
    points, target, blocks = Points(point), Path(into), list[int]()
    os.fsync, os.rename, os.replace = map(points.around, (os.fsync, os.rename, os.replace))
    pdq_lines._BLOCK_BYTES = 8 * pdq_lines.LINE_BYTES  # type: ignore[misc]

    def progress(done: int, total: int) -> None:
        blocks.append(done)
        if points.when == "block" and len(blocks) == points.number:
            die()

    with ExitStack() as stack:
        onto = stack.enter_context(open_list(target)) if target.exists() else None
        import_list(Path(source), target, seeded("salts"), onto=onto, progress=progress)
    sys.stdout.write(f"{points.seen} {len(blocks)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
