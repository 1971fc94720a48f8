"""he-hamming: exact near outcomes, one size of reply, keys that are never seeded, one form for every body."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import (
    UNBOUND,
    Adversary,
    Label,
    Match,
    Near,
    NoMatch,
    Outcome,
    Party,
    Ready,
    Send,
)
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.designs.he_hamming import DESIGN, SMALL, files, packing
from blindmatch_protocol.designs.he_hamming.circuit import FLOOD_BITS, MANY, Evaluation, babies_for, indicator
from blindmatch_protocol.designs.he_hamming.design import balanced
from blindmatch_protocol.designs.he_hamming.packing import BABY, BITS, FULL, Keys, Query, Reply, Ring, Secret
from blindmatch_protocol.designs.he_hamming.seal import PLAIN_MODULUS, primes, saved, sealapi
from blindmatch_simulations.data import committed
from msgspec.structs import replace
from support import he_world as he
from support.he_world import LISTED, MATCHER, OWN, SLOTS, Picture, entry_at, world
from support.memory import held, random_hashes

DISTANCES = (0, 30, 31, 32, 33)
"""Entries at odd distances have weight 129."""


def outcomes(distances: tuple[int, ...], full: bool = False) -> dict[int, Outcome]:
    own = {distance: random_hashes(1, seed=500 + distance)[0].tobytes() for distance in distances}
    place = world(*(entry_at(hash_, distance) for distance, hash_ in own.items()), full=full)
    found = {distance: he.run(place, Picture(hash_)) for distance, hash_ in own.items()}
    for at, (distance, outcome) in enumerate(found.items()):
        matches = Near(31).matches(Picture(own[distance]), place.entries)  # type: ignore[arg-type]
        assert outcome == (Match(he.label_of(place, len(LISTED) + at)) if matches else NoMatch())
    return found


def test_outcomes_are_the_plaintext_oracles_at_every_distance_that_counts() -> None:
    found = outcomes(DISTANCES)
    assert [isinstance(found[distance], Match) for distance in DISTANCES] == [True, True, True, False, False]


@pytest.mark.slow
def test_the_ring_that_devices_use_gives_the_same_outcomes() -> None:
    assert [isinstance(one, Match) for one in outcomes((31, 32), full=True).values()] == [True, False]


def test_the_indicator_is_zero_exactly_beyond_the_distance() -> None:
    values = [indicator(v) for v in range(-1, 129)]
    assert [bool(one) for one in values] == [v >= 113 for v in range(-1, 129)]


def test_a_poor_picture_asks_with_another_hash_and_matches_nothing() -> None:
    place = world()
    assert he.run(place, Picture(LISTED[0].tobytes(), quality=49)) == NoMatch()
    _, body = he.start(place, Picture(LISTED[0].tobytes(), quality=49))
    assert he.hits(place, he.reply(place, body)) == []


@pytest.mark.parametrize("weight", [126, 128, 131])
def test_a_picture_of_another_weight_loses_its_surplus_of_bits_next_to_the_median(weight: int) -> None:
    bits = np.unpackbits(np.frombuffer(OWN, np.uint8))
    weak = tuple(np.flatnonzero(bits == (weight > 128))[: abs(weight - 128)].tolist())
    wanted = bits.copy()
    wanted[list(weak)] ^= 1
    item = Picture(np.packbits(bits).tobytes())
    if weight != 128:
        item = Picture(np.packbits(wanted).tobytes(), weak=weak)
    assert balanced(item).sum() == 128
    assert (balanced(item) == bits).all()


def test_sample_pictures_have_the_weight_that_queries_have() -> None:
    weights = {
        np.unpackbits(np.frombuffer(bytes.fromhex(row["hash"]), np.uint8)).sum()
        for row in committed("pictures")["pictures"]
    }
    assert weights == {128}


def test_a_picture_of_weight_130_finds_its_own_hash() -> None:
    place = world(odd := entry_at(entry_at(OWN, 1), 1, seed=2))
    assert np.unpackbits(np.frombuffer(odd, np.uint8)).sum() == 130
    assert he.run(place, Picture(odd)) == Match(he.label_of(place, len(LISTED)))


def test_rotations_beforehand_find_what_giant_steps_find() -> None:
    small = world()
    assert {batch.babies for batch in small.states[MATCHER].batches} == {babies_for(MANY)} == {BABY}
    large = he.rotated(small, babies_for(MANY + 1))
    assert {batch.babies for batch in large.states[MATCHER].batches} == {BITS}
    for at in (0, SLOTS + 1, None):
        item = Picture(OWN if at is None else LISTED[at].tobytes())
        found = he.run(large, item)
        assert found == he.run(small, item)
        assert isinstance(found, Match) is (at is not None)


def test_a_reply_does_not_grow_with_the_list_nor_with_what_matches() -> None:
    small = held(SMALL, LISTED[:1])
    large = world()
    sizes = set()
    for place, hash_ in ((small, LISTED[0]), (small, LISTED[9]), (large, LISTED[9]), (large, OWN)):
        _, body = he.start(place, Picture(bytes(hash_)))
        sizes.add((len(body.encode()), len(he.reply(place, body).encode())))
    assert (small.setup.batches, large.setup.batches, sizes) == (1, 2, {(23629, 32781)})


# --- placing -------------------------------------------------------------------------------------


def test_near_entries_never_share_a_slot_so_that_none_garbles_another() -> None:
    family = he.rows(*(entry_at(OWN, 20, seed) for seed in range(200)))
    place = held(SMALL, np.concatenate([family, LISTED]))
    order = files.placed(np.concatenate([family, random_hashes(3 * SLOTS - 200, 8)]), SLOTS, seeded("x"))
    slots = [at % SLOTS for at, row in enumerate(order.tolist()) if row < 200]
    assert (sorted(order.tolist()), len(set(slots))) == (list(range(3 * SLOTS)), 200)
    assert isinstance(he.run(place, Picture(OWN)), Match)


def test_a_slot_with_two_matches_is_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `placed` is for: without it the two keys are added up."""
    monkeypatch.setattr(files, "placed", lambda hashes, degree, rng: np.arange(len(hashes)))
    twins = np.concatenate([he.rows(OWN), LISTED[: SLOTS - 1], he.rows(entry_at(OWN, 2))])
    assert he.run(held(SMALL, twins), Picture(OWN)) == NoMatch()


