"""Cheats that older checks passed, by class; each is caught by the check that its class names.

one_sided   a leak that filler hides for other pictures; digests that only some sets and pictures have
history     what an account's history says, in its first hundred pictures or after its offline phase
vouchers    what a voucher says beside itself
views       what a carrier gets back, and what an account enrolled with
hosted      what only a host runs: executors, full sizes
outcomes    labels that are not the list's
thresholds  what opens too early, or not at all
honest      none of them: designs that older checks took for cheats
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct


class Planted(Struct, frozen=True):
    """A cheat: the check that must fail, and what the failing step must say."""

    name: str
    design: Callable[[], Any]
    check: str
    where: str = ""


def xor(one: bytes, other: bytes) -> bytes:
    """The bits that differ, of the shorter one's length."""
    return bytes(a ^ b for a, b in zip(one, other, strict=False))
