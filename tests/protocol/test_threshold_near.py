"""threshold-near: what threshold-psi's tests do not show of wide tokens, and what must fail."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.threshold_near import DESIGN
from blindmatch_protocol.designs.threshold_near import design as near
from blindmatch_protocol.designs.threshold_psi.opener import _LENGTH, EVIDENCE_BYTES, sealed_twice
from blindmatch_protocol.designs.threshold_psi.shares import SHARE_BYTES, Share
from blindmatch_protocol.designs.token_psi.tokens import (
    band_bits,
    common_tokens,
    entry_tokens,
    flips,
    probe_tokens,
)
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, opened, update
from blindmatch_simulations.testbed.pictures import crops
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from planted import thresholds as weak
from support import threshold_world as world
from support.memory import random_hashes
from support.threshold_world import LISTED, ME, OTHERS, Phone, T, complains, is_visible, message, opener, read

built = partial(world.built, near.SMALL)
SMALL = near.SMALL.sizes
BITS = band_bits(SMALL.k, SMALL.bands, near.BY_COLUMNS)


@cache
def plain() -> Deployed:
    return built()


def flipped(own: Any, places: Any) -> Any:
    bits = np.unpackbits(own)
    bits[list(places)] ^= 1
    return np.packbits(bits)


def alike_in(bands: Any, own: Any, otherwise: Any) -> Any:
    """A hash with these bands of `own`, and the other one's bits elsewhere."""
    bits = np.unpackbits(otherwise)
    wanted = np.unpackbits(own)
    for band in bands:
        bits[BITS[band]] = wanted[BITS[band]]
    return np.packbits(bits)


def hits(deployed: Deployed, voucher: Any, by: Any = None) -> int:
    """How many tokens of a voucher the centre sees listed."""
    held = by or opener(deployed)
    blinded, masked = np.hsplit(voucher.tokens, [32])
    bound = near.bound_by(voucher.epoch, held.period, voucher.device, voucher.tokens)
    keys = near.masks_of(held.multiplied(np.ascontiguousarray(blinded))) ^ masked
    return int((near.keyed(bound, keys)[0] == np.frombuffer(voucher.commitment, np.uint8)).all(axis=1).sum())


# --- what it does ---------------------------------------------------------------------------------


def test_copies_open_from_the_threshold_on_with_the_labels_of_what_they_are_near_and_nothing_before() -> None:
    phone = Phone(plain())
    near_ones = [flipped(row, BITS[1:4, 5:8].ravel()) for row in LISTED[:T]]
    vouchers = [*phone.vouchers(OTHERS[:5]), *phone.vouchers(near_ones)]
    assert read(plain(), vouchers[:-1]) == {}
    found = read(plain(), vouchers)
    assert [found[at].entry_hash for at in sorted(found)] == [row.tobytes() for row in LISTED[:T]]
    assert [is_visible(plain(), one) for one in vouchers] == [False] * 5 + [True] * T


def test_in_the_sizes_that_devices_use_a_copy_is_found_through_its_least_reliable_bits() -> None:
    full = world.built(DESIGN, LISTED[:3], threshold=2)
    phone = Phone(full)
    changed = tuple(BITS[:, :5].ravel())
    vouchers = [phone.voucher(flipped(row, changed), weak=changed) for row in LISTED[:2]]
    miss = phone.voucher(OTHERS[0])
    assert read(full, [miss, *vouchers]).keys() == {1, 2}
    assert (len(miss.encode()), len(miss.tokens)) == (len(vouchers[0].encode()), 384)
    assert len(miss.encode()) <= 22_000
    assert [hits(full, one) for one in (miss, *vouchers)] == [0, 6, 6]


def test_a_picture_that_is_too_poor_gives_a_voucher_of_the_same_length_that_opens_nothing() -> None:
    poor, good = (Phone(plain()).voucher(LISTED[0], quality) for quality in (49, 50))
    assert (is_visible(plain(), poor), is_visible(plain(), good)) == (False, True)
    assert len(poor.encode()) == len(good.encode())


