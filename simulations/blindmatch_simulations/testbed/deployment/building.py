"""Sets that are built to be measured, or measured on: published under a key that nobody pins.

    python -m blindmatch_simulations.testbed.deployment.building build DESIGN LIST FOLDER PARAMETERS

builds one in a process of its own, whose memory is the build's alone, and prints what it cost as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import AnyDesign, EntrySource, SetParameters
from blindmatch_server.curator import open_list
from blindmatch_server.epochs.building import Publishing, publish_epoch
from blindmatch_server.epochs.published import Publication
from blindmatch_server.epochs.signing import Signer
from blindmatch_server.hosting.workers import WorkerPool, cores

from blindmatch_simulations.measure.machine import choose_group_backend
from blindmatch_simulations.measure.processes import in_own_process, peak_with
from blindmatch_simulations.measure.yardstick import timed
from blindmatch_simulations.testbed.deployment.curating import throwaway_signer
from blindmatch_simulations.testbed.deployment.registry import load_design

MODULE: Final = "blindmatch_simulations.testbed.deployment.building"


def built(
    design: AnyDesign,
    entries: EntrySource,
    folder: Path,
    values: Mapping[str, int],
    workers: WorkerPool | None = None,
    signer: Signer | None = None,
) -> Publication:
    """The first epoch of `entries`, published into the new `folder`; on one core without `workers`."""
    how = Publishing(design, folder, signer or throwaway_signer(), workers)
    return publish_epoch(how, entries, SetParameters(1, values), system_randomness())


def built_alone(design: str, entries: Path, folder: Path, values: Mapping[str, int]) -> Mapping[str, Any]:
    """Publish the list file `entries` from a process of its own, with a worker process a core: `wall_s` and
    `cpu_s`, seconds by the clock and of CPU time, and `peak_mib`, the most memory that was resident, in MiB
    (None where the system does not say), of the process and its workers together."""
    return in_own_process(MODULE, "build", design, entries, folder, json.dumps(values))


def build(design: str, entries: str, folder: str, values: str) -> None:
    """Build one set and print what it cost."""
    workers = WorkerPool(cores())
    choose_group_backend()

    def publish() -> None:
        with open_list(Path(entries)) as opened, workers:
            built(load_design(design), opened, Path(folder), json.loads(values), workers)

    try:
        with peak_with(lambda: workers.pids) as peak:
            cost = timed(publish)
    except BlindmatchError as error:
        raise SystemExit(str(error)) from error
    print(json.dumps({"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_mib": peak.mib}))


if __name__ == "__main__":
    {"build": build}[sys.argv[1]](*sys.argv[2:])
