"""Starts `peer_outside.py` in an environment that has the peers' packages, and makes rows of its findings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.codec.errors import BlindmatchError
from msgspec import Struct

from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.processes import AloneError, output_of
from blindmatch_simulations.measure.yardstick import Cost, Reading, Run, cost_figures

SCRIPT: Final = Path(__file__).with_name("peer_outside.py")
NOT_GIVEN: Final = "no --peer-python was given"
MOST_SECONDS: Final = 1800.0
OPENMINED: Final = {"set-up": "set_up", "size": "bytes", "crypto": "crypto", "look-up": "look_up"}
SECRETFLOW: Final = {"set-up": "set_up"}
"""Rows, and what `peer_outside.py` calls them: OpenMined PSI, and SecretFlow's unbalanced PSI (FourQ), of
which the server's cache of a list is measured; CPU time is that of all its threads."""
QUERY: Final = 1
"""Hashes of a query; OpenMined's set-up message grows with the largest query it must serve."""


class PeerMissingError(BlindmatchError):
    """A peer could not be measured; the text says why, for the row."""


class Peers(Struct, frozen=True):
    """Attributes:
    python: interpreter of the peers' environment; None if there is none.
    """

    python: Path | None

    def run(self, peer: str, *arguments: Path | int) -> dict[str, Any]:
        """What `peer_outside.py` says of a peer; `PeerMissingError` if there is no environment, it lacks a
        package, or the peer fails."""
        if self.python is None:
            raise PeerMissingError(NOT_GIVEN)
        command = [str(self.python), "-s", str(SCRIPT), peer, *map(str, arguments)]
        try:
            found: dict[str, Any] = json.loads(output_of(command, MOST_SECONDS))
        except AloneError as error:
            raise PeerMissingError(f"{peer} {error}") from error
        return found


def runs_of(measured: dict[str, Any]) -> list[Run]:
    """Runs as `peer_outside.py` prints them."""
    return [
        Run(Cost(*one["cost"]), Reading(*one["before"]), Reading(*one["after"])) for one in measured["runs"]
    ]


def bench_openmined(meter: Meter, peers: Peers, log2n: int) -> None:
    """Measure OpenMined PSI on a set of 2^`log2n` hashes: beside rows of `bench set` and `bench query`."""
    _bench(meter, peers, "OpenMined", OPENMINED, 1 << log2n, batch=QUERY)


def bench_secretflow(meter: Meter, peers: Peers, log2n: int) -> None:
    """Measure SecretFlow PSI on a list of 2^`log2n` hashes: a row beside `set/build`."""
    _bench(meter, peers, "SecretFlow", SECRETFLOW, 1 << log2n)


def _bench(meter: Meter, peers: Peers, name: str, rows: dict[str, str], entries: int, **sizes: int) -> None:
    progress, peer = meter.phase(f"{name} PSI, in an environment of its own"), name.lower()
    try:
        found = peers.run(peer, entries, *sizes.values(), meter.runs)
    except PeerMissingError as error:
        for row in rows:
            meter.missing(f"peers/{peer}/{row}", str(error))
        return
    progress(1, 1)
    version = str(found["version"])
    for row, key in rows.items():
        if key == "bytes":
            meter.record(f"peers/{peer}/{row}", {"bytes": found[key]}, entries=entries, version=version)
            continue
        runs = runs_of(found[key])
        figures = cost_figures(runs, found[key]["count"])
        meter.record(f"peers/{peer}/{row}", figures, runs, entries=entries, **sizes, version=version)
