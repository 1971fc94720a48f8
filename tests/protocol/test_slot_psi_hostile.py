"""A second reading of slot-psi with its claims in hand: what its first question tells on its own, what a
curator can do with keys, trees and chimeras, and which malformed requests gain nothing.

Tests at the default sizes (k 30, s 17) build the table alone, of few entries: a token that is not listed
reads a uniform slot however many are.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.crypto.oprf import Evaluation, Mode, SecretKey, evaluate_rows, generate_key_pair
from blindmatch_protocol.designs.slot_psi import build as building
from blindmatch_protocol.designs.slot_psi import design, leakage, records, retrieval, session
from blindmatch_protocol.designs.slot_psi.build import Built, build
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.slot_psi.plan import places, plan
from blindmatch_protocol.designs.slot_psi.session import PARTIES, choose_pair
from blindmatch_protocol.designs.slot_psi.table import SlotTable, open_table
from blindmatch_protocol.designs.token_psi.tokens import band_bits, entry_tokens
from blindmatch_protocol.group import rowwise
from msgspec.structs import replace
from support.memory import held as published
from support.memory import random_hashes
from support.slot_world import (
    FIRST,
    SECOND,
    SMALL,
    ask,
    batch,
    coefficients_of,
    flipped,
    questions,
    replies,
    world,
)

DEFAULT = Slotting()
PARTY_A, PARTY_B = PARTIES
Found = dict[int, dict[int, set[int]]]
"""For each slot and band the tokens that read it."""


def table_of(hashes: Rows, second: SecretKey = SECOND, slotting: Slotting = DEFAULT) -> SlotTable:
    """The public table of a list, without its records."""
    seed = building.expand(building.SEED_TAG, 1, [FIRST.reveal() + second.reveal()], 64).tobytes()
    slots = (places(len(hashes), slotting, seed, 1) & (slotting.slots - 1)).astype(np.uint32)
    parts = building._table(plan(hashes, slotting), FIRST, slotting, 1, slots, seed)
    return open_table(parts, slotting.slot_bits, len(hashes) * slotting.bands)


def read(table: SlotTable, bands: npt.NDArray[np.uint32], tokens: npt.NDArray[np.uint32]) -> list[int]:
    """The slots of tokens that were asked for in first questions."""
    found: list[int] = table.lookup(evaluate_rows(FIRST, records.first_inputs(bands, tokens)), 1).tolist()
    return found


# ---- what the first question tells on its own


def test_one_first_question_tells_which_of_74_known_pictures_are_listed() -> None:
    """Three tokens of each known hash: those of a listed one read one slot, others do so once in 2^34. No
    second question is asked, so this is no guessed pair, and a picture pays for 74 of them."""
    listed = random_hashes(30)
    known = np.concatenate([listed, random_hashes(44, seed=5)])
    tokens = entry_tokens(known, DEFAULT.k, DEFAULT.bands)[:, :3]
    assert tokens.size <= DEFAULT.tokens
    bands = np.tile(np.arange(3, dtype=np.uint32), len(known))
    slots = np.array(read(table_of(listed), bands, tokens.ravel().astype(np.uint32))).reshape(-1, 3)
    agree = (slots == slots[:, :1]).all(axis=1)
    assert np.flatnonzero(agree).tolist() == list(range(30))


def bands_that_agree(table: SlotTable, own: Rows) -> dict[int, int]:
    """What first questions alone tell somebody who holds a picture with this hash: all tokens within two
    flips of it in each band are asked for, and a slot that four bands read or more names one token in each.
    Returns the tokens of the best such slot by band; empty if there is none."""
    near = [0, *(1 << a for a in range(DEFAULT.k))]
    near += [1 << a | 1 << b for a, b in combinations(range(DEFAULT.k), 2)]
    flips = np.array(near, np.uint32)
    tokens = entry_tokens(own[None], DEFAULT.k, DEFAULT.bands)[0].astype(np.uint32)
    seen: Found = {}
    for band, token in enumerate(tokens):
        asked = token ^ flips
        for slot, one in zip(
            read(table, np.full(len(asked), band, np.uint32), asked), asked.tolist(), strict=True
        ):
            seen.setdefault(slot, {}).setdefault(band, set()).add(one)
    best = max(seen.values(), key=len)
    return {band: min(ones) for band, ones in best.items()} if len(best) >= 4 else {}


def test_first_questions_alone_show_most_bits_of_entries_that_resemble_a_picture() -> None:
    """At the default sizes, 24 bits away: 8 * 466 tokens, 17 pictures' first questions, for each of 12
    look-alikes, and no second one. Four bands that agree are 120 bits of the entry, and chance makes such
    four once in 700 pictures. So these entries are not behind one guess a picture."""
    listed = random_hashes(12)
    table = table_of(listed)
    rng = np.random.default_rng(2)
    right = wrong = 0
    for row in listed:
        alike = flipped(row.tobytes(), *rng.choice(256, 24, replace=False).tolist())
        own = entry_tokens(row[None], DEFAULT.k, DEFAULT.bands)[0].tolist()
        found = bands_that_agree(table, np.frombuffer(alike, np.uint8))
        agreeing = sum(own[band] == token for band, token in found.items())
        right += agreeing >= 4
        wrong += bool(found) and agreeing < 4
    stranger = bands_that_agree(table, random_hashes(1, seed=77)[0])
    # a band is within two flips with 0.45, four of eight are with 0.51: 6 of 12; below 2 once in 400
    assert right >= 2
    assert wrong == 0
    assert not stranger


def test_slots_that_more_tokens_read_than_others_are_full_where_a_slot_hides_few_tokens() -> None:
    """Of a full slot each band holds one token more, which shows as soon as 2^(k-s) unlisted ones are few: 20
    entries in 256 slots, four unlisted tokens each (k 10, s 8). So the formula for small lists needs 2^(k-s)
    far above the number of bands. At the default sizes the fullest thousandth of the slots holds less than
    three times the full ones that chance puts there."""
    s = Slotting(k=10, bands=8, probes=4, slot_bits=8, relatives=0)
    hashes = random_hashes(20)
    table = table_of(hashes, slotting=s)
    everything = np.arange(1 << s.k, dtype=np.uint32)
    weight = np.zeros(s.slots)
    for band in range(s.bands):
        counts = np.bincount(read(table, np.full(1 << s.k, band, np.uint32), everything), minlength=s.slots)
        weight += np.log(np.maximum(counts, 0.01))
    seed = building.expand(building.SEED_TAG, 1, [FIRST.reveal() + SECOND.reveal()], 64).tobytes()
    full = set((places(20, s, seed, 1) % s.slots).tolist())
    fullest = set(np.argsort(-weight)[:20].tolist())
    # chance: 20 * 20 / 256 = 1.6; 6 or more once in 200
    assert len(fullest & full) >= 6
    # at the default sizes: 8192 unlisted tokens in each of 8 bands, 1,000 full slots of 2^17
    rng = np.random.default_rng(1)
    counts = rng.poisson(8 * 8192, 1 << 17)
    counts[:1000] += 8
    top = np.argsort(-counts)[: 1 << 10]
    assert (top < 1000).sum() < 2 * 1000 * (1 << 10) / (1 << 17) + 8


# ---- formulas


def test_the_formula_of_a_known_second_key_is_of_the_spread_that_opens_most() -> None:
    """Tokens asked for in all bands open 7/4 of what as many do in two, as long as few are asked for."""
    s = Slotting(k=20, bands=8, probes=32, slot_bits=12)
    pictures = 400.0
    rng = np.random.default_rng(1)
    opened = {}
    for bands in (2, s.bands):
        asked = pictures * s.tokens / bands / 2**s.k
        known = rng.random((400_000, bands)) < asked
        opened[bands] = float((known.sum(axis=1) >= 2).mean())
    assert opened[s.bands] > 1.5 * opened[2]
    assert leakage.second_key_opened(s, pictures) == pytest.approx(max(opened.values()), rel=0.1)
    # with all tokens of two bands everything opens; spread over eight a third of it would not
    assert leakage.second_key_opened(s, 2 * 2**s.k / s.tokens) == 1


# ---- a curator


def wrong_node(slot: int) -> Callable[..., Built]:
    """The build of a curator that signs a wrong node of the records' tree above a slot."""

    def made(*given: Any, **named: Any) -> Built:
        built = build(*given, **named)
        tops = built.tops.copy()
        tops[slot >> built.slotting.path_levels] ^= 1
        return replace(built, tops=tops)

    return made


