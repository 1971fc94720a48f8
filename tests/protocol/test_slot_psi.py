"""The core of slot-psi: tokens lead to slots, one second question opens one record, everything is checked."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import Recording, seeded
from blindmatch_protocol.crypto.oprf import Evaluation, Mode, evaluate_rows, generate_key_pair
from blindmatch_protocol.designs.slot_psi import leakage, records, retrieval, session
from blindmatch_protocol.designs.slot_psi.build import build
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.slot_psi.plan import NOBODY, places, plan
from blindmatch_protocol.designs.slot_psi.session import PARTIES, Pair, choose_pair
from blindmatch_protocol.designs.slot_psi.table import open_table, shards
from blindmatch_protocol.designs.token_psi.tokens import band_bits, entry_tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.memory import random_hashes
from support.slot_world import (
    FIRST,
    SECOND,
    SMALL,
    World,
    ask,
    coefficients_of,
    flipped,
    questions,
    replies,
    world,
)

PARTY_A, PARTY_B = PARTIES
LISTED = random_hashes(60)
OTHER = random_hashes(1, seed=9)[0].tobytes()
BAND_BITS = band_bits(SMALL.k, SMALL.bands)
NEAR = LISTED[3].tobytes()


@cache
def listed() -> World:
    return world(LISTED)


def first_of_bands(count: int) -> tuple[int, ...]:
    """The first bit of each of so many bands."""
    return tuple(int(bits[0]) for bits in BAND_BITS[:count])


# ---- parameters and formulas


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"k": 33}, "k times bands"),
        ({"k": 4, "bands": 8, "slot_bits": 3, "probes": 17}, "probes"),
        ({"bands": 16, "k": 16, "probes": 65, "slot_bits": 9}, "bands times probes"),
        ({"k": 16, "slot_bits": 16}, "slot_bits"),
        ({"slot_bits": 25}, "slot_bits"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused_by_name(values: dict[str, int], rule: str) -> None:
    with pytest.raises(DesignError, match=rule):
        Slotting(**values)


def test_missing_and_unknown_parameters_are_refused() -> None:
    assert Slotting.of(SMALL.values()) == SMALL
    for values in ({"k": 30}, {**SMALL.values(), "more": 1}):
        with pytest.raises(DesignError, match="parameters"):
            Slotting.of(values)


def test_the_formulas_give_the_figures_that_are_declared() -> None:
    default = Slotting()
    year = 1_000 * 20_000
    assert leakage.chance_pairs(default) == pytest.approx(0.1675, abs=1e-4)
    # a thousand phones of 20,000 pictures: m B 2^(s - 2k) = 2 * 10^7 * 2^-43
    assert leakage.list_opened(default, year) == pytest.approx(2e7 / 2**43)
    # a new pair of keys for the same list: s counts twice
    assert leakage.list_opened(default, year, keys=2) == pytest.approx(2e7 / 2**26)
    assert leakage.list_opened(default, 1e30) == 1
    # a delta of 1,000 entries that showed its slots
    shown = leakage.list_opened_if_occupancy_shows(default, year, 1_000)
    assert shown == pytest.approx(leakage.list_opened(default, year) * 131.072)
    assert leakage.list_opened_if_occupancy_shows(default, year, 10**6) == leakage.list_opened(default, year)
    # with the second key ten phones open as much as guesses of 6.6 * 10^9 pictures do: of 28 pairs of bands
    # one, with 2 * 10^5 * 28 of the 2^30 tokens of each asked for, 7.6e-4, less where three bands are right
    assert leakage.second_key_opened(default, 10 * 20_000) == pytest.approx(
        28 * (5.6e6 / 2**30) ** 2, rel=0.03
    )


def test_a_slot_has_no_more_room_than_the_list_needs() -> None:
    default = Slotting()
    assert [default.capacity(n) for n in (1, 1 << 17, (1 << 17) + 1, 10**6)] == [1, 1, 2, 8]
    assert default.record_bytes(10**6) == 8 * (28 * 12 + 2 * 56 + 16) + 4 * 32


# ---- which token leads where


def test_a_token_that_two_entries_have_leads_to_the_first_of_them() -> None:
    twin = np.frombuffer(flipped(NEAR, int(BAND_BITS[0, 0]), int(BAND_BITS[1, 0])), np.uint8)[None]
    made = plan(np.concatenate([LISTED, twin]), SMALL)
    last = len(LISTED)
    assert made.held[last].tolist() == [True, True] + 6 * [False]
    assert made.owner[last, 2:].tolist() == 6 * [3]
    assert made.held[:last].all()
    assert made.relatives[3].tolist() == [last]
    assert (np.delete(made.relatives, 3, axis=0) == NOBODY).all()


def test_the_first_of_equal_relatives_is_taken_and_one_lost_token_makes_none() -> None:
    six = [int(bits[0]) for bits in BAND_BITS[:6]]
    rows = [flipped(NEAR, *six), flipped(NEAR, *(int(bits[1]) for bits in BAND_BITS[:6]))]
    rows.append(flipped(NEAR, *(int(bits[2]) for bits in BAND_BITS[:7])))
    hashes = np.frombuffer(b"".join([NEAR, *rows]), np.uint8).reshape(-1, 32)
    assert plan(hashes, replace(SMALL, relatives=3)).relatives[0].tolist() == [1, 2, NOBODY]
    assert plan(hashes, SMALL).relatives[0].tolist() == [1]


def test_a_token_of_an_earlier_table_leads_nowhere_in_a_later_one() -> None:
    earlier = [np.unique(own) for own in entry_tokens(LISTED, SMALL.k, SMALL.bands).T]
    twin = np.frombuffer(flipped(NEAR, *first_of_bands(3)), np.uint8)[None]
    made = plan(twin, SMALL, earlier)
    assert made.owner[0].tolist() == [0, 0, 0] + 5 * [NOBODY]
    assert made.held[0].tolist() == [True] * 3 + 5 * [False]


def test_a_list_that_is_empty_or_holds_an_entry_twice_is_refused() -> None:
    with pytest.raises(DesignError, match="empty"):
        plan(LISTED[:0], SMALL)
    with pytest.raises(DesignError, match="twice"):
        plan(np.concatenate([LISTED, LISTED[:1]]), SMALL)


def test_every_entry_has_a_place_of_its_own_that_only_the_secret_says() -> None:
    found = places(1300, SMALL, b"secret", 1)
    assert len(set(found.tolist())) == 1300
    assert found.max() < SMALL.capacity(1300) * SMALL.slots
    assert (found == places(1300, SMALL, b"secret", 1)).all()
    for other in (places(1300, SMALL, b"another", 1), places(1300, SMALL, b"secret", 2)):
        assert (found == other).mean() < 0.01


# ---- the table


@given(st.integers(1, 60), st.integers(2, 24), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_every_key_of_a_table_reads_its_value(count: int, slot_bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    values = rng.integers(0, 1 << slot_bits, count, dtype=np.uint32)
    parts = list(shards(keys, values, slot_bits, bytes(32)))
    assert (open_table(parts, slot_bits, count).values(keys) == values).all()


def test_a_table_of_several_shards_reads_across_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from blindmatch_protocol.sets import store

    monkeypatch.setattr(store, "MOST_SHARD_KEYS", 1 << 9)
    rng = np.random.default_rng(4)
    keys = rng.integers(0, 256, (3000, 16), dtype=np.uint8)
    values = rng.integers(0, 1 << 17, 3000, dtype=np.uint32)
    parts = list(shards(keys, values, 17, bytes(32)))
    assert len(parts) == 8
    assert (open_table(parts, 17, 3000).values(keys) == values).all()


def test_tokens_that_are_not_listed_read_all_slots_alike() -> None:
    """Of 2^14 of them; the counts of 64 ranges of slots are compared with a uniform number's, by chi
    squared."""
    held = listed()
    tokens = np.arange(1 << 14, dtype=np.uint32)
    own = entry_tokens(LISTED, SMALL.k, SMALL.bands)[:, 0]
    tokens = tokens[~np.isin(tokens, own)]
    bands = np.zeros(len(tokens), np.uint32)
    outputs = evaluate_rows(FIRST, records.first_inputs(bands, tokens))
    counts = np.bincount(held.setup.table.lookup(outputs, 1) >> 3, minlength=64)
    expected = len(tokens) / 64
    # 99.99 % of uniform ones lie below 116 (63 degrees of freedom)
    assert ((counts - expected) ** 2 / expected).sum() < 116


def test_every_byte_follows_from_list_and_keys() -> None:
    entries = listed().entries
    made = listed().built
    again = build(entries, FIRST, SECOND, SMALL, 1)
    assert (again.table, again.records.tobytes()) == (made.table, made.records.tobytes())
    for first, second in ((SECOND, SECOND), (FIRST, FIRST)):
        other = build(entries, first, second, SMALL, 1)
        # the cells that no key needs follow from both keys, too
        assert other.table != made.table
        assert (other.records == made.records).mean() < 0.02


@pytest.mark.parametrize("change", ["short", "long", "length", "keys", "shards", "truncated"])
def test_a_table_with_too_few_or_too_many_cells_is_refused(change: str) -> None:
    (part,) = listed().built.table
    parts = {
        "short": [part[:-1]],
        "long": [part + b"\0"],
        "length": [part[:8] + (3).to_bytes(4, "big") + part[12:]],
        "keys": [part[:16] + (1).to_bytes(4, "big") + part[20:]],
        "shards": 3 * [part],
        "truncated": [part[:19]],
    }[change]
    with pytest.raises(SetFileError, match="table"):
        open_table(parts, SMALL.slot_bits, len(LISTED) * SMALL.bands)


def test_a_table_with_bits_behind_its_last_cell_is_refused() -> None:
    """12 cells of 9 bits leave four bits of a byte."""
    keys = np.zeros((1, 16), np.uint8)
    values = np.array([5], np.uint32)
    (part,) = shards(keys, values, 9, bytes(32))
    assert open_table([part], 9, 1).values(keys).tolist() == [5]
    with pytest.raises(SetFileError, match="bits behind"):
        open_table([part[:-1] + bytes([part[-1] | 1])], 9, 1)


# ---- retrieval


@given(st.integers(2, 12), st.data())
@settings(max_examples=40, deadline=None)
def test_two_selections_differ_in_the_wanted_record_alone(slot_bits: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, 2**slot_bits - 1))
    keys = retrieval.selection_keys(index, slot_bits, seeded(str(index)))
    assert len(keys.first) == len(keys.second) == retrieval.key_bytes(slot_bits)
    both = [
        retrieval.selections([key], party, slot_bits) for party, key in enumerate((keys.first, keys.second))
    ]
    differ = np.unpackbits(both[0] ^ both[1], axis=1, count=1 << slot_bits)[0]
    assert np.flatnonzero(differ).tolist() == [index]


@pytest.mark.parametrize("batch_size", [1, 5, retrieval.LEAST_SHARED, 70])
def test_answers_add_up_to_the_record_in_batches_of_any_size(batch_size: int) -> None:
    rng = np.random.default_rng(2)
    held = rng.integers(0, 256, (1 << 9, 77), dtype=np.uint8)
    words = retrieval.words_of(held)
    wanted = rng.integers(0, 1 << 9, batch_size).tolist()
    keys = [retrieval.selection_keys(index, 9, seeded(str(index))) for index in wanted]
    one = retrieval.answers(words, retrieval.selections([key.first for key in keys], 0, 9))
    other = retrieval.answers(words, retrieval.selections([key.second for key in keys], 1, 9))
    assert ((one ^ other)[:, :77] == held[wanted]).all()


def test_one_selection_alone_does_not_show_the_index() -> None:
    """The bit of the index is set in half of the selections, and so is any other; 400 of each party."""
    for party in (0, 1):
        rng = seeded(f"party {party}")
        pairs = [retrieval.selection_keys(300, 9, rng) for _ in range(400)]
        keys = [pair.second if party else pair.first for pair in pairs]
        bits = np.unpackbits(retrieval.selections(keys, party, 9), axis=1)
        # a fair coin thrown 400 times lies beyond these bounds once in 20,000
        assert 160 <= bits[:, 300].sum() <= 240
        assert abs(bits.mean() - 0.5) < 0.005


# ---- a picture


def test_a_copy_whose_weakest_bits_flipped_opens_its_entry() -> None:
    bits = first_of_bands(6)
    found = ask(listed(), flipped(NEAR, *bits), coefficients_of(NEAR, bits), "near")
    assert found is not None
    assert (found.entry_hash, found.entry_id) == (NEAR, 4)


def test_a_copy_that_agrees_in_one_band_alone_opens_nothing() -> None:
    """Strong bits of seven bands flipped, so that no probe repairs them."""
    copy = flipped(NEAR, *(int(bits[-1]) for bits in BAND_BITS[:7]))
    assert ask(listed(), copy, coefficients_of(copy), "one band") is None
    again = flipped(NEAR, *(int(bits[-1]) for bits in BAND_BITS[:6]))
    found = ask(listed(), again, coefficients_of(again), "two bands")
    assert found is not None and found.entry_id == 4


def test_a_picture_that_is_not_listed_or_too_poor_opens_nothing() -> None:
    held = listed()
    assert ask(held, OTHER, coefficients_of(OTHER), "other") is None
    sent = questions(held, NEAR, coefficients_of(NEAR), seeded("poor"), is_cover=True)
    assert session.open_record(held.setup, sent.asked, replies(held, sent)) is None


def test_a_near_twin_whose_tokens_another_entry_got_opens_with_it() -> None:
    """The twin keeps two tokens, so a copy of it finds the owner's slot, where its own label lies as a
    relative's."""
    far_bits = tuple(int(bit) for bits in BAND_BITS[:2] for bit in bits[:10])
    twin = flipped(NEAR, *far_bits)
    hashes = np.concatenate([LISTED, np.frombuffer(twin, np.uint8)[None]])
    held = world(hashes)
    found = ask(held, twin, coefficients_of(twin), "twin")
    assert found is not None and found.entry_id == len(hashes)
    # of the owner's copies the owner stays the nearest
    again = ask(held, NEAR, coefficients_of(NEAR), "owner")
    assert again is not None and again.entry_id == 4


