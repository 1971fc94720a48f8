"""Runs every target of the Makefile that is a check beside tests and linters, one after the other.

    make verify-all                                  all of them: hours of a core
    make verify-all ARGS="docs ray-check"            these alone
    make verify-all ARGS="'soak=--messages 500'"     one with its own ARGS, which the table names

A failure does not end the run. Exit 1 if a target failed, 2 for a name that is none, 130 after an interrupt.
The table and build/verify-all.json have of each target its result, CPU time and duration. CPU is that of all
processes in the target's process group, on Linux also of those whose parent did not wait for them; those that
left the group are not counted. What is left of the group is ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from blindmatch_server.storage.files import PUBLIC, replace_file

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "build"
TARGETS: Final = (
    "lint-page",
    "first-views",
    "docs",
    "ray-check",
    "counterparts",
    "interop",
    "test-browser",
    "wheel-check",
    "mutation-score",
    "flood",
    "soak",
)
"""The shortest first."""
FORMAT: Final = "blindmatch-verify-all"
TOLD_EVERY_S: Final = 30.0
PATIENCE_S: Final = 5.0
SET_CHILD_SUBREAPER: Final = 36
"""linux/prctl.h."""
PASSED = "passed"
FAILED = "failed"
NOT_RUN = "not run"
INTERRUPTED = "interrupted"
COLUMNS: Final = ("target", "result", "CPU", "duration", "log")
OF_THE_OUTER_MAKE: Final = ("ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
"""Variables that make hands on: a target would take the choice of targets for its own arguments."""

Say = Callable[[str], None]


class Chosen(NamedTuple):
    """A target and its own ARGS."""

    target: str
    arguments: str = ""

    @property
    def words(self) -> str:
        return f"{self.target}={self.arguments}" if self.arguments else self.target


class Row(NamedTuple):
    """What a target came to.

    Attributes:
        exit_code: make's; minus the signal that ended it, and None if it was not run.
        cpu_s, wall_s: CPU seconds and seconds by the clock; None if it was not run.
        log: the file with all that it wrote; empty if it was not run.
    """

    chosen: Chosen
    result: str = NOT_RUN
    exit_code: int | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    log: str = ""


def chosen_of(words: Sequence[str], targets: Sequence[str] = TARGETS) -> list[Chosen]:
    """Return what a command line chooses, all targets if nothing.

    Args:
        words: each ``TARGET`` or ``TARGET=ARGUMENTS``.

    Raises:
        ValueError: for a name that is no such target, or that is there twice.
    """
    found: list[Chosen] = []
    for word in words:
        name, _, arguments = word.partition("=")
        if name not in targets:
            raise ValueError(f"{name!r} is no target that is a check; there are {', '.join(targets)}")
        if name in (one.target for one in found):
            raise ValueError(f"{name} is named twice")
        found.append(Chosen(name, arguments))
    return found or [Chosen(name) for name in targets]


def environment() -> dict[str, str]:
    """Return this process's, without what an outer make left for its own recipes."""
    return {name: value for name, value in os.environ.items() if name not in OF_THE_OUTER_MAKE}


def run_target(chosen: Chosen, make: Sequence[str], log: Path, say: Say) -> Row:
    """Run a target to its end, with all that it writes in `log`.

    Raises:
        KeyboardInterrupt: after the target's processes were ended.
    """
    shown = str(log.relative_to(ROOT)) if log.is_relative_to(ROOT) else str(log)
    say(f"{chosen.words}: begins, output in {shown}")
    command = [*make, chosen.target, f"ARGS={chosen.arguments}"]
    began = time.monotonic()
    with log.open("wb") as file, _told(chosen, began, say):
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        status, cpu_s = _waited(command, file.fileno())
    code = os.waitstatus_to_exitcode(status)
    wall_s = round(time.monotonic() - began, 1)
    return Row(chosen, FAILED if code else PASSED, code, round(cpu_s, 1), wall_s, shown)


