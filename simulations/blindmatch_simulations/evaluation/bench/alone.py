"""A device's start, measured in a process of its own, because earlier work and imports would count as well.

python -m blindmatch_simulations.evaluation.bench.alone start FOLDER
python -m blindmatch_simulations.evaluation.bench.alone open STATE ACCOUNT CURATOR
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blindmatch_client.epochs.trusted import SetupFiles


def start(folder: str) -> Mapping[str, Any]:
    """Start as a device does whose set-up lies in `folder`.

    Seconds, wall and CPU: `device` to read the adopted set-up's manifest, compare what must be compared at a
    start and open it; `open` to open it again from the map alone and look one key up. MiB: resident before,
    and after; of the map itself; of what is resident, the process's own, which is in no file.
    """
    import blindmatch_client.device  # noqa: F401 - a device's process holds all of it
    import numpy as np
    from blindmatch_client.epochs.setup import SetupStore
    from blindmatch_protocol.crypto.oprf import OUTPUT_BYTES
    from blindmatch_protocol.designs.deltas import SET_FILE
    from blindmatch_protocol.designs.oprf_psi import DESIGN
    from blindmatch_protocol.messages.epoch_manifest import SignedManifest
    from blindmatch_server.epochs.published import SIGNED

    from blindmatch_simulations.measure.processes import AloneError, mapped_mib, status_mib
    from blindmatch_simulations.measure.yardstick import timed

    before = status_mib("VmRSS")
    found = list["SetupFiles"]()
    place = Path(folder)

    def as_a_device() -> None:
        signed = SignedManifest.decode((place / SIGNED).read_bytes())
        whole = SetupStore(place, DESIGN).open_whole(signed.manifest)
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


def open_device(state: str, account: str, curator: str) -> Mapping[str, Any]:
    """Open the device of the design `none` in the folder `state`, without asking anybody: `cpu_s`, CPU time
    of the whole process so far; `own_mib`, its memory that is in no file."""
    from blindmatch_client.device import Device, DeviceConfig
    from blindmatch_client.egress import Credentials, Egress, Recorder
    from blindmatch_protocol.codec.randomness import system_randomness
    from blindmatch_protocol.designs.none import DESIGN

    egress = Egress({}, Credentials(b"", b"", b""), Recorder(), lambda: 0)
    config = DeviceConfig(account, DESIGN, bytes.fromhex(curator))
    device = Device.open(Path(state), config, egress, system_randomness(), lambda: 0)
    cpu = time.process_time()
    from blindmatch_simulations.measure.processes import status_mib

    found = {"cpu_s": cpu, "own_mib": status_mib("RssAnon")}
    device.close()
    return found


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    print(json.dumps(start(*arguments) if task == "start" else open_device(*arguments)))
