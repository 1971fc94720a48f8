"""Near matching without its cryptography: which tokens of a picture are an entry's.

The OPRF, the store and the shares map equal tokens to equal values and nothing else, so recall and what is
revealed follow from tokens alone. `agreement` runs the protocol itself on a sample and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.designs.token_psi import Tokening
from blindmatch_protocol.designs.token_psi.families import plan
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens, probe_tokens
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE

from blindmatch_simulations.studies.near.sample import EditedPairs, Fingerprints, hamming

NEVER: Final = 1 << 14
"""The rank of a token that is not asked for."""

Ranks = npt.NDArray[np.int16]


def probes_of(pictures: Fingerprints, k: int, bands: int, probes: int) -> npt.NDArray[np.uint32]:
    """The tokens that pictures ask for, uint32 (n, bands, probes)."""
    asked = [
        probe_tokens(pictures.hashes[row].tobytes(), pictures.coefficients[row], k, bands, probes)
        for row in range(len(pictures))
    ]
    return np.array(asked, np.uint32).reshape(len(pictures), bands, probes)


def ranks(pairs: EditedPairs, k: int, bands: int, probes: int) -> Ranks:
    """For each sent picture and band the rank of its original's token among the probes; (m, bands)."""
    listed = entry_tokens(pairs.originals.hashes, k, bands)[pairs.original]
    found = np.empty((len(pairs.edited), bands), np.int16)
    for start in range(0, len(found), 1024):
        part = np.arange(start, min(start + 1024, len(found)))
        equal = probes_of(pairs.edited.take(part), k, bands, probes) == listed[part, :, None]
        found[part] = np.where(equal.any(axis=2), equal.argmax(axis=2), NEVER)
    return found


def lost_tokens(pairs: EditedPairs, fill: Rows, k: int, bands: int) -> npt.NDArray[np.bool_]:
    """Which tokens of each original the store cannot hold, in a list of the originals among `fill`.

    The originals come last, so that equals do not favour them; (n, bands).
    """
    found = plan(np.concatenate([fill, pairs.originals.hashes]), k, bands)
    return found.lost[len(fill) :]


def random_list(count: int, seed: int) -> Rows:
    """`count` uniform hashes, uint8 (count, 32): what a list of unlike pictures comes close to."""
    raw = np.asarray(np.random.PCG64(seed).random_raw(count * 4)).astype(np.uint64)
    return raw.view(np.uint8).reshape(count, 32)


@dataclass(frozen=True, slots=True)
class Revealed:
    """Entries beyond the distance that pictures opened.

    Attributes:
        pictures: how many were sent.
        entries: of the list.
        distances: of the pairs that agree in each number of bands, by that number, from 1 on.
        far_pairs: pairs beyond the distance, all of them.
    """

    pictures: int
    entries: int
    distances: dict[int, npt.NDArray[np.int32]]
    far_pairs: int

    def count(self, needed: int) -> int:
        """Pairs that agree in `needed` bands or more."""
        return sum(len(found) for bands, found in self.distances.items() if bands >= needed)

    def by_distance(self, needed: int) -> dict[str, int]:
        """Those pairs by distance."""
        parts = [found for bands, found in self.distances.items() if bands >= needed]
        whole = np.concatenate([np.zeros(0, np.int32), *parts])
        edges = (32, 60, 90, 257)
        names = ("32 to 59", "60 to 89", "90 and more")
        counts = np.histogram(whole, edges)[0].tolist()
        return dict(zip(names, counts, strict=True))


def revealed(
    sent: Fingerprints, listed: Rows, tokening: Tokening, progress: Progress = no_progress
) -> Revealed:
    """What `sent` pictures open in a list, uint8 (n, 32), beyond the distance.

    No token is taken for lost, which errs on the side of too many. Families are left out: an entry counts
    if itself agrees.
    """
    t = tokening
    own = entry_tokens(listed, t.k, t.bands)
    orders = [np.argsort(own[:, band], kind="stable") for band in range(t.bands)]
    met: dict[int, list[npt.NDArray[np.int32]]] = {}
    near = 0
    for start in range(0, len(sent), 256):
        part = sent.take(np.arange(start, min(start + 256, len(sent))))
        rows, entries, bands = _met(probes_of(part, t.k, t.bands, t.probes), own, orders)
        apart = hamming(part.hashes[rows], listed[entries])
        near += int((apart <= MATCH_DISTANCE).sum())
        for count in np.unique(bands).tolist():
            met.setdefault(count, []).append(apart[(bands == count) & (apart > MATCH_DISTANCE)])
        progress(min(start + 256, len(sent)), len(sent))
    distances = {count: np.concatenate(found) for count, found in sorted(met.items())}
    return Revealed(len(sent), len(listed), distances, len(sent) * len(listed) - near)


def _met(
    asked: npt.NDArray[np.uint32], own: npt.NDArray[np.uint32], orders: list[npt.NDArray[np.intp]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of a picture and an entry that agree in a band, and in how many bands they do."""
    pairs = []
    for band, order in enumerate(orders):
        held, wanted = own[order, band], asked[:, band].reshape(-1)
        low, high = np.searchsorted(held, wanted, "left"), np.searchsorted(held, wanted, "right")
        many = high - low
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        rows = np.repeat(np.arange(len(wanted)) // asked.shape[2], many)
        pairs.append(rows.astype(np.int64) * len(own) + order[np.repeat(low, many) + within])
    found, bands = np.unique(np.concatenate(pairs), return_counts=True)
    return found // len(own), found % len(own), bands
