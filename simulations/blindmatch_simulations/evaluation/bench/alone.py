"""A device's start, measured in a process of its own, because earlier work would count as well.

python -m blindmatch_simulations.evaluation.bench.alone start FOLDER          {"device": [wall, CPU], ...}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import blindmatch_client.device  # noqa: F401 - a device's process holds all of it
import numpy as np
from blindmatch_client.epochs.setup import SetupFiles, SetupStore
from blindmatch_protocol.crypto.oprf import OUTPUT_BYTES
from blindmatch_protocol.designs.deltas import SET_FILE
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_server.epochs.published import SIGNED

from blindmatch_simulations.measure.processes import AloneError, mapped_mib, status_mib
from blindmatch_simulations.measure.yardstick import Cost, timed


def start(folder: Path) -> Mapping[str, Cost | float | None]:
    """Start as a device does whose set-up lies in `folder`.

    Seconds, wall and CPU: `device` to read the adopted set-up's manifest, compare what must be compared at a
    start and open it; `open` to open it again from the map alone and look one key up. MiB: resident before,
    and after; of the map itself; of what is resident, the process's own, which is in no file.
    """
    before, found = status_mib("VmRSS"), list[SetupFiles]()

    def as_a_device() -> None:
        signed = SignedManifest.decode((folder / SIGNED).read_bytes())
        whole = SetupStore(folder, DESIGN).whole(signed.manifest)
        if whole is None:
            raise AloneError("there is no whole set-up")
        found.append(whole)
        DESIGN.open_setup(whole.files, whole.epoch)

    def open_alone() -> None:
        setup = DESIGN.open_setup(found[0].files, found[0].epoch)
        setup.layers[0].find(np.zeros((1, OUTPUT_BYTES), np.uint8), bytes(32))

    times = {"device": timed(as_a_device), "open": timed(open_alone)}
    resident = {"before": before, "after": status_mib("VmRSS"), "own": status_mib("RssAnon")}
    return times | resident | {"map": mapped_mib(SET_FILE)}


if __name__ == "__main__":
    print(json.dumps(start(Path(sys.argv[2]))))
