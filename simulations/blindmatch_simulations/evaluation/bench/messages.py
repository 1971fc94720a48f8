"""`blindmatch bench messenger`: texts and pictures of devices with the design `none` through one relay.

Devices and relay share the cores, so rates are those of the whole; CPU times tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

import numpy as np
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party, Progress, batches_of
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.designs.none import DESIGN
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from blindmatch_server.hosting.workers import TaskError, WorkerError, Workers, cores
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.evaluation.bench.messages_worker import Order, are_made, make_pairs, obey
from blindmatch_simulations.evaluation.bench.sets import ALONE
from blindmatch_simulations.measure.meter import NO_PROC, Meter
from blindmatch_simulations.measure.processes import AloneError, cpu_seconds, status_mib
from blindmatch_simulations.measure.yardstick import Run, percentile
from blindmatch_simulations.testbed.pictures.crops import photograph
from blindmatch_simulations.testbed.scenario.world import World

T = TypeVar("T")


class Load(Struct, frozen=True):
    """How much is sent.

    Attributes:
        workers: processes with devices.
    """

    texts: int = 2000
    pictures: int = 200
    workers: int = 2
    pairs: int = 4
    franking: FrankingMode = DEFAULT_MODE

    @property
    def all_pairs(self) -> int:
        return self.workers * self.pairs


class Outcome(Struct, frozen=True):
    """What came of an order.

    Attributes:
        relay_cpu_us, device_cpu_us: CPU time a message; the relay's is None without /proc.
    """

    messages: int
    seconds: float
    latencies_us: Sequence[float]
    relay_cpu_us: float | None
    device_cpu_us: float

    @classmethod
    def joined(cls, parts: Sequence[Outcome]) -> Outcome:
        """Of orders one after the other; the time between them does not count."""
        messages = sum(part.messages for part in parts)
        relay = [part.relay_cpu_us * part.messages for part in parts if part.relay_cpu_us is not None]
        return cls(
            messages=messages,
            seconds=sum(part.seconds for part in parts),
            latencies_us=[value for part in parts for value in part.latencies_us],
            relay_cpu_us=sum(relay) / messages if len(relay) == len(parts) else None,
            device_cpu_us=sum(part.device_cpu_us * part.messages for part in parts) / messages,
        )

    @property
    def per_second(self) -> float:
        return self.messages / self.seconds

    def latency_figures(self) -> dict[str, float]:
        values = self.latencies_us
        tails = {f"p{share}_us": percentile(values, share / 100) for share in (95, 99)}
        return {"p50_us": median(values), **tails, "per_second": self.per_second}


class Field(Struct, frozen=True):
    """A running relay and its workers; `device` is what `alone` is told of one of theirs."""

    device: tuple[str, str, str]
    relay: int
    workers: Sequence[Workers]
    pairs: int

    def order(self, messages: int, rate: float = 0.0, picture: Path | None = None) -> Outcome:
        """Have about `messages` sent by all pairs together, at `rate` a second in all; 0: as fast as it goes;
        `AloneError` if a worker fails."""
        each = max(1, round(messages / self.pairs))
        before = cpu_seconds(self.relay)
        answers = self.results(obey, Order(each, rate / self.pairs, picture))
        sent = each * self.pairs
        after = cpu_seconds(self.relay)
        return Outcome(
            messages=sent,
            seconds=max(one["ended"] for one in answers) - min(one["began"] for one in answers),
            latencies_us=[value for one in answers for value in one["latencies_us"]],
            relay_cpu_us=None if before is None or after is None else (after - before) / sent * 1e6,
            device_cpu_us=sum(one["cpu_s"] for one in answers) / sent * 1e6,
        )

    def results(self, task: Callable[..., T], *arguments: Any) -> list[T]:
        """What all workers make of a task at the same time; `AloneError` if one fails."""
        try:
            asked = [one.submit(task, *arguments) for one in self.workers]
            return [one.result(future) for one, future in zip(self.workers, asked, strict=True)]
        except (TaskError, WorkerError) as error:
            raise AloneError(f"a process of the bench failed: {error}") from None

    def memory_mib(self) -> dict[str, float]:
        """Resident memory of the relay, and of all processes with devices together; empty without /proc."""
        relay = status_mib("VmRSS", self.relay)
        devices = [status_mib("VmRSS", *worker.pids) for worker in self.workers]
        known = [one for one in devices if one is not None]
        return {} if relay is None else {"relay": relay, "devices": sum(known)}


@contextmanager
def messenger_field(folder: Path, load: Load) -> Iterator[Field]:
    """Relay, matcher and registered devices, in the new deployment `folder`, until the block ends."""
    nothing = batches_of(NO_ENTRIES, np.zeros(0, np.uint64), np.zeros((0, 16), np.uint8))
    made = World.create(folder, DESIGN.info.name, franking=load.franking)
    with made as world, ExitStack() as stack:
        world.publish(nothing, system_randomness())
        world.start([Party.MATCHER, Party.PROVIDER])
        workers = [Workers(1, make_pairs, folder, f"w{n}", load.pairs) for n in range(load.workers)]
        for worker in workers:
            stack.callback(worker.end)
        curator = world.deployment.curator_public_key().hex()
        name = "w0-0-a"
        device = str(world.deployment.device(name) / "state"), name, curator
        field = Field(device, world.servers[Party.PROVIDER].process.pid, workers, load.all_pairs)
        field.results(are_made)
        yield field


PICTURE_KB: Final = 200
"""Kilobytes (1,000 bytes) of a picture file, to within 5 %."""
LATENCY_S: Final = 8.0
"""About how long latency is measured."""
MEMORY_AT: Final = (20, 60, 100)
"""Percent of the texts after which memory is read; the rate is that of those after the first reading."""
MOST_AT_ONCE: Final = 5000
"""Texts of one order: between orders progress is shown."""


def bench_messenger(meter: Meter, folder: Path, load: Load) -> None:
    """Measure texts, then pictures of 200 kB, in the new deployment `folder`."""
    progress = meter.phase("devices register")
    with messenger_field(folder, load) as field:
        progress(1, 1)
        found, runs = meter.starts(ALONE, "open", *field.device)
        cpu = median(one["cpu_s"] for one in found)
        wall = median(run.cost.wall_s for run in runs)
        meter.record("messenger/start", {"cpu_us": cpu * 1e6, "wall_us": wall * 1e6}, runs)
        own = [one["own_mib"] for one in found]
        meter.memory("messenger/start-memory", None if None in own else median(own))
        _texts(meter, field, load)
        _pictures(meter, field, load, _picture(folder / "picture.jpg"))


def _texts(meter: Meter, field: Field, load: Load) -> None:
    progress = meter.phase("texts through the relay")
    ends = [load.texts * percent // 100 for percent in MEMORY_AT]
    list(_orders(field, 0, ends[0], load.texts, progress))
    memory = [field.memory_mib()]
    parts = list[Outcome]()
    with meter.around(cores()) as runs:
        for start, end in pairwise(ends):
            parts += _orders(field, start, end, load.texts, progress)
            memory.append(field.memory_mib())
    outcome = Outcome.joined(parts)
    _record(meter, "messenger/texts", outcome, runs, load)
    _memory(meter, memory, load)
    _latency(meter, field, "messenger/texts-latency", outcome, load)


def _orders(field: Field, start: int, end: int, of: int, progress: Progress) -> Iterator[Outcome]:
    """Texts from number `start` to `end` of all, in orders of a bounded size."""
    for at in range(start, end, MOST_AT_ONCE):
        until = min(end, at + MOST_AT_ONCE)
        yield field.order(until - at)
        progress(until, of)


def _memory(meter: Meter, read: Sequence[Mapping[str, float]], load: Load) -> None:
    for process in ("relay", "devices"):
        found = [one[process] for one in read if process in one]
        if len(found) < len(read):
            for row in ("messenger/memory", f"messenger/{process}-memory"):
                meter.missing(row, NO_PROC)
            continue
        for percent, mib in zip(MEMORY_AT, found, strict=True):
            meter.memory("messenger/memory", mib, process=process, percent=percent, texts=load.texts)
        figures = {"start_mib": found[0], "end_mib": found[-1], "times": found[-1] / found[0]}
        meter.record(f"messenger/{process}-memory", figures, texts=load.texts)


def _pictures(meter: Meter, field: Field, load: Load, picture: Path) -> None:
    if not load.pictures:
        for row in ("messenger/pictures", "messenger/pictures-latency"):
            meter.missing(row, "no pictures were asked for")
        return
    progress = meter.phase("pictures through the relay")
    with meter.around(cores()) as runs:
        outcome = field.order(load.pictures, picture=picture)
    progress(1, 2)
    _record(meter, "messenger/pictures", outcome, runs, load, picture_kb=PICTURE_KB)
    _latency(meter, field, "messenger/pictures-latency", outcome, load, picture)
    progress(2, 2)


def _record(
    meter: Meter, row: str, outcome: Outcome, runs: list[Run], load: Load, **parameters: int | str
) -> None:
    figures = {"per_second": outcome.per_second, "device_cpu_us": outcome.device_cpu_us}
    if outcome.relay_cpu_us is not None:
        figures["server_cpu_us"] = outcome.relay_cpu_us
    sizes = {"messages": outcome.messages, "pairs": load.all_pairs}
    meter.record(row, figures, runs, **sizes, franking=load.franking, **parameters)


def _latency(
    meter: Meter, field: Field, row: str, full: Outcome, load: Load, picture: Path | None = None
) -> None:
    """At half the rate, for some seconds but with no more messages than before."""
    rate = full.per_second / 2
    with meter.around(cores()) as runs:
        outcome = field.order(min(full.messages, round(rate * LATENCY_S)), rate, picture)
    meter.record(row, outcome.latency_figures(), runs, messages=outcome.messages, pairs=load.all_pairs)


def _picture(path: Path) -> Path:
    image = Image.fromarray(photograph("coffee.png")).convert("RGB").resize((1024, 768))
    least = 30
    most = 100
    data = b""
    while least < most:
        quality = (least + most) // 2
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        data = file.getvalue()
        least, most = (quality + 1, most) if len(data) < PICTURE_KB * 1000 else (least, quality)
    path.write_bytes(data)
    return path