def test_a_wrong_node_in_the_signed_tree_would_single_out_pictures_by_an_error() -> None:
    """The device of one picture ends in an error, and of others not: whoever sees which session failed learns
    of the picture. This is why a party compares (next test)."""
    held = world(random_hashes(20))
    own = held.entries.hashes[3].tobytes()
    slot = questions(held, own, coefficients_of(own), seeded("find")).asked.slot
    tops = held.setup.tops.copy()
    tops[slot >> SMALL.path_levels] ^= 1
    marked = held._replace(setup=replace(held.setup, tops=tops))
    with pytest.raises(ProtocolError, match="not a record of the list in force"):
        ask(marked, own, coefficients_of(own), "marked")
    other = held.entries.hashes[4].tobytes()
    assert ask(marked, other, coefficients_of(other), "unmarked") is not None


@pytest.mark.parametrize("slot", [0, 200, 511])
def test_a_party_refuses_records_that_do_not_hang_on_the_signed_tree(
    monkeypatch: pytest.MonkeyPatch, slot: int
) -> None:
    monkeypatch.setattr(design, "build", wrong_node(slot))
    with pytest.raises(SetFileError, match=r"records\.bin: .* tree"):
        published(design.DESIGN, random_hashes(24), 1, {"k": 16, "probes": 8, "slot_bits": 9})


