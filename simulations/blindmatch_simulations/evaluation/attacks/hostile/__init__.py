"""Hostile clients of the servers; the benches and the tests set them loose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blindmatch_simulations.evaluation.attacks.hostile.intruder import (
    DROPPED,
    HELD,
    LOST,
    Attack,
    Intruder,
    Service,
    intruding,
)
from blindmatch_simulations.evaluation.attacks.hostile.matcher import MATCHER
from blindmatch_simulations.evaluation.attacks.hostile.relay import NOTHING_REMOVED, RELAY

SERVICES: Final[Mapping[str, Service]] = {"relay": RELAY, "matcher": MATCHER}
"""Services by name."""