def _waited(command: Sequence[str], output: int) -> tuple[int, float]:
    """Run a command in a process group of its own; return its wait status, and CPU seconds of the group."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return status, usage.ru_utime + usage.ru_stime + _reaped(process.pid)
    except KeyboardInterrupt:
        _end(process)
        raise
    finally:
        _kill(process.pid)


def _reaped(group: int) -> float:
    """Wait for those of a process group that became children of this process; return their CPU seconds.

    They get `PATIENCE_S` to end by themselves, as a fork server does; then they are killed: a server that a
    broken target has left would keep its port from the next one.
    """
    spent = 0.0
    ends_at = time.monotonic() + PATIENCE_S
    with suppress(ChildProcessError):
        while True:
            ended, _, usage = os.wait4(-group, os.WNOHANG)
            if ended:
                spent += usage.ru_utime + usage.ru_stime
                continue
            if time.monotonic() > ends_at:
                _kill(group)
            time.sleep(0.02)
    return spent


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends first (Linux, PR_SET_CHILD_SUBREAPER); of the
    whole process, so only for a process that does nothing else."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a process group, as a terminal does, and wait for its leader."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(4 * PATIENCE_S)


def say_line(line: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def _told(chosen: Chosen, began: float, say: Say) -> Iterator[None]:
    """Say every `TOLD_EVERY_S` that a target still runs."""
    is_over = threading.Event()

    def tell() -> None:
        while not is_over.wait(TOLD_EVERY_S):
            say(f"{chosen.target}: runs since {duration(time.monotonic() - began)}")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        is_over.set()
        teller.join()


def run_all(every: Sequence[Chosen], make: Sequence[str], folder: Path, say: Say) -> list[Row]:
    """Run targets one after the other, whatever they come to, and write the table after each.

    After an interrupt the target that ran is `INTERRUPTED`, and those after it are `NOT_RUN`.

    Args:
        folder: gets ``verify-all.json``, and a log of each target in ``verify-all/``.
    """
    logs = folder / "verify-all"
    logs.mkdir(parents=True, exist_ok=True)
    rows = [Row(one) for one in every]
    write_json(folder, rows)
    for at, one in enumerate(every):
        log = logs / f"{one.target}.log"
        try:
            rows[at] = run_target(one, make, log, say)
        except KeyboardInterrupt:
            rows[at] = Row(one, INTERRUPTED, log=str(log))
            write_json(folder, rows)
            break
        spent = f"{duration(rows[at].cpu_s)} of CPU in {duration(rows[at].wall_s)}"
        say(f"{one.target}: {rows[at].result}{_exit_of(rows[at])}, {spent}")
        write_json(folder, rows)
    return rows


def write_json(folder: Path, rows: Sequence[Row]) -> None:
    """Write the rows so far, in one step."""
    told = [
        {
            "target": row.chosen.target,
            "arguments": row.chosen.arguments,
            "result": row.result,
            "exit_code": row.exit_code,
            "cpu_s": row.cpu_s,
            "wall_s": row.wall_s,
            "log": row.log,
        }
        for row in rows
    ]
    held = {
        "format": FORMAT,
        "version": 1,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "targets": told,
    }
    replace_file(folder / "verify-all.json", (json.dumps(held, indent=1) + "\n").encode(), PUBLIC)


def duration(seconds: float | None) -> str:
    """Return seconds as people read them: ``42 s``, ``3 min 20 s``, ``2 h 5 min``; a dash for None."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def table_of(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown, so that it can go into a note as it is."""
    cells = [COLUMNS, tuple("---" for _ in COLUMNS)]
    for row in rows:
        result = row.result + _exit_of(row)
        cells.append(
            (f"`{row.chosen.words}`", result, duration(row.cpu_s), duration(row.wall_s), row.log or "-")
        )
    widths = [max(len(line[at]) for line in cells) for at in range(len(COLUMNS))]
    padded = [" | ".join(one.ljust(width) for one, width in zip(line, widths, strict=True)) for line in cells]
    return "".join(f"| {line} |\n" for line in padded)


def _exit_of(row: Row) -> str:
    if not row.exit_code:
        return ""
    return f" (exit {row.exit_code})" if row.exit_code > 0 else f" (signal {-row.exit_code})"


def main(
    words: Sequence[str],
    make: Sequence[str] = ("make", "--no-print-directory", f"VENV={sys.prefix}"),
    folder: Path = FOLDER,
    targets: Sequence[str] = TARGETS,
) -> int:
    """Run what `words` choose, print the table, and return the exit code."""

    try:
        every = chosen_of(words, targets)
    except ValueError as error:
        sys.stderr.write(f"verify-all: {error}\n")
        return 2
    rows = run_all(every, make, folder, say_line)
    say_line("\n" + table_of(rows))
    if any(row.result == INTERRUPTED for row in rows):
        return 130
    return int(any(row.result != PASSED for row in rows))


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # both end the target that runs
    adopt_orphans()
    sys.exit(main(sys.argv[1:]))
