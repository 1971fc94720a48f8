"""What the demo sends: listed photographs, as they are and edited, others, one picture of each kind that
people send, some of the category that a design looks for, and one that is too poor to be matched.

A number decides the order and the generated pictures; the photographs are always the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Category
from blindmatch_protocol.contract.relation import Relation
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.testbed.pictures.crops import BY_NAME, SamplePicture, crops, encoded
from blindmatch_simulations.testbed.pictures.sent import SENT, files_of_each_kind, of_category

TEXTS: Final = ("Here are the pictures from the trip.", "The last few are a bit dark.")
ANSWER: Final = "Thank you, they all arrived."
LISTED: Final = 12
UNLISTED: Final = 7
"""Photographs; with one picture of each of nine kinds there are 16 pictures that are not listed."""
LISTED_EDITS: Final = ("jpeg-75", "resize-0.75", "brighter", "caption", "webp-75", "contrast")
"""Each is applied to one listed picture; the other listed ones are sent as they are."""
UNLISTED_EDITS: Final = ("jpeg-75", "jpeg-50", "darker", "resize-0.5")
_SEED: Final = 1


class Sending(Redacted, Struct, frozen=True):
    """A picture as it is sent.

    Attributes:
        listed: whether the unedited picture is on the list.
    """

    SHOWN: ClassVar = ("name", "edit", "listed")

    name: str
    edit: str
    listed: bool
    data: bytes


class Workload(Struct, frozen=True):
    """Attributes:
    listed: pictures whose hashes are on the list.
    sendings: pictures to send, in order.
    """

    listed: tuple[SamplePicture, ...]
    sendings: tuple[Sending, ...]


def demo_workload(number: int = _SEED, relation: Relation | None = None) -> Workload:
    """29 pictures: 6 listed ones, 6 edited listed ones, 16 others, and one too poor to be matched; some more
    for a design whose `relation` is a category.

    Args:
        number: decides the order, and the pictures that are generated.
    """
    chosen = crops(LISTED + UNLISTED, _SEED)
    listed = chosen[:LISTED]
    others = chosen[LISTED:]
    # of a PDQ quality below 50: a device must ask all the same
    ramp = np.tile(np.linspace(90, 110, 320).astype(np.uint8), (240, 1))
    generated = files_of_each_kind(1000 * number + SENT)
    if isinstance(relation, Category):
        found = of_category(relation, number)
        generated |= {one.name: encoded(Image.fromarray(one.item.pixels)) for one in found}
    sendings = [
        *_edited(listed, LISTED_EDITS, True),
        *_edited(others, UNLISTED_EDITS, False),
        *(Sending(kind, "identical", False, data) for kind, data in generated.items()),
        Sending("gradient", "identical", False, encoded(Image.fromarray(ramp))),
    ]
    order = np.random.default_rng(number).permutation(len(sendings))
    return Workload(tuple(listed), tuple(sendings[at] for at in order))


def _edited(pictures: Sequence[SamplePicture], edits: tuple[str, ...], listed: bool) -> list[Sending]:
    """The last pictures get an edit each, the ones before are sent as they are."""
    names = ["identical"] * (len(pictures) - len(edits)) + list(edits)
    return [
        Sending(picture.name, edit, listed, BY_NAME[edit].apply(picture.data))
        for picture, edit in zip(pictures, names, strict=True)
    ]
