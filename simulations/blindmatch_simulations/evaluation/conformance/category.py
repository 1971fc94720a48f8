"""Pictures for a design that recognises a category, where the picture alone decides, whatever is listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from blindmatch_protocol.contract import Category
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.picture.decode import Picture
from PIL import Image

from blindmatch_simulations.testbed.inprocess.verdict import NotComparableError
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, encoded
from blindmatch_simulations.testbed.pictures.pool import Pooled, picture

LEVELS: Final = ((0.0, 0), (0.0, 255), (0.05, 0), (0.05, 242), (0.3, 0), (0.3, 178))
"""Contrast and least level of pictures from black to white. Those of little contrast are poor ones, too."""
FRONT: Final = 970
"""Of the numbers of these pictures, beyond those of the pool, of worst cases and of hand-over."""


def of_all_kinds(seed: int) -> list[Pooled]:
    """Dark, bright and plain pictures, and some with a line of text."""
    pixels = picture(1000 * seed + FRONT).pixels
    levels = {f"{contrast}+{least}": pixels * contrast + least for contrast, least in LEVELS}
    items = {name: Picture.from_pixels(one.astype(np.uint8)) for name, one in levels.items()}
    for name in ("caption", "status-bar"):
        items[name] = Picture.from_bytes(BY_NAME[name].apply(encoded(Image.fromarray(pixels))))
    return [Pooled(f"category/{name}", "category", item) for name, item in items.items()]


def of_either(relation: Category, seed: int) -> dict[str, Picture]:
    """A picture that is of the category, `match`, and one that is not, `none`; as far as there are such."""
    items = [one.item for one in of_all_kinds(seed)]
    return {"match" if relation.matches(one, NO_ENTRIES) else "none": one for one in items}


def check_both_ways(relation: Category, expected: Mapping[str, bool]) -> None:
    """Make sure that pictures were tried that are of the category, and such as are not.

    Raises:
        NotComparableError: if not: where nothing is to be flagged, a design that flags nothing is right.
    """
    of, tried = sum(expected.values()), len(expected)
    if not 0 < of < tried:
        raise NotComparableError(f"{of} of {tried} pictures tried are of the category {relation.words}")