def test_a_list_of_too_many_near_entries_is_refused() -> None:
    family = he.rows(*(entry_at(OWN, 20, seed) for seed in range(SLOTS + 1)))
    with pytest.raises(DesignError, match="near one another"):
        held(SMALL, family)


def test_empty_places_look_like_others_and_open_nothing() -> None:
    place = held(SMALL, LISTED[:1])
    record = memoryview(place.setup.file.section(2))
    width = 88
    assert len(record) == SLOTS * width
    assert len({bytes(record[at : at + 8]) for at in range(0, len(record), width)}) == SLOTS


# --- keys and randomness -------------------------------------------------------------------------


def test_keys_do_not_follow_from_the_tape_and_every_part_has_a_seed_of_its_own() -> None:
    place = world()
    made = [place.design.enrolment(Secret(b""), place.setup, seeded("x")) for _ in range(2)]
    bodies = [one.bodies[MATCHER] for one in made]
    assert made[0].state != made[1].state
    assert bodies[0].seeds != bodies[1].seeds
    seeds = bodies[0].seeds
    assert len({seeds[at : at + 64] for at in range(0, len(seeds), 64)}) == 21


def test_a_ring_with_a_seed_makes_no_keys_whose_masks_would_all_be_the_same() -> None:
    seeded_ring = Ring(SMALL.sizes, bytes(range(64)))
    with pytest.raises(DesignError, match="seed"):
        seeded_ring.new_keys()
    generator = sealapi.KeyGenerator(seeded_ring.context)
    parts = packing.parse_switching_keys(saved(generator.create_galois_keys(seeded_ring.elements)))
    assert len({seed for _, seed in parts}) == 1  # the trap


