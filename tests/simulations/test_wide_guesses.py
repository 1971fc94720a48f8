"""Orders of guesses that open more of real lists under wide-psi than the committed curves foretell, and what
one entry that a curator composes opens for. docs/designs/wide-psi.md states them as limits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Match, NoMatch
from blindmatch_protocol.designs.token_psi.build import oprf_inputs
from blindmatch_protocol.designs.token_psi.design import find_label, labels_under
from blindmatch_protocol.designs.token_psi.shares import token_keys
from blindmatch_protocol.designs.token_psi.tokens import Tokens, band_bits, entry_tokens, probe_tokens
from blindmatch_protocol.designs.wide_psi import DESIGN, WideTokening
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from blindmatch_simulations.evaluation.studies import best_order, reference
from blindmatch_simulations.evaluation.studies.near_bench import _outputs
from support.memory import Held, held
from support.voprf_world import Picture, run

T: Final = WideTokening()
PLACES: Final = band_bits(T.k, T.bands, T.order)
YEAR: Final = 20_000 * T.tokens
"""Tokens that one phone asks for in a year."""


@cache
def hashes() -> Rows:
    return np.ascontiguousarray(reference.read().prints[:, :32])


def tokens_of(rows: Rows) -> Tokens:
    return entry_tokens(np.ascontiguousarray(rows), T.k, T.bands, T.order)


def foretold(distance: str, guesses: float) -> float:
    """Return the share of entries of all kinds that the committed curve of wide-psi has open."""
    curves = best_order.measured().find(PLACES, 1, MATCH_DISTANCE)
    assert curves is not None
    (curve,) = (one for one in curves.curves if (one.kind, one.distance) == (best_order.ALL_KINDS, distance))
    return curve.open_after(guesses) / curve.entries


# --- mirror images and quarter turns -------------------------------------------------------------


def turned(rows: Rows) -> Iterator[Rows]:
    """Yield the hashes of the seven other orientations of pictures, worked out from the hash alone.

    To turn or mirror a picture transposes the matrix of coefficients, or changes the signs of its odd rows or
    columns. A bit says whether a coefficient is above the median, which is near 0, so it is nearly the sign;
    whoever has the picture hashes it anew and errs in no bit. Coefficient 0 is not in PDQ's matrix, so the
    rows 0, 2, 4, ... are the odd ones.
    """
    bits = np.unpackbits(rows, axis=1)[:, ::-1].reshape(-1, 16, 16)
    row, column = (np.indices((16, 16)) + 1) % 2
    for matrix in (bits, bits.transpose(0, 2, 1)):
        for signs in (0 * row, row, column, row ^ column):
            if matrix is not bits or signs.any():
                flat = (matrix ^ signs.astype(np.uint8)).reshape(-1, 256)[:, ::-1]
                yield np.packbits(flat, axis=1)


def test_the_hash_of_a_mirrored_picture_follows_from_its_hash_but_for_some_bits() -> None:
    pairs = reference.read().pairs
    rows = np.flatnonzero(pairs.edit == pairs.names.index("flip"))[:300]
    images = [
        np.bitwise_count(image ^ pairs.edited.hashes[rows]).sum(axis=1, dtype=np.int32)
        for image in turned(np.ascontiguousarray(pairs.originals.hashes[pairs.original[rows]]))
    ]
    assert len(rows) == 300
    assert np.median(min(images, key=np.median)) <= 12


def test_one_phone_that_turns_its_pictures_opens_ten_times_the_far_entries_that_the_curve_foretells() -> None:
    split = best_order.splits(hashes())[0]
    far = tokens_of(hashes()[split.listed[split.nearest > best_order.ALIKE]])
    images = [tokens_of(rows) for rows in turned(hashes()[split.known])]
    asked = [np.unique(np.concatenate([rows[:, band] for rows in images])) for band in range(T.bands)]
    is_open = np.any([np.isin(far[:, band], asked[band]) for band in range(T.bands)], axis=0)

    assert sum(map(len, asked)) == 515_008 < YEAR / 9
    assert int(is_open.sum()) == 32
    assert is_open.mean() > 10 * foretold(best_order.FAR, YEAR)


# --- the likeliest flips around an edited copy ---------------------------------------------------


def guesses_before(costs: npt.NDArray[np.float64], is_flipped: npt.NDArray[np.bool_]) -> float:
    """Return how many sets of bits cost no more than those flipped, costs rounded to 1/2000 of their sum."""
    steps = np.maximum(1, np.round(costs / costs.sum() * 2000)).astype(int)
    most = int(steps[is_flipped].sum())
    count = np.zeros(most + 1)
    count[0] = 1
    for step in steps[steps <= most].tolist():
        count[step:] += count[: len(count) - step].copy()
    return float(count.sum())


class Copies:
    """Edited copies that lie beyond the distance from their originals, up to 64 bits."""

    def __init__(self, count: int) -> None:
        self.pairs = reference.read().pairs
        bits, quality = self.pairs.distances(), self.pairs.edited.qualities
        found = np.flatnonzero((bits > MATCH_DISTANCE) & (bits <= 64) & (quality >= 50))
        self.rows = np.random.default_rng(1).permutation(found)[:count]

    def ranks(self, row: int) -> list[float]:
        """Return after how many guesses around a copy each token of its original comes."""
        own = np.unpackbits(self.pairs.edited.hashes[row])
        listed = np.unpackbits(self.pairs.originals.hashes[self.pairs.original[row]])
        costs = np.abs(self.pairs.edited.coefficients[row]).astype(float)
        return [guesses_before(costs[part], own[part] != listed[part]) for part in PLACES]


def test_of_entries_of_which_phones_hold_an_edited_copy_a_thousand_open_two_thirds() -> None:
    """Guesses are shared evenly among as many pictures as the committed curves' attacker knows."""
    copies = Copies(250)
    each = 1_000 * YEAR / 12_584 / T.bands
    least = np.array([min(copies.ranks(row)) for row in copies.rows])
    share = float((least <= each).mean())
    assert 0.6 < share < 0.8
    assert share > foretold(best_order.NEAR, 1_000 * YEAR) + 0.08