def test_every_entry_of_a_list_with_full_slots_is_found() -> None:
    """More entries than slots, so that every record holds several."""
    few = Slotting(k=16, bands=8, probes=2, slot_bits=4)
    held = world(LISTED, few)
    assert few.capacity(len(LISTED)) == 4
    hashes = [row.tobytes() for row in LISTED]
    found = [ask(held, own, coefficients_of(own), f"n{n}") for n, own in enumerate(hashes)]
    assert [label.entry_id if label else None for label in found] == list(range(1, 61))


def test_all_pictures_look_alike_outside_and_take_as_much_randomness() -> None:
    """Listed, not listed with and without a candidate, and poor: one second question each, of one size."""
    held = listed()
    seen = set()
    candidates = set()
    unlisted = [(row.tobytes(), False) for row in random_hashes(12, seed=5)]
    for n, (own, poor) in enumerate([(NEAR, False), (NEAR, True), *unlisted]):
        recording = Recording(seeded(f"p{n}"))
        sent = questions(held, own, coefficients_of(own), recording.rng, poor)
        both = replies(held, sent)
        candidates.add(sent.asked.pair is None)
        sizes = tuple((q.blinded.shape, len(q.key)) for q in sent.questions.values())
        answers = tuple((len(r.answer), r.evaluation.elements.shape) for r in both.values())
        seen.add((sizes, answers, tuple(map(len, recording.taken()))))
    assert candidates == {True, False}
    assert len(seen) == 1


