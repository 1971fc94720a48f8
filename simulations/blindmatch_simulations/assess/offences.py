"""Devices that do not play along: one that never asks, and one that hides a picture from its own hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from blindmatch_client.device import Device, DeviceConfig, Unreadable
from blindmatch_client.egress import Egress, Recorder
from blindmatch_protocol.contract import AnyDesign, Design, Done, NoMatch, Started
from blindmatch_protocol.errors import PictureError
from blindmatch_protocol.randomness import system_randomness
from blindmatch_server.authority import Identity, Kind

from blindmatch_simulations.assess.observed import Offence
from blindmatch_simulations.deployment import Deployment
from blindmatch_simulations.devices import STATE, now_ms
from blindmatch_simulations.hosting import parties_of
from blindmatch_simulations.operators import counters

SKIPPER = "skipper"
ARCHIVER = "archiver"
_MASK = 0x5A


class NeverAsks(Design[Any, Any, Any, Any]):
    """A modified client: the design `real` to everybody, but every picture is declared not to match."""

    def __init__(self, real: AnyDesign) -> None:
        self._real = real
        self.info = real.info  # type: ignore[misc]
        self.requests = real.requests  # type: ignore[misc]
        self.replies = real.replies  # type: ignore[misc]
        self.vouchers = real.vouchers  # type: ignore[misc]
        self.device_state = real.device_state  # type: ignore[misc]

    def start(self, state: Any, setup: Any, item: Any, rng: Any) -> Started[Any, Any]:
        """Done at once: nobody is asked."""
        return Started(state, Done(NoMatch()))

    def leakage(self) -> Any:
        """The real design's."""
        return self._real.leakage()

    def publish(self, *arguments: Any, **named: Any) -> Any:
        """The real design's."""
        return self._real.publish(*arguments, **named)

    def open_setup(self, files: Any, epoch: int | None = None) -> Any:
        """The real design's."""
        return self._real.open_setup(files, epoch)

    def epoch_of(self, setup: Any) -> int:
        """The real design's."""
        return self._real.epoch_of(setup)

    def open_role(self, role: Any, files: Any) -> Any:
        """The real design's."""
        return self._real.open_role(role, files)

    def enrol(self, rng: Any) -> Any:
        """The real design's."""
        return self._real.enrol(rng)

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> Any:
        """The real design's; never called, since nothing is sent."""
        return self._real.receive(session, setup, replies, rng)

    def conclude(self, session: Any, setup: Any) -> Any:
        """The real design's; never called either."""
        return self._real.conclude(session, setup)

    def answer(self, role: Any, state: Any, bodies: Any, rng: Any, executor: Any) -> Any:
        """The real design's."""
        return self._real.answer(role, state, bodies, rng, executor)


def offend(deployment: Deployment, design: AnyDesign, recipient: str, listed: Sequence[bytes]) -> Offence:
    """Send `listed` pictures from a device that never asks, and one as an archive; who counted what."""
    skipper = _device(deployment, SKIPPER, NeverAsks(design), Unreadable.SEND)
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
