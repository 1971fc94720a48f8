"""The command in a forked process, with standard streams, a folder and an environment of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

# what every server imports, so that a forked one need not
from blindmatch_simulations.cli import serve as serve
from blindmatch_simulations.cli.app import run


def command(
    arguments: Sequence[str], reads: Connection, log: Path, folder: Path, environment: Mapping[str, str]
) -> None:
    """Run the command to its end; standard output and standard error are added to `log`."""
    with log.open("ab") as sink:
        for number, file in enumerate((reads.fileno(), sink.fileno(), sink.fileno())):
            os.dup2(file, number)
    reads.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(run([*arguments]))