def test_the_stand_in_asks_for_a_uniform_slot() -> None:
    """Of 60 pictures of which hardly any has a candidate; with a fixed slot all would be equal."""
    # 4 tokens make 6 pairs, which agree on one of 2^12 slots once in 700 pictures
    held = world(LISTED[:4], Slotting(k=16, bands=4, probes=1, slot_bits=12))
    slots = []
    for n, own in enumerate(random_hashes(60, seed=11)):
        sent = questions(held, own.tobytes(), coefficients_of(own.tobytes()), seeded(f"s{n}"))
        if sent.asked.pair is None:
            slots.append(sent.asked.slot)
    assert len(slots) > 55
    # of 60 uniform slots of 2^12 two coincide in every third run, four pairs in one of 10^5
    assert len(set(slots)) > len(slots) - 4
    # none in the lowest or highest quarter of the slots: 3 * 10^-8
    assert min(slots) < 1 << 10 and max(slots) >= 3 << 10


def test_of_slots_that_bands_agree_on_the_one_with_most_bands_then_the_likeliest_is_asked_about() -> None:
    s = Slotting(k=16, bands=4, probes=2, slot_bits=9)
    tokens = np.arange(8, dtype=np.uint32).reshape(4, 2)
    costs = np.array([[0.0, 5.0], [0.0, 1.0], [0.0, 3.0], [0.0, 2.0]])
    unlike = np.array([[10, 11], [12, 13], [14, 15], [16, 17]], np.uint32)
    assert choose_pair(s, unlike, tokens, costs) is None
    two = unlike.copy()
    two[0, 1] = two[2, 1] = 99
    assert choose_pair(s, two, tokens, costs) == Pair(99, s.pairs.index((0, 2)), (1, 5))
    likelier = two.copy()
    likelier[1, 1] = likelier[3, 1] = 77
    assert choose_pair(s, likelier, tokens, costs) == Pair(77, s.pairs.index((1, 3)), (3, 7))
    three = likelier.copy()
    three[1, 0] = 99
    assert choose_pair(s, three, tokens, costs) == Pair(99, s.pairs.index((1, 2)), (2, 5))
    # tokens of one band that agree are no pair
    same = unlike.copy()
    same[0] = 55
    assert choose_pair(s, same, tokens, costs) is None


