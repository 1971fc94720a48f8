"""What a scan costs by numpy and by machine code, in turns in one process, in CPU time and u.

    .venv/bin/python tests/vectors/compare_scan.py

Prints two tables: the median of each figure with the lowest and highest, and how pairs grow with pictures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from io import BytesIO
from statistics import median
from typing import Any

import numpy as np
from blindmatch_protocol.picture import compiled
from blindmatch_simulations.evaluation.corpus import hashing, pairs
from blindmatch_simulations.measure.yardstick import reading
from PIL import Image
from skimage import data

ROUNDS, GROWTH = 15, (4_000, 8_000, 16_000, 32_000)
ENGINES = {"numpy": -(1 << 62), "machine code": 1 << 62}


def cpu(task: Callable[[], object]) -> float:
    """Seconds."""
    began = time.process_time()
    task()
    return time.process_time() - began


def file(kind: str, size: tuple[int, int]) -> bytes:
    """An astronaut with the noise of a camera."""
    pixels = np.asarray(Image.fromarray(data.astronaut()).resize(size, Image.Resampling.BICUBIC))
    noisy = pixels + np.random.default_rng(1).normal(0, 3, pixels.shape)
    out = BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, kind)
    return out.getvalue()


def decode(content: bytes) -> None:
    with Image.open(BytesIO(content)) as image:
        image.load()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def spread(values: list[float], digits: int) -> str:
    low, middle, high = (f"{one:.{digits}f}" for one in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})"


def hash_rows() -> None:
    say("| file | by | u | times its decoding |\n|---|---|---|---|")
    for kind, size, rounds in (
        ("JPEG", (640, 480), ROUNDS),
        ("PNG", (640, 480), ROUNDS),
        ("JPEG", (4000, 3000), 3),
        ("PNG", (4000, 3000), 3),
    ):
        content, found = file(kind, size), dict[str, list[Any]]()
        for _ in range(rounds):
            unit = reading().u_us / 1e6
            alone = cpu(lambda content=content: decode(content))
            for engine, saved in ENGINES.items():
                compiled._saved_ns = saved
                one = cpu(lambda content=content: hashing.fingerprint_of(content))
                found.setdefault(engine, []).append((one / unit, one / alone))
        for engine, rows in found.items():
            units, times = (list(map(float, column)) for column in zip(*rows, strict=True))
            say(f"| {kind} {size[0]} x {size[1]} | {engine} | {spread(units, 0)} | {spread(times, 2)} |")


def pair_rows() -> None:
    rng = np.random.default_rng(1)
    say("\n| pictures | by | u a million pairs |\n|---|---|---|")
    costs: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for count in GROWTH:
        prints = np.unique(rng.integers(0, 256, (count, 64), dtype=np.uint8), axis=0)
        for engine, saved in ENGINES.items():
            compiled._saved_ns, each = saved, list[float]()
            for _ in range(3):
                unit = reading().u_us / 1e6
                blocks = range(pairs.blocks_of(len(prints)))
                each.append(
                    cpu(lambda b=blocks, p=prints: [pairs.block_of(p, number) for number in b]) / unit
                )
            costs[engine].append(median(each))
            million = len(prints) * (len(prints) - 1) / 2e6
            say(f"| {count:,} | {engine} | {spread([one / million for one in each], 1)} |")
    for engine, spent in costs.items():
        slope = np.polyfit(np.log(GROWTH), np.log(spent), 1)[0]
        say(f"log-log slope of pairs over pictures, {engine}: {slope:.2f}")


if __name__ == "__main__":
    assert compiled.loaded(), "the extra `fast` is not installed, or this processor has no AVX2"
    hash_rows()
    pair_rows()