def test_a_chimera_of_four_pictures_opens_at_each_and_is_reported_by_none() -> None:
    """An entry has two bands of each of four unlisted pictures. All four open its label, which no device
    takes for a match, and all four ask for its slot. So both parties together know the four by one entry,
    and a rebuild finds nothing: the entry is on the list."""
    sparse = Slotting(k=16, bands=8, probes=4, slot_bits=12)
    targets = random_hashes(4, seed=31)
    bits = band_bits(sparse.k, sparse.bands)
    whole = np.unpackbits(random_hashes(1, seed=32)[0])
    for band, own in enumerate(np.repeat(targets, 2, axis=0)):
        whole[bits[band]] = np.unpackbits(own)[bits[band]]
    chimera = np.packbits(whole)
    held = world(np.concatenate([random_hashes(20), chimera[None]]), sparse)
    slots = set()
    for own in (row.tobytes() for row in targets):
        sent = questions(held, own, coefficients_of(own), seeded("chimera"))
        fetched = session.fetch(held.setup, sent.asked, replies(held, sent))
        labels = session.labels_of(held.setup, fetched)
        assert [label.entry_id for label in labels] == [21]
        assert session.open_fetched(held.setup, fetched) is None
        slots.add(sent.asked.slot)
    assert len(slots) == 1


def test_keys_drawn_again_until_chosen_pictures_have_a_chance_pair_survive_a_rebuild() -> None:
    """A curator that draws the second key itself tries some until both of two unlisted pictures, of default
    sizes, have bands that agree: 42 tries on average. Their slots are then known. Every byte follows from
    list and keys, so an endorser that only builds again cannot see it: keys must not be the curator's to
    choose."""
    listed = random_hashes(20)
    targets = random_hashes(2, seed=41)
    flips = np.arange(DEFAULT.probes, dtype=np.uint32)
    asked = [
        entry_tokens(own[None], DEFAULT.k, DEFAULT.bands)[0].astype(np.uint32)[:, None] ^ flips
        for own in targets
    ]
    bands = np.repeat(np.arange(DEFAULT.bands, dtype=np.uint32), DEFAULT.probes)
    outputs = [evaluate_rows(FIRST, records.first_inputs(bands, one.ravel())) for one in asked]
    costs = np.zeros(asked[0].shape)
    for tries in range(400):
        second = generate_key_pair(Mode.VOPRF, seeded(f"try {tries}"))
        table = table_of(listed, second)
        chosen = [
            choose_pair(DEFAULT, table.lookup(own, 1).reshape(costs.shape), one, costs)
            for own, one in zip(outputs, asked, strict=True)
        ]
        if all(chosen):
            break
    # without one in 400 tries once in 10,000 runs
    assert all(chosen)
    again = table_of(listed, second)
    assert [shard.packed.tobytes() for shard in again.shards] == [
        shard.packed.tobytes() for shard in table.shards
    ]