# ---- bad input


def altered(reply: session.Reply, at: int) -> session.Reply:
    answer = bytearray(reply.answer)
    answer[at] ^= 1
    return replace(reply, answer=bytes(answer))


@pytest.mark.parametrize("own", [NEAR, OTHER, random_hashes(1, seed=21)[0].tobytes()])
@pytest.mark.parametrize("party", PARTIES)
@pytest.mark.parametrize("at", [0, 470, -1])
def test_a_party_that_alters_a_record_is_noticed_whatever_was_asked(own: bytes, party: str, at: int) -> None:
    """Also where the question stands in for none, and the same words say so. A bit of the first entry's wraps
    is altered, of its labels, or of the path."""
    held = listed()
    sent = questions(held, own, coefficients_of(own), seeded("altered"))
    both = replies(held, sent)
    role = next(it for it in PARTIES if it == party)
    with pytest.raises(ProtocolError) as caught:
        session.open_record(held.setup, sent.asked, {**both, role: altered(both[role], at)})
    assert str(caught.value) == "slot-psi/record: field answer: is not a record of the list in force"


def test_a_record_of_another_slot_or_epoch_is_noticed() -> None:
    """Both parties together answer for a slot that was not asked for, or from the epoch before."""
    held = listed()
    older = world(LISTED, epoch=2)
    sent = questions(held, NEAR, coefficients_of(NEAR), seeded("swapped"))
    both = replies(held, sent)
    slot = sent.asked.slot
    for record in (held.built.records[slot ^ 1], older.built.records[slot]):
        change = (record ^ held.built.records[slot]).tobytes()
        answer = bytes(a ^ b for a, b in zip(both[PARTY_A].answer, change, strict=True))
        with pytest.raises(ProtocolError, match="not a record of the list in force"):
            session.open_record(
                held.setup, sent.asked, {**both, PARTY_A: replace(both[PARTY_A], answer=answer)}
            )


