"""Memory and CPU time of a process, as Linux tells them; None on systems without /proc."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1 << 20


def status_mib(field: str, pid: int | None = None) -> float | None:
    """A field of /proc/PID/status in MiB: VmRSS (resident now), RssAnon (of it, in no file) or
    VmHWM (the most there was).

    VmHWM belongs to the program that runs; ru_maxrss would count what the process that started it had.
    """
    try:
        lines = (_folder(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(f"{field}:"))
    return next((int(words[1]) * 1024 / MIB for words in found), None)


def mapped_mib(name: str) -> float | None:
    """Resident MiB of this process's maps of files called `name`."""
    try:
        lines = (_folder(None) / "smaps").read_text().splitlines()
    except OSError:
        return None
    total, inside = 0, False
    for line in lines:
        words = line.split()
        if "-" in words[0]:
            inside = words[-1].endswith(f"/{name}")
        elif inside and words[0] == "Rss:":
            total += int(words[1])
    return total * 1024 / MIB


def cpu_seconds(pid: int) -> float | None:
    """CPU time that process `pid` has used, all threads, to the clock tick (usually 10 ms)."""
    try:
        text = (_folder(pid) / "stat").read_text()
    except OSError:
        return None
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _folder(pid: int | None) -> Path:
    return Path("/proc") / ("self" if pid is None else str(pid))
