"""Write pdq.json with the reference implementation.

Needs an environment with pdqhash, scikit-image and Pillow (pdqhash has no wheels for Linux and needs a
compiler); this project need not be installed there:

    python tests/vectors/make_pdq_vectors.py > tests/vectors/pdq.json
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import pdqhash
import recipes
from PIL import Image

SEED = 20_240_601
ABOUT = (
    "PDQ of generated pictures (recipes.py) and of crops [top, left, height, width] of bundled photographs"
)


def expected(pixels: recipes.Pixels) -> dict[str, Any]:
    bits, quality = pdqhash.compute(pixels)
    return {
        "pixels_sha256": recipes.digest(pixels),
        "hash": np.packbits(bits.astype(np.uint8)).tobytes().hex(),
        "quality": int(quality),
    }


def photos() -> dict[str, recipes.Pixels]:
    return {name: np.asarray(Image.open(recipes.photo_path(name)).convert("RGB")) for name in recipes.PHOTOS}


def main() -> None:
    sources = photos()
    generated = [row | expected(recipes.generated(**row)) for row in recipes.plan(200, SEED, 160)]
    sizes = {name: pixels.shape[:2] for name, pixels in sources.items()}
    crops = [
        row | expected(recipes.crop(sources[row["photo"]], row["box"]))
        for row in recipes.boxes(104, SEED, sizes)
    ]
    packages = {name: version(name) for name in ("pdqhash", "scikit-image", "pillow", "numpy")}
    rows = {"generated": generated, "crops": crops}
    body = ",\n".join(
        f'"{name}": [\n' + ",\n".join(json.dumps(row) for row in part) + "\n]" for name, part in rows.items()
    )
    sys.stdout.write(f'{{\n"about": {json.dumps(ABOUT)},\n"made_with": {json.dumps(packages)},\n{body}\n}}\n')


if __name__ == "__main__":
    main()
