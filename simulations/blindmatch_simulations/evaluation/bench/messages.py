"""`blindmatch bench messenger`: texts and pictures through one relay; `field` says who is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

from blindmatch_protocol.contract import Progress
from blindmatch_server.hosting.workers import cores
from PIL import Image

from blindmatch_simulations.evaluation.bench.field import Field, Load, Outcome, messenger_field
from blindmatch_simulations.measure.meter import NO_PROC, Meter
from blindmatch_simulations.measure.yardstick import Run
from blindmatch_simulations.testbed.pictures.crops import photograph

PICTURE_KB: Final = 200
"""Kilobytes (1,000 bytes) of a picture file, to within 5 %."""
LATENCY_S: Final = 8.0
"""About how long latency is measured."""
START: Final = "blindmatch_simulations.evaluation.bench.device_start"
MEMORY_AT: Final = (20, 60, 100)
"""Percent of the texts after which memory is read; the rate is that of those after the first reading."""
MOST_AT_ONCE: Final = 5000
"""Texts of one order: between orders progress is shown."""


def bench_messenger(meter: Meter, folder: Path, load: Load) -> None:
    """Measure texts, then pictures of 200 kB, in the new deployment `folder`."""
    progress = meter.phase("devices register")
    with messenger_field(folder, load) as field:
        progress(1, 1)
        _starts(meter, field)
        _texts(meter, field, load)
        _pictures(meter, field, load, _picture(folder / "picture.jpg"))


def _starts(meter: Meter, field: Field) -> None:
    """Start a device with a session, in fresh processes."""
    found, runs = meter.starts(START, "open", *field.device)
    cpu, wall = median(one["cpu_s"] for one in found), median(run.cost.wall_s for run in runs)
    meter.record("messenger/start", {"cpu_us": cpu * 1e6, "wall_us": wall * 1e6}, runs)
    own = [one["own_mib"] for one in found]
    meter.memory("messenger/start-memory", None if None in own else median(own))


def _texts(meter: Meter, field: Field, load: Load) -> None:
    progress = meter.phase("texts through the relay")
    ends = [load.texts * percent // 100 for percent in MEMORY_AT]
    list(_orders(field, 0, ends[0], load.texts, progress))
    memory, parts = [field.memory_mib()], list[Outcome]()
    with meter.around(cores()) as around:
        for start, end in pairwise(ends):
            parts += _orders(field, start, end, load.texts, progress)
            memory.append(field.memory_mib())
    outcome = Outcome.joined(parts)
    _record(meter, "messenger/texts", outcome, around.runs, load)
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
    with meter.around(cores()) as around:
        outcome = field.order(load.pictures, picture=picture)
    progress(1, 2)
    _record(meter, "messenger/pictures", outcome, around.runs, load, picture_kb=PICTURE_KB)
    _latency(meter, field, "messenger/pictures-latency", outcome, load, picture)
    progress(2, 2)


def _record(
    meter: Meter, row: str, outcome: Outcome, runs: list[Run], load: Load, **parameters: int | str
) -> None:
    figures = {"per_second": outcome.per_second} | outcome.cpu_figures()
    sizes = {"messages": outcome.messages, "pairs": load.all_pairs}
    meter.record(row, figures, runs, **sizes, franking=load.franking, **parameters)


def _latency(
    meter: Meter, field: Field, row: str, full: Outcome, load: Load, picture: Path | None = None
) -> None:
    """At half the rate, for some seconds but with no more messages than before."""
    rate = full.per_second / 2
    with meter.around(cores()) as around:
        outcome = field.order(min(full.messages, round(rate * LATENCY_S)), rate, picture)
    meter.record(row, outcome.latency_figures(), around.runs, messages=outcome.messages, pairs=load.all_pairs)


def _picture(path: Path) -> Path:
    """A JPEG of a photograph, of the quality that makes it about 200 kB long."""
    image = Image.fromarray(photograph("coffee.png")).convert("RGB").resize((1024, 768))
    least, most, data = 30, 100, b""
    while least < most:
        quality = (least + most) // 2
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        data = file.getvalue()
        least, most = (quality + 1, most) if len(data) < PICTURE_KB * 1000 else (least, quality)
    path.write_bytes(data)
    return path
