"""Functions that a worker process is asked for; it finds this module over PYTHONPATH."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import EntryBatch


def mixed(secret: bytes, batch: EntryBatch) -> Rows:
    """Something of everything that comes over the pipe."""
    front = np.frombuffer(secret, np.uint8)[0] ^ batch.hashes
    return np.concatenate([front, batch.ids[:, None].view(np.uint8), batch.salts], axis=1)


def given(thing: object) -> object:
    """What it was given."""
    return thing


def talking(secret: bytes, batch: EntryBatch) -> Rows:
    """As `mixed`, and prints."""
    sys.stdout.write("a line on standard output\n")
    os.write(1, b"another one\n")
    return mixed(secret, batch)


def refusing(secret: bytes, batch: EntryBatch) -> Rows:
    """Refuses the batch that begins with entry 8; the text holds the secret."""
    if batch.ids[0] == 8:
        raise LookupError(f"entry 8 {secret.hex()}")
    return mixed(secret, batch)


def dying(secret: bytes, batch: EntryBatch) -> Rows:
    """Kills the worker at entry 8; computes elsewhere."""
    if batch.ids[0] == 8 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return mixed(secret, batch)


def slow(secret: bytes, batch: EntryBatch) -> Rows:
    """As `mixed`, after a while."""
    time.sleep(0.3)
    return mixed(secret, batch)


def met(folder: bytes, batch: EntryBatch) -> Rows:
    """As `whose`, once another process has begun to compute, too."""
    here = Path(os.fsdecode(folder))
    until = time.monotonic() + 240
    (here / str(os.getpid())).touch()
    while len(list(here.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    return whose(folder, batch)


def whose(secret: bytes, batch: EntryBatch) -> Rows:
    """The id of the process that computed each row, after a moment in which the other may begin."""
    time.sleep(0.005)
    return np.full(len(batch), os.getpid(), np.uint64)[:, None].view(np.uint8)
