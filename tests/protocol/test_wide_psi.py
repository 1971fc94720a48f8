"""wide-psi: one wide token opens, the filter kind, limits, frozen bytes; the rest is in `test_voprf_*`."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import (
    EntryBatch,
    Label,
    Match,
    NoMatch,
    Ready,
    Request,
    Session,
    SetParameters,
    batches_of,
)
from blindmatch_protocol.contract.steps import UNCONFIRMED_ID
from blindmatch_protocol.crypto.oprf import evaluate_rows
from blindmatch_protocol.designs.deltas import MOST_DELTAS
from blindmatch_protocol.designs.token_psi.build import oprf_inputs
from blindmatch_protocol.designs.token_psi.shares import token_keys
from blindmatch_protocol.designs.token_psi.tokens import band_bits, entry_tokens, plan
from blindmatch_protocol.designs.wide_psi import DESIGN, WideTokening
from blindmatch_protocol.designs.wide_psi.tokening import of_values
from blindmatch_protocol.sets import labels
from blindmatch_protocol.sets.filter import KIND as FILTER_KIND
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.memory import Held, MemoryWorkspace, counting, held, random_hashes
from support.set_files import opened as set_file
from support.set_files import resealed
from support.voprf_world import (
    LISTED,
    MATCHER,
    Picture,
    answers,
    ask,
    finds,
    flipped,
    opened,
    published,
    run,
    updated,
    world,
)

NAME = DESIGN.info.name
VECTORS = Path(__file__).parents[1] / "vectors"
T = WideTokening()
BANDS = band_bits(T.k, T.bands, T.order)
FEW = {"bands": 3, "probes": 4}
OWN = LISTED[0].tobytes()


def in_every_band_but(hash_: bytes, *kept: int, bits: int = 2) -> bytes:
    """`hash_` with so many of its bits flipped in every band of the default ones but these."""
    gone = [int(bit) for band in range(T.bands) if band not in kept for bit in BANDS[band, :bits]]
    return flipped(hash_, *gone)


# --- outcomes ------------------------------------------------------------------------------------


def test_one_wide_token_of_six_opens_the_label_and_none_does_not() -> None:
    place = world(NAME, full=True)
    for kept in range(T.bands):
        found = run(place, Picture(in_every_band_but(OWN, kept)))
        assert isinstance(found, Match) and found.label.entry_id == 1
    assert run(place, Picture(in_every_band_but(OWN))) == NoMatch()


def test_a_token_is_found_through_probes_of_weak_bits() -> None:
    place = world(NAME, full=True)
    weak = (int(BANDS[2, 5]), int(BANDS[2, 9]))
    own = flipped(in_every_band_but(OWN, 2), *weak)
    assert isinstance(run(place, Picture(own, weak=weak)), Match)
    assert run(place, Picture(own)) == NoMatch()


def test_an_entry_beyond_the_distance_that_has_a_token_is_no_match() -> None:
    place = world(NAME, full=True)
    assert isinstance(run(place, Picture(in_every_band_but(OWN, 0, bits=6))), Match)  # 30 bits
    far = flipped(in_every_band_but(OWN, 0, bits=6), int(BANDS[1, 10]), int(BANDS[1, 11]))
    assert run(place, Picture(far)) == NoMatch()  # 32 bits


def test_a_picture_asks_for_240_tokens_in_less_than_27_kb() -> None:
    place = world(NAME, full=True)
    session, body = ask(place, Picture(OWN))
    (reply,) = answers(place, body)
    assert len(body.blinded) == 240 == place.setup.count
    assert len(body.encode()) + len(reply.encode()) < 27_000
    assert isinstance(session.receive({MATCHER: reply}), Ready)


@settings(max_examples=20)
@given(st.data())
def test_what_has_a_token_within_the_distance_is_found_and_nothing_else(data: st.DataObject) -> None:
    """Pictures that differ from an entry by bits of hypothesis' choice ask for their own tokens alone."""
    place = held(DESIGN, LISTED[:4], 1, {**FEW, "probes": 1})
    bits = data.draw(st.sets(st.integers(0, 255), max_size=40))
    own = flipped(OWN, *bits)
    mine = entry_tokens(np.frombuffer(own, np.uint8)[None], T.k, 3, T.order)
    listed = entry_tokens(LISTED[:1], T.k, 3, T.order)
    is_found = bool((mine == listed).any()) and len(bits) <= 31
    assert isinstance(run(place, Picture(own)), Match) is is_found


