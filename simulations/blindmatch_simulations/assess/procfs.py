"""CPU time and memory of processes and of groups of them, as Linux tells them."""

from __future__ import annotations

from pathlib import Path

from blindmatch_simulations.measure.procfs import cpu_seconds, status_mib

__all__ = ["cpu_seconds", "group_mib", "reset_peak", "status_mib"]

_PROC = Path("/proc")


def reset_peak() -> bool:
    """Begin to count this process's VmHWM anew; False if the system does not let us."""
    try:
        (_PROC / "self" / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def group_mib(group: int) -> float:
    """MiB resident in all processes of a process group; 0 where it cannot be told."""
    total = 0.0
    for folder in _PROC.glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) != group:
                continue
        except (OSError, IndexError, ValueError):
            continue
        total += status_mib("VmRSS", int(folder.name)) or 0.0
    return total
