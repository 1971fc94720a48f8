"""Real pictures for near matching: fingerprints of crops, of all their edits, and of a folder's pictures; and
the permutation that cuts a PDQ hash into bands, chosen on them.

    python -m blindmatch_simulations.evaluation.studies.near_pictures [FOLDER OF PICTURES ...] > bands.py

Bits are exchanged between bands as long as that lowers the sum of squared correlations within bands, every
corpus weighing the same. The bits left over are those that edits flip most easily.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE, Fingerprint
from msgspec import Struct

from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.testbed.pictures.crops import EDITS, Edit, crops
from blindmatch_simulations.testbed.pictures.pool import HashOnly

FOLDERS: Final = (
    ("openclipart-png", Path("/usr/share/openclipart/png")),
    ("visp-images-data", Path("/usr/share/visp-images-data")),
)
"""Packages of Debian with many pictures, used where they are installed and reported apart."""

_SUFFIXES: Final = (".png", ".jpg", ".jpeg")


class Fingerprints(Redacted, Struct, frozen=True):
    """PDQ of `n` pictures.

    Attributes:
        hashes: uint8 (n, 32).
        coefficients: float32 (n, 256).
        qualities: int32 (n,).
    """

    hashes: Rows
    coefficients: npt.NDArray[np.float32]
    qualities: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.hashes)

    def item(self, row: int) -> HashOnly:
        """One picture, as a design takes it."""
        return HashOnly(self.hashes[row].tobytes(), int(self.qualities[row]), self.coefficients[row])

    def good(self) -> Fingerprints:
        """Those of a quality that may match."""
        return self.take(self.qualities >= LEAST_QUALITY)

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Fingerprints:
        return Fingerprints(self.hashes[which], self.coefficients[which], self.qualities[which])


class EditedPairs(Redacted, Struct, frozen=True):
    """Originals and what became of them.

    Attributes:
        edited: the sent ones, m of them.
        original: for each sent one the index of its original, (m,).
        edit: for each sent one the index of its edit in `names`, (m,).
    """

    originals: Fingerprints
    edited: Fingerprints
    original: npt.NDArray[np.intp]
    edit: npt.NDArray[np.intp]
    names: tuple[str, ...]

    def distances(self) -> npt.NDArray[np.int32]:
        """Hamming distance of every sent picture to its original, (m,)."""
        return hamming(self.edited.hashes, self.originals.hashes[self.original])

    def matching(self) -> npt.NDArray[np.bool_]:
        """Which pairs are matches by PDQ's own rule, (m,)."""
        return (self.distances() <= MATCH_DISTANCE) & (self.edited.qualities >= LEAST_QUALITY)

    def of(self, originals: npt.NDArray[np.intp]) -> EditedPairs:
        """The pairs of some originals, given by their places."""
        places = np.full(len(self.originals), -1)
        places[originals] = np.arange(len(originals))
        original = places[self.original]
        mine = original >= 0
        edited = self.edited.take(mine), original[mine], self.edit[mine]
        return EditedPairs(self.originals.take(originals), *edited, self.names)


def hamming(left: Rows, right: Rows) -> npt.NDArray[np.int32]:
    """Distances row by row of hashes uint8 (n, 32) each; (n,)."""
    return np.asarray(np.bitwise_count(left ^ right).sum(axis=1, dtype=np.int32))


def stacked(found: list[Fingerprint]) -> Fingerprints:
    return Fingerprints(
        pdq.rows([one.hash for one in found]),
        np.array([one.coefficients for one in found], np.float32).reshape(-1, 256),
        np.array([one.quality for one in found], np.int32),
    )


def edited_crops(
    count: int,
    seed: int,
    edits: tuple[Edit, ...] = EDITS,
    progress: Progress = no_progress,
) -> EditedPairs:
    """`count` crops of installed photographs, each under each of `edits`."""
    pictures, originals, edited = crops(count, seed), list[Fingerprint](), list[Fingerprint]()
    for picture in each(pictures, progress):
        originals.append(Picture.from_bytes(picture.data).fingerprint)
        edited += [Picture.from_bytes(edit.apply(picture.data)).fingerprint for edit in edits]
    of, many = np.arange(count), len(edits)
    names = tuple(edit.name for edit in edits)
    return EditedPairs(
        stacked(originals), stacked(edited), np.repeat(of, many), np.tile(np.arange(many), count), names
    )


def folder_pictures(folder: Path, most: int, progress: Progress = no_progress) -> Fingerprints:
    """Up to `most` pictures of a folder, spread over it, of a quality that may match, no hash twice."""
    paths = _spread([path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES], most)
    good = stacked([one for path in each(paths, progress) for one in _fingerprint(path)]).good()
    first = np.sort(np.unique(good.hashes, axis=0, return_index=True)[1])
    return good.take(first)


def installed_folders() -> Iterator[tuple[str, Path]]:
    """The packages of `FOLDERS` that are installed, by name."""
    for name, folder in FOLDERS:
        if folder.is_dir():
            yield name, folder


def _spread(paths: list[Path], most: int) -> list[Path]:
    step = max(1, -(-len(paths) // most))
    return paths[::step]


def _fingerprint(path: Path) -> list[Fingerprint]:
    try:
        return [Picture.from_bytes(path.read_bytes()).fingerprint]
    except PictureError:
        return []


BANDS: Final = 10
K: Final = 24
CROPS: Final = (600, 11)
MOST_PICTURES: Final = 4000
STEPS: Final = 200_000
SEED: Final = 3

Matrix = npt.NDArray[np.float64]


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
        a, b = band[one], band[other]
        change = within[b, one] + within[a, other] - within[a, one] - within[b, other]
        if a == b or change - 2 * squared[one, other] >= 0:
            continue
        band[one], band[other] = b, a
        within[a] += squared[other] - squared[one]
        within[b] += squared[one] - squared[other]
    return band


def printed(permutation: list[int], corpora: list[str]) -> str:
    lines = [", ".join(map(str, permutation[at : at + 16])) for at in range(0, HASH_BITS, 16)]
    body = "\n".join(f"    {line}," for line in lines)
    return (
        '"""The order in which the bits of a PDQ hash fill the bands; part of the design since version 1.\n\n'
        "Made by blindmatch_simulations.evaluation.studies.near_pictures, which says how, from:\n"
        f"{', '.join(corpora)}.\n"
        '"""\n\nfrom __future__ import annotations\n\nfrom typing import Final\n\n'
        f"PERMUTATION: Final = (\n{body}\n)  # fmt: skip\n"
    )


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