# --- the filter ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[2, 3, 4, 5])
def filtered(request: pytest.FixtureRequest) -> Held:
    return held(DESIGN, LISTED, 1, {**FEW, "filter": 1, "fingerprint": request.param})


def test_a_filter_finds_what_labels_find_and_says_that_it_is_unconfirmed(filtered: Held) -> None:
    labelled = held(DESIGN, LISTED, 1, FEW)
    for row, own in enumerate(LISTED[:4]):
        near = flipped(own.tobytes(), *(int(bit) for bit in BANDS[row % 3, :3]))
        for hash_ in (own.tobytes(), near):
            assert isinstance(run(labelled, Picture(hash_)), Match)
            assert run(filtered, Picture(hash_)) == Match(Label(hash_, UNCONFIRMED_ID, bytes(16)))
    assert run(filtered, Picture(random_hashes(1, seed=9).tobytes())) == NoMatch()
    assert DESIGN.unconfirmed(filtered.setup) and not DESIGN.unconfirmed(labelled.setup)


def test_a_filter_takes_a_picture_beyond_the_distance_for_one_that_is_listed(filtered: Held) -> None:
    """It cannot know better; docs/designs/wide-psi.md says so, and nothing is reported by it."""
    gone = [int(bit) for band in (1, 2) for bit in BANDS[band, :20]]
    assert isinstance(run(filtered, Picture(flipped(OWN, *gone))), Match)


def test_a_picture_of_low_quality_matches_no_filter(filtered: Held) -> None:
    assert run(filtered, Picture(OWN, quality=49)) == NoMatch()


def test_a_filter_takes_the_bits_that_are_stated_and_its_size_tells_the_number_of_entries_alone() -> None:
    shared = np.repeat(LISTED[:1], 64, axis=0)
    shared[:, 31] = np.arange(64)  # they have tokens in common
    for fingerprint in (2, 5):
        sizes = {size(random_hashes(64, seed=3), fingerprint), size(shared, fingerprint)}
        assert len(sizes) == 1
    keys = 3 * 64
    unary = -(-2 * 3 * 64 // 8)
    starts = 8
    assert size(shared, 2) == 64 + starts + unary + 2 * keys


def size(hashes: Rows, fingerprint: int) -> int:
    raw = held_files(hashes, **FEW, filter=1, fingerprint=fingerprint)["set.bin"]
    return len(set_file(DESIGN, "set.bin", raw).section(FILTER_KIND))


def held_files(hashes: Rows, seed: str = "k", **values: int) -> dict[str, bytes]:
    out = MemoryWorkspace()
    ids = np.arange(1, len(hashes) + 1, dtype=np.uint64)
    salts = np.tile(np.frombuffer(b"s" * 16, np.uint8), (len(hashes), 1))
    DESIGN.publish(batches_of(hashes, ids, salts), SetParameters(1, values), seeded(seed), None, out)
    return out.files()


def test_a_filter_of_short_fingerprints_errs_as_often_as_it_says() -> None:
    """400,000 absent keys of 16 bits pass 6.1 times on average, and always the same ones here."""
    files = held_files(random_hashes(2000, seed=5), bands=2, probes=1, filter=1)
    layer = DESIGN.open_setup({"set.bin": files["set.bin"]}).layers[0]
    rng = np.random.default_rng(1)
    others = rng.integers(0, 256, (400_000, 16), dtype=np.uint8)
    found = int(layer.filter.contains(others).sum())  # type: ignore[attr-defined]
    assert 0 < found < 30


def test_a_filter_is_published_whole_and_never_updated(filtered: Held) -> None:
    files = held_files(LISTED[:4], **FEW, filter=1, fingerprint=3)
    adds = batches_of(LISTED[5:6], np.array([9], np.uint64), np.ones((1, 16), np.uint8))
    with pytest.raises(DesignError, match="of kind filter cannot be updated: publish a whole set"):
        DESIGN.update(files, adds, [], MemoryWorkspace(), seeded("u"))


def test_an_altered_filter_is_refused_before_it_is_used() -> None:
    files = held_files(LISTED[:4], **FEW, filter=1, fingerprint=3)
    raw = files["set.bin"]
    for at in range(0, len(raw), 7):
        altered = raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]
        with pytest.raises(SetFileError):
            DESIGN.check_setup(DESIGN.open_setup({"set.bin": altered}))