def test_a_query_follows_from_the_tape_and_from_nothing_else() -> None:
    place = world()
    item = Picture(OWN)
    first, again, other = (he.start(place, item, seed)[1] for seed in ("a", "a", "b"))
    assert first == again
    assert first.seed != other.seed
    unlike = (first.rows != he.start(place, Picture(LISTED[0].tobytes()), "a")[1].rows).any(axis=1)
    assert unlike.mean() > 0.9


def test_two_replies_to_one_body_have_nothing_in_common() -> None:
    place = world()
    session, body = he.start(place, Picture(OWN))
    first = he.reply(place, body)
    second = he.reply(place, body)
    assert (first.rows == second.rows).mean() < 0.02
    assert he.conclude(place, session, first) == he.conclude(place, session, second) == NoMatch()


def test_an_account_without_keys_cannot_ask() -> None:
    place = world()
    with pytest.raises(DesignError, match="keys"):
        place.setup.ring.encrypt(b"", np.zeros(256, np.uint8), seeded("x"))


def test_nothing_secret_is_in_a_repr() -> None:
    session, _ = he.start(world(), Picture(OWN))
    assert he.secret().hex()[:16] not in repr(session) + repr(he.account().state)
    assert "secret" not in repr(session)


# --- one form ------------------------------------------------------------------------------------


def test_packing_gives_back_what_it_was_given() -> None:
    bounds = np.array(primes(SLOTS), np.uint64)[:, None]
    drawn = np.random.default_rng(1).integers(0, 1 << 62, (3, len(bounds), SLOTS)).astype(np.uint64) % bounds
    rows = packing.packed(drawn)
    assert rows.shape == (SLOTS, packing.width(3, len(bounds)))
    assert (packing.unpacked(rows, len(bounds), "x", "y") == drawn).all()


@pytest.mark.parametrize("prime", range(packing.DATA))
def test_a_number_that_is_not_below_its_prime_is_refused(prime: int) -> None:
    _, body = he.start(world(), Picture(OWN))
    at = sum(packing.WIDTHS[:prime])
    width = packing.WIDTHS[prime]
    for value, fits in ((primes(SLOTS)[prime] - 1, True), (primes(SLOTS)[prime], False)):
        rows = body.rows.copy()
        rows[7, at : at + width] = np.frombuffer(value.to_bytes(width, "little"), np.uint8)
        raw = replace(body, rows=rows).encode()
        if fits:
            assert Query.decode(raw).rows[7, at] == rows[7, at]
        else:
            with pytest.raises(ProtocolError, match="below its prime"):
                Query.decode(raw)


def bodies() -> list[Query | Keys | Reply]:
    _, body = he.start(world(), Picture(OWN))
    return [body, he.keys(), he.reply(world(), body)]


def test_truncated_longer_and_otherwise_shaped_bodies_are_refused() -> None:
    for body in bodies():
        raw = body.encode()
        kind = type(body)
        front = raw[: len(raw) - body.rows.nbytes - 4]
        for altered in (
            raw[:-1],
            raw + b"\0",
            front + (SLOTS - 1).to_bytes(4, "big") + body.rows[1:].tobytes(),
            front + (SLOTS * 64).to_bytes(4, "big") + body.rows.tobytes() * 64,
            front + (2 * SLOTS - 1).to_bytes(4, "big") + body.rows.tobytes() + body.rows[1:].tobytes(),
            raw[:1] + b"\xff" * (len(raw) - 1),
        ):
            with pytest.raises(ProtocolError):
                kind.decode(altered)


