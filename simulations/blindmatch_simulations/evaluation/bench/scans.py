"""`blindmatch bench scan`: hashes and pairs as `corpus scan` makes them, by machine code and by numpy.

    python -m blindmatch_simulations.evaluation.bench.scans numpy RUNS SECONDS PICTURES

A process of its own, which the extra `fast` is hidden from, measures numpy: one that has gone over to machine
code does not come back.
"""

from __future__ import annotations

import sys
from functools import partial
from io import BytesIO
from typing import Final

import msgspec
import numpy as np
from blindmatch_protocol.picture import compiled
from PIL import Image

from blindmatch_simulations.evaluation.corpus.hashing import fingerprint_of
from blindmatch_simulations.evaluation.corpus.pairs import block_of, blocks_of
from blindmatch_simulations.measure.meter import Meter, expect
from blindmatch_simulations.measure.processes import in_own_process
from blindmatch_simulations.measure.row import BenchRow
from blindmatch_simulations.testbed.pictures.crops import LICENCES, encoded, photograph

SIZES: Final = ((640, 480), (4000, 3000))
ROWS: Final = ("scan/hash", "scan/decode", "scan/against-decoding", "scan/pair")


def bench_scan(meter: Meter, pictures: int) -> None:
    """Measure both, pairs of so many pictures; rows of machine code have `fast 1`."""
    meter.phase("scan: by numpy, in a process of its own")
    child = "blindmatch_simulations.evaluation.bench.scans"
    found = in_own_process(child, "numpy", str(meter.runs), str(meter.seconds), str(pictures))
    meter.rows += msgspec.convert(found["rows"], list[BenchRow])
    if compiled.once_it_pays(compiled.COMPILING_NS):
        measure(meter, pictures, fast=1)
        return
    for row in ROWS:
        meter.missing(row, "needs the extra `fast`, and a processor with AVX2", fast=1)


def measure(meter: Meter, pictures: int, fast: int) -> None:
    """All rows, by what this process computes with."""
    for width, height in SIZES:
        content = camera_jpeg(width, height)
        pixels = width * height
        alone = meter.time("scan/decode", partial(_decode, content), pixels=pixels, fast=fast)
        whole = meter.time("scan/hash", partial(fingerprint_of, content), pixels=pixels, fast=fast)
        ours = whole.figures["cpu_u"]
        theirs = alone.figures["cpu_u"]
        ends = ((ours.low, theirs.high), (ours.value, theirs.value), (ours.high, theirs.low))
        low, times, high = ({"times": (one or 0.0) / (other or 1.0)} for one, other in ends)
        taken = meter.taken["scan/hash"]
        row = meter.record("scan/against-decoding", times, taken, pixels=pixels, fast=fast)
        meter.rows[-1] = row.spread([low, high])
    prints = np.unique(np.random.default_rng(1).integers(0, 256, (pictures, 64), np.uint8), axis=0)
    meter.time(
        "scan/pair",
        lambda: [block_of(prints, number) for number in range(blocks_of(len(prints)))],
        count=len(prints) * (len(prints) - 1) // 2, pictures=pictures, fast=fast,
    )  # fmt: skip


def camera_jpeg(width: int, height: int) -> bytes:
    """A photograph with the noise of a camera, which enlarging takes away."""
    pixels = Image.fromarray(photograph(next(iter(LICENCES)))).convert("RGB").resize((width, height))
    noisy = np.asarray(pixels) + np.random.default_rng(1).normal(0, 3, (height, width, 3))
    return encoded(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), "JPEG", quality=75)


def _decode(content: bytes) -> None:
    with Image.open(BytesIO(content)) as image:
        image.load()


if __name__ == "__main__":
    sys.modules.update({"llvmlite": None})  # type: ignore[dict-item] # as if the extra were not installed
    expect(compiled.once_it_pays(compiled.COMPILING_NS) is None, "machine code computes, not numpy")
    by_numpy = Meter(int(sys.argv[2]), float(sys.argv[3]))
    measure(by_numpy, int(sys.argv[4]), fast=0)
    sys.stdout.buffer.write(msgspec.json.encode({"rows": by_numpy.rows}))
