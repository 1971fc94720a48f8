"""OpenMined PSI, on sets of the same size: rows beside those of `bench set` and `bench query`."""

from __future__ import annotations

from typing import Final

from blindmatch_simulations.bench.peers.runner import PeerMissingError, Peers, runs_of
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.yardstick import cost_figures

ROWS: Final = tuple(f"peers/openmined/{name}" for name in ("set-up", "size", "crypto", "look-up"))
QUERY: Final = 1
"""Hashes of a query; the set-up message grows with the largest query it must serve."""


def bench_openmined(meter: Meter, peers: Peers, log2n: int) -> None:
    """Measure a set of 2^`log2n` hashes."""
    entries = 1 << log2n
    progress = meter.stage("OpenMined PSI, in an environment of its own")
    try:
        found = peers.run("openmined", entries, QUERY, meter.runs)
    except PeerMissingError as error:
        for row in ROWS:
            meter.missing(row, str(error))
        return
    progress(1, 1)
    version = str(found["version"])
    size = {"bytes": found["bytes"]}
    meter.record("peers/openmined/size", size, entries=entries, version=version)
    for row, key in (("set-up", "set_up"), ("crypto", "crypto"), ("look-up", "look_up")):
        runs = runs_of(found[key])
        figures = cost_figures(runs, found[key]["count"])
        meter.record(f"peers/openmined/{row}", figures, runs, entries=entries, batch=QUERY, version=version)