def test_the_likeliest_flips_open_what_the_count_of_them_foretells_in_whole_sessions() -> None:
    """Asks as a device does, for 128 tokens of a band, of copies that are clearly within them or beyond."""
    copies = Copies(150)
    chosen = [(row, min(copies.ranks(row))) for row in copies.rows.tolist()]
    within = [row for row, rank in chosen if rank < 90][:3]
    beyond = [row for row, rank in chosen if rank > 200][:3]
    assert len(within) == len(beyond) == 3
    for row in within + beyond:
        original = copies.pairs.originals.hashes[copies.pairs.original[row]][None]
        place = held(DESIGN, original, 1, {"probes": 128})
        outputs = asked(place, copies, row)
        opened = labels_under(place.setup, [token_keys(outputs, 1)])
        assert bool(opened) == (row in within)
        assert find_label(place.setup, outputs, copies.pairs.edited.hashes[row].tobytes()) is None


def asked(place: Held, copies: Copies, row: int) -> Rows:
    """Return the OPRF outputs of the tokens that the device asks for of a copy."""
    own, coefficients = copies.pairs.edited.hashes[row].tobytes(), copies.pairs.edited.coefficients[row]
    probes = probe_tokens(own, coefficients, T.k, T.bands, 128, T.order)
    return _outputs(place, oprf_inputs(probes.T), seeded("device"))


# --- a curator's chimera -------------------------------------------------------------------------


def chimera(rows: Rows) -> Rows:
    """Return a hash whose every band has the token that most of the pictures not yet reached have there."""
    tokens, bits = tokens_of(rows), np.zeros(256, np.uint8)
    is_reached = np.zeros(len(rows), np.bool_)
    for band in range(T.bands):
        values, counts = np.unique(tokens[~is_reached, band], return_counts=True)
        commonest = values[counts.argmax()]
        is_reached |= tokens[:, band] == commonest
        own = np.unpackbits(rows[np.flatnonzero(tokens[:, band] == commonest)[0]])
        bits[PLACES[band]] = own[PLACES[band]]
    return np.packbits(bits)[None]


def test_a_curators_chimera_opens_to_many_pictures_and_only_a_filter_calls_one_of_them_a_match() -> None:
    listed = chimera(hashes())
    of_chimera = (tokens_of(hashes()) == tokens_of(listed)).any(axis=1)
    apart = np.bitwise_count(hashes() ^ listed).sum(axis=1, dtype=np.int32)
    innocent = np.flatnonzero(of_chimera & (apart > MATCH_DISTANCE))
    assert (len(innocent), len(hashes())) == (72, 25_168)

    labels = held(DESIGN, listed, 1, {"probes": 1})
    filtered = held(DESIGN, listed, 1, {"probes": 1, "filter": 1})
    for row in innocent.tolist():
        item = Picture(hashes()[row].tobytes())
        assert run(labels, item) == NoMatch()
        found = run(filtered, item)
        assert isinstance(found, Match) and found.label.unconfirmed
