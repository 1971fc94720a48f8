"""Games over lists: pairs agree on what is declared, views hold what they should, and who knows the list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.contract import Adversary, AnyDesign, Fact, Leak, Party
from blindmatch_protocol.designs import hash_upload, oprf_psi, token_psi
from blindmatch_protocol.designs.oprf_psi import OprfPsi
from blindmatch_simulations.conformance import Options, Verdict, check_design
from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.leakage.list_games import Guess, knows_list
from blindmatch_simulations.conformance.leakage.list_view import LIST_DISTINGUISHERS, NO_GUESSES, view_of
from blindmatch_simulations.conformance.leakage.lists import (
    LIST_SCENARIOS,
    ListPair,
    Material,
    built,
    material,
    playable_pair,
)
from blindmatch_simulations.conformance.leakage.stage import stage_of
from blindmatch_simulations.conformance.mutations.worst import HitsVisible

SMALL = {"bands": 2, "probes": 2}
NAMES = [one.name for one in LIST_SCENARIOS]


def _held(design: AnyDesign, **values: int) -> Material:
    bench = Bench(design, values=values)
    return material(bench, stage_of(bench))


def _pairs(held: Material) -> dict[str, ListPair]:
    found = {one.name: playable_pair(one, held) for one in LIST_SCENARIOS}
    return {name: pair for name, pair in found.items() if pair is not None}


def test_every_class_of_lists_is_played_for_oprf_psi() -> None:
    pairs = _pairs(_held(oprf_psi.DESIGN))
    assert list(pairs) == [
        name for name in NAMES if "lone hits or none" not in name and "a lone hit each" not in name
    ]
    assert all(len(pair.left.entries) == len(pair.right.entries) for pair in pairs.values())
    for name, pair in pairs.items():
        parts = [
            (one.entries.tobytes(), *(c.adds.tobytes() for c in one.changes))
            for one in (pair.left, pair.right)
        ]
        assert parts[0] != parts[1], name


def test_entries_near_a_picture_are_declared_by_token_psi_and_not_played() -> None:
    assert set(NAMES) - set(_pairs(_held(token_psi.DESIGN, **SMALL))) == {"an entry at distance 32 or none"}


def test_a_design_that_is_published_whole_has_no_classes_of_updates() -> None:
    assert not any("update" in name for name in _pairs(_held(hash_upload.DESIGN)))


def test_lists_of_different_sizes_are_no_pair_for_a_device_that_is_told_the_size() -> None:
    held = _held(oprf_psi.DESIGN)
    scenario = next(one for one in LIST_SCENARIOS if one.name == "one entry or another")
    pair = scenario.pair(held)
    assert pair is not None
    shorter = replace(pair, right=replace(pair.right, entries=pair.right.entries[:-1]))
    assert playable_pair(replace(scenario, pair=lambda _: shorter), held) is None


@pytest.mark.parametrize("design", [oprf_psi.DESIGN, token_psi.DESIGN], ids=lambda d: d.info.name)
def test_a_view_has_the_set_up_the_replies_and_what_is_worked_out(design: AnyDesign) -> None:
    held = _held(design, **(SMALL if design is token_psi.DESIGN else {}))
    pair = _pairs(held)["one entry or another"]
    rng = held.bench.rng("view")
    view = view_of(built(held.bench, held.stage, pair.left, rng), pair.asked, rng)
    assert [event.kind for event in view] == [
        "set-up",
        *("request", "reply", "computed", "read", "outcome", "state"),
        *("request", "reply", "computed", "read", "outcome", "state"),
    ]
    outcomes = [event.data for event in view if event.kind == "outcome"]
    assert outcomes[0].startswith(b"Match") and outcomes[1] == b"NoMatch"
    assert held.rows[0].tobytes() in outcomes[0]


def test_what_a_device_works_out_tells_a_match_from_a_miss() -> None:
    """The event that a lone hit is looked for in does see a whole one."""
    held = _held(token_psi.DESIGN, **SMALL)
    pair = _pairs(held)["one entry or another"]
    rng = held.bench.rng("view")
    view = view_of(built(held.bench, held.stage, pair.left, rng), pair.asked, rng)
    match, miss = (event.shape[-1] for event in view if event.kind == "computed")
    assert (match, miss) == (1, 0)


@pytest.mark.parametrize("design", [oprf_psi.DESIGN, hash_upload.DESIGN], ids=lambda d: d.info.name)
def test_whoever_has_the_roles_files_beside_a_device_knows_the_list(design: AnyDesign) -> None:
    held = _held(design)
    assert knows_list(held.bench, held.stage)


class SaysTheList(OprfPsi):
    """Declares that devices get the list."""

    info = replace(OprfPsi.info, name="says-the-list")

    def leakage(self) -> tuple[Leak, ...]:
        fact = Fact("my.list", "the list", lambda item, setup: True)
        return (Leak(frozenset({Party.DEVICE}), Adversary.SEMI_HONEST, (fact,)),)


def test_no_lists_are_played_where_the_list_is_declared() -> None:
    (result,) = check_design(SaysTheList(), Options(only=["list games"])).results
    assert result.verdict is Verdict.NOT_APPLICABLE


class SaysAnEntry(SaysTheList):
    """Declares that devices can tell one set-up from another."""

    def leakage(self) -> tuple[Leak, ...]:
        fact = Fact("my.digest", "the set-up's digest", lambda item, setup: setup.layers[-1].file.digest)
        return (Leak(frozenset({Party.DEVICE}), Adversary.SEMI_HONEST, (fact,)),)


def test_where_no_two_lists_agree_on_what_is_declared_none_are_played() -> None:
    (result,) = check_design(SaysAnEntry(), Options(only=["list games"])).results
    assert result.verdict is Verdict.NOT_APPLICABLE
    assert "no pair of lists" in result.reason


class NeedsPixels(OprfPsi):
    """Cannot be asked about a bare hash."""

    info = replace(OprfPsi.info, name="needs-pixels")

    def start(self, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Any:
        if item.pixels.shape[0] < 8:
            raise ZeroDivisionError
        return super().start(state, setup, item, binding, rng)


def test_a_design_that_looks_at_pixels_is_not_guessed_at_with_a_bare_hash() -> None:
    (result,) = check_design(NeedsPixels(), Options(only=["list games"], runs=(6, 6))).results
    assert result.verdict is Verdict.PASSED, result.reason
    assert "has not seen it open the list" in result.figures["known_to"]["device with matcher"]


def test_a_device_that_sees_hits_finds_its_own_keys_in_the_set_up() -> None:
    held = _held(HitsVisible())
    pair = _pairs(held)["a lone band hit or none"]
    own = next(one for one in LIST_DISTINGUISHERS if one.name == "own keys in the set-up")
    rng = held.bench.rng("view")
    left, right = (
        own.value(view_of(built(held.bench, held.stage, one, rng), pair.asked, rng), pair, NO_GUESSES)
        for one in (pair.left, pair.right)
    )
    assert (left, right) == (3, 2)


def test_a_guess_is_as_good_as_a_picture_of_that_hash() -> None:
    guess = Guess(bytes(range(32)))
    assert guess.quality == 100 and guess.coefficients.shape == (256,)
    assert (np.packbits(guess.coefficients > 0).tobytes()) == guess.hash
    assert guess.luminance.shape == (1, 1) and guess.pixels.shape == (1, 1, 3)
