"""Pictures in the shapes and of the kinds that people send, for conformance, the audit and the demo alike.

    small       sides of 96 to 512 pixels, the small ones more often: thumbnails, stickers, crops
    medium      sides of 600 to 1,400 pixels, as messengers scale photographs down
    phone       960 x 1280; a camera's picture has 3024 x 4032
    screenshot  1080 x 1920, flat colours and text
    document, drawing, clip art, grey, dark

A design is handed a `Picture`, so nothing else of a picture can tell a design where it runs. Each one comes
from a file, as on a device: photographs from JPEG, all others from PNG. A number determines a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from blindmatch_protocol.contract import Category
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.picture.decode import Picture
from PIL import Image

from blindmatch_simulations.testbed.pictures.crops import BY_NAME, encoded
from blindmatch_simulations.testbed.pictures.pool import (
    GENERATED,
    Pooled,
    color_field,
    detailed_field,
    from_file,
    picture,
    small_shape,
)

PHONE: Final = (960, 1280)
SCREEN: Final = (1920, 1080)
"""Height and width, since a phone is held upright."""
CAMERA: Final = (3024, 4032)
MEDIUM: Final = (600, 1400)
"""The least and the longest side of a picture of medium size."""
LARGE: Final = 2_000_000
"""Pixels from which a picture counts as large: hashing one of `CAMERA` takes as long as 300 small ones."""
JPEG_QUALITY: Final = 85


def photograph(number: int, shape: tuple[int, int]) -> bytes:
    """A JPEG file of this height and width."""
    return encoded(Image.fromarray(color_field(number, shape)), "JPEG", quality=JPEG_QUALITY)


def _medium_shape(number: int) -> tuple[int, int]:
    least, most = MEDIUM
    raw = np.asarray(np.random.PCG64(number).random_raw(2)) % np.uint64(most - least + 1)
    return least + int(raw[0]), least + int(raw[1])


def _drawn(kind: str, shape: tuple[int, int] | None = None) -> Callable[[int], bytes]:
    """A kind of `GENERATED`, at its own size or enlarged to height and width."""

    def draw(number: int) -> bytes:
        image = GENERATED[kind](number)
        if shape is not None:
            image = image.resize(shape[::-1], Image.Resampling.NEAREST)
        return encoded(image, compress_level=1)

    return draw


def _grey(number: int) -> bytes:
    field = Image.fromarray(detailed_field(number, small_shape(number)))
    return encoded(field.convert("L"), compress_level=1)


def _dark(number: int) -> bytes:
    """Contrast is left, so that it is asked about as any other."""
    field = detailed_field(number, small_shape(number)) // 4
    return encoded(Image.fromarray(field), compress_level=1)


FILES: Final[Mapping[str, Callable[[int], bytes]]] = {
    "medium": lambda number: photograph(number, _medium_shape(number)),
    "phone": lambda number: photograph(number, PHONE),
    "screenshot": _drawn("screenshots", SCREEN),
    "document": _drawn("documents"),
    "drawing": _drawn("drawings"),
    "clip art": _drawn("clip art"),
    "grey": _grey,
    "dark": _dark,
    "camera": lambda number: photograph(number, CAMERA),
}
"""By kind, a file's bytes; the largest one stands last."""

KIND: Final = "sent"
"""Of pictures of a pool that are in it for their shape or kind."""


SENT: Final = 940
"""Of the numbers of these pictures, beyond those of a pool and its worst cases."""


def files_of_each_kind(front: int, with_largest: bool = True) -> dict[str, bytes]:
    """A file of each kind, with numbers from `front` on. The camera's takes longer to hash than all others
    together."""
    kinds = [kind for kind in FILES if with_largest or kind != "camera"]
    return {kind: FILES[kind](front + at) for at, kind in enumerate(kinds)}


@lru_cache(maxsize=2)
def sent_pictures(front: int) -> tuple[Pooled, ...]:
    """Return a picture of each kind but the camera's, on no list, with numbers from `front` on.

    They take a tenth of a check's time to draw and encode, so a process keeps the last ones."""
    files = files_of_each_kind(front, with_largest=False)
    return tuple(Pooled(f"{kind}/0", KIND, Picture.from_bytes(data)) for kind, data in files.items())


LEVELS: Final = ((0.0, 0), (0.0, 255), (0.05, 0), (0.05, 242), (0.3, 0), (0.3, 178))
"""Contrast and least level of pictures from black to white. Those of little contrast are poor ones, too."""
FRONT: Final = 970
"""Of the numbers of these pictures, beyond those of the pool, of worst cases and of hand-over."""
MOST_OF_CATEGORY: Final = 3
"""Pictures of its category in the pool of a design that looks for one."""


def of_all_kinds(seed: int) -> list[Pooled]:
    """Dark, bright and plain pictures, and some with a line of text."""
    pixels = picture(1000 * seed + FRONT).pixels
    levels = {f"{contrast}+{least}": pixels * contrast + least for contrast, least in LEVELS}
    items = {name: from_file(one.astype(np.uint8)) for name, one in levels.items()}
    for name in ("caption", "status-bar"):
        items[name] = Picture.from_bytes(BY_NAME[name].apply(encoded(Image.fromarray(pixels))))
    return [Pooled(f"category/{name}", "category", item) for name, item in items.items()]


def of_category(relation: Category, seed: int) -> list[Pooled]:
    """Some pictures of `of_all_kinds` that belong to the category; fewer if there are not so many."""
    found = [one for one in of_all_kinds(seed) if relation.matches(one.item, NO_ENTRIES)]
    return found[:MOST_OF_CATEGORY]


def size_class(shape: tuple[int, ...]) -> str:
    """The class of a picture's height and width: small, medium or large."""
    height, width = shape[:2]
    if height * width >= LARGE:
        return "large"
    return "medium" if max(height, width) >= MEDIUM[0] else "small"