def test_made_up_vouchers_have_as_many_tokens_listed_as_the_weights_say_and_again_when_sent_again() -> None:
    deployed = built(synthetic=100)
    phone = Phone(deployed)
    held = opener(deployed)
    shares = deployed.design._shares(phone.state, deployed.setup)  # type: ignore[attr-defined]
    rows = [row for row in random_hashes(150, seed=4) if shares.is_synthetic(row.tobytes(), 100)]
    seen = [hits(deployed, phone.voucher(row), held) for row in (*rows, *rows)]
    assert seen == 2 * [near.hits_of(shares.pattern(row.tobytes())) for row in rows]
    assert len(rows) > 8 and len(set(seen)) > 1
    drawn = np.bincount([near.hits_of(number) for number in range(1 << 16)])
    assert np.allclose(drawn[1:] / (1 << 16), np.array(near.HITS) / sum(near.HITS), atol=1e-4)


def test_the_number_of_listed_tokens_tells_real_from_made_up_vouchers_as_little_as_is_declared() -> None:
    """Copies of photographs, listed when the corpus had 350, and pictures near none: 6,510 and 474."""
    made_up = np.array(near.HITS) / sum(near.HITS)
    for real in ((191, 282, 234, 270, 572, 4961), (408, 60, 5, 1, 0, 0)):
        share = np.array(real) / sum(real)
        assert (share / made_up).max() < 2.1
        assert 0.5 * np.abs(share - made_up).sum() < 0.5


def test_a_picture_sent_again_under_another_list_of_the_period_shows_whether_it_is_real() -> None:
    """It succeeds, as is declared: a made-up voucher's number does not follow the list."""
    fewer = built(
        listed=np.concatenate([alike_in((0, 1), LISTED[0], OTHERS[9])[None], OTHERS[6:8]]), synthetic=100
    )
    added = alike_in((0, 1, 2, 3), LISTED[0], OTHERS[8])[None]
    both = fewer, opened(update(fewer.build, added, (), seeded("update")))
    phone = Phone(fewer)
    shares = near.SMALL._shares(phone.state, fewer.setup)  # type: ignore[attr-defined]
    made_up = [row for row in random_hashes(150, seed=4) if shares.is_synthetic(row.tobytes(), 100)]
    assert both[0].setup.period == both[1].setup.period and not shares.is_synthetic(LISTED[0].tobytes(), 100)
    seen = []
    for phone.deployed in both:
        seen.append([hits(phone.deployed, phone.voucher(row)) for row in (LISTED[0], *made_up)])
    assert seen[0][0] == 2 and seen[1][0] > 2
    assert seen[0][1:] == seen[1][1:] and len(made_up) > 8


def test_as_many_copies_of_one_picture_as_the_threshold_open_an_account() -> None:
    """Each has a hash of its own, so each is a match; the same hash again is not another one."""
    copies = [flipped(LISTED[0], BITS[1:4, at : at + 2].ravel()) for at in range(T)]
    phone = Phone(plain())
    assert read(plain(), phone.vouchers([copies[0]] * T)) == {}
    found = read(plain(), phone.vouchers(copies))
    assert len(found) == T and {label.entry_hash for label in found.values()} == {LISTED[0].tobytes()}


LISTED_AS = "jpeg-30", "resize-0.5", "blur", "sharpen", "caption", "contrast", "crop-2%", "noise"
SENT_AS = "jpeg-90", "jpeg-75", "webp-75", "gif", "resize-1.5", "greyscale", "noise", "brighter"


@pytest.mark.slow
def test_copies_of_photographs_with_one_hash_seldom_have_other_numbers_of_tokens_listed() -> None:
    """Where they do, both are real, as is declared: an edited copy is listed, the photograph and another file
    with its hash are sent."""
    pairs = 0
    differ = 0
    for one in crops.crops(100, 1):
        sent = Picture.from_bytes(one.data)
        edited = {
            name: Picture.from_bytes(crops.BY_NAME[name].apply(one.data)) for name in {*LISTED_AS, *SENT_AS}
        }
        copies = [edited[name] for name in SENT_AS if edited[name].hash == sent.hash]
        tokens_sent = [
            {row.tobytes() for row in near.token_rows(DESIGN.asked(item.hash, item))}
            for item in (sent, *copies)
        ]
        for entry in [edited[name].hash for name in LISTED_AS]:
            both = np.frombuffer(sent.hash + entry, np.uint8).reshape(2, 32)
            if np.unpackbits(both[0] ^ both[1]).sum() > MATCH_DISTANCE:
                continue
            listed = {row.tobytes() for row in DESIGN.keys_of(both[1:])}
            counts = [len(tokens & listed) for tokens in tokens_sent]
            visible = [number for number in counts[1:] if number and counts[0]]
            pairs += len(visible)
            differ += sum(number != counts[0] for number in visible)
    assert pairs > 2_000
    assert 0.01 < differ / pairs < 0.03


