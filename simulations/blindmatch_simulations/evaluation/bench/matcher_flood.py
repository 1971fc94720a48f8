"""`blindmatch bench flood`, the matcher: private checks of everybody else beside its hostile clients.

Bystanders are devices in this process, a thread each. A check's latency is from when it was due to its
outcome.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from blindmatch_client.egress import Egress
from blindmatch_client.matching.transport import MatchingExchange
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.designs.oprf_psi import DESIGN
from msgspec import Struct

from blindmatch_simulations.evaluation.attacks.hostile import MATCHER
from blindmatch_simulations.evaluation.bench.field import Outcome
from blindmatch_simulations.evaluation.bench.flood import Flood, Scene, measure
from blindmatch_simulations.evaluation.bench.loopback import Served, serving
from blindmatch_simulations.evaluation.bench.queries import SEVERAL, Check
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.yardstick import timed

ENTRIES: Final = 1 << 16


def bench_matcher_flood(meter: Meter, folder: Path, flood: Flood) -> None:
    """Measure each kind of hostile client of a matcher of oprf-psi, in a new deployment below `folder`."""
    home = folder / "matcher"
    with serving(home, ENTRIES, SEVERAL) as served, ExitStack() as stack:
        devices = [_device(served, number, stack) for number in range(flood.pairs)]
        bystanders = _Bystanders(served.check, devices)
        request = folder / "request"
        request.write_bytes(served.check.envelope())
        scene = Scene(
            "flood/matcher",
            "checks",
            MATCHER.kinds,
            lambda: bystanders.order(flood.texts, flood.rate),
            {
                "devices": flood.pairs,
                "checks_per_second": round(flood.rate),
                "entries": ENTRIES,
                "evaluations": SEVERAL,
            },
            [str(home), "matcher", str(request)],
        )
        measure(meter, scene, flood)


def _device(served: Served, number: int, stack: ExitStack) -> Egress:
    egress = served.egress(f"bystander-{number}")
    stack.callback(egress.close)
    return egress


class _Bystanders(Struct, frozen=True):
    """Devices that check the same picture at fixed times."""

    check: Check
    devices: Sequence[Egress]

    def order(self, checks: int, rate: float) -> Outcome:
        """About so many checks, at `rate` a second of all devices together."""
        each, every = max(1, round(checks / len(self.devices))), len(self.devices) / rate
        found: list[list[float]] = []

        def everyone() -> None:
            begins = time.monotonic()
            starts = [begins + every * at / len(self.devices) for at in range(len(self.devices))]
            found.extend(pool.map(partial(self._turn, each, every), self.devices, starts))

        with ThreadPoolExecutor(len(self.devices)) as pool:
            cost = timed(everyone)
        latencies = [value for one in found for value in one]
        return Outcome(len(latencies), cost.wall_s, latencies, None, cost.cpu_s / len(latencies) * 1e6)

    def _turn(self, checks: int, every: float, egress: Egress, start: float) -> list[float]:
        """One device's checks; microseconds of each."""
        exchange, latencies = MatchingExchange(egress, DESIGN, self.check.epoch, SEVERAL), []
        for number in range(checks):
            due = start + number * every
            time.sleep(max(0.0, due - time.monotonic()))
            self.check.session(system_randomness()).run(self.check.item, exchange)
            latencies.append((time.monotonic() - due) * 1e6)
        return latencies
