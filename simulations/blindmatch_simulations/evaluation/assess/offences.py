"""Devices that do not play along: one that never asks, and one that hides a picture from its own hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from blindmatch_client.device import Unreadable
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.contract import AnyDesign, Done, NoMatch, Started

from blindmatch_simulations.evaluation.assess.observed import Offence
from blindmatch_simulations.testbed.scenario.world import World

SKIPPER = "skipper"
ARCHIVER = "archiver"
REFUSER = "archiver-refused"
_MASK = 0x5A


def never_asks(real: AnyDesign) -> AnyDesign:
    """A modified client: the design `real` in everything, but no picture is asked about and none matches."""

    def start(self: Any, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Started[Any, Any]:
        return Started(state, Done(NoMatch()))

    made = copy(real)
    made.__class__ = type("NeverAsks", (type(real),), {"start": start})
    return made


def offend(world: World, recipient: str, listed: Sequence[bytes]) -> Offence:
    """Send `listed` pictures from a device that never asks, and one as an archive; who counted what."""
    world.device(SKIPPER, design=never_asks(world.design), unreadable=Unreadable.SEND)
    delivered = sum(world.send_picture(SKIPPER, recipient, data).delivered for data in listed)
    refused, passed = _archive(world, recipient, listed[0])
    calls = _calls(world)
    return Offence(
        sent=len(listed),
        delivered=delivered,
        asked=calls[SKIPPER, "Exchange"],
        uploads=calls[SKIPPER, "Upload"],
        refused_archive=refused,
        archive_delivered=passed,
        archive_asked=calls[ARCHIVER, "Exchange"],
    )


def _archive(world: World, recipient: str, data: bytes) -> tuple[bool, bool]:
    """Does the policy `refuse` refuse what is no picture, and does `send` deliver it?"""
    hidden = bytes(byte ^ _MASK for byte in data)
    world.device(REFUSER, unreadable=Unreadable.REFUSE)
    try:
        world.send_picture(REFUSER, recipient, hidden)
        refused = False
    except PictureError:
        refused = True
    world.device(ARCHIVER, unreadable=Unreadable.SEND)
    return refused, world.send_picture(ARCHIVER, recipient, hidden).delivered


def _calls(world: World) -> Mapping[tuple[str, str], int]:
    """Calls by account and kind, over all servers."""
    found = Counter[tuple[str, str]]()
    for rows in world.counted().values():
        for row in rows:
            found[row.account, row.method.rpartition("/")[2].removesuffix("Large")] += row.calls
    return found
