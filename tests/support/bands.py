"""The permutation that cuts a PDQ hash into bands (`tokens.PERMUTATION`), chosen on real pictures.

    PYTHONPATH=tests python -m support.bands [FOLDER OF PICTURES ...] > bands.py

Bits are exchanged between bands as long as that lowers the sum of squared correlations within bands, every
corpus weighing the same. The bits left over are those that edits flip most easily.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import Fingerprint
from blindmatch_simulations.evaluation.studies.near_pictures import Fingerprints, stacked
from blindmatch_simulations.testbed.pictures.crops import crops

BANDS: Final = 10
K: Final = 24
CROPS: Final = (600, 11)
MOST_PICTURES: Final = 4000
STEPS: Final = 200_000
SEED: Final = 3

Matrix = npt.NDArray[np.float64]
_SUFFIXES: Final = (".png", ".jpg", ".jpeg")


def correlations(pictures: Fingerprints) -> Matrix:
    """Squared correlations of the bits, less what independent bits show by chance; (256, 256)."""
    signs = np.unpackbits(pictures.hashes, axis=1).astype(np.float64) * 2 - 1
    squared = ((signs.T @ signs) / len(signs)) ** 2
    np.fill_diagonal(squared, 0)
    return np.maximum(squared - 1 / len(signs), 0)


def reliability(pictures: Fingerprints) -> npt.NDArray[np.float64]:
    """The median distance of each coefficient from the median, against its picture's own; (256,)."""
    apart = np.abs(pictures.coefficients).astype(np.float64)
    return np.asarray(np.median(apart / np.median(apart, axis=1, keepdims=True), axis=0))


def choose(corpora: list[Fingerprints], steps: int = STEPS, seed: int = SEED) -> list[int]:
    """The permutation: bits of band 0, of band 1, ..., then the bits left over."""
    squared = np.sum([correlations(corpus) for corpus in corpora], axis=0)
    strength = np.sum([reliability(corpus) for corpus in corpora], axis=0)
    used = np.sort(np.argsort(-strength, kind="stable")[: BANDS * K])
    spare = np.setdiff1d(np.arange(HASH_BITS), used)
    band = _exchanged(squared[np.ix_(used, used)], steps, seed)
    members = [used[band == number] for number in range(BANDS)]
    return [int(bit) for bit in np.concatenate([*members, spare])]


def _exchanged(squared: Matrix, steps: int, seed: int) -> npt.NDArray[np.intp]:
    """The band of each bit after `steps` tries to exchange two bits."""
    draw = np.asarray(np.random.PCG64(seed).random_raw(len(squared) + 2 * steps)) >> np.uint64(33)
    band = (np.argsort(draw[: len(squared)], kind="stable") % BANDS).astype(np.intp)
    within = np.stack([squared[:, band == number].sum(axis=1) for number in range(BANDS)])
    for one, other in (draw[len(squared) :] % len(squared)).astype(np.intp).reshape(-1, 2):
        a = band[one]
        b = band[other]
        change = within[b, one] + within[a, other] - within[a, one] - within[b, other]
        if a == b or change - 2 * squared[one, other] >= 0:
            continue
        band[one] = b
        band[other] = a
        within[a] += squared[other] - squared[one]
        within[b] += squared[one] - squared[other]
    return band


def printed(permutation: list[int], corpora: list[str]) -> str:
    lines = [", ".join(map(str, permutation[at : at + 16])) for at in range(0, HASH_BITS, 16)]
    body = "\n".join(f"    {line}," for line in lines)
    return (
        '"""The order in which the bits of a PDQ hash fill the bands; part of the design since version 1.\n\n'
        "Made by tests/support/bands.py, which says how, from:\n"
        f"{', '.join(corpora)}.\n"
        '"""\n\nfrom __future__ import annotations\n\nfrom typing import Final\n\n'
        f"PERMUTATION: Final = (\n{body}\n)  # fmt: skip\n"
    )


def folder_pictures(folder: Path, most: int) -> Fingerprints:
    """Up to `most` pictures of a folder, spread over it, of a quality that may match, no hash twice."""
    paths = _spread([path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES], most)
    good = stacked([one for path in paths for one in _fingerprint(path)]).good()
    first = np.sort(np.unique(good.hashes, axis=0, return_index=True)[1])
    return good.take(first)


def _spread(paths: list[Path], most: int) -> list[Path]:
    step = max(1, -(-len(paths) // most))
    return paths[::step]


def _fingerprint(path: Path) -> list[Fingerprint]:
    try:
        return [Picture.from_bytes(path.read_bytes()).fingerprint]
    except PictureError:
        return []


def main() -> None:
    count, seed = CROPS
    pictures = crops(count, seed)
    corpora = [stacked([Picture.from_bytes(picture.data).fingerprint for picture in pictures])]
    names = [f"{count} crops of scikit-image's photographs (seed {seed})"]
    for folder in map(Path, sys.argv[1:]):
        corpora.append(folder_pictures(folder, MOST_PICTURES))
        names.append(f"{len(corpora[-1])} pictures of {folder.name}")
    sys.stdout.write(printed(choose(corpora), names))


if __name__ == "__main__":
    main()