def test_a_silent_party_a_wrong_epoch_and_a_wrong_length_are_named() -> None:
    held = listed()
    sent = questions(held, NEAR, coefficients_of(NEAR), seeded("bad"))
    both = replies(held, sent)
    reply = both[PARTY_B]
    with pytest.raises(ProtocolError, match="party_b: no reply came"):
        session.open_record(held.setup, sent.asked, {PARTY_A: both[PARTY_A]})
    with pytest.raises(EpochMismatchError):
        session.open_record(held.setup, sent.asked, {**both, PARTY_B: replace(reply, epoch=2)})
    for answer in (reply.answer[:-1], reply.answer + b"\0", b""):
        with pytest.raises(ProtocolError, match="answer: must be"):
            session.open_record(held.setup, sent.asked, {**both, PARTY_B: replace(reply, answer=answer)})


def test_replies_of_the_other_party_or_with_bad_points_are_refused() -> None:
    held = listed()
    sent = questions(held, NEAR, coefficients_of(NEAR), seeded("points"))
    both = replies(held, sent)
    swapped = {PARTY_A: both[PARTY_B], PARTY_B: both[PARTY_A]}
    with pytest.raises(ProtocolError, match="proof"):
        session.open_record(held.setup, sent.asked, swapped)
    for element in (np.full((1, 32), 255, np.uint8), np.zeros((1, 32), np.uint8)):
        evaluation = Evaluation(element, both[PARTY_A].evaluation.proof)
        with pytest.raises(ProtocolError):
            session.open_record(
                held.setup, sent.asked, {**both, PARTY_A: replace(both[PARTY_A], evaluation=evaluation)}
            )


