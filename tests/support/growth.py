"""How costs grow with list, accounts, designs and pictures: one run of a day, kept in docs/growth.json.

``make growth`` measures, some minutes; `make pages` draws the table from the file.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_simulations.evaluation.assess.alone import sessions_alone
from blindmatch_simulations.evaluation.corpus.hashing import fingerprints
from blindmatch_simulations.evaluation.corpus.pairs import block_of, blocks_of
from blindmatch_simulations.evaluation.population.inputs import read_inputs
from blindmatch_simulations.evaluation.population.running import Options, run
from blindmatch_simulations.measure.results import Figure, Results, Row, encode, read, results
from blindmatch_simulations.testbed.deployment.building import built
from blindmatch_simulations.testbed.inprocess.deployed import open_published
from blindmatch_simulations.testbed.pictures.crops import crops
from blindmatch_simulations.testbed.pictures.pool import random_hashes

from support.page_tables import ROOT, table
from support.voprf_world import entries

FILE: Final = ROOT / "docs" / "growth.json"
REPEATS: Final = 3
DESIGNS: Final = ("literature", "hash-upload", "oprf-psi", "token-psi")
DAYS: Final = 5
Task = Callable[[], object]


def lists(folder: Path) -> Iterator[tuple[str, int, Task]]:
    """A set of `oprf-psi`, and a session with it."""
    rng = system_randomness()
    picture = crops(1, seed=1)[0].data
    for number, count in enumerate((1 << 10, 1 << 12, 1 << 14)):
        source = entries(random_hashes(count, number))
        names = (folder / f"{number}-{at}" for at in range(REPEATS))
        yield (
            "list: a set of oprf-psi built, one thread", count,
            lambda source=source, names=names: built(DESIGN, source, next(names), {}),
        )  # fmt: skip
        opened = open_published(DESIGN, built(DESIGN, source, folder / f"{number}-asked", {}))
        sent = [(0, picture)] * 20
        yield (
            "list: 20 private checks, both sides, hashing included", count,
            lambda opened=opened, sent=sent: list(sessions_alone(opened, sent, rng)),
        )  # fmt: skip


def years(folder: Path) -> Iterator[tuple[str, int, Task]]:
    """Months of `population`."""
    inputs = read_inputs(None)
    for accounts in (10**6, 10**7, 10**8):
        options = Options(accounts, DAYS)
        yield (
            "accounts: five days of population, one design",
            accounts,
            lambda o=options: run(inputs, None, ["oprf-psi"], o),
        )
    for count in (1, 2, 4):
        options = Options(10**6, DAYS)
        chosen = list(DESIGNS[:count])
        yield (
            "designs: five days of population, a million accounts",
            count,
            lambda c=chosen, o=options: run(inputs, None, c, o),
        )


def pictures(folder: Path) -> Iterator[tuple[str, int, Task]]:
    """A scan's two parts."""
    (folder / "pictures").mkdir()
    files = []
    for at, crop in enumerate(crops(64, seed=1)):
        path = folder / "pictures" / f"{at}.png"
        path.write_bytes(crop.data)
        files.append((str(path), len(crop.data)))
    for count in (16, 64, 256):
        chosen = (files * 4)[:count]
        yield "pictures: hashed in a scan", count, lambda chosen=chosen: fingerprints(chosen)
    for count in (1 << 12, 1 << 13, 1 << 14):
        prints = np.concatenate([random_hashes(count, 1), random_hashes(count, 2)], axis=1)
        prints = np.unique(prints, axis=0)
        yield (
            "pictures: pairs of a scan", count,
            lambda prints=prints: [block_of(prints, number) for number in range(blocks_of(len(prints)))],
        )  # fmt: skip


def used() -> float:
    """CPU seconds of this process and of children that ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def measured() -> list[Row]:
    """Every task, the median of some runs."""
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for part, repeats in ((lists, REPEATS), (years, 1), (pictures, REPEATS)):
            for what, size, task in part(Path(work)):
                took = []
                for _ in range(repeats):
                    before = used()
                    began = time.monotonic()
                    task()
                    took.append((used() - before, time.monotonic() - began))
                cpu, wall = (statistics.median(one) for one in zip(*took, strict=True))
                figures = {"cpu_s": Figure(cpu, "", n=repeats), "wall_s": Figure(wall, "", n=repeats)}
                rows.append(Row(id=what, parameters={"size": size}, figures=figures))
                print(what, size, f"{cpu:.3f} s of CPU, {wall:.3f} s", flush=True)  # noqa: T201
    return rows


def slope(points: list[tuple[float, float]]) -> float:
    """Of a straight line through the logarithms, by least squares."""
    sizes, costs = np.log(np.array(points).T)
    return float(np.polyfit(sizes, costs, 1)[0])


def growth() -> str:
    """The table of the performance page."""
    held: Results[Row] = read(FILE, Results[Row])
    rows = []
    for what in dict.fromkeys(row.id for row in held.rows):
        points = [
            (float(row.parameters["size"]), row.figures["cpu_s"].value or 0.0)
            for row in held.rows
            if row.id == what
        ]
        told = "; ".join(f"{cost:.3g} s" for _, cost in points)
        sizes = "; ".join(f"{int(size):,}" for size, _ in points)
        rows.append((what, sizes, told, f"{slope(points):.2f}"))
    return f"{where(held)}; medians of {REPEATS} runs, of population one run.\n\n" + table(
        ("what grows", "to", "CPU", "slope of the logarithms"), rows
    )


def where(held: Results[Any]) -> str:
    """Day and machine."""
    here = held.machine
    return f"{held.made_at[:10]}, {here.processor}, {here.cores} cores, {here.python}"


def main() -> None:
    """Measure, and keep it."""
    FILE.write_bytes(encode(results(Results[Row], "make growth", {"repeats": REPEATS}, measured())))


if __name__ == "__main__":
    main()
