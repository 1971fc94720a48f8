"""A process that does what it is told: an order a line on its standard input, JSON a line on its output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from blindmatch_protocol.codec.errors import BlindmatchError
from msgspec import Struct

STOP_S: Final = 30.0


class AloneError(BlindmatchError):
    """The other process failed."""


def output_of(command: Sequence[str], seconds: float | None = None, **more: Any) -> bytes:
    """What a command writes to standard output until it ends.

    Args:
        seconds: how long it may take; None: as long as it does.

    Raises:
        AloneError: if it cannot be run, or fails; the text ends with the last line on standard error.
    """
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=seconds, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AloneError(f"could not be run: {type(error).__name__}") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise AloneError(f"failed: {lines[-1] if lines else done.returncode}")
    return bytes(done.stdout)


def in_own_process(module: str, task: str, *arguments: Path | str) -> dict[str, Any]:
    """Run a task of `module` in a fresh process; the JSON object it printed. `AloneError` if it fails."""
    printed: dict[str, Any] = json.loads(
        output_of([sys.executable, "-m", module, task, *map(str, arguments)])
    )
    return printed


class Worker(Struct, frozen=True):
    """Such a process."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def tell(self, line: str) -> None:
        """Give it an order.

        Raises:
            AloneError: if it has ended.
        """
        pipe = _pipe(self.process.stdin)
        try:
            pipe.write(line + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise AloneError("a process of the bench ended; its reason stands above") from None

    def answer(self) -> dict[str, Any]:
        """Wait for its next line.

        Raises:
            AloneError: if it ends instead.
        """
        line = _pipe(self.process.stdout).readline()
        if not line:
            raise AloneError("a process of the bench ended; its reason stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def working(module: str, *arguments: str, cwd: Path | None = None) -> Iterator[Worker]:
    """A worker that runs a module, which may lie in `cwd`, until the block ends."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd)
    try:
        yield Worker(process)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """Its standard input ends, and so does it."""
    _pipe(process.stdin).close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _pipe(process.stdout).close()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
