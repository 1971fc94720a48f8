"""What machine a run was made on, as the benchmark tells it."""

from __future__ import annotations

import msgspec

from blindmatch_simulations.assess.results import Machine
from blindmatch_simulations.measure.machine import machine


def this_machine() -> Machine:
    """Kind and versions; no names of hosts or people."""
    return msgspec.convert(machine(), Machine)
