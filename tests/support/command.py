"""Runs the `blindmatch` command, as a process of its own or, which is faster, in this one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from blindmatch_simulations.cli.app import run
from msgspec import Struct

COMMAND = (sys.executable, "-m", "blindmatch_simulations")
SECONDS = 600
# exit codes as the command documents them
USAGE = 2
PORT_TAKEN = 3
BAD_STATE = 4
REFUSED = 6
UNREACHABLE = 7


class Ran(Struct, frozen=True):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be JSON and nothing else."""
        return json.loads(self.out)


def environment(home: Path, **more: str) -> Mapping[str, str]:
    """This process's, with the deployment in `home`."""
    return {**os.environ, "BLINDMATCH_HOME": str(home), **more}


def blindmatch(home: Path, *arguments: object) -> Ran:
    """Run the command to its end."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def in_process(home: Path, *arguments: object) -> Ran:
    """Run the command to its end in this process."""
    out = io.StringIO()
    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("BLINDMATCH_HOME", str(home))
        code = run([*map(str, arguments)])
    return Ran(code, out.getvalue(), err.getvalue())


def processes_of(folder: Path) -> list[int]:
    """Ids of running processes whose command line names `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and str(folder).encode() in _command_line(entry):
            found.append(int(entry.name))
    return found


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def refused(ran: Ran, code: int, *words: str) -> None:
    """It ended with `code` and one line that has all `words` in it, and said nothing else."""
    assert ran.code == code, ran.err
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line, (word, line)
    assert "Traceback" not in ran.out
