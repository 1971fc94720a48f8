"""Where the servers of a deployment are called: ``addresses.json``, for deployments of several machines.

{"relay": "relay.example:7401", "matcher": "10.0.0.2:7402", "centre": "[2001:db8::3]:7404"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

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


def given(addresses: Mapping[Party, str | None], more: Sequence[str] = ()) -> dict[Party, str]:
    """The addresses that are not None, and those of `more` as ``NAME=host:port``, each checked.

    Raises:
        AddressError: if one is no address, or no server's.
    """
    held = {party: checked(party, address) for party, address in addresses.items() if address is not None}
    for one in more:
        name, _, address = one.partition("=")
        held |= decoded({name: address}, f"{one!r}")
    return held


def encoded(addresses: Addresses) -> dict[str, str]:
    """As JSON: by the server's name."""
    return {party.server: address for party, address in addresses.items()}


def decoded(value: object, where: str) -> dict[Party, str]:
    """What `encoded` made.

    Raises:
        AddressError: if it is not that; the text names `where`.
    """
    rule = f"{where}: addresses must be an object of name and host:port"
    if not isinstance(value, dict) or not all(isinstance(address, str) for address in value.values()):
        raise AddressError(rule)
    try:
        parties = {name: Party.of_server(name) for name in value}
    except DesignError as error:
        raise AddressError(rule) from error
    return {party: checked(party, value[name]) for name, party in parties.items()}


def read(path: Path) -> dict[Party, str]:
    """The file's addresses; none if there is no file.

    Raises:
        AddressError: if it is damaged.
    """
    try:
        return decoded(json.loads(path.read_text("utf-8")), path.name)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise AddressError(f"{path.name}: cannot be read as JSON") from error


def write(path: Path, addresses: Addresses) -> None:
    """Write the file in one step."""
    text = json.dumps(encoded(addresses), indent=2, sort_keys=True) + "\n"
    replace_file(path, text.encode(), PUBLIC)
