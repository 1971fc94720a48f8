"""Publishes an epoch and kills itself at a chosen point; run as a process by test_publication_kills.

    build_and_die.py FOLDER EPOCH COUNT POINT [HELPERS]

POINT is ``batch:N`` (after the N-th batch), ``before:N`` or ``after:N`` (the N-th fsync or rename),
``limit:N`` (no file may grow past N bytes), or ``never``. A build that ends prints the number of fsyncs
and renames, and of entries that were evaluated in this process. With HELPERS it has so many.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
from blindmatch_protocol.contract import SetParameters, batches_of
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.designs.oprf_psi import build as oprf_psi_build
from blindmatch_protocol.randomness import seeded
from blindmatch_server.crew import Crew
from blindmatch_server.publication import publish_epoch

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.dying import Points, die
from support.memory import random_hashes
from support.signed import SIGNER

BATCH = 16


def main(folder: str, epoch: str, count: str, point: str, helpers: str = "") -> None:
    points = Points(point)
    if points.when == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (points.number, points.number))
    os.fsync = points.around(os.fsync)
    os.rename = points.around(os.rename)
    os.replace = points.around(os.replace)
    oprf_psi_build.BATCH = BATCH
    evaluated = counted(oprf_psi_build)

    def progress(done: int, total: int) -> None:
        if points.when == "batch" and done == BATCH * points.number:
            die()

    entries = int(count)
    hashes = random_hashes(entries)
    salts = np.frombuffer(seeded("salts").take(16 * entries), np.uint8).reshape(entries, 16)
    source = batches_of(hashes, np.arange(entries, dtype=np.uint64), salts)
    parameters, crew = SetParameters(int(epoch), {}), Crew(int(helpers)) if helpers else None
    if crew is not None:
        oprf_psi_build.SHARED = 0
    publish_epoch(DESIGN, source, parameters, seeded("publish"), crew, Path(folder), SIGNER, progress)
    sys.stdout.write(f"{points.seen} {evaluated[0]}\n")


def counted(module: Any) -> list[int]:
    """Counts the entries that are evaluated."""
    total, original = [0], module.evaluated_rows

    def counting(key: Any, batch: Any, *others: Any) -> Any:
        total[0] += len(batch)
        return original(key, batch, *others)

    module.evaluated_rows = counting
    return total


if __name__ == "__main__":
    main(*sys.argv[1:])
