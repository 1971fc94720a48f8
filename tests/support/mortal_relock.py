"""A change of a device's lock in a process of its own, which ends itself at a failpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blindmatch_simulations.testbed.deployment.device_settings import relock
from blindmatch_simulations.testbed.deployment.folder import Deployment
from msgspec import Struct

from support.mortal import Arm, armed


class RelockPlan(Struct, frozen=True):
    home: Path
    arguments: tuple[Any, ...]
    arm: Arm | None = None
    noted: Path | None = None


def relock_life(plan: RelockPlan) -> None:
    armed(plan.arm, plan.noted)
    relock(Deployment.open(plan.home), "alice", *plan.arguments)
