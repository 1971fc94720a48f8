"""A server that comes back on another port is found by devices that stay, over real processes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from blindmatch_client.device import Device
from blindmatch_client.errors import ServiceUnavailableError
from blindmatch_protocol.contract import Party, SetParameters, batches_of
from blindmatch_protocol.designs.none import DESIGN
from blindmatch_protocol.randomness import system_randomness
from blindmatch_server.publication import publish_epoch
from blindmatch_simulations.deployment.devices import create_device
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.processes import ServerProcess, running_servers

OPTIONS = ("--design", DESIGN.info.name)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment with centre and matcher running; the relay is the test's."""
    made = Deployment.create(tmp_path / "home", datetime.now(UTC))
    nothing = batches_of(np.zeros((0, 32), np.uint8), np.zeros(0, np.uint64), np.zeros((0, 16), np.uint8))
    published = made.published(DESIGN.info.name)
    publish_epoch(
        DESIGN,
        nothing,
        SetParameters(1, {}),
        system_randomness(),
        None,
        published,
        made.signer(datetime.now(UTC)),
    )
    with running_servers(made, (Party.CENTRE, Party.MATCHER), OPTIONS):
        yield made


@contextmanager
def relay(deployment: Deployment) -> Iterator[tuple[ServerProcess, int]]:
    """A relay on a free port."""
    with running_servers(deployment, (Party.PROVIDER,), OPTIONS) as servers:
        yield servers[0], int(deployment.port_file(Party.PROVIDER).read_text())


def device(stack: ExitStack, deployment: Deployment, name: str) -> Device:
    made = create_device(deployment, name, DESIGN.info.name).device
    stack.callback(made.close)
    made.register()
    return made


def texts(bob: Device) -> list[str]:
    return [one.text for one in bob.receive()]


@pytest.mark.slow
@pytest.mark.parametrize("ends_with", [signal.SIGTERM, signal.SIGKILL])
def test_devices_that_stay_find_a_relay_that_came_back_on_another_port(
    deployment: Deployment, ends_with: signal.Signals
) -> None:
    with ExitStack() as stack:
        with relay(deployment) as (server, port):
            alice, bob = (device(stack, deployment, name) for name in ("alice", "bob"))
            alice.send_text("bob", "before")
            assert texts(bob) == ["before"]
            server.process.send_signal(ends_with)
            server.process.wait(30)
        taken = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        alice.send_text("bob", "meanwhile")
        with pytest.raises(ServiceUnavailableError):
            bob.receive()
        with relay(deployment) as (_, other):
            assert other != taken.getsockname()[1]
            alice.send_text("bob", "after")
            alice.flush()
            assert sorted(texts(bob)) == ["after", "meanwhile"]