# ---- requests that ask for more than one thing


def test_a_selection_of_two_records_gives_their_sum_alone() -> None:
    """A key that sets two bits of a block is one no party can tell from others. What comes back is one
    record's length, the sum of both, and neither hangs on the tree."""
    held = world(random_hashes(60))
    good = retrieval.selection_keys(4, SMALL.slot_bits, seeded("two"))
    more = np.zeros(128, np.uint8)
    more[9] = 1
    extra = bytes(a ^ b for a, b in zip(good.first[-16:], np.packbits(more).tobytes(), strict=True))
    keys = (good.first[:-16] + extra, good.second[:-16] + extra)
    own = held.entries.hashes[0].tobytes()
    sent = questions(held, own, coefficients_of(own), seeded("sum"))
    asked = {party: replace(sent.questions[party], key=key) for party, key in zip(PARTIES, keys, strict=True)}
    both = replies(held, sent._replace(questions=asked))
    found = bytes(a ^ b for a, b in zip(both[PARTY_A].answer, both[PARTY_B].answer, strict=True))
    assert found == (held.built.records[4] ^ held.built.records[9]).tobytes()
    for slot in (4, 9):
        with pytest.raises(ProtocolError, match="not a record of the list in force"):
            records.check_record(SMALL, 1, slot, found, held.setup.tops)


def test_no_two_labels_have_one_key_and_no_two_wraps_one_pad(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with families and several entries a slot: nonces are zero, so keys and pads must differ."""
    keys: list[bytes] = []
    seal = rowwise.seal
    pads = records.pads
    inputs: list[bytes] = []

    def sealing(own: Rows, plain: Rows) -> Rows:
        keys.extend(row.tobytes() for row in own)
        return seal(own, plain)

    def padding(outputs: Rows, epoch: int, positions: Rows) -> Rows:
        found = pads(outputs, epoch, positions)
        inputs.extend(row.tobytes() for row in found)
        return found

    monkeypatch.setattr(rowwise, "seal", sealing)
    monkeypatch.setattr(records, "pads", padding)
    few = Slotting(k=16, bands=8, probes=2, slot_bits=4)
    hashes = random_hashes(40)
    first_bits = [int(bits[0]) for bits in band_bits(16, 8)[:3]]
    twins = np.stack([np.frombuffer(flipped(row.tobytes(), *first_bits), np.uint8) for row in hashes[:20]])
    build(batch(np.concatenate([hashes, twins])), FIRST, SECOND, few, 1)
    assert len(keys) == len(set(keys)) == 60
    # 28 pairs of 40 entries, and three of each twin that has three tokens of its own
    assert len(inputs) == len(set(inputs)) == 40 * 28 + 20 * 3


# ---- bad first replies


@pytest.mark.parametrize("change", ["identity", "no element", "fewer", "more", "proof", "reordered"])
def test_a_bad_first_reply_ends_in_the_same_words_whatever_the_picture_is(change: str) -> None:
    held = world(random_hashes(20))
    texts = set()
    listed = held.entries.hashes[3].tobytes()
    unlisted = random_hashes(1, seed=9)[0].tobytes()
    for own, poor in ((listed, False), (unlisted, False), (listed, True)):
        asked, blinded = session.ask_slots(held.setup, own, coefficients_of(own), poor, seeded("bad first"))
        good = session.answer_slots(FIRST, SMALL, blinded, seeded("matcher"))
        rows = good.elements.copy()
        proof = good.proof
        if change == "identity":
            rows[5] = 0
        elif change == "no element":
            rows[5] = 255
        elif change == "fewer":
            rows = rows[:-1]
        elif change == "more":
            rows = np.concatenate([rows, rows[:1]])
        elif change == "reordered":
            rows = rows[::-1].copy()
        else:
            proof = bytes(len(proof))
        with pytest.raises(ProtocolError) as caught:
            session.ask_record(held.setup, asked, Evaluation(rows, proof), seeded("r"))
        texts.add(str(caught.value))
    assert len(texts) == 1
