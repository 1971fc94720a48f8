"""Memory and CPU time of processes, and processes that are measured.

Of other processes psutil tells, which nothing else here needs. The most memory there was, and how much of it
is in no file, Linux alone tells, in /proc (None elsewhere).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from blindmatch_protocol.codec.errors import BlindmatchError
from msgspec import Struct

with suppress(ImportError):
    import resource

MIB = 1 << 20
SAMPLE_SECONDS = 0.02
_PROC = Path("/proc")


def status_mib(field: str, pid: int | None = None) -> float | None:
    """A field of /proc/PID/status in MiB: VmRSS (resident now), RssAnon (of it, in no file) or
    VmHWM (the most there was).

    VmHWM begins anew with another program, where ru_maxrss goes on; in a fork it begins with what was taken
    over: a forked server's holds the modules of all designs that its parent had loaded.
    """
    try:
        lines = (_PROC / str(pid or "self") / "status").read_text().splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(f"{field}:"))
    return next((int(words[1]) * 1024 / MIB for words in found), None)


def reset_peak() -> bool:
    """Begin to count this process's VmHWM anew; False if the system does not let us."""
    try:
        (_PROC / "self" / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def group_mib(group: int) -> float:
    """MiB resident in all processes of a process group."""
    import psutil

    total = 0.0
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            total += psutil.Process(pid).memory_info().rss / MIB if os.getpgid(pid) == group else 0.0
    return total


def mapped_mib(name: str) -> float:
    """Resident MiB of this process's maps of files called `name`."""
    import psutil

    return float(sum(one.rss for one in psutil.Process().memory_maps() if Path(one.path).name == name) / MIB)


def cpu_seconds(pid: int) -> float | None:
    """CPU time of process `pid`, all threads, to the clock tick (usually 10 ms); None if it is gone."""
    import psutil

    try:
        return float(sum(psutil.Process(pid).cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return None


def tree_cpu_seconds(pid: int) -> float | None:
    """CPU time of process `pid` and of all below it that live or were waited for, to the clock tick; None if
    it is gone."""
    import psutil

    try:
        root = psutil.Process(pid)
        spent = float(sum(root.cpu_times()[:4]))
        tree = root.children(recursive=True)
    except psutil.NoSuchProcess:
        return None
    for one in tree:
        with suppress(psutil.NoSuchProcess):
            spent += sum(one.cpu_times()[:4])
    return spent


def used_cpu_seconds() -> float:
    """CPU time of this process, all threads, and of those that it started and that have ended; of the latter,
    nothing on Windows."""
    if "resource" not in globals():
        return time.process_time()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


class Peak(Struct):
    """The most memory that was resident, in MiB; None on a system without /proc."""

    mib: float | None = None


@contextmanager
def peak_with(workers: Callable[[], Iterable[int]]) -> Iterator[Peak]:
    """The peak of this process and its workers together, sampled every 20 ms, or of this one alone if that
    is more; the value is there after the block. Pages that they share are counted for each."""
    peak = Peak()
    over = Event()
    most = [0.0]

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            pids = (None, *workers())
            most[0] = max(most[0], sum(status_mib("VmRSS", pid) or 0.0 for pid in pids))

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        own = status_mib("VmHWM")
        peak.mib = None if own is None else max(own, most[0])


class AloneError(BlindmatchError):
    """The other process failed."""


def output_of(command: Sequence[str], seconds: float | None = None, **more: Any) -> bytes:
    """What a command writes to standard output until it ends, in so many seconds at most; `AloneError` if it
    cannot be run, or fails; the text ends with the last line on standard error."""
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