@pytest.mark.parametrize(
    ("alter", "rule"),
    [
        (lambda raw: raw[:8] + b"\0\0\0\x01" + raw[12:], "the header is not canonical"),
        (lambda raw: raw[:12] + b"\0\0\0\x05" + raw[16:], "the header is not canonical"),
        (lambda raw: raw[:12] + b"\0\0\0\x01" + raw[16:], "the header is not canonical"),
        (lambda raw: raw[:8] + b"\0\0\0\x03" + raw[12:], "version 3 is none that this program reads"),
        (lambda raw: raw[:-1], "does not have the length"),
        (lambda raw: raw + b"\0", "does not have the length"),
        (lambda raw: b"".join(_other_filter(11, 3)), "a token of every band and entry"),
        (lambda raw: b"".join(_other_filter(12, 2)), "keeps 2 bytes of a token, not 3"),
    ],
)
def test_a_filter_that_is_not_the_sets_is_refused_by_name(alter: Any, rule: str) -> None:
    file = set_file(DESIGN, "set.bin", held_files(LISTED[:4], **FEW, filter=1, fingerprint=3)["set.bin"])
    changed = resealed(file, {(FILTER_KIND, 0): alter(bytes(file.section(FILTER_KIND)))})
    with pytest.raises(SetFileError, match=rule):
        DESIGN.open_setup({"set.bin": changed})


def _other_filter(count: int, fingerprint: int) -> list[bytes]:
    from blindmatch_protocol.sets import filter as membership
    from blindmatch_protocol.sets import store

    keys = np.random.default_rng(2).integers(0, 256, (count, 16), dtype=np.uint8)
    return [bytes(part) for part in membership.build(keys, store.order_of(keys), fingerprint)]


def test_one_entry_is_added_to_a_set_of_one_band() -> None:
    """A single token is hashed into a row that cannot be written to."""
    files = held_files(LISTED[:4], bands=1)
    adds = batches_of(LISTED[5:6], np.array([9], np.uint64), np.ones((1, 16), np.uint8))
    out = MemoryWorkspace()
    DESIGN.update(files, adds, [1], out, seeded("u"))
    setup = DESIGN.open_setup({name: raw for name, raw in out.files().items() if name != "matcher.bin"})
    place = Held(DESIGN, setup, {MATCHER: DESIGN.open_role(MATCHER, out.files())}, LISTED, LISTED)
    found = run(place, Picture(LISTED[5].tobytes()))
    assert isinstance(found, Match) and found.label.entry_id == 9
    assert run(place, Picture(OWN)) == NoMatch()


# --- bad input -----------------------------------------------------------------------------------


def test_a_reply_of_another_epoch_and_one_of_another_length_are_refused() -> None:
    place = world(NAME)
    session, body = ask(place, Picture(OWN))
    (reply,) = answers(place, body)
    with pytest.raises(EpochMismatchError):
        session.receive({MATCHER: replace(reply, epoch=2)})
    session, body = ask(place, Picture(OWN))
    with pytest.raises(ProtocolError):
        session.receive({MATCHER: replace(reply, evaluated=reply.evaluated[:-1])})