def test_bodies_of_another_ring_epoch_or_without_keys_are_refused() -> None:
    place = world()
    _, body = he.start(place, Picture(OWN))
    twice = np.concatenate([body.rows, body.rows]) % 128
    ring = replace(body, rows=twice.astype(np.uint8))
    refused = [
        he.answer(place, ring, he.keys()),
        he.answer(place, body, None),
        he.answer(place, body, body),
        he.answer(place, replace(body, epoch=2), he.keys()),
        he.answer(place, body, Keys(he.keys().seeds, np.zeros((1024, he.keys().rows.shape[1]), np.uint8))),
    ]
    assert all(isinstance(one, ProtocolError) for one in refused)
    assert isinstance(refused[3], EpochMismatchError)


def test_a_reply_of_another_ring_or_epoch_is_refused() -> None:
    place = world()
    session, body = he.start(place, Picture(OWN))
    good = he.reply(place, body)
    for bad in (
        replace(good, epoch=2),
        replace(good, rows=np.zeros((1024, good.rows.shape[1]), np.uint8)),
        body,
    ):
        with pytest.raises(ProtocolError):
            place.design.receive(session, place.setup, {MATCHER: bad}, seeded("x"))


def test_a_set_of_the_ring_without_security_is_none_that_a_device_opens() -> None:
    made = held(SMALL, LISTED[:1]).setup.file
    with pytest.raises(SetFileError, match="he-hamming-insecure"):
        DESIGN.open_setup({files.SET_FILE: made._data}, 1)
    assert DESIGN.sizes is FULL
    assert FULL.secure


# --- hostile matchers and clients ----------------------------------------------------------------


def test_keys_of_another_account_zeros_and_noise_give_no_match_and_no_error() -> None:
    place = world()
    listed = Picture(LISTED[0].tobytes())
    session, body = he.start(place, listed)
    assert isinstance(he.conclude(place, session, he.reply(place, body)), Match)
    good = he.reply(place, body)
    bound = primes(SLOTS)[0]
    noise = np.random.default_rng(1).integers(0, bound, (16, 1, SLOTS)).astype(np.uint64)
    for hostile in (
        he.reply(place, body, he.keys(1)),
        replace(good, rows=np.zeros_like(good.rows)),
        replace(good, rows=packing.packed(noise)),
        replace(good, rows=packing.packed(np.full((16, 1, SLOTS), bound - 1, np.uint64))),
    ):
        assert he.conclude(place, session, hostile) == NoMatch()


def test_a_reply_to_another_picture_makes_no_match_of_this_one() -> None:
    place = world()
    _, before = he.start(place, Picture(LISTED[0].tobytes()))
    replayed = he.reply(place, before)
    session, _ = he.start(place, Picture(OWN))
    assert he.hits(place, replayed) != []
    assert he.conclude(place, session, replayed) == NoMatch()


def test_a_matcher_chooses_which_entries_a_report_can_come_of() -> None:
    """`chosen_matches`: it asks nothing of the query, and sends keys as they are, without encryption."""
    place = world()
    outcomes = {}
    for row in (0, 1):
        session, _ = he.start(place, Picture(LISTED[row].tobytes()))
        outcomes[row] = he.conclude(place, session, he.unencrypted(place, LISTED[0].tobytes()))
    assert outcomes == {0: Match(he.label_of(place, 0)), 1: NoMatch()}
    both = frozenset({Party.MATCHER, Party.PROVIDER})
    assert "chosen_matches" in {fact.name for fact in told(DESIGN, both, Adversary.MALICIOUS)}


def test_whoever_sees_reports_is_declared_to_test_earlier_pictures() -> None:
    for party in (Party.CENTRE, Party.PROVIDER):
        both = frozenset({Party.MATCHER, party})
        assert "earlier_pictures" in {fact.name for fact in told(DESIGN, both, Adversary.MALICIOUS)}
    alone = told(DESIGN, frozenset({Party.MATCHER}), Adversary.MALICIOUS)
    assert "earlier_pictures" not in {fact.name for fact in alone}


