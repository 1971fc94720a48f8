"""`blindmatch bench flood`: what hostile clients of a relay do to the texts of everybody else.

    quiet texts, texts under attack, quiet texts, texts under attack ...      for each kind of hostile client

Bystanders send texts at a fixed rate, far below what the relay can do, so that latency is not that of their
own queue. A kind is compared with the quiet texts just before it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindmatch_server.crew import cores

from blindmatch_simulations.bench.field import Field, Load, Outcome, messenger_field
from blindmatch_simulations.bench.meter import Meter
from blindmatch_simulations.bench.runs import Run, counting
from blindmatch_simulations.bench.worker import Worker, working
from blindmatch_simulations.hostile import KINDS

REST_S: Final = 0.5
"""After an attack, until the relay has answered what was refused late."""


@dataclass(frozen=True, slots=True)
class Flood:
    """How much is done.

    Attributes:
        texts: of the bystanders, quiet and under each kind of attack, in each round.
        rate: texts a second of all bystanders together.
        pairs: of bystanders.
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


@dataclass(frozen=True, slots=True)
class Round:
    """Quiet texts, then texts beside one kind of hostile client, whose attempts `outcomes` counts."""

    quiet: Outcome
    attacked: Outcome
    run: Run
    seconds: float
    outcomes: Mapping[str, int]


def bench_flood(meter: Meter, folder: Path, flood: Flood) -> None:
    """Measure each kind of hostile client, in the new deployment `folder`."""
    progress = meter.stage("devices and hostile clients register")
    with messenger_field(folder, Load(workers=1, pairs=flood.pairs)) as field:
        victims = [f"w0-{number}-b" for number in range(flood.pairs)]
        sizes = str(flood.accounts), str(flood.at_once)
        with working("hostile_worker", str(folder), *sizes, *victims) as hostile:
            hostile.answer()
            progress(1, 1)
            found = {kind: _rounds(meter, field, hostile, kind, flood) for kind in KINDS}
    _record_quiet(meter, [one for rounds in found.values() for one in rounds], flood)
    for kind, rounds in found.items():
        _record(meter, kind, rounds, flood)


def _rounds(meter: Meter, field: Field, hostile: Worker, kind: str, flood: Flood) -> list[Round]:
    progress = meter.stage(f"texts beside hostile clients: {kind}")
    rounds = []
    for done in range(flood.rounds):
        rounds.append(_round(meter, field, hostile, kind, flood))
        progress(done + 1, flood.rounds)
    return rounds


def _round(meter: Meter, field: Field, hostile: Worker, kind: str, flood: Flood) -> Round:
    with meter.around(cores()) as around:
        quiet = field.order(flood.texts, flood.rate)
        hostile.tell(kind)
        hostile.answer()
        attacked = field.order(flood.texts, flood.rate)
        hostile.tell("stop")
        ended = hostile.answer()
        time.sleep(REST_S)
    return Round(quiet, attacked, around.runs[0], ended["seconds"], ended["outcomes"])


def _record_quiet(meter: Meter, rounds: Sequence[Round], flood: Flood) -> None:
    quiet = Outcome.joined([one.quiet for one in _counting(rounds)])
    runs = [one.run for one in rounds]
    meter.record("flood/quiet", _latencies(quiet), runs, messages=quiet.messages, **_bystanders(flood))


def _record(meter: Meter, kind: str, rounds: Sequence[Round], flood: Flood) -> None:
    row, parameters = f"flood/{kind}", _bystanders(flood)
    parameters |= {"accounts": flood.accounts, "at_once": flood.at_once}
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


def _bystanders(flood: Flood) -> dict[str, int | str]:
    return {"pairs": flood.pairs, "texts_per_second": round(flood.rate)}


def _latencies(outcome: Outcome) -> dict[str, float]:
    return {name: value for name, value in outcome.latency_figures().items() if name.endswith("_us")}