def test_a_point_that_is_none_or_is_not_canonical_is_refused_on_both_sides() -> None:
    place = world(NAME)
    for bad in (bytes(32), b"\xff" * 32, (1).to_bytes(32, "little")):
        session, body = ask(place, Picture(OWN))
        blinded = body.blinded.copy()
        blinded[1] = np.frombuffer(bad, np.uint8)
        (refused,) = answers(place, replace(body, blinded=blinded))
        assert isinstance(refused, ProtocolError)
        (reply,) = answers(place, body)
        evaluated = reply.evaluated.copy()
        evaluated[1] = np.frombuffer(bad, np.uint8)
        with pytest.raises(ProtocolError):
            session.receive({MATCHER: replace(reply, evaluated=evaluated)})


# --- parameters and limits -----------------------------------------------------------------------


def test_an_account_is_limited_to_20_000_pictures_a_key_and_all_together_are_not() -> None:
    place = world(NAME, full=True)
    limits = DESIGN.key_limits(MATCHER, place.states[MATCHER])
    assert limits is not None and limits.cost == 240
    assert limits.per_account == 20_000 * 240 and limits.in_all is None and limits.expires is None
    assert "all_evaluations" not in {one.name for one in DESIGN.info.parameters}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"filter": 2}, "parameter filter: must be 0 to 1"),
        ({"fingerprint": 1}, "parameter fingerprint: must be 2 to 5"),
        ({"k": 42, "bands": 7}, "k times bands: must be at most 256"),
        ({"account_evaluations": 239}, "must be 0 or at least the 240 tokens"),
        ({"all_evaluations": 5}, "parameters: must be k, bands"),
        ({"needed": 1}, "parameters: must be k, bands"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(values: dict[str, int], rule: str) -> None:
    defaults = {one.name: one.default for one in DESIGN.info.parameters}
    with pytest.raises(DesignError, match=rule):
        of_values({**defaults, **values})


def test_what_modified_devices_open_adds_up_over_tokens_and_does_not_multiply() -> None:
    extraction = DESIGN.extraction(world(NAME, full=True).setup)
    year = 20_000 * 240
    shares = [extraction.share(phones * year) for phones in (100, 1000, 10_000)]
    assert shares[1] == pytest.approx(1000 * year / 2**42, rel=0.01)
    assert all(later == pytest.approx(10 * earlier, rel=0.01) for earlier, later in pairwise(shares))
    assert extraction.needed == 1 and extraction.a_picture == 240


# --- what a hostile reader tried -----------------------------------------------------------------


def opened_ids(place: Held, inputs: list[bytes], layer: int) -> set[int]:
    """Ids of the labels that these OPRF inputs, evaluated by the matcher's key, open in a layer."""
    key = place.states[MATCHER].key
    held_layer = place.setup.layers[layer]
    rows = np.frombuffer(b"".join(inputs), np.uint8).reshape(len(inputs), -1)
    keys = token_keys(evaluate_rows(key, rows), held_layer.epoch)
    return {label.entry_id for label in held_layer.labels_of(held_layer.values(keys))}


def test_a_list_that_is_updated_has_another_key_after_nine_epochs_and_every_limit_begins_anew() -> None:
    files = published(NAME)
    first = DESIGN.key_limits(MATCHER, opened(NAME, files).states[MATCHER])
    for row in range(MOST_DELTAS):
        files = updated(NAME, files, LISTED[6 + row : 7 + row], 100 + row)
        now = DESIGN.key_limits(MATCHER, opened(NAME, files).states[MATCHER])
        assert first is not None and now is not None and now.key == first.key
    with pytest.raises(DesignError, match="publish a full set"):
        updated(NAME, files, LISTED[20:21], 200)
    again = published(NAME, epoch=MOST_DELTAS + 2, seed="the next full set")
    limits = DESIGN.key_limits(MATCHER, opened(NAME, again).states[MATCHER])
    assert limits is not None and limits.key != first.key
    assert MOST_DELTAS + 1 == 9, "docs/designs/wide-psi.md and docs/explanation/capacity.md say nine"


def test_whoever_has_the_key_reads_the_whole_list_by_the_tokens_of_one_band() -> None:
    hashes = random_hashes(32, seed=12)
    place = held(DESIGN, hashes, 1, {"k": 12, "bands": 3, "probes": 2})
    own = entry_tokens(hashes, 12, 3, T.order)
    assert len(np.unique(own[:, 0])) == 32, "no token of the band is lost"
    every = np.zeros((1 << 12, 1), np.uint32)
    every[:, 0] = np.arange(1 << 12)
    assert opened_ids(place, oprf_inputs(every), 0) == set(range(1, 33))


def test_what_was_asked_once_opens_what_later_deltas_add_and_what_they_removed() -> None:
    """A limit: neither an addition nor a removal makes a modified device ask again."""
    files = updated(NAME, published(NAME), LISTED[8:9], 100, removes=[1])
    place = opened(NAME, files)
    asked_before = oprf_inputs(entry_tokens(LISTED[[0, 8]], T.k, 3, T.order))
    assert opened_ids(place, asked_before, 0) == {1}
    assert opened_ids(place, asked_before, 1) == {100}
    assert run(place, Picture(OWN)) == NoMatch()
    assert isinstance(run(place, Picture(LISTED[8].tobytes())), Match)


def test_a_delta_opens_by_its_own_entries_tokens_and_by_no_other() -> None:
    """An addition that shares a token with an entry of the full set opens by that token, and each of the two
    by its other tokens alone."""
    twin = np.frombuffer(in_every_band_but(OWN, 0, bits=6), np.uint8)[None]
    files = updated(NAME, published(NAME), twin, 100)
    place = opened(NAME, files)
    whole, added = (oprf_inputs(entry_tokens(row, T.k, 3, T.order)) for row in (LISTED[:1], twin))
    assert whole[0] == added[0]
    assert [opened_ids(place, whole[:1], layer) for layer in (0, 1)] == [{1}, {100}]
    assert [opened_ids(place, whole[1:], layer) for layer in (0, 1)] == [{1}, set()]
    assert [opened_ids(place, added[1:], layer) for layer in (0, 1)] == [set(), {100}]


def test_requests_are_as_long_and_take_as_much_randomness_whatever_the_picture_is() -> None:
    place = world(NAME)
    seen = set()
    near = flipped(OWN, *(int(bit) for bit in BANDS[1, :3]))
    for item in (Picture(OWN), Picture(near), Picture(LISTED[9].tobytes()), Picture(OWN, quality=0)):
        rng, taken = counting("device")
        session = Session(DESIGN, place.setup, DESIGN.enrol(rng), rng)
        bodies = session.start(item)
        assert isinstance(bodies, Mapping)
        seen.add((len(bodies[MATCHER].encode()), tuple(taken)))
    assert len(seen) == 1


def test_a_matcher_that_uses_another_key_for_one_device_or_one_token_is_refused() -> None:
    place = world(NAME)
    strange = DESIGN.open_role(MATCHER, published(NAME, LISTED, seed="another key"))
    _, body = ask(place, Picture(OWN))
    (honest,) = answers(place, body)
    (wrong,) = DESIGN.answer(MATCHER, strange, [Request(body)], seeded("matcher"), None).replies
    mixed = honest.evaluated.copy()
    mixed[2] = wrong.evaluated[2]
    swapped = honest.evaluated[::-1].copy()
    for reply in (wrong, replace(honest, evaluated=mixed), replace(honest, evaluated=swapped)):
        session, _ = ask(place, Picture(OWN))
        with pytest.raises(ProtocolError):
            session.receive({MATCHER: reply})
    later, _ = ask(place, Picture(LISTED[9].tobytes()), "another picture")
    with pytest.raises(ProtocolError):
        later.receive({MATCHER: honest})


# --- frozen bytes --------------------------------------------------------------------------------


def test_the_frozen_tokens_and_files_come_out_again() -> None:
    """Digests of what the page's section "Bytes" says; a change of them is a new version of the design."""
    frozen = json.loads((VECTORS / "wide-psi-v1.json").read_text())
    assert frozen["tokens"] == entry_tokens(LISTED[:2], T.k, T.bands, T.order).tolist()
    for example in frozen["files"]:
        files = held_files(LISTED[:4], **example["parameters"])
        assert {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()} == example["sha256"]


# --- limits that the design's page states, and what held in a hostile reading ---------------------


def test_a_filter_has_another_key_every_epoch_and_every_limit_begins_anew() -> None:
    """It takes no delta, so an account is answered 20,000 pictures an epoch, not in nine epochs."""
    keys = set()
    for epoch in range(1, 5):
        files = published(NAME, epoch=epoch, seed=f"epoch {epoch}", filter=1)
        limits = DESIGN.key_limits(MATCHER, opened(NAME, files).states[MATCHER])
        assert limits is not None and limits.per_account == 20_000 * 240
        keys.add(limits.key)
        with pytest.raises(DesignError, match="publish a whole set"):
            updated(NAME, files, LISTED[8:9])
    assert len(keys) == 4


def ladder(own: Rows) -> list[Rows]:
    """Return five hashes, as bits: number i has the first i + 1 bands of `own`, and no other bit of it."""
    steps = []
    for bands in range(1, T.bands):
        bits = 1 - own
        kept = BANDS[:bands].ravel()
        bits[kept] = own[kept]
        steps.append(bits)
    return steps


def test_eleven_entries_hide_a_twelfth_from_its_very_picture() -> None:
    """A limit: each of its tokens goes to another family, and no build says so. A delta, a filter find it."""
    victim = np.unpackbits(LISTED[0])
    last = np.unpackbits(LISTED[1])
    last[BANDS[5]] = victim[BANDS[5]]
    rows = np.packbits(np.array([*ladder(victim), *ladder(last), last, victim]), axis=1)
    assert plan(rows, T.k, T.bands, T.order).lost[-1].all()
    own = Picture(rows[-1].tobytes())
    assert run(held(DESIGN, rows, 1, {}), own) == NoMatch()
    assert isinstance(run(held(DESIGN, rows[-1:], 1, {}), own), Match)
    assert isinstance(run(held(DESIGN, rows, 1, {"filter": 1}), own), Match)
    whole = published(NAME, rows[:-1], bands=6, probes=40)
    assert finds(NAME, updated(NAME, whole, rows[-1:], 100), own.hash) == 100


def test_no_element_comes_again_when_a_device_asks_again_or_asks_for_a_poor_picture() -> None:
    place = world(NAME)
    rng = seeded("one device")
    elements = []
    for quality in (100, 100, 100, 0, 0):
        session = Session(DESIGN, place.setup, DESIGN.enrol(rng), rng)
        bodies = session.start(Picture(LISTED[0].tobytes(), quality=quality))
        elements += [row.tobytes() for row in bodies[MATCHER].blinded]
    assert len(set(elements)) == len(elements) == 30


@pytest.mark.parametrize(
    ("hash_", "first", "last", "is_match"),
    [(None, 1, 2**64 - 1, True), (bytes(32), 1, 2**64 - 1, False), (None, 5, 1, False), (None, 2, 9, False)],
)
def test_labels_that_a_builder_forged_end_a_session_without_an_error(
    monkeypatch: pytest.MonkeyPatch, hash_: bytes | None, first: int, last: int, is_match: bool
) -> None:
    """An error at the tokens of a chosen picture would end the set's use, which the matcher sees."""

    def seal(keys: Rows, entries: EntryBatch, epoch: int, signatures: int = 0) -> Rows:
        records = []
        for key, own, number, salt in zip(keys, entries.hashes, entries.ids, entries.salts, strict=True):
            head = (hash_ or own.tobytes(), int(number), salt.tobytes(), first, last)
            plain = struct.pack(">32sQ16sQQ", *head)
            sealed = ChaCha20Poly1305(key.tobytes()).encrypt(bytes(12), plain, None)
            records.append(np.frombuffer(sealed, np.uint8))
        return np.array(records)

    with monkeypatch.context() as forging:
        forging.setattr(labels, "seal", seal)
        files = published(NAME)
    place = opened(NAME, files)
    DESIGN.check_setup(place.setup)
    requests = {len(ask(place, Picture(row.tobytes()))[1].encode()) for row in LISTED[[0, 9]]}
    assert len(requests) == 1
    assert isinstance(run(place, Picture(LISTED[0].tobytes())), Match) is is_match
    assert run(place, Picture(LISTED[9].tobytes())) == NoMatch()