def test_a_query_of_an_earlier_epoch_is_of_no_use_in_a_later_reply() -> None:
    """An account enrols anew each epoch: what the matcher recorded is under a secret key that is gone."""
    first = world(epoch=1)
    second = world(epoch=2)
    assert SMALL.enrolment_key(first.setup) != SMALL.enrolment_key(second.setup)
    listed = Picture(LISTED[0].tobytes())
    recorded = replace(he.start(first, listed)[1], epoch=2)
    replayed = he.reply(second, recorded, he.keys())
    for number, outcome in ((0, Match), (1, NoMatch)):
        session, _ = he.start(second, listed, number=number)
        assert isinstance(he.conclude(second, session, replayed), outcome)


def test_a_picture_near_more_entries_than_slots_are_looked_at_still_matches() -> None:
    family = tuple(entry_at(OWN, 30, seed) for seed in range(100))
    place = held(SMALL, he.rows(*family))
    session, body = he.start(place, Picture(OWN))
    got = he.reply(place, body)
    assert len(he.hits(place, got)) == 100
    found = he.conclude(place, session, got)
    assert isinstance(found, Match)
    assert found.label.entry_hash in family


def test_hostile_keys_and_ciphertexts_in_the_right_form_end_in_a_reply_or_are_refused() -> None:
    place = world()
    _, body = he.start(place, Picture(OWN))
    ones = np.ones_like(he.keys().rows)
    zeros = np.zeros_like(he.keys().rows)
    for query, held_keys in (
        (body, Keys(bytes(21 * 64), zeros)),
        (body, Keys(bytes(21 * 64), ones)),
        (replace(body, rows=np.zeros_like(body.rows)), he.keys()),
        (replace(body, seed=bytes(64), rows=np.ones_like(body.rows)), he.keys()),
    ):
        assert isinstance(he.answer(place, query, held_keys), Reply | ProtocolError)


