"""Starts `outside.py` in an environment that has the peers' packages, and reads what it found."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.errors import BlindmatchError

from blindmatch_simulations.measure.runs import Run
from blindmatch_simulations.measure.yardstick import Cost, Reading

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
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MOST_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerMissingError(f"{peer} could not be run: {type(error).__name__}") from error
        lines = done.stderr.strip().splitlines()
        if done.returncode != 0:
            raise PeerMissingError(f"{peer} failed: {lines[-1] if lines else done.returncode}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def runs_of(measured: dict[str, Any]) -> list[Run]:
    """Runs as `outside.py` prints them."""
    return [
        Run(Cost(*one["cost"]), Reading(*one["before"]), Reading(*one["after"])) for one in measured["runs"]
    ]
