"""Runs a command in a process group of its own, with limits on time and memory, and tells how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from blindmatch_simulations.measure import procfs
from blindmatch_simulations.measure.phases import Tell

POLL_SECONDS: Final = 0.1
STOPPED: Final = "interrupted"
MEMORY_POLL_SECONDS: Final = 0.5
_TAIL: Final = 400


class Ended(Struct, frozen=True):
    """How a guarded command ended: `why` is empty if it went well.

    Attributes:
        why: in words.
        seconds: by the clock.
        peak_mib: the most that all its processes had together, as often as it was looked at.
    """

    why: str
    seconds: float
    peak_mib: float


def guarded(
    command: Sequence[str],
    log: Path,
    seconds: float,
    memory_mib: float,
    tell: Tell = lambda *_: None,
    stop: threading.Event | None = None,
) -> Ended:
    """Run `command` to its end, or until it breaks a limit; nothing it started is left behind.

    Its standard input is a pipe that stays open as long as this process lives, and bears nothing.

    Args:
        command: what to run; its standard output are JSON lines of progress.
        seconds, memory_mib: the limits; memory is resident, of all processes of its group together.
        stop: ends it, with `STOPPED` as the reason, once it is set by another thread.
    """
    began = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, start_new_session=True
        )
        assert process.stdout is not None
        reader = threading.Thread(target=_follow, args=(process.stdout, tell), daemon=True)
        reader.start()
        try:
            why, peak = _watch(process, began + seconds, seconds, memory_mib, stop or threading.Event())
        finally:
            _end_group(process)
        reader.join(1.0)
    if not why and process.returncode:
        why = _reason(process.returncode, log)
    return Ended(why, round(time.monotonic() - began, 2), round(peak, 1))


def _watch(
    process: subprocess.Popen[bytes],
    deadline: float,
    seconds: float,
    memory_mib: float,
    stop: threading.Event,
) -> tuple[str, float]:
    peak, looked = 0.0, 0.0
    while process.poll() is None:
        now = time.monotonic()
        if now > deadline:
            return f"took longer than {seconds:.0f} s", peak
        if now - looked > MEMORY_POLL_SECONDS:
            looked = now
            peak = max(peak, procfs.group_mib(process.pid))
            if peak > memory_mib:
                return f"used more than {memory_mib:.0f} MiB", peak
        if stop.wait(POLL_SECONDS):
            return STOPPED, peak
    return "", peak


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group, and take the exit code of its first process."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _follow(lines: IO[bytes], tell: Tell) -> None:
    """Hand on progress lines; whatever else a design prints is left out."""
    for line in lines:
        try:
            phase, done, total = json.loads(line)
            tell(str(phase), int(done), int(total))
        except (ValueError, TypeError, OverflowError, RecursionError):
            continue


def _reason(code: int, log: Path) -> str:
    """The last words on standard error, or the signal."""
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name}"
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    words = " ".join(lines[-1].split())[:_TAIL] if lines else "without a word"
    return f"exit code {code}: {words}"
