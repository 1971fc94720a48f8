"""Perceptual hashes: what their holder can rebuild of a picture, and how well the centre's second one tells.

    python -m blindmatch_simulations.evaluation.studies.hashes depicted [pictures]
    python -m blindmatch_simulations.evaluation.studies.hashes second [pictures] [keys]

The score is SSIM (Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural
Similarity") of the rebuilt luminance and the picture's own; `chance` is the score against another picture.
Pictures are generated; scores are kept, reconstructions are not. Pairs from one photograph may overlap and
are counted on their own.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.centre.keys import SAME_PICTURE, KeyedHasher
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.testbed.pictures.crops import EDITS, SamplePicture, crops
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


def alike(plane: Floats, one: Picture) -> float:
    """SSIM of a plane, drawn to the picture's size, and the picture's luminance."""
    from skimage.metrics import structural_similarity

    height, width = one.luminance.shape
    scaled = Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC)
    own = np.asarray(scaled, np.float32)
    return float(structural_similarity(own, one.luminance, data_range=255.0))  # type: ignore[no-untyped-call]


Distances = npt.NDArray[np.uint16]

_SEED: Final = 11


class Separation(Struct, frozen=True):
    """Distances under the second hash.

    Args:
        edits: per edit, those between pictures and their edited selves, one a picture and key.
        other: those of pairs from different photographs, or from one without overlap.
        overlapping: those of pairs of overlapping crops of one photograph.
        correlation: of the distances in `other` with PDQ's for the same pairs.
    """

    edits: dict[str, Distances]
    other: Distances
    overlapping: Distances
    correlation: float


def measure(pictures: list[SamplePicture], hashers: list[KeyedHasher]) -> Separation:
    """All distances between pictures, and between each picture and its edits."""
    planes = [Picture.from_bytes(picture.data).luminance for picture in pictures]
    plain = [pdq.rows([hasher.hash(plane) for plane in planes]) for hasher in hashers]
    edits = {}
    for edit in EDITS:
        changed = [Picture.from_bytes(edit.apply(picture.data)).luminance for picture in pictures]
        hashed = [pdq.rows([hasher.hash(plane) for plane in changed]) for hasher in hashers]
        edits[edit.name] = np.concatenate(
            [np.bitwise_count(a ^ b).sum(axis=1, dtype=np.uint16) for a, b in zip(plain, hashed, strict=True)]
        )
    pairs = np.triu_indices(len(pictures), 1)
    between = np.concatenate([pdq.distances(rows, rows)[pairs] for rows in plain])
    overlap = np.array([_overlap(pictures[i], pictures[j]) for i, j in zip(*pairs, strict=True)])
    coarse = pdq.rows([picture.hash for picture in pictures])
    apart = np.tile(pdq.distances(coarse, coarse)[pairs], len(hashers))
    overlap = np.tile(overlap, len(hashers))
    correlation = float(np.corrcoef(between[~overlap], apart[~overlap])[0, 1])
    return Separation(edits, between[~overlap], between[overlap], correlation)


def _overlap(left: SamplePicture, right: SamplePicture) -> bool:
    """Whether two crops share pixels of a photograph."""
    if left.source != right.source:
        return False
    (t, x, h, w), (t2, x2, h2, w2) = left.box, right.box
    return t < t2 + h2 and t2 < t + h and x < x2 + w2 and x2 < x + w


def print_depicted(count: int = PICTURES) -> None:
    """The scores of what is rebuilt."""
    for held, score in measured(count).items():
        print(f"{held:<13} SSIM {score.own:.2f}, by chance {score.chance:.2f}")


def print_second(count: int = 300, keys: int = 3) -> None:
    """The table of distances, in Markdown."""
    raw = np.asarray(np.random.PCG64(_SEED).random_raw(4 * keys), "<u8").tobytes()
    hashers = [KeyedHasher(raw[at : at + 32]) for at in range(0, len(raw), 32)]
    found = measure(crops(count, _SEED), hashers)
    rows = found.edits | {"other pictures": found.other, "overlapping crops": found.overlapping}
    print("| pair | pairs | least | 1 % | median | 99 % | most | counted as the same |\n|---|" + "---|" * 7)
    for name, values in rows.items():
        low, middle, high = (int(value) for value in np.quantile(values, (0.01, 0.5, 0.99)))
        same = np.count_nonzero(values <= SAME_PICTURE)
        cells = (name, len(values), values.min(), low, middle, high, values.max(), same)
        print("| " + " | ".join(map(str, cells)) + " |")
    print(f"correlation with PDQ's distances over other pictures: {found.correlation:.2f}")


if __name__ == "__main__":
    {"depicted": print_depicted, "second": print_second}[sys.argv[1]](*map(int, sys.argv[2:]))