# --- tokens and table -----------------------------------------------------------------------------


def test_tokens_of_wide_bands_are_the_bits_of_the_band() -> None:
    bits = np.unpackbits(LISTED, axis=1)
    for band, own in enumerate(entry_tokens(LISTED, 40, 6, near.BY_COLUMNS).T):
        digits = ["".join(map(str, row)) for row in bits[:, BITS[band]].tolist()]
        assert own.tolist() == [int(one, 2) for one in digits]


def test_probes_of_wide_bands_flip_the_cheapest_bits_first() -> None:
    rng = np.random.default_rng(3)
    costs = rng.random((6, 40)).astype(np.float32)
    costs[:, 8:] += 100
    found = flips(costs, 64)
    for band in range(6):
        every = [sum(1 << (39 - at) for at in range(8) if number >> at & 1) for number in range(256)]
        price = [float(sum(costs[band, at] for at in range(8) if number >> at & 1)) for number in range(256)]
        cheapest = sorted(price)[:64]
        assert np.allclose([price[every.index(one)] for one in found[band].tolist()], cheapest, atol=1e-4)
    asked = probe_tokens(LISTED[0].tobytes(), np.ones(256, np.float32), 40, 6, 64, near.BY_COLUMNS)
    assert (asked[:, 0] == entry_tokens(LISTED[:1], 40, 6, near.BY_COLUMNS)[0]).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sets(st.integers(0, 255), max_size=20)), max_size=40))
def test_of_families_each_entry_has_a_token_in_the_table_whose_size_follows_from_their_number(
    changes: list[tuple[int, set[int]]],
) -> None:
    rows = np.array([flipped(LISTED[of], places) for of, places in changes], np.uint8).reshape(-1, 32)
    rows = np.unique(rows, axis=0)
    shape = 40, 6, near.BY_COLUMNS
    own = entry_tokens(rows, *shape)
    common = common_tokens(rows, *shape)
    kept = [np.isin(mine, some) for mine, some in zip(own.T, common, strict=True)]
    assert np.any(kept, axis=0).all()
    assert all(np.isin(some, mine).all() for mine, some in zip(own.T, common, strict=True))
    keys = near.SMALL.keys_of(rows)
    assert len(np.unique(keys, axis=0)) == len(keys) == 6 * len(rows)


def test_a_family_has_one_token_a_band_so_that_its_size_does_not_show() -> None:
    family = np.array([flipped(LISTED[0], (*BITS[1:, at], BITS[0, 39])) for at in range(8)])
    alone = built(listed=family[:1])
    together = built(listed=family)
    bits = tuple(BITS[1:, :2].ravel())
    for deployed in (alone, together):
        assert hits(deployed, Phone(deployed).voucher(family[0], weak=bits)) <= 6


# --- attacks --------------------------------------------------------------------------------------


def near_opening(kind: Any) -> Any:
    """The small design with a weakened opener."""

    class Weakened(kind, near.SmallOpener, frozen=True, eq=False):  # type: ignore[misc]
        pass

    return weak.opening(Weakened, near.SmallThresholdNear)


class CountsFar(near.SmallOpener, frozen=True, eq=False):
    """Counts and opens what is near no entry."""

    WITHIN = 256


def test_lone_tokens_of_pictures_near_nothing_are_visible_but_neither_count_nor_open() -> None:
    phone = Phone(plain())
    lone = [alike_in((0,), row, other) for row, other in zip(LISTED[: T + 2], OTHERS, strict=False)]
    vouchers = phone.vouchers([*lone, *LISTED[: T - 1]])
    assert [hits(plain(), one) for one in vouchers] == [1] * (T + 2) + [6] * (T - 1)
    assert read(plain(), vouchers) == {}
    assert read(plain(), [*vouchers, phone.voucher(LISTED[T])]).keys() == {*range(T + 2, 2 * T + 2)}
    weakened = world.built(weak.opening(CountsFar, near.SmallThresholdNear))
    assert len(read(weakened, Phone(weakened).vouchers([*lone, *LISTED[: T - 1]]))) == 2 * T + 1
    assert len(read(weakened, Phone(weakened).vouchers(lone[:T]))) == T, "without any match, as is declared"


