"""SecretFlow's unbalanced PSI (FourQ), the server's cache of a list of the same size: beside `set/build`."""

from __future__ import annotations

from typing import Final

from blindmatch_simulations.bench.peers.runner import PeerMissingError, Peers, runs_of
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.yardstick import cost_figures

ROW: Final = "peers/secretflow/set-up"


def bench_secretflow(meter: Meter, peers: Peers, log2n: int) -> None:
    """Measure a list of 2^`log2n` hashes; CPU time is that of all its threads."""
    entries = 1 << log2n
    progress = meter.stage("SecretFlow PSI, in an environment of its own")
    try:
        found = peers.run("secretflow", entries, meter.runs)
    except PeerMissingError as error:
        meter.missing(ROW, str(error))
        return
    progress(1, 1)
    runs = runs_of(found["set_up"])
    meter.record(ROW, cost_figures(runs, entries), runs, entries=entries, version=str(found["version"]))
