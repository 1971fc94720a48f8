"""What Alice sends Bob in the demo: benign pictures, some of them listed, some of those edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.testbed.pictures.crops import SamplePicture, crops
from blindmatch_simulations.testbed.pictures.edits import BY_NAME, encoded

TEXTS: Final = ("Here are the pictures from the trip.", "The last few are a bit dark.")
ANSWER: Final = "Thank you, they all arrived."
LISTED: Final = 12
UNLISTED: Final = 16
LISTED_EDITS: Final = ("jpeg-75", "resize-0.75", "brighter", "caption", "webp-75", "contrast")
"""Each is applied to one listed picture; the other listed ones are sent as they are."""
UNLISTED_EDITS: Final = ("jpeg-75", "jpeg-50", "darker", "resize-0.5")
_SEED: Final = 1


class Sending(Redacted, Struct, frozen=True):
    """A picture as it is sent.

    Attributes:
        edit: what was done to it.
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
    own: whether they are the user's own.
    """

    listed: tuple[SamplePicture, ...]
    sendings: tuple[Sending, ...]
    own: bool = False


def demo_workload(pictures: Sequence[SamplePicture] = ()) -> Workload:
    """29 pictures: 6 listed ones, 6 edited listed ones, 16 others, and one too poor to be matched.

    They are crops, or the 28 `pictures` that are given.
    """
    chosen = list(pictures) or crops(LISTED + UNLISTED, _SEED)
    listed, others = chosen[:LISTED], chosen[LISTED:]
    sendings = [
        *_edited(listed, LISTED_EDITS, True),
        *_edited(others, UNLISTED_EDITS, False),
        Sending("gradient", "identical", False, _gradient()),
    ]
    order = np.random.default_rng(_SEED).permutation(len(sendings))
    return Workload(tuple(listed), tuple(sendings[at] for at in order), bool(pictures))


def _edited(pictures: list[SamplePicture], edits: tuple[str, ...], listed: bool) -> list[Sending]:
    """The last pictures get an edit each, the ones before are sent as they are."""
    names = ["identical"] * (len(pictures) - len(edits)) + list(edits)
    return [
        Sending(picture.name, edit, listed, BY_NAME[edit].apply(picture.data))
        for picture, edit in zip(pictures, names, strict=True)
    ]


def _gradient() -> bytes:
    """A picture of almost nothing: its PDQ quality is below 50, and a device must ask all the same."""
    ramp = np.tile(np.linspace(90, 110, 320).astype(np.uint8), (240, 1))
    return encoded(Image.fromarray(ramp))
