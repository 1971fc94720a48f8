"""Real pictures for near matching: fingerprints of crops and of all their edits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE, Fingerprint
from msgspec import Struct

from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.testbed.pictures.crops import EDITS, crops
from blindmatch_simulations.testbed.pictures.pool import HashOnly


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


def edited_crops(count: int, seed: int, progress: Progress = no_progress) -> EditedPairs:
    """`count` crops of installed photographs, each under each of `EDITS`."""
    pictures = crops(count, seed)
    originals = list[Fingerprint]()
    edited = list[Fingerprint]()
    for picture in each(pictures, progress):
        originals.append(Picture.from_bytes(picture.data).fingerprint)
        edited += [Picture.from_bytes(edit.apply(picture.data)).fingerprint for edit in EDITS]
    of = np.arange(count)
    many = len(EDITS)
    names = tuple(edit.name for edit in EDITS)
    return EditedPairs(
        stacked(originals), stacked(edited), np.repeat(of, many), np.tile(np.arange(many), count), names
    )