VECTORS = {
    "all ones": np.ones(256, np.int64),
    "zeros": np.zeros(256, np.int64),
    "128 times one bit": np.eye(256, dtype=np.int64)[3] * 128,
    "weight 129": np.repeat([1, 0], [129, 127]),
    "weight 128 with a two": np.repeat([2, 1, 0], [1, 126, 129]),
    "minus one and 129 ones": np.repeat([PLAIN_MODULUS - 1, 1, 0], [1, 129, 126]),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_that_is_no_hash_gets_nothing_but_noise(name: str) -> None:
    """A lone zero among 8 * 512 uniform numbers modulo 65,537 is rare; a whole slot of them, 2^-128."""
    place = world()
    assert len(he.hits(place, he.reply(place, he.query_of(place, VECTORS[name])))) == SLOTS


def test_one_request_asks_about_many_hashes_of_which_an_entry_is_compared_with_one() -> None:
    """A slot sees the 256 slots from it on: two that are swapped from there on make another hash."""
    half = 8192
    rng = np.random.default_rng(1)
    x = np.tile(rng.permutation(np.repeat([1, 0], 128)), half // 256)
    at = 256
    while at < half - 2:
        here = x[at]
        x[at::256] = x[at + 1]
        x[at + 1 :: 256] = here
        at += int(rng.integers(4, 14))
    seen = np.lib.stride_tricks.sliding_window_view(np.append(x, x[:255]), 256)
    valid = seen.sum(axis=1) == 128
    asked = {np.roll(seen[slot], slot % 256).tobytes() for slot in np.flatnonzero(valid)}
    assert valid.mean() > 0.9
    assert len(asked) > 400


def test_without_the_validity_terms_such_vectors_read_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluation, "_validity", lambda self, query, at: [])
    place = world()
    found = he.hits(place, he.reply(place, he.query_of(place, VECTORS["all ones"])))
    assert len(found) == SLOTS


def test_slots_beyond_a_bound_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matcher that fills every slot must not keep a device busy."""
    place = world()
    session, _ = he.start(place, Picture(OWN))
    full = he.reply(place, he.query_of(place, VECTORS["all ones"]))
    tried = []
    monkeypatch.setattr(type(place.setup.labels), "unseal", lambda self, key, number: tried.append(number))
    assert he.conclude(place, session, full) == NoMatch()
    assert len({number % SLOTS for number in tried}) <= 64
    assert len(tried) <= 64 * 16 * place.setup.batches


# --- noise ---------------------------------------------------------------------------------------


def budgets(full: bool, babies: int) -> tuple[int, int]:
    """Bits of noise that are left before the flood and at the end, for the account that knows its key."""
    place = he.rotated(world(full=full), babies)
    seen = list[int]()
    ring = place.setup.ring
    decryptor = sealapi.Decryptor(ring.context, ring.secret_key(he.secret(full=full)))
    flood = Evaluation._flood
    down = Evaluation._finished

    def look(self: Evaluation, total: object) -> object:
        copy = self._down(total, 0)
        ring.evaluator.transform_from_ntt(copy, plain := sealapi.Ciphertext())
        seen.append(decryptor.invariant_noise_budget(plain))
        return down(self, total)

    Evaluation._finished = look  # type: ignore[method-assign, assignment]
    try:
        _, body = he.start(place, Picture(place.entries[0].tobytes()))
        got = he.reply(place, body)
    finally:
        Evaluation._finished = down  # type: ignore[method-assign]
    assert flood is Evaluation._flood
    pair = packing.unpacked(got.rows, 1, "x", "y")[:2]
    last = ring.ciphertext(ring.context.last_parms_id(), pair)
    return min(seen), decryptor.invariant_noise_budget(last)


@pytest.mark.parametrize("babies", [BABY, BITS])
@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_flood_covers_the_noise_and_leaves_room_to_decrypt(full: bool, babies: int) -> None:
    """At three primes, 140 bits: noise is at most 140 - 17 - 1 - budget bits long, the flood's range 119.

    Over the 2^17 coefficients of a reply that is a statistical distance of 2^-40, as a rule: by the keys that
    are drawn a budget is now and then a bit less."""
    before, at_the_end = budgets(full, babies)
    assert FLOOD_BITS + 1 - (140 - 17 - 1 - before) >= 56
    assert at_the_end >= 4


# --- vectors -------------------------------------------------------------------------------------


def test_the_vectors_come_out_again() -> None:
    """Query byte for byte from its tape; the recorded reply opens the recorded label, and no other's."""
    folder = Path(__file__).parents[1] / "vectors"
    vector = json.loads((folder / "he-hamming-v1.json").read_text())
    assert (vector["design"], vector["version"]) == (SMALL.info.name, SMALL.info.version)
    setup = SMALL.open_setup({files.SET_FILE: (folder / "he-hamming-v1-set.bin").read_bytes()}, 1)
    state = Secret(bytes.fromhex(vector["secret"]))
    item = Picture(bytes.fromhex(vector["hash"]))
    reply = Reply.decode((folder / "he-hamming-v1-reply.bin").read_bytes())
    found = {}
    for name, one in (("own", item), ("other", Picture(OWN))):
        begun = SMALL.start(state, setup, one, UNBOUND, seeded(vector["seed"])).step
        assert isinstance(begun, Send)
        raw = begun.bodies[MATCHER].encode()
        assert len(raw) == vector["query_bytes"]
        ready = SMALL.receive(begun.session, setup, {MATCHER: reply}, seeded("unused"))
        assert isinstance(ready, Ready)
        found[name] = (sha256(raw).hexdigest(), SMALL.conclude(ready.session, setup))
    assert found["own"] == (vector["query_sha256"], Match(Label.decode(bytes.fromhex(vector["label"]))))
    assert found["other"][1] == NoMatch()
    assert len(he.keys().encode()) == vector["keys_bytes"]
