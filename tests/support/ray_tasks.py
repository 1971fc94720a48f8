"""A local Ray cluster in a process of its own: one worker is killed, one task fails; the outcome as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from blindmatch_server.hosting.workers import TaskError
from blindmatch_simulations.measure.cluster import LOCAL, Cluster

LISTENING = "0A"
LOOPBACK = "0100007F:"


def die_once(mark: str) -> str:
    """Kill the process that runs this, unless `mark` is there."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done by another"


def fail() -> None:
    """A task that raises."""
    raise ZeroDivisionError("with words that stay there")


def elsewhere() -> set[str]:
    """Sockets of this machine that listen on more than loopback."""
    rows = [
        line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()
    ]
    return {row[1] for row in rows if row[3] == LISTENING and LOOPBACK not in row[1]}


def main(mark: str) -> None:
    """Run the tasks."""
    before = elsewhere()
    cluster = Cluster(LOCAL, 2)
    told = {"elsewhere": sorted(elsewhere() - before)}
    try:
        told["killed"] = cluster.result(cluster.submit(die_once, mark))
        cluster.result(cluster.submit(fail))
    except TaskError as error:
        told["failed"] = f"TaskError: {error}"
    finally:
        cluster.end()
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
