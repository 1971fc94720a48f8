"""The publication of an epoch in a process of its own, which ends itself at a chosen point."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import SetParameters, batches_of
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.designs.oprf_psi import design as oprf_psi_build
from blindmatch_server.epochs.building import Publishing, publish_epoch
from blindmatch_server.hosting.workers import WorkerPool

from support.dying import Points, die
from support.memory import random_hashes
from support.signed import SIGNER

BATCH = 16


def build_life(folder: Path, count: int, point: str, epoch: int = 1, helpers: int = 0) -> tuple[int, int]:
    """Publish `count` entries; fsyncs and renames, and entries evaluated in this process.

    `point` is ``batch:N`` (after the N-th batch), ``before:N`` or ``after:N`` (the N-th fsync or rename),
    ``limit:N`` (no file may grow past N bytes), or ``never``.
    """
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

    salts = np.frombuffer(seeded("salts").take(16 * count), np.uint8).reshape(count, 16)
    source = batches_of(random_hashes(count), np.arange(1, count + 1, dtype=np.uint64), salts)
    parameters = SetParameters(epoch, {})
    workers = WorkerPool(helpers) if helpers else None
    if workers is not None:
        oprf_psi_build.SHARED = 0
    how = Publishing(DESIGN, folder, SIGNER, workers, progress)
    publish_epoch(how, source, parameters, seeded("publish"))
    return points.seen, evaluated[0]


def counted(module: Any) -> list[int]:
    """Counts the entries that are evaluated."""
    total = [0]
    original = module.evaluated_rows

    def counting(key: Any, batch: Any, *others: Any) -> Any:
        total[0] += len(batch)
        return original(key, batch, *others)

    module.evaluated_rows = counting
    return total