def test_an_entry_that_shows_no_picture_makes_copies_of_six_visible_so_its_picture_must_be_hashed() -> None:
    """A chimera: a listed hash whose bands are of six pictures. It succeeds, as a planted cell does; the
    honest centre opens none."""
    chimera = OTHERS[0]
    for band in range(SMALL.bands):
        chimera = alike_in((band,), OTHERS[band], chimera)
    planted = built(listed=np.concatenate([LISTED, chimera[None]]))
    vouchers = Phone(planted).vouchers(OTHERS[: SMALL.bands])
    assert all(is_visible(planted, one) for one in vouchers)
    assert read(planted, vouchers) == {}
    assert not any(is_visible(plain(), one) for one in Phone(plain()).vouchers(OTHERS[: SMALL.bands]))


def test_unlisted_pictures_are_visible_in_no_small_table() -> None:
    small = built(listed=LISTED[:1])
    phone = Phone(small)
    held = opener(small)
    rows = random_hashes(40, seed=3)
    assert not any(is_visible(small, phone.voucher(row), held) for row in rows)


def test_the_key_of_another_set_sees_nothing() -> None:
    wrong = replace(opener(plain()), key=group.random_scalars(1, seeded("another")))
    assert hits(plain(), Phone(plain()).voucher(LISTED[0]), wrong) == 0


@pytest.mark.parametrize("element", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31)])
def test_identity_what_is_no_element_and_other_numbers_of_tokens_are_refused(
    element: bytes,
) -> None:
    voucher = Phone(plain()).voucher(LISTED[0])
    tokens = voucher.tokens.copy()
    tokens[3, :32] = np.frombuffer(element, np.uint8)
    with pytest.raises(ProtocolError, match=r"blinded.*row 3"):
        opener(plain()).take(*ME, plain().setup.period, replace(voucher, tokens=tokens))
    for other in (tokens[:-1], np.concatenate([voucher.tokens, voucher.tokens[:1]])):
        with pytest.raises(ProtocolError, match="must be 24 rows"):
            opener(plain()).take(*ME, plain().setup.period, replace(voucher, tokens=other))


def modified(deployed: Deployed, own: Any, share: bytes, masks: Any = 0) -> Any:
    """A voucher of a modified device with this share, its keys XOR `masks`."""
    made = Phone(deployed)
    shares = deployed.design._shares(made.state, deployed.setup)  # type: ignore[attr-defined]
    inside = near.Inside(shares, own.tobytes(), False, share, bytes(32), bytes(1634))
    voucher: Any = deployed.design.voucher(  # type: ignore[attr-defined]
        deployed.setup, world.Picture(own.tobytes()), inside, made.rng
    )
    tokens = voucher.tokens.copy()
    tokens[:, 32:] ^= np.uint8(masks)
    return replace(voucher, tokens=tokens)


def malformed(deployed: Deployed, own: Any) -> Iterator[Any]:
    return (modified(deployed, own, share) for share in (bytes(SHARE_BYTES), b"\xff" * SHARE_BYTES))


