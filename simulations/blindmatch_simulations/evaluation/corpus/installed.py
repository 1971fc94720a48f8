"""Pictures that scikit-image brings along: photographs, a few other pictures, and faces. None is copied."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import decode
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.testbed.pictures.crops import LICENCES

PHOTOGRAPHS: Final = "photographs"
FACES: Final = "faces"
OTHERS: Final = {
    "horse.png": ("clip art", "CC0 (Andreas Preuss, openclipart)"),
    "text.png": ("documents", "public domain (Wikipedia)"),
}
"""Those that are no photographs, and what scikit-image's documentation says of their rights."""
FACES_FILE: Final = "lfw_subset.npy"
FACES_LICENCE: Final = "not stated; 25 x 25 pixels of Labeled Faces in the Wild, for research"
_FACES: Final = 100
_ENLARGED: Final = 8


class Found(Struct, frozen=True):
    """A picture: a file, or a row of an array of grey pictures, 0 to 1."""

    kind: str
    licence: str
    path: Path
    name: str
    row: int | None = None

    def pixels(self) -> pdq.Pixels:
        """(h, w, 3) uint8; rows of an array are enlarged eightfold, since nobody sends 25 x 25 pixels;
        `PictureError` if the file is no acceptable picture, `OSError` if it cannot be read."""
        if self.row is None:
            return decode(self.path.read_bytes()).pixels
        grey = np.load(self.path, mmap_mode="r", allow_pickle=False)[self.row]
        small = Image.fromarray((np.asarray(grey) * 255).astype(np.uint8)).convert("RGB")
        size = small.width * _ENLARGED, small.height * _ENLARGED
        return np.asarray(small.resize(size, Image.Resampling.BICUBIC))


def installed() -> Iterator[Found]:
    """All of them that this installation has."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "data"
    photographs = {name: (PHOTOGRAPHS, licence) for name, licence in LICENCES.items()}
    for name, (kind, licence) in {**photographs, **OTHERS}.items():
        if (folder / name).is_file():
            yield Found(kind, licence, folder / name, name)
    for row in range(_FACES if (folder / FACES_FILE).is_file() else 0):
        name = f"{FACES_FILE}[{row}]"
        yield Found(FACES, FACES_LICENCE, folder / FACES_FILE, name, row)
