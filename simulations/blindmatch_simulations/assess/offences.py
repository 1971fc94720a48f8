"""Devices that do not play along: one that never asks, and one that hides a picture from its own hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import Any

from blindmatch_client.device import Device, DeviceConfig, Unreadable
from blindmatch_client.egress import Egress, Recorder
from blindmatch_protocol.contract import AnyDesign, Done, NoMatch, Started
from blindmatch_protocol.errors import PictureError
from blindmatch_protocol.randomness import system_randomness
from blindmatch_server.authority import Identity, Kind

from blindmatch_simulations.assess.observed import Offence
from blindmatch_simulations.deployment.devices import STATE, now_ms
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.hosting import parties_of
from blindmatch_simulations.deployment.operators import counters

SKIPPER = "skipper"
ARCHIVER = "archiver"
_MASK = 0x5A


def never_asks(real: AnyDesign) -> AnyDesign:
    """A modified client: the design `real` in everything, but no picture is asked about and none matches."""

    def start(self: Any, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Started[Any, Any]:
        return Started(state, Done(NoMatch()))

    made = copy(real)
    made.__class__ = type("NeverAsks", (type(real),), {"start": start})
    return made


def offend(deployment: Deployment, design: AnyDesign, recipient: str, listed: Sequence[bytes]) -> Offence:
    """Send `listed` pictures from a device that never asks, and one as an archive; who counted what."""
    skipper = _device(deployment, SKIPPER, never_asks(design), Unreadable.SEND)
    try:
        skipper.register()
        delivered = sum(skipper.send_picture(recipient, data).delivered for data in listed)
    finally:
        skipper.close()
    refused, passed = _archive(deployment, design, recipient, listed[0])
    calls = _calls(deployment, design)
    return Offence(
        sent=len(listed),
        delivered=delivered,
        asked=calls.get((SKIPPER, "Exchange"), 0),
        uploads=calls.get((SKIPPER, "Upload"), 0),
        refused_archive=refused,
        archive_delivered=passed,
        archive_asked=calls.get((ARCHIVER, "Exchange"), 0),
    )


def _archive(deployment: Deployment, design: AnyDesign, recipient: str, data: bytes) -> tuple[bool, bool]:
    """Does the policy `refuse` refuse what is no picture, and does `send` deliver it?"""
    hidden = bytes(byte ^ _MASK for byte in data)
    refuser = _device(deployment, f"{ARCHIVER}-refused", design, Unreadable.REFUSE)
    try:
        refuser.register()
        refuser.send_picture(recipient, hidden)
        refused = False
    except PictureError:
        refused = True
    finally:
        refuser.close()
    sender = _device(deployment, ARCHIVER, design, Unreadable.SEND)
    try:
        sender.register()
        return refused, sender.send_picture(recipient, hidden).delivered
    finally:
        sender.close()


def _calls(deployment: Deployment, design: AnyDesign) -> Mapping[tuple[str, str], int]:
    """Calls by account and kind, over all servers."""
    found: dict[tuple[str, str], int] = {}
    for party in parties_of(design):
        for row in counters(deployment, party):
            key = (row.account, row.method.rpartition("/")[2].removesuffix("Large"))
            found[key] = found.get(key, 0) + row.calls
    return found


def _device(deployment: Deployment, name: str, design: AnyDesign, unreadable: Unreadable) -> Device:
    identity, folder = Identity(Kind.DEVICE, name), deployment.device(name)
    deployment.enrol(identity, folder, datetime.now(UTC))
    credentials = deployment.caller_credentials(identity, folder)
    egress = Egress(deployment.endpoints(), credentials, Recorder(), now_ms)
    config = DeviceConfig(
        account=name, design=design, curator=deployment.curator_public_key(), unreadable=unreadable
    )
    return Device.create(folder / STATE, config, egress, system_randomness(), now_ms)