def test_a_malformed_share_or_a_wrong_key_gets_the_answer_of_a_miss() -> None:
    for own in (LISTED[0], OTHERS[0]):
        assert not any(is_visible(plain(), one) for one in malformed(plain(), own))
        good = Phone(plain()).voucher(own)
        for wrong in (replace(good, commitment=bytes(32)), modified(plain(), own, bytes(SHARE_BYTES), 1)):
            assert (is_visible(plain(), wrong), hits(plain(), wrong)) == (False, 0)
    good = Phone(plain()).voucher(OTHERS[0])
    bound = near.bound_by(good.epoch, opener(plain()).period, good.device, good.tokens)
    share = Share(1, (0,) * (SHARE_BYTES // 8 - 1)).encode()
    sealed = sealed_twice(bound, bytes(32), share, bytes(32), bytes(32 + _LENGTH + EVIDENCE_BYTES))
    guessed = replace(good, commitment=bytes(32), sealed=sealed)
    assert len(sealed) == len(good.sealed)
    assert not is_visible(plain(), guessed), "nobody guesses the key that is tried where none is right"
    weakened = world.built(near_opening(weak.Complains))
    assert [complains(weakened, malformed(weakened, one)) for one in (LISTED[0], OTHERS[0])] == [True, False]


def test_a_picture_that_is_sent_again_counts_once_and_is_not_linked() -> None:
    class Drawn(weak.RandomPlaces, near.SmallThresholdNear):
        pass

    class Same(weak.SameCoins, near.SmallThresholdNear):
        pass

    drawn = world.built(Drawn())
    same = world.built(Same())
    for deployed, count in ((plain(), 0), (drawn, 6)):
        assert len(read(deployed, Phone(deployed).vouchers(LISTED[[0, 1, 2, 0, 1, 2]]))) == count
    for deployed, linked in ((plain(), False), (same, True)):
        one, other = Phone(deployed).vouchers(OTHERS[[0, 0]])
        assert bool((one.tokens == other.tokens).all(axis=1).any()) is linked


def test_a_second_device_of_the_account_neither_adds_to_the_first_ones_shares_nor_spoils_them() -> None:
    first = Phone(plain(), "first")
    second = Phone(plain(), "second")
    mine = first.vouchers(LISTED[:T])
    noise = second.vouchers(LISTED[4:7])
    assert read(plain(), [*mine[1:], *noise]) == {}
    assert not any(is_visible(plain(), replace(one, device=mine[0].device)) for one in noise)
    assert read(plain(), [*mine, *noise]).keys() == set(range(T))
    weakened = near_opening(weak.OneSetOfShares)
    assert read(plain(), [*mine, *noise], by=opener(world.built(weakened))) == {}


@pytest.mark.parametrize("field", ["epoch", "device", "tokens", "commitment", "sealed"])
def test_a_voucher_with_another_field_is_refused_or_stays_closed(field: str) -> None:
    voucher = Phone(plain()).voucher(LISTED[0])
    other = Phone(plain(), "other").voucher(LISTED[1])
    moved = replace(voucher, **{field: 2 if field == "epoch" else getattr(other, field)})
    held = replace(opener(plain()), epoch=moved.epoch)
    assert is_visible(plain(), voucher)
    assert not is_visible(plain(), moved, held)


def test_vouchers_open_for_the_account_whose_messages_they_are_of_and_for_no_other() -> None:
    phone = Phone(plain())
    mine = [phone.voucher(row, binding=message("alice")) for row in LISTED[:T]]
    assert (len(read(plain(), mine)), read(plain(), mine, "mallory")) == (T, {})
    weakened = opener(world.built(near_opening(weak.TakesAnyEvidence)))
    assert len(read(plain(), mine, "mallory", weakened)) == T


def test_the_place_of_a_token_does_not_say_which_one_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def where(count: int) -> set[int]:
        phone = Phone(plain())
        held = opener(plain())
        found = set()
        for row in LISTED[:count]:
            voucher = phone.voucher(alike_in((0,), row, OTHERS[0]))
            bound = near.bound_by(voucher.epoch, held.period, voucher.device, voucher.tokens)
            keys = near.masks_of(held.multiplied(voucher.tokens[:, :32].copy())) ^ voucher.tokens[:, 32:]
            right = near.keyed(bound, keys)[0] == np.frombuffer(voucher.commitment, np.uint8)
            found.add(int(right.all(axis=1).argmax()))
        return found

    assert len(where(12)) > 3
    monkeypatch.setattr(near, "drawn_order", lambda count, rng: np.arange(count))
    assert where(4) == {0}


def test_real_made_up_matching_and_poor_pictures_take_the_same_operations() -> None:
    def weigh(*given: Any) -> int:
        return 1000 + max(len(one) for one in given if isinstance(one, np.ndarray))

    names = "multiply", "multiply_base", "add", "hash_multiply", "hash_to_group"
    with world.Operations(group, names, weigh) as taken:
        assert len(taken.of(near.SMALL)) == 1
        assert len(taken.of(SkipsReal())) == 2


class SkipsReal(near.SmallThresholdNear):
    """Computes nothing of the picture where the voucher is made up."""

    def voucher(self, setup: Any, item: Any, inside: Any, rng: Any) -> Any:
        if not inside.is_synthetic:
            return super().voucher(setup, item, inside, rng)
        blinded = group.multiply_base(group.random_scalars(self.sizes.tokens, rng))
        tokens = np.concatenate([blinded, np.zeros((len(blinded), 16), np.uint8)], axis=1)
        return near.Voucher(setup.epoch, inside.device.name, tokens, bytes(32), bytes(near.SEALED_BYTES))
