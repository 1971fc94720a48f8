"""Guesses in the best order: ranks against values counted out, the forecast against the real design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.token_psi import Tokening
from blindmatch_protocol.designs.token_psi.tokens import band_bits, plan
from blindmatch_protocol.designs.wide_psi import WideTokening
from blindmatch_simulations.evaluation.studies import best_order, reference
from blindmatch_simulations.evaluation.studies.best_order import (
    ALL_KINDS,
    FAR,
    FURTHER,
    LIKE_PHOTOGRAPHS,
    NEAR,
    WHOLE,
    HashModel,
    ask_oracle,
    chance_of_hit,
    likeliest,
    ranks_of,
    splits,
)
from blindmatch_simulations.evaluation.studies.near_bench import extract_tokens
from blindmatch_simulations.evaluation.studies.near_tokens import built

K: Final = 10
SMALL: Final = 3_000


@dataclass(frozen=True)
class Few:
    """A part of the reference corpus, split, and the models of two bands of ten bits."""

    hashes: np.ndarray
    bits: np.ndarray
    halves: best_order.Halves
    places: np.ndarray
    models: list[HashModel]


@pytest.fixture(scope="module")
def few() -> Few:
    chosen = np.random.default_rng(7).permutation(len(reference.read().prints))[:SMALL]
    hashes = np.ascontiguousarray(reference.read().prints[chosen, :32])
    bits = np.unpackbits(hashes, axis=1)
    places = band_bits(K, 2)
    halves = splits(hashes)[0]
    known = bits[halves.known]
    models = [HashModel.fit(known[:, part], np.random.default_rng(n)) for n, part in enumerate(places)]
    return Few(hashes, bits, halves, places, models)


def test_the_likelihoods_of_all_values_of_a_part_sum_to_one(few: Few) -> None:
    numbers = np.arange(1 << K)
    values = (numbers[:, None] >> np.arange(K - 1, -1, -1) & 1).astype(np.uint8)
    for model in few.models:
        assert np.exp(model.likelihoods(values)).sum() == pytest.approx(1, abs=1e-9)


def test_ranks_by_sampling_are_those_of_values_that_are_counted_out(few: Few) -> None:
    numbers = np.arange(1 << K)
    values = (numbers[:, None] >> np.arange(K - 1, -1, -1) & 1).astype(np.uint8)
    for model in few.models:
        likelihoods = model.likelihoods(values)
        exact = (likelihoods[None, :] >= likelihoods[:, None] - 1e-12).sum(axis=1)
        found = model.ranks(likelihoods)
        assert np.abs(np.log2(found) - np.log2(exact)).max() < 1
        assert np.mean(np.abs(np.log2(found) - np.log2(exact))) < 0.1


@pytest.mark.parametrize("guesses", [256, 512, 1024])
def test_the_forecast_is_what_the_real_design_opens_of_real_entries(few: Few, guesses: int) -> None:
    """Runs token-psi whole: tokens are asked for by requests, and labels opened, in the best order."""
    listed = few.halves.listed[few.halves.nearest > best_order.WITHIN][:200]
    hashes = few.hashes[listed]
    place = built(hashes, Tokening(k=K, bands=2, probes=64))
    opened = extract_tokens(place, likeliest(few.models, guesses), seeded("attack"))

    found = plan(hashes, K, 2)
    is_whole = ~found.lost.any(axis=1) & (found.member == 0)
    ranks = ranks_of(few.bits, best_order.Halves(few.halves.known, listed, few.halves.nearest), few.places, 2)
    foretold = float((ranks[is_whole] <= guesses).sum())
    came = sum(label.entry_hash in {row.tobytes() for row in hashes[is_whole]} for label in opened.values())
    assert is_whole.sum() > 50
    assert abs(came - foretold) <= 2


def test_an_oracle_hits_as_often_as_drawn_flips_do() -> None:
    rng = np.random.default_rng(5)
    apart = 34
    within = 31
    trials = 400_000
    drawn = [rng.hypergeometric(apart, 256 - apart, flips, trials) for flips in range(1, apart)]
    hits = [(apart - x + (f - x) <= within).mean() for f, x in enumerate(drawn, 1)]
    assert chance_of_hit(apart, within) == pytest.approx(max(hits), rel=0.1)
    assert chance_of_hit(31, 31) == 1.0
    assert chance_of_hit(33, 31) > chance_of_hit(40, 31) > chance_of_hit(64, 31) > 0


def test_what_opened_leads_to_what_resembles_it() -> None:
    hashes = np.zeros((4, 32), np.uint8)
    hashes[1, :2] = 255  # 16 bits from the first: an honest question
    hashes[2, :6] = 255  # 48 and 32 bits from them: look-alikes
    hashes[3] = 255  # resembles none
    opened = np.array([[True, False, False, False]])
    never = np.zeros((1, 4))
    always = np.ones((1, 4))
    assert best_order._followed(hashes, opened, never, 31).tolist() == [[1, 1, 0, 0]]
    assert best_order._followed(hashes, opened, always, 31).tolist() == [[1, 1, 1, 0]]


def test_the_committed_curves_are_of_the_committed_corpus_and_of_the_built_in_parameters() -> None:
    held = best_order.measured()
    t = Tokening()
    assert held.corpus == reference.about()["arrays_sha256"], "run make best-order"
    assert held.exponents == best_order.EXPONENTS
    tokens = held.find(band_bits(t.k, t.bands), t.needed, 31)
    assert tokens is not None and held.find(WHOLE, 1, 0) is not None and held.find(WHOLE, 1, 31) is not None
    assert held.find(band_bits(t.k, t.bands), 3, 31) is None
    for guessed in held.guessed:
        for curve in guessed.curves:
            assert list(curve.opened) == sorted(curve.opened) and curve.opened[-1] <= curve.entries
    by_kind = {(one.kind, one.distance): one for one in tokens.curves}
    for kind in (ALL_KINDS, LIKE_PHOTOGRAPHS):
        far, further, near = (by_kind[kind, distance] for distance in (FAR, FURTHER, NEAR))
        assert far.entries == further.entries > near.entries > 100
        assert all(more >= less - 1e-9 for more, less in zip(further.opened, far.opened, strict=True))
        # a look-alike opens sooner than a stranger
        assert near.open_after(2**22) / near.entries > far.open_after(2**22) / far.entries


def test_one_wide_token_has_a_committed_curve_and_look_alikes_open_first() -> None:
    t = WideTokening()
    held = best_order.measured().find(band_bits(t.k, t.bands, t.order), 1, 31)
    assert held is not None
    year = 1_000 * 20_000 * t.tokens
    by_kind = {one.distance: one for one in held.curves if one.kind == ALL_KINDS}
    far, near = (by_kind[at].open_after(year) / by_kind[at].entries for at in (FAR, NEAR))
    assert year / 2**t.k < far < 0.03 < 0.3 < near, "real lists open sooner than uniform ones"


def test_curves_of_hidden_parts_are_told_by_pictures_and_never_taken_for_those_of_parts_that_show() -> None:
    s = Slotting()
    held = best_order.measured()
    places = band_bits(s.k, s.bands)
    own = held.find(places, 2, 31, s.slot_bits, s.tokens)
    assert own is not None and held.find(places, 2, 31) is None
    assert held.find(places, 2, 31, s.slot_bits, s.tokens - 1) is None
    by_distance = {one.distance: one for one in own.curves if one.kind == ALL_KINDS}
    near = by_distance[NEAR]
    alone = by_distance[best_order.NEAR_ALONE]
    assert near.entries == alone.entries > 1_000
    assert all(both >= less for both, less in zip(near.opened, alone.opened, strict=True))
    assert by_distance[best_order.FAR_ALONE].opened[-1] == 0


def test_the_committed_curves_come_out_again() -> None:
    """Measures the quick ones anew: the oracle's whole."""
    held = best_order.measured().find(WHOLE, 1, 31)
    made = ask_oracle(reference.read())
    assert held is not None and made.known == held.known
    for own, again in zip(held.curves, made.curves, strict=True):
        assert (own.kind, own.distance, own.entries) == (again.kind, again.distance, again.entries)
        assert own.opened == pytest.approx(again.opened, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("t", [Tokening(), WideTokening()], ids=["token-psi", "wide-psi"])
def test_every_committed_curve_comes_out_again(t: Tokening) -> None:
    places = band_bits(t.k, t.bands, t.order)
    made = best_order.guess(reference.read(), places, t.needed, 31)
    held = best_order.measured().find(places, t.needed, 31)
    assert held is not None
    for own, again in zip(held.curves, made.curves, strict=True):
        assert (own.kind, own.distance, own.entries) == (again.kind, again.distance, again.entries)
        assert own.opened == pytest.approx(again.opened, abs=2)
