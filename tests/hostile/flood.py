"""`make flood`: what hostile clients of a relay or a matcher do to everybody else.

    quiet, under attack, quiet, under attack ...      for each kind of hostile client

Bystanders send texts, or check pictures, at a fixed rate, far below what the server can do, so that latency
is not that of their own queue. A kind is compared with the quiet time just before it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from blindmatch_client.egress import Egress
from blindmatch_client.matching.detector import MatchingExchange
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_server.hosting.workers import Workers, cores
from blindmatch_simulations.evaluation.bench.loopback import serving
from blindmatch_simulations.evaluation.bench.messages import Load, Outcome, messenger_field
from blindmatch_simulations.evaluation.bench.queries import SEVERAL, Check
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.measure.yardstick import Run, counting, timed
from msgspec import Struct

from hostile import MATCHER, RELAY
from hostile.worker import are_settled, begin, leave, settle, stop

T = TypeVar("T")
REST_S: Final = 0.5
"""After an attack, until the relay has answered what was refused late."""


class Flood(Struct, frozen=True):
    """How much is done.

    Attributes:
        texts: texts or checks of the bystanders, quiet and under each kind of attack, in each round.
        rate: texts or checks a second of all bystanders together.
        pairs: of bystanders; devices, where they check pictures.
        rounds: how often each kind attacks.
        accounts: of the attacker.
        at_once: attempts of one such account that are under way at the same time.
    """

    texts: int = 200
    rate: float = 40.0
    pairs: int = 4
    rounds: int = 3
    accounts: int = 4
    at_once: int = 16


class Round(Struct, frozen=True):
    """A quiet time, then one beside one kind of hostile client, whose attempts `outcomes` counts."""

    quiet: Outcome
    attacked: Outcome
    run: Run
    seconds: float
    outcomes: Mapping[str, int]


class Scene(Struct, frozen=True):
    """Bystanders and hostile clients of one server.

    Attributes:
        rows: what ids of its rows begin with.
        words: what bystanders do, for the progress.
        kinds: of hostile clients.
        order: has the bystanders do what they do once.
        bystanders: parameters of the rows.
        attack: the last arguments of `settle`, from `home` on.
    """

    rows: str
    words: str
    kinds: Collection[str]
    order: Callable[[], Outcome]
    bystanders: Mapping[str, int | str]
    attack: Sequence[Any]


def bench_flood(meter: Meter, folder: Path, flood: Flood) -> None:
    """Measure each kind of hostile client of a relay, in the new deployment `folder`."""
    with messenger_field(folder, Load(workers=1, pairs=flood.pairs)) as field:
        victims = [f"w0-{number}-b" for number in range(flood.pairs)]
        bystanders = {"pairs": flood.pairs, "texts_per_second": round(flood.rate)}
        order = partial(field.order, flood.texts, flood.rate)
        attack = [folder, "relay", b"", victims]
        measure(meter, Scene("flood", "texts", RELAY.kinds, order, bystanders, attack), flood)


def measure(meter: Meter, scene: Scene, flood: Flood) -> None:
    progress = meter.phase("hostile clients settle")
    hostile = Workers(1, settle, flood.accounts, flood.at_once, *scene.attack)
    try:
        _result(hostile, are_settled)
        progress(1, 1)
        found = {kind: _rounds(meter, scene, hostile, kind, flood) for kind in scene.kinds}
        _result(hostile, leave)
    finally:
        hostile.end()
    _record_quiet(meter, scene, [one for rounds in found.values() for one in rounds])
    for kind, rounds in found.items():
        _record(meter, scene, kind, rounds, flood)


def _result(hostile: Workers, task: Callable[..., T], *arguments: Any) -> T:
    return hostile.result(hostile.submit(task, *arguments))


def _rounds(meter: Meter, scene: Scene, hostile: Workers, kind: str, flood: Flood) -> list[Round]:
    progress = meter.phase(f"{scene.words} beside hostile clients: {kind}")
    return [_round(meter, scene, hostile, kind) for _ in each(range(flood.rounds), progress)]


def _round(meter: Meter, scene: Scene, hostile: Workers, kind: str) -> Round:
    with meter.around(cores()) as runs:
        quiet = scene.order()
        _result(hostile, begin, kind)
        attacked = scene.order()
        seconds, outcomes = _result(hostile, stop)
        time.sleep(REST_S)
    return Round(quiet, attacked, runs[0], seconds, outcomes)


def _record_quiet(meter: Meter, scene: Scene, rounds: Sequence[Round]) -> None:
    quiet = Outcome.joined([one.quiet for one in _counting(rounds)])
    runs = [one.run for one in rounds]
    row = f"{scene.rows}/quiet"
    meter.record(row, _latencies(quiet), runs, messages=quiet.messages, **scene.bystanders)


def _record(meter: Meter, scene: Scene, kind: str, rounds: Sequence[Round], flood: Flood) -> None:
    row = f"{scene.rows}/{kind}"
    parameters = {**scene.bystanders, "accounts": flood.accounts, "at_once": flood.at_once}
    counted = _counting(rounds)
    outcomes = sum((Counter(one.outcomes) for one in counted), Counter[str]())
    if not outcomes:
        meter.missing(row, "no attempt of the hostile clients came to an end", **parameters)
        return
    figures = _figures(counted) | {
        "attempts_per_second": outcomes.total() / sum(one.seconds for one in counted)
    }
    why = "attempts ended in " + ", ".join(f"{name} {count:,}" for name, count in outcomes.most_common())
    messages = sum(one.attacked.messages for one in counted)
    meter.record(row, figures, [one.run for one in rounds], why, messages=messages, **parameters)


def _figures(rounds: Sequence[Round]) -> dict[str, float]:
    """Latency beside the hostile clients, and how many times that of the quiet texts it is."""
    quiet = _latencies(Outcome.joined([one.quiet for one in rounds]))
    found = _latencies(Outcome.joined([one.attacked for one in rounds]))
    ratios = {f"{name}_times": found[f"{name}_us"] / quiet[f"{name}_us"] for name in ("p50", "p95")}
    return found | ratios | {"times": max(ratios.values())}


def _counting(rounds: Sequence[Round]) -> list[Round]:
    """The rounds that figures are taken from: see `runs.counting`."""
    counted = counting([one.run for one in rounds])
    return [one for one in rounds if one.run in counted]


def _latencies(outcome: Outcome) -> dict[str, float]:
    return {name: value for name, value in outcome.latency_figures().items() if name.endswith("_us")}


ENTRIES: Final = 1 << 16


def bench_matcher_flood(meter: Meter, folder: Path, flood: Flood) -> None:
    """Measure each kind of hostile client of a matcher of oprf-psi, in a new deployment below `folder`."""
    home = folder / "matcher"
    with serving(home, ENTRIES, SEVERAL) as served, ExitStack() as stack:
        egresses = (served.egress(f"bystander-{number}") for number in range(flood.pairs))
        devices = [stack.enter_context(closing(one)) for one in egresses]
        order = partial(_Bystanders(served.check, devices).order, flood.texts, flood.rate)
        bystanders = {"devices": flood.pairs, "checks_per_second": round(flood.rate)}
        bystanders |= {"entries": ENTRIES, "evaluations": SEVERAL}
        attack = [home, "matcher", served.check.envelope(), ()]
        measure(meter, Scene("flood/matcher", "checks", MATCHER.kinds, order, bystanders, attack), flood)


class _Bystanders(Struct, frozen=True):
    """Devices that check the same picture at fixed times."""

    check: Check
    devices: Sequence[Egress]

    def order(self, checks: int, rate: float) -> Outcome:
        """About so many checks, at `rate` a second of all devices together."""
        each = max(1, round(checks / len(self.devices)))
        every = len(self.devices) / rate
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
        exchange = MatchingExchange(egress, DESIGN, self.check.epoch, SEVERAL)
        latencies = []
        for number in range(checks):
            due = start + number * every
            time.sleep(max(0.0, due - time.monotonic()))
            self.check.session(system_randomness()).run(self.check.item, exchange)
            latencies.append((time.monotonic() - due) * 1e6)
        return latencies
