"""Tables of pages: what a hash's holder can rebuild, and how well the centre's second hash tells pictures.

    PYTHONPATH=tests python -m support.hash_study depicted [pictures]
    PYTHONPATH=tests python -m support.hash_study second [pictures] [keys]

Pairs from one photograph may overlap and are counted on their own.
"""

from __future__ import annotations

import sys
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.centre.keys import SAME_PICTURE, KeyedHasher
from blindmatch_simulations.evaluation.studies.hashes import PICTURES, measured
from blindmatch_simulations.testbed.pictures.crops import EDITS, SamplePicture, crops
from msgspec import Struct

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
    t, x, h, w = left.box
    t2, x2, h2, w2 = right.box
    return t < t2 + h2 and t2 < t + h and x < x2 + w2 and x2 < x + w


def print_depicted(count: int = PICTURES) -> None:
    for held, score in measured(count).items():
        print(f"{held:<13} SSIM {score.own:.2f}, by chance {score.chance:.2f}")


def print_second(count: int = 300, keys: int = 3) -> None:
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
