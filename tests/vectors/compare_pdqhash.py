"""Compare this project's PDQ with pdqhash, live, on 1,000 pictures; and their speed.

Needs an environment with pdqhash, scikit-image and Pillow; from the root of the repository:

    PYTHONPATH=protocol python tests/vectors/compare_pdqhash.py [seed]

Exits with 1 unless at least 99 % of the hashes are identical and none is more than 2 bits away.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pdqhash
import recipes
from blindmatch_protocol.picture import pdq
from make_pdq_vectors import photos
from PIL import Image


def pictures(seed: int) -> Iterator[recipes.Pixels]:
    """500 generated pictures, 500 crops."""
    for row in recipes.plan(500, seed, 400):
        yield recipes.generated(**row)
    sources = photos()
    for row in recipes.boxes(500, seed, {name: pixels.shape[:2] for name, pixels in sources.items()}):
        yield recipes.crop(sources[row["photo"]], row["box"])


def agreement(seed: int) -> tuple[float, int, int]:
    """Share of identical hashes, the most bits of difference, the most difference in quality."""
    bits, qualities = [], []
    for pixels in pictures(seed):
        ours = pdq.fingerprint(pdq.luminance(pixels))
        vector, quality = pdqhash.compute(pixels)
        bits.append(int((np.unpackbits(np.frombuffer(ours.hash, np.uint8)) != vector).sum()))
        qualities.append(abs(ours.quality - int(quality)))
    return float(np.mean(np.array(bits) == 0)), max(bits), max(qualities)


def seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def speed(rounds: int = 100) -> tuple[float, float]:
    """Median milliseconds for a photograph of 640 x 480, measured in turns: ours, theirs."""
    photo = Image.open(recipes.photo_path("motorcycle_left.png")).convert("RGB").resize((640, 480))
    pixels = np.asarray(photo)
    tasks = (lambda: pdq.fingerprint(pdq.luminance(pixels)), lambda: pdqhash.compute(pixels))
    durations = np.array([[seconds(task) for task in tasks] for _ in range(rounds)])
    ours, theirs = np.median(durations, axis=0) * 1e3
    return float(ours), float(theirs)


def main() -> int:
    same, most, quality = agreement(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    ours, theirs = speed()
    sys.stdout.write(
        f"identical: {same:.2%} of 1,000; at most {most} bits apart; quality at most {quality} apart\n"
        f"640 x 480: {ours:.2f} ms, pdqhash {theirs:.2f} ms, ratio {ours / theirs:.2f}\n"
    )
    return 0 if same >= 0.99 and most <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
