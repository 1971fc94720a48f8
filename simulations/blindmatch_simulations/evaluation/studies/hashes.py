"""Perceptual hashes: what their holder can rebuild of a picture.

The score is SSIM (Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural
Similarity") of the rebuilt luminance and the picture's own; `chance` is the score against another picture.
Pictures are generated; scores are kept, reconstructions are not.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.testbed.pictures.pool import detailed

PICTURES: Final = 64
"""To rebuild, and as many others to learn from."""

Floats: TypeAlias = npt.NDArray[np.float32]

_SIDE: Final = 64
_ROWS: Final = slice(1, 17)


class Usual(Struct, frozen=True, eq=False):
    """What is known of pictures before one is seen.

    Attributes:
        brightness: mean of the 64 x 64 plane.
        sizes: mean absolute value of each coefficient, (256,), in the order of the hash's bits.
    """

    brightness: float
    sizes: npt.NDArray[np.float32]


class Score(Struct, frozen=True):
    """Mean SSIM of reconstructions: with the picture itself, and with another one."""

    own: float
    chance: float


def learnt(pictures: list[Picture]) -> Usual:
    planes = [pdq.thumbnail(one.luminance) for one in pictures]
    sizes = np.abs(np.stack([one.coefficients for one in pictures])).mean(axis=0)
    return Usual(float(np.mean(planes)), sizes.astype(np.float32))


@cache
def measured(count: int = PICTURES) -> dict[str, Score]:
    """Scores of `count` generated pictures, by what is held of them."""
    usual = learnt([detailed(number) for number in range(PICTURES)])
    shown = [detailed(PICTURES + number) for number in range(count)]
    rebuilt = {
        "hash": [of_hash(one.hash, usual) for one in shown],
        "coefficients": [of_coefficients(one.coefficients, usual) for one in shown],
        "plane": [pdq.thumbnail(one.luminance) for one in shown],
    }
    found = {}
    for held, planes in rebuilt.items():
        own = [alike(plane, one) for plane, one in zip(planes, shown, strict=True)]
        other = [alike(plane, shown[at - 1]) for at, plane in enumerate(planes)]
        found[held] = Score(float(np.mean(own)), float(np.mean(other)))
    return found


def of_coefficients(values: npt.NDArray[np.float32], usual: Usual) -> Floats:
    """The plane with these 256 coefficients, in the order of the hash's bits, and of the usual brightness."""
    from scipy.fft import idctn  # half a second to load, and a name of this module is imported by all workers

    whole = np.zeros((_SIDE, _SIDE), np.float32)
    whole[_ROWS, _ROWS] = values[::-1].reshape(16, 16)
    return np.asarray(np.clip(idctn(whole, norm="ortho") + usual.brightness, 0, 255), np.float32)


def of_hash(own: bytes, usual: Usual) -> Floats:
    """The plane whose coefficients have the signs of a hash's bits, and the usual sizes."""
    bits = np.unpackbits(np.frombuffer(own, np.uint8)).astype(np.float32)
    return of_coefficients((2 * bits - 1) * usual.sizes, usual)


def of_body(body: Any, usual: Usual) -> Floats:
    """The plane that a request shows whose fields are the coefficients or, without these, the hash."""
    if hasattr(body, "coefficients"):
        return of_coefficients(np.frombuffer(body.coefficients, "<f4"), usual)
    return of_hash(body.hash, usual)


def alike(plane: Floats, one: Picture) -> float:
    """SSIM of a plane, drawn to the picture's size, and the picture's luminance."""
    from skimage.metrics import structural_similarity

    height, width = one.luminance.shape
    scaled = Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC)
    own = np.asarray(scaled, np.float32)
    return float(structural_similarity(own, one.luminance, data_range=255.0))  # type: ignore[no-untyped-call]
