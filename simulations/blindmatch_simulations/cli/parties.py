"""Servers by the names that commands take."""

from __future__ import annotations

from typing import Annotated

import typer
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Party

CollusionOption = Annotated[
    bool,
    typer.Option("--allow-collusion", help="Also where one operator has parties that the design sets apart."),
]


def party_called(name: str) -> Party:
    """The party whose server is called `name`; `BadParameter` if none can be."""
    try:
        return Party.of_server(name)
    except DesignError as error:
        raise typer.BadParameter(str(error)) from error
