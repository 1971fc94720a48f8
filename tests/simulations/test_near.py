"""The measurements of near matching: against the protocol, against slow references, with honest bounds."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Match, NoMatch
from blindmatch_protocol.designs.token_psi import DESIGN, Tokening
from blindmatch_protocol.designs.token_psi.build import best_share, expected_share
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens, plan, probe_tokens
from blindmatch_protocol.designs.voprf import Limits
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.evaluation.studies.near_bench import (
    DEFAULT_LIMITS,
    extract,
    limits_for,
    obtainable,
)
from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs, edited_crops, hamming
from blindmatch_simulations.evaluation.studies.near_tokens import (
    Recall,
    agreement,
    built,
    lost_tokens,
    ranks,
    recall,
    revealed,
    uniform_list,
)
from blindmatch_simulations.evaluation.studies.near_tuning import Wishes, tune
from blindmatch_simulations.measure.intervals import one_sided_least, one_sided_most_rate
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.testbed.inprocess.deployed import entry_id, run_session
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, EDITS, crops


@pytest.fixture(scope="module")
def pairs() -> EditedPairs:
    return edited_crops(5, 5)


def test_the_suite_has_at_least_thirteen_edits(pairs: EditedPairs) -> None:
    assert len(EDITS) >= 13
    assert len(pairs.edited) == 5 * len(EDITS)


@pytest.mark.parametrize("edit", ["identical", "jpeg-50", "resize-0.75", "brighter"])
def test_edited_pictures_match_through_the_protocol_as_the_oracle_says(edit: str) -> None:
    pictures = crops(5, 8)
    listed: Rows = np.frombuffer(b"".join(p.hash for p in pictures[:3]), np.uint8).reshape(3, 32)
    place = built(np.concatenate([uniform_list(20, 1), listed]), Tokening())
    for number, picture in enumerate(pictures):
        edited = Picture.from_bytes(BY_NAME[edit].apply(picture.data))
        near = bool(DESIGN.info.relation.holds(edited, place.build.entries).any())
        found = run_session(place, edited, seeded("device")).outcome
        assert isinstance(found, Match) == near == (number < 3)
        assert found == NoMatch() or found.label.entry_hash == picture.hash  # type: ignore[union-attr]


def test_captioned_pictures_match_only_where_the_oracle_says(pairs: EditedPairs) -> None:
    place = built(pairs.originals.hashes, Tokening())
    seen = 0
    for row in (pairs.edit == pairs.names.index("caption")).nonzero()[0]:
        picture = pairs.edited.item(int(row))
        near = bool(DESIGN.info.relation.holds(picture, place.build.entries).any())
        assert run_session(place, picture, seeded("device")).found <= near
        seen += near
    assert seen < 8


def test_the_token_domain_foretells_the_protocol(pairs: EditedPairs) -> None:
    found = agreement(pairs, Tokening(bands=4, probes=4), 30, 1)
    assert found.predicted == found.sessions == 30
    assert found.wrong == 0 and found.found < found.expected


def test_ranks_and_recall_are_those_of_a_slow_reference(pairs: EditedPairs) -> None:
    k = 20
    bands = 5
    probes = 6
    own = entry_tokens(pairs.originals.hashes, k, bands)
    found = ranks(pairs, k, bands, probes)
    hits = []
    for row in range(len(pairs.edited)):
        one = pairs.edited.item(row)
        asked = probe_tokens(one.hash, one.coefficients, k, bands, probes).tolist()
        wanted = own[pairs.original[row]].tolist()
        hits.append(sum(token in tokens for token, tokens in zip(wanted, asked, strict=True)))
        for band in range(bands):
            if wanted[band] in asked[band]:
                assert found[row, band] == asked[band].index(wanted[band])
    matching = pairs.matching()
    share = 100 * np.mean(np.array(hits)[matching] >= 2)
    assert recall(pairs, found, Tokening(k, bands, probes)).share == pytest.approx(share)


def test_lost_tokens_lower_recall(pairs: EditedPairs) -> None:
    t = Tokening(k=8, bands=6, probes=2)
    found = ranks(pairs, 8, 6, 2)
    lost = lost_tokens(pairs, uniform_list(300, 2), 8, 6)
    assert lost.any()
    assert recall(pairs, found, t, np.ones_like(lost)).share == 0
    assert recall(pairs, found, t, lost).share < recall(pairs, found, t).share


def test_revealed_pairs_are_those_of_a_slow_reference(pairs: EditedPairs) -> None:
    t = Tokening(k=6, bands=5, probes=3)
    listed = uniform_list(200, 3)
    sent = pairs.edited.take(np.arange(40))
    own = entry_tokens(listed, 6, 5)
    counts = dict[int, int]()
    for row in range(40):
        asked = probe_tokens(sent.hashes[row].tobytes(), sent.coefficients[row], 6, 5, 3)
        bands = (own[:, :, None] == asked[None]).any(axis=2).sum(axis=1)
        far = hamming(np.broadcast_to(sent.hashes[row], listed.shape), listed) > 31
        for count in bands[far & (bands > 0)].tolist():
            counts[count] = counts.get(count, 0) + 1
    found = revealed(sent, listed, t)
    assert {bands: len(some) for bands, some in found.distances.items()} == counts
    assert sum(found.by_distance(2).values()) == found.count(2) > 0


@pytest.mark.parametrize("evaluations", [128, 256, 512])
def test_the_extraction_attack_opens_what_the_formula_says(evaluations: int) -> None:
    k = 8
    hashes = uniform_list(100, 4)
    place = built(hashes, Tokening(k=k, bands=3, probes=32))
    opened = extract(place, evaluations, seeded("attack"))
    own = entry_tokens(hashes, k, 3)[:, :2]
    stored = ~plan(hashes, k, 3).lost[:, :2]
    exact = {entry_id(row) for row in ((own < evaluations // 2) & stored).all(axis=1).nonzero()[0].tolist()}
    assert opened.keys() == exact
    kept = float(stored.all(axis=1).mean())
    expected = 100 * kept * expected_share(evaluations, k)
    assert abs(len(opened) - expected) <= 3 * max(1.0, expected) ** 0.5
    assert all(label.entry_hash == hashes[number - entry_id(0)].tobytes() for number, label in opened.items())


def test_the_limits_of_a_key_bound_what_one_account_and_all_that_pool_open() -> None:
    limits = DEFAULT_LIMITS
    alone, pooled = (obtainable(limits, accounts) for accounts in (1, 1000))
    assert expected_share(alone, 24) == pytest.approx(1 / 1024)
    assert expected_share(pooled, 24) == pytest.approx(1 / 4)
    assert best_share(alone, Tokening()) == pytest.approx(1.74 / 1024, rel=0.01), "over all bands"
    assert best_share(pooled, Tokening()) == pytest.approx(0.264, rel=0.01)
    assert obtainable(limits, 3) == 3 * alone
    assert expected_share(obtainable(Limits(), 1), 24) == 1


def simulated_share(evaluations: float, tokening: Tokening, over: int) -> float:
    """How many of a million uniform entries have enough of their tokens asked for, spread over bands."""
    entries = np.random.default_rng(over).random((1 << 20, over))
    hits = (entries < evaluations / over / 2**tokening.k).sum(axis=1)
    return float((hits >= tokening.needed).mean())


@pytest.mark.parametrize("tokening", [Tokening(k=20, bands=12, probes=8), Tokening(k=28, bands=9, needed=3)])
def test_limits_for_a_share_open_no_more_than_it(tokening: Tokening) -> None:
    limits = limits_for(tokening, 0.001, 0.1, 7)
    for accounts, share in ((1, 0.001), (10_000, 0.1)):
        spent = obtainable(limits, accounts)
        found = max(simulated_share(spent, tokening, over) for over in (tokening.needed, tokening.bands))
        assert share * 0.9 < found <= share * 1.1
        assert best_share(spent, tokening) <= share
    assert limits.key_expires == 7
    assert limits_for(tokening, 0, 0).account_evaluations == tokening.tokens, "one request at least"


def test_bounds_are_the_rule_of_three_and_wider_than_the_figure() -> None:
    assert one_sided_most_rate(0, 300) == pytest.approx(0.01, rel=0.002)
    assert one_sided_most_rate(10, 1000) == pytest.approx(0.01696, rel=0.01)  # Poisson: 16.96 for 10 seen
    assert one_sided_least(99, 100) < 0.99 < 1 and one_sided_least(100, 100) < 1


def test_the_frontier_has_no_point_that_another_beats_and_the_proposal_meets_the_wishes(
    pairs: EditedPairs,
) -> None:
    wishes = Wishes(recall=80, device_u=1500, secrecy=2.0**24)
    frontier = tune(pairs, wishes)
    assert frontier.proposal is not None and frontier.proposal.meets(wishes)
    assert not any(a.beats(b) for a in frontier.points for b in frontier.points)
    assert tune(pairs, Wishes(recall=100.1)).proposal is None


def test_the_least_recall_is_over_photographs_and_not_over_their_copies() -> None:
    """26 copies of a photograph hang together: counted one by one, bounds of 95 % did not hold as often."""
    rng = np.random.default_rng(26)
    held = 0
    wrong = 0
    for _ in range(100):
        chances = rng.beta(0.9 * 2, 0.1 * 2, 60)
        found = rng.random((60, 26)) < chances[:, None]
        original = np.repeat(np.arange(60), 26)
        none = np.zeros(60 * 26, np.int32)
        made = Recall(found.ravel(), none.astype(np.intp), none, original, ("identical",), 60 * 26, 60)
        meter = Meter()
        made.record(meter, "near/recall/at-160", "")
        of = {row.id: row.figures["least_share"].value for row in meter.rows if row.figures}
        held += (of["near/recall/at-160"] or 0) <= 0.9
        held += (of["near/recall/sent-found"] or 0) <= 0.9
        wrong += one_sided_least(int(found.sum()), found.size) > 0.9
    assert held >= 2 * 93 and wrong > 15
