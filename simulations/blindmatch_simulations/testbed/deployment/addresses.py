"""Where the servers of a deployment are called: ``addresses.json``, for deployments of several machines.

Local servers are called at the ports that they note, which change from start to start.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from blindmatch_client.egress.egress import Endpoint
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError
from blindmatch_protocol.contract import Party
from blindmatch_server.storage.files import PUBLIC, replace_file

Addresses: TypeAlias = Mapping[Party, str]
"""``host:port`` by party."""

_HOST: Final = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)"
_ADDRESS: Final = re.compile(rf"{_HOST}:([0-9]{{1,5}})")


class AddressError(BlindmatchError):
    """An address is none, or the file with addresses is damaged."""


def checked(party: Party, address: str) -> str:
    """`address`, if it is ``host:port``; `AddressError` otherwise."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 1 <= int(found[1]) <= 65535:
        raise AddressError(f"address of the {party.server}: must be host:port, a port from 1 to 65535")
    return address


def given(named: Sequence[str]) -> dict[Party, str]:
    """Addresses from ``NAME=host:port``, each checked."""
    held: dict[Party, str] = {}
    for one in named:
        name, _, address = one.partition("=")
        held |= decoded({name: address}, f"{one!r}")
    return held


def encoded(addresses: Addresses) -> dict[str, str]:
    return {party.server: address for party, address in addresses.items()}


def decoded(value: object, where: str) -> dict[Party, str]:
    """What `encoded` made; `AddressError` if it is not that; the text names `where`."""
    rule = f"{where}: addresses must be an object of name and host:port"
    if not isinstance(value, dict) or not all(isinstance(address, str) for address in value.values()):
        raise AddressError(rule)
    try:
        parties = {name: Party.of_server(name) for name in value}
    except DesignError as error:
        raise AddressError(rule) from error
    return {party: checked(party, value[name]) for name, party in parties.items()}


def read(path: Path) -> dict[Party, str]:
    """The file's addresses; none if there is no file; `AddressError` if it is damaged."""
    try:
        return decoded(json.loads(path.read_text("utf-8")), path.name)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise AddressError(f"{path.name}: cannot be read as JSON") from error


def write(path: Path, addresses: Addresses) -> None:
    text = json.dumps(encoded(addresses), indent=2, sort_keys=True) + "\n"
    replace_file(path, text.encode(), PUBLIC)


DAMAGES: Final = (
    *(OSError, ValueError, KeyError, TypeError),
    *(AttributeError, OverflowError, RecursionError),
)
"""What reading damaged JSON may raise: also for numbers that are too large and brackets too deep."""


class ManifestError(BlindmatchError):
    """A manifest of a foreign counterpart cannot be used; the text names the field and the rule."""


class DeploymentError(BlindmatchError):
    """A deployment's folder is missing, incomplete or of another version."""


CONNECT_SECONDS: Final = 2.0


def local_endpoint(port_file: Path) -> Endpoint:
    """A local server; without an address if it does not run, as one that was killed has left its port file
    behind. `DeploymentError` if that is damaged."""
    try:
        port = int(port_file.read_text())
    except FileNotFoundError:
        return Endpoint("")
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