def test_a_share_that_is_not_the_set_ups_is_noticed() -> None:
    held = listed()
    sent = questions(held, NEAR, coefficients_of(NEAR), seeded("share"))
    both = replies(held, sent)
    state = replace(held.parties[PARTY_A], share=generate_key_pair(Mode.VOPRF, seeded("wrong")))
    (reply,) = session.answer_records(state, [sent.questions[PARTY_A]], seeded("party"))
    assert isinstance(reply, session.Reply)
    with pytest.raises(ProtocolError, match="proof"):
        session.open_record(held.setup, sent.asked, {**both, PARTY_A: reply})


def test_a_bad_question_gets_its_error_and_the_others_of_the_batch_their_replies() -> None:
    held = listed()
    state = held.parties[PARTY_A]
    good = questions(held, NEAR, coefficients_of(NEAR), seeded("good")).questions[PARTY_A]
    bits = bytearray(good.key)
    bits[32] = 4
    bad = {
        "epoch": replace(good, epoch=2),
        "blinded: must be one row": replace(good, blinded=np.repeat(good.blinded, 2, axis=0)),
        "blinded": replace(good, blinded=np.full((1, 32), 255, np.uint8)),
        "key: must be": replace(good, key=good.key[:-1]),
        "key: the bits": replace(good, key=bytes(bits)),
    }
    found = session.answer_records(state, [good, *bad.values(), good], seeded("party"))
    for words, error in zip(bad, found[1:-1], strict=True):
        assert isinstance(error, ProtocolError) and words in str(error)
    first = found[0]
    last = found[-1]
    assert isinstance(first, session.Reply) and isinstance(last, session.Reply)
    assert first.answer == last.answer
    assert session.answer_records(state, [], seeded("party")) == []


def test_the_matcher_refuses_another_number_of_tokens() -> None:
    held = listed()
    _, blinded = session.ask_slots(held.setup, NEAR, coefficients_of(NEAR), False, seeded("count"))
    for rows in (blinded[:-1], np.concatenate([blinded, blinded[:1]])):
        with pytest.raises(ProtocolError, match="must have 64 rows"):
            session.answer_slots(FIRST, SMALL, rows, seeded("matcher"))


def test_a_first_reply_under_another_key_is_refused_before_a_second_question_is_made() -> None:
    held = listed()
    asked, blinded = session.ask_slots(held.setup, NEAR, coefficients_of(NEAR), False, seeded("key"))
    evaluation = session.answer_slots(SECOND, SMALL, blinded, seeded("matcher"))
    with pytest.raises(ProtocolError, match="proof"):
        session.ask_record(held.setup, asked, evaluation, seeded("key"))


def test_no_state_shows_its_secrets() -> None:
    held = listed()
    sent = questions(held, NEAR, coefficients_of(NEAR), seeded("shown"))
    texts = [repr(it) for it in (sent.asked, sent.questions[PARTY_A], held.parties[PARTY_A], held.built)]
    assert texts[0] == "AskedRecord()"
    for text in texts:
        assert NEAR.hex() not in text and "array" not in text
