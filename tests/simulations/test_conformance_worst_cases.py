"""Pictures that are almost found, or found in vain: they are what they are said to be, and games use them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Adversary, AnyDesign, Match, NoMatch
from blindmatch_protocol.designs import hash_upload, oprf_psi, token_psi
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens, probe_tokens
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.game import Run, equality
from blindmatch_simulations.evaluation.conformance.leakage.games import (
    GameSetup,
    game_of,
    seen_by,
    with_worst,
)
from blindmatch_simulations.evaluation.conformance.leakage.play import Behaviour, Move, Pair, Play, opponents
from blindmatch_simulations.testbed.inprocess.deployed import opened, run_session
from blindmatch_simulations.testbed.pictures.pool import Pooled
from planted.mutations.devices import HashDerivedBlind
from planted.mutations.hooks import Psi

SMALL = {"bands": 2, "probes": 2}


@pytest.fixture(scope="module")
def tokens() -> GameSetup:
    return game_of(Fixtures(token_psi.DESIGN, values=SMALL))


def _hit_bands(game: GameSetup, one: Pooled) -> list[int]:
    """For each entry, in how many bands one of the picture's tokens is the entry's."""
    t = game.table.deployed.setup.tokening
    asked = probe_tokens(one.item.hash, one.item.coefficients, t.k, t.bands, t.probes)
    theirs = entry_tokens(game.pool.entries, t.k, t.bands)
    return [int((asked == own[:, None]).any(axis=1).sum()) for own in theirs]


def test_a_lone_picture_hits_one_entry_in_one_band_and_nothing_else(tokens: GameSetup) -> None:
    lone = tokens.pool.of("lone")
    assert len(lone) == 2
    for one in lone:
        assert sorted(_hit_bands(tokens, one), reverse=True)[:2] == [1, 0]
    assert all(max(_hit_bands(tokens, one)) == 0 for one in tokens.pool.of("other"))


def test_a_lone_picture_s_token_stands_in_the_store(tokens: GameSetup) -> None:
    """Another entry could have got the token; then the band would not hit at all."""
    one = tokens.pool.of("lone")[0]
    t = tokens.table.deployed.setup.tokening
    row = int(np.argmax(_hit_bands(tokens, one)))
    own = entry_tokens(tokens.pool.entries, t.k, t.bands)
    assert [int((own[:, band] == own[row, band]).sum()) for band in range(t.bands)] == [1, 1]


def test_in_bands_so_narrow_that_everything_hits_nothing_is_a_lone_hit() -> None:
    fixtures = Fixtures(token_psi.DESIGN, values={"k": 4, "bands": 2, "probes": 16})
    assert with_worst(fixtures, fixtures.deployed.setup).of("lone") == []


@pytest.mark.parametrize("design", [oprf_psi.DESIGN, token_psi.DESIGN], ids=lambda d: d.info.name)
def test_a_label_that_was_altered_under_right_digests_does_not_open(design: AnyDesign) -> None:
    fixtures = Fixtures(design, values=SMALL if design is token_psi.DESIGN else {})
    game = game_of(fixtures)
    (one,) = game.pool.of("unopened")
    played = game.table.deployed
    whole = opened(game.table.deployed.build)
    assert isinstance(run_session(whole, one.item, fixtures.rng("a")).outcome, Match)
    assert run_session(played, one.item, fixtures.rng("a")).outcome == NoMatch()
    design.check_setup(played.setup)
    for listed in game.pool.of("listed"):
        assert isinstance(run_session(played, listed.item, fixtures.rng("a")).outcome, Match)


def test_a_design_without_sealed_labels_has_no_picture_whose_label_does_not_open() -> None:
    assert game_of(Fixtures(hash_upload.DESIGN)).pool.of("unopened") == []


def _distances(one: Pooled, entries: Rows) -> list[int]:
    own = np.frombuffer(one.item.hash, np.uint8)
    return [int(np.bitwise_count(own ^ row).sum()) for row in entries]


def test_for_a_design_without_bands_half_the_hash_agrees() -> None:
    game = game_of(Fixtures(oprf_psi.DESIGN))
    for one in game.pool.of("lone"):
        assert 128 in _distances(one, game.pool.entries)
        halves = [row[:16].tobytes() == one.item.hash[:16] for row in game.pool.entries]
        assert sum(halves) == 1


def test_entries_of_the_stage_are_those_of_the_pool_and_a_few_more() -> None:
    fixtures = Fixtures(oprf_psi.DESIGN)
    game = game_of(fixtures)
    assert (game.pool.entries[: len(fixtures.pool.entries)] == fixtures.pool.entries).all()
    assert len(game.pool.entries) == len(fixtures.pool.entries) + 3


@pytest.mark.parametrize("make", [HashDerivedBlind, Psi])
def test_an_opponent_with_a_device_finds_its_own_request_again(make: Callable[[], AnyDesign]) -> None:
    fixtures = Fixtures(make())
    game = game_of(fixtures)
    a = game.pool.of("listed")[0]
    b = game.pool.of("other")[0]
    with_device = next(one for one in opponents(fixtures.design, Adversary.SEMI_HONEST) if one.has_device)
    assert with_device.name == "semi-honest device with matcher"
    pair = Pair((Move(a),), (Move(b),))
    values = []
    for side in (pair.left, pair.right):
        view = Play(game.table, Behaviour.HONEST, fixtures.rng("victim")).run(side)
        seen = seen_by(with_device, game, Run(view, pair, False))
        assert [event.kind for event in seen] == ["request", "reply"] + 2 * OWN_KINDS
        values.append(equality(seen, pair, game.known))
    assert (values[0] != values[1]) is (make is HashDerivedBlind)


OWN_KINDS = ["request", "reply", "outcome", "state"]
