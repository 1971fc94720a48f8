"""Where local servers are called: at the ports that they note, which change from start to start."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindmatch_client.egress.egress import Endpoint
from blindmatch_protocol.contract import Party

from blindmatch_simulations.testbed.deployment.errors import DeploymentError

CONNECT_SECONDS: Final = 2.0


def local_endpoint(port_file: Path) -> Endpoint:
    """A local server; without an address if it does not run. `DeploymentError` if its file is damaged.

    One that was killed has left its port file behind.
    """
    if not port_file.is_file():
        return Endpoint("")
    try:
        port = int(port_file.read_text())
    except ValueError as error:
        raise DeploymentError(f"{port_file} is damaged; start the server again") from error
    return Endpoint(f"127.0.0.1:{port}" if _is_open(port) else "")


@dataclass(frozen=True, slots=True)
class Directory(Mapping[Party, Endpoint]):
    """Addresses that were given, and local servers, by their port files, as they run now."""

    given: Mapping[Party, Endpoint]
    local: Mapping[Party, Path]

    def __getitem__(self, party: Party) -> Endpoint:
        return self.given[party] if party in self.given else local_endpoint(self.local[party])

    def __contains__(self, party: object) -> bool:
        """Without a look at whether it runs: a device asks this before every call."""
        return party in self.given or party in self.local

    def __iter__(self) -> Iterator[Party]:
        return iter({**self.given, **self.local})

    def __len__(self) -> int:
        return len({**self.given, **self.local})


def _is_open(port: int) -> bool:
    """Does anybody listen there? In doubt yes: the call that follows says more."""
    try:
        with socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
