"""A device against the servers themselves, all in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_client.device import Device, DeviceConfig, OutcomeKind
from blindmatch_client.egress import Egress, Endpoint, Recorder
from blindmatch_protocol.contract import AnyDesign, Party, SetParameters, batches_of
from blindmatch_protocol.designs.oprf_psi import DESIGN as OPRF_PSI
from blindmatch_protocol.randomness import seeded, system_randomness
from blindmatch_server.matching.epochs import HeldSource
from blindmatch_server.matching.server import MatchingConfig, open_matching
from blindmatch_server.relay.server import RelayConfig, open_relay
from dummy_designs import ECHO, LARGE
from support.fakes import AUTHORITY, CENTRE, FakeCentre, credentials_of, hashes_with, picture, rpc, serve
from support.memory import MemoryWorkspace
from support.signed import CURATOR, manifest_of, signed

from ..server.deployment import Deployment, fixed  # noqa: TID252 # isort: skip

LISTED, OTHER = picture(1), picture(2)


def source_of(design: AnyDesign) -> HeldSource:
    hashes = hashes_with(LISTED)
    n = len(hashes)
    salts = np.frombuffer(seeded("salts").take(16 * n), np.uint8).reshape(n, 16)
    out = MemoryWorkspace()
    entries = batches_of(hashes, np.arange(1, n + 1, dtype=np.uint64), salts)
    published = design.publish(entries, SetParameters(4, {}), system_randomness(), None, out)
    roles = {role: out.files(names) for role, names in published.roles.items()}
    setup = out.files(published.setup)
    return HeldSource(design, 4, setup, roles, signed(manifest_of(design, setup, 4)).encode())


def play(folder: Path, design: AnyDesign, ports: dict[Party, int]) -> tuple[list[Any], list[Any], Recorder]:
    """Alice sends Bob a text and three pictures; what she was told, what he got, what left her device."""
    recorder = Recorder()

    def device(name: str, records: Recorder) -> Device:
        endpoints = {party: Endpoint(f"127.0.0.1:{port}") for party, port in ports.items()}
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000  # noqa: E731
        egress = Egress(endpoints, credentials_of(name), records, clock)
        made = Device.create(
            folder / name,
            DeviceConfig(name, design, CURATOR.public, centre=CENTRE),
            egress,
            system_randomness(),
            clock,
        )
        made.register()
        return made

    alice, bob = device("alice", recorder), device("bob", Recorder())
    sent = [alice.send_text("bob", "hello")]
    sent += [alice.send_picture("bob", data) for data in (LISTED, OTHER, LISTED)]
    got = bob.receive(50)
    alice.close()
    bob.close()
    return sent, got, recorder


@pytest.mark.parametrize("design", [ECHO, LARGE, OPRF_PSI], ids=lambda d: d.info.name)
def test_a_device_talks_to_the_servers_themselves(tmp_path: Path, design: AnyDesign) -> None:
    centre = FakeCentre()
    server, centre_port = serve(Party.CENTRE, lambda s: rpc.add_CentreServicer_to_server(centre, s))
    deployment = Deployment(AUTHORITY)

    async def main() -> tuple[list[Any], list[Any], Recorder]:
        relay = RelayConfig(deployment.listen(Party.PROVIDER), tmp_path / "relay")
        matching = MatchingConfig(design, source_of(design), tmp_path / "matcher")
        async with (
            deployment.server(
                Party.PROVIDER, fixed(lambda d: open_relay(relay, d), lambda opened: [opened])
            ) as relay_port,
            deployment.server(
                Party.MATCHER, fixed(lambda d: open_matching(matching, d), lambda opened: [opened])
            ) as matcher_port,
        ):
            ports = {Party.PROVIDER: relay_port, Party.MATCHER: matcher_port, Party.CENTRE: centre_port}
            return await asyncio.to_thread(play, tmp_path, design, ports)

    sent, got, recorder = asyncio.run(main())
    server.stop(None).wait()
    assert [one.outcome for one in sent] == [
        OutcomeKind.NO_PICTURE,
        OutcomeKind.MATCH,
        OutcomeKind.NO_MATCH,
        OutcomeKind.MATCH,
    ]
    assert [one.pictures for one in got] == [(), (LISTED,), (OTHER,), (LISTED,)]
    assert [one.reported for one in sent] == [False, True, False, True] and len(centre.reports) == 2
    assert {record.party for record in recorder.records()} == {Party.PROVIDER, Party.MATCHER, Party.CENTRE}
