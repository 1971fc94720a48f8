"""Servers by the names that commands take."""

from __future__ import annotations

import typer
from blindmatch_protocol.contract import Party
from blindmatch_protocol.errors import DesignError


def party_called(name: str) -> Party:
    """The party whose server is called `name`; `BadParameter` if none can be."""
    try:
        return Party.of_server(name)
    except DesignError as error:
        raise typer.BadParameter(str(error)) from error
