"""A server that comes back on another port is found by devices that stay, over real processes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from blindmatch_client.device import Device
from blindmatch_client.errors import ServiceUnavailableError
from blindmatch_protocol.contract import Party
from support.world import World, listed_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with centre and matcher running; the relay is the test's."""
    with listed_world(tmp_path / "home", "none") as made:
        made.start([Party.CENTRE, Party.MATCHER])
        yield made


def relay(world: World) -> int:
    """A relay on a free port, which is returned."""
    world.start([Party.PROVIDER])
    return int(world.deployment.port_file(Party.PROVIDER).read_text())


def texts(bob: Device) -> list[str]:
    return [one.text for one in bob.receive()]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_servers")
@pytest.mark.parametrize("ends_with", [signal.SIGTERM, signal.SIGKILL])
def test_devices_that_stay_find_a_relay_that_came_back_on_another_port(
    world: World, ends_with: signal.Signals
) -> None:
    port = relay(world)
    alice = world.device("alice").device
    bob = world.device("bob").device
    alice.send_text("bob", "before")
    assert texts(bob) == ["before"]
    world.servers[Party.PROVIDER].process.send_signal(ends_with)
    world.servers[Party.PROVIDER].process.wait(240)
    with socket.create_server(("127.0.0.1", port)) as taken:
        alice.send_text("bob", "meanwhile")
        with pytest.raises(ServiceUnavailableError):
            bob.receive()
        assert relay(world) != taken.getsockname()[1]
        alice.send_text("bob", "after")
        alice.flush()
        assert sorted(texts(bob)) == ["after", "meanwhile"]
