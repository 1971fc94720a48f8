"""Hostile clients of the servers; the benches and the tests set them loose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hostile.intruder import DROPPED, HELD, LOST, Intruder, Service, attack, intruding
from hostile.matcher import MATCHER
from hostile.relay import NOTHING_REMOVED, RELAY

SERVICES: Final[Mapping[str, Service]] = {"relay": RELAY, "matcher": MATCHER}
"""Services by name."""
