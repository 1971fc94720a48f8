"""Starts a device in a process of its own, from the interpreter's first step on.

    python -m blindmatch_simulations.evaluation.bench.device_start open STATE ACCOUNT CURATOR

Opens the device of the design `none` in the folder STATE, and prints {"cpu_s": ..., "own_mib": ...}: CPU time
of the whole process so far, and the memory of it that is in no file. Nothing is asked of anybody.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def started(state: Path, account: str, curator: bytes) -> dict[str, float | None]:
    """What it took, once the device is open."""
    from blindmatch_client.device import Device, DeviceConfig
    from blindmatch_client.egress import Credentials, Egress, Recorder
    from blindmatch_protocol.codec.randomness import system_randomness
    from blindmatch_protocol.designs.none import DESIGN

    egress = Egress({}, Credentials(b"", b"", b""), Recorder(), lambda: 0)
    device = Device.open(
        state, DeviceConfig(account, DESIGN, curator), egress, system_randomness(), lambda: 0
    )
    cpu = time.process_time()
    from blindmatch_simulations.measure.processes import status_mib

    found = {"cpu_s": cpu, "own_mib": status_mib("RssAnon")}
    device.close()
    return found


if __name__ == "__main__":
    _, _, folder, name, key = sys.argv
    print(json.dumps(started(Path(folder), name, bytes.fromhex(key))))
