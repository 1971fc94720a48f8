"""Starts `outside.py` in an environment that has the peers' packages, and reads what it found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.errors import BlindmatchError

from blindmatch_simulations.measure.worker import AloneError, output_of
from blindmatch_simulations.measure.yardstick import Cost, Reading, Run

SCRIPT: Final = Path(__file__).with_name("outside.py")
NOT_GIVEN: Final = "no --peer-python was given"
MOST_SECONDS: Final = 1800.0


class PeerMissingError(BlindmatchError):
    """A peer could not be measured; the text says why, for the row."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Attributes:
    python: interpreter of the peers' environment; None if there is none.
    """

    python: Path | None

    def run(self, peer: str, *arguments: Path | int) -> dict[str, Any]:
        """What `outside.py` says of a peer.

        Raises:
            PeerMissingError: if there is no environment, it lacks a package, or the peer fails.
        """
        if self.python is None:
            raise PeerMissingError(NOT_GIVEN)
        command = [str(self.python), "-s", str(SCRIPT), peer, *map(str, arguments)]
        try:
            found: dict[str, Any] = json.loads(output_of(command, MOST_SECONDS))
        except AloneError as error:
            raise PeerMissingError(f"{peer} {error}") from error
        return found


def runs_of(measured: dict[str, Any]) -> list[Run]:
    """Runs as `outside.py` prints them."""
    return [
        Run(Cost(*one["cost"]), Reading(*one["before"]), Reading(*one["after"])) for one in measured["runs"]
    ]
