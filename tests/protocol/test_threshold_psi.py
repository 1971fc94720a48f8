"""threshold-psi: nothing opens below the threshold, all matches from the other one on; and what must fail."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.threshold_psi import ThresholdPsi
from blindmatch_protocol.designs.threshold_psi.design import (
    CELLS_KIND,
    PUBLIC_KIND,
    SET_FILE,
)
from blindmatch_protocol.designs.threshold_psi.opener import sealed_voucher
from blindmatch_protocol.designs.threshold_psi.shares import (
    COORDINATES,
    FIELD,
    SHARE_BYTES,
    DeviceShares,
    Share,
    recovered,
    utility_threshold,
)
from blindmatch_protocol.designs.threshold_psi.table import Domain, build_cells, planned, values_of
from blindmatch_protocol.group import sodium
from blindmatch_protocol.messages.franking import Evidence
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, opened, publish, update
from msgspec.structs import replace
from planted import thresholds as weak
from support import threshold_world as world
from support.memory import random_hashes
from support.set_files import opened as set_file
from support.set_files import resealed
from support.threshold_world import (
    LISTED,
    ME,
    OTHERS,
    Phone,
    T,
    complains,
    is_visible,
    message,
    opener,
    read,
)  # fmt: skip

DESIGN = ThresholdPsi()
built = partial(world.built, DESIGN)


@cache
def plain() -> Deployed:
    return built()


# --- what it does ---------------------------------------------------------------------------------


def test_below_the_threshold_nothing_opens_and_from_it_on_exactly_the_matches_with_their_labels() -> None:
    phone = Phone(plain())
    others = phone.vouchers(OTHERS[:5])
    matches = phone.vouchers(LISTED[:T])
    assert read(plain(), [*others, *matches[1:]]) == {}
    opened_ones = read(plain(), [*others, *matches])
    assert [at for at, _ in sorted(opened_ones.items())] == [5, 6, 7, 8]
    assert [label.entry_hash for _, label in sorted(opened_ones.items())] == [r.tobytes() for r in LISTED[:T]]
    assert [is_visible(plain(), one) for one in (*others, *matches)] == [False] * 5 + [True] * T


def test_a_picture_that_is_too_poor_gives_a_voucher_of_the_same_length_that_opens_nothing() -> None:
    phone = Phone(plain())
    poor = phone.voucher(LISTED[0], quality=49)
    assert not is_visible(plain(), poor)
    assert len(poor.encode()) == len(phone.voucher(LISTED[0]).encode())


def test_made_up_vouchers_are_visible_raise_the_number_that_is_needed_and_never_open() -> None:
    deployed = built(synthetic=100)
    phone = Phone(deployed)
    rows = [*LISTED, *OTHERS]
    shares = deployed.design._shares(phone.state, deployed.setup)  # type: ignore[attr-defined]
    made_up = [at for at, row in enumerate(rows) if shares.is_synthetic(row.tobytes(), 100)]
    real = [at for at in range(len(LISTED)) if at not in made_up]
    assert 0 < len(made_up) <= COORDINATES
    vouchers = phone.vouchers(rows)
    assert {at for at, one in enumerate(vouchers) if is_visible(deployed, one)} == {*made_up, *real}
    assert utility_threshold(T, len(made_up)) == T + 1
    few = [*made_up, *real[:T]]
    assert read(deployed, [vouchers[at] for at in few]) == {}
    assert len(read(deployed, [vouchers[at] for at in (*few, real[T])])) == T + 1
    assert read(deployed, vouchers).keys() == set(real)


def test_an_epoch_under_the_same_key_is_of_the_same_period_and_its_vouchers_add_up() -> None:
    before = plain()
    after = opened(update(before.build, OTHERS[:1], [], seeded("update")))
    assert after.setup.period == before.setup.period
    others = (built(threshold=T + 1), built(synthetic=1), built(key_expires=1), built(key_expires=2))
    assert len({one.setup.period for one in (before, *others)}) == 5
    assert all(opener(one).period == one.setup.period for one in (before, after, *others))
    phone = Phone(before)
    early = phone.vouchers(LISTED[: T - 1])
    phone.deployed = after
    late = [phone.voucher(OTHERS[0])]
    first = opener(before)
    second = opener(after)
    with pytest.raises(EpochMismatchError):
        second.take(*ME, after.setup.period, early[0])
    taken = [first.take(*ME, after.setup.period, one) for one in early]
    taken += [second.take(*ME, after.setup.period, one) for one in late]
    labels = second.open("alice", after.setup.period, [one.row for one in taken])
    assert {label.entry_hash for label in labels.values()} == {
        *(row.tobytes() for row in LISTED[: T - 1]), OTHERS[0].tobytes()
    }  # fmt: skip


def test_a_removed_entry_counts_towards_the_threshold_and_is_not_opened() -> None:
    before = plain()
    held = before.build
    (gone,) = [int(one) for one in opener(before).known.ids[:1]]
    after = opened(update(held, OTHERS[:1], [gone], seeded("update")))
    phone = Phone(before)
    rows = [opener(before).take(*ME, before.setup.period, one).row for one in phone.vouchers(LISTED[:T])]
    labels = opener(after).open("alice", before.setup.period, rows)
    assert sorted(labels) == [1, 2, 3]


def test_an_opener_that_is_started_anew_between_two_vouchers_opens_them_all_the_same() -> None:
    taken = [
        opener(plain()).take(*ME, plain().setup.period, one) for one in Phone(plain()).vouchers(LISTED[:T])
    ]
    assert len(opener(plain()).open("alice", plain().setup.period, [one.row for one in taken])) == T


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [0, 1, 2, 3, 100])
def test_the_table_maps_every_entry_to_a_multiple_by_the_key_and_nothing_else(entries: int) -> None:
    hashes = random_hashes(entries) if entries else LISTED[:0]
    rng = seeded("table")
    plan = planned(7, rng.take(32), hashes)
    key = group.random_scalars(1, rng)
    cells = build_cells(plan, key, hashes, rng.take(32))
    domain = plan.domain
    group.check_elements(cells, "table", "cells")
    for rows, expected in ((hashes, True), (OTHERS, False)):
        found = values_of(cells, domain.places(rows))
        same = (found == group.hash_multiply(key, domain.uniform(rows))).all(axis=1)
        assert (same == expected).all()


def test_a_million_entries_take_36_bytes_each() -> None:
    assert 32 * Domain(1, bytes(32), 1 << 20).cells / (1 << 20) == pytest.approx(36, abs=0.1)


def test_two_tables_under_one_key_agree_on_no_entry_unless_they_hash_alike() -> None:
    """Under one H equal values say that a guess is listed."""

    def agree() -> int:
        first = built()
        second = opened(update(first.build, OTHERS[:1], [], seeded("update")))
        values = [one.setup.values(row.reshape(1, -1)).tobytes() for one in (first, second) for row in LISTED]
        return sum(a == b for a, b in zip(values[: len(LISTED)], values[len(LISTED) :], strict=True))

    assert agree() == 0
    with weak.one_domain():
        assert agree() == len(LISTED)


def test_a_device_takes_no_table_that_is_damaged_or_has_what_is_no_element() -> None:
    files = dict(plain().build.setup_files)
    whole = set_file(DESIGN, SET_FILE, plain().build.files[SET_FILE])
    identity = bytes(32)
    odd = b"\xff" * 32

    def checked(kind: int, altered: bytes) -> None:
        files[SET_FILE] = resealed(whole, {(kind, 0): altered})
        DESIGN.check_setup(DESIGN.open_setup(files))

    cells = bytes(whole.section(CELLS_KIND))
    public = bytes(whole.section(PUBLIC_KIND))
    checked(CELLS_KIND, cells)
    for bad in (identity, odd):
        with pytest.raises(SetFileError, match=r"cells: row 1 is"):
            checked(CELLS_KIND, cells[:32] + bad + cells[64:])
        with pytest.raises(SetFileError, match="public key"):
            checked(PUBLIC_KIND, bad + public[32:])
    for kind, short in ((CELLS_KIND, cells[32:]), (PUBLIC_KIND, public[1:])):
        with pytest.raises(SetFileError):
            checked(kind, short)


def test_a_planted_key_makes_any_picture_visible_and_no_check_of_a_device_notices() -> None:
    """Whoever builds the table again does (docs/explanation/accountability.md); spare cells are enough
    for it (`planted-cell`)."""
    wanted = np.concatenate([LISTED, OTHERS[:1]])
    planted = opened(publish(DESIGN, wanted, seeded("set"), 1, {"threshold": T, "synthetic": 0}))
    DESIGN.check_setup(planted.setup)
    assert is_visible(planted, Phone(planted).voucher(OTHERS[0]))


def test_a_list_with_an_entry_twice_and_updates_that_change_nothing_are_refused() -> None:
    with pytest.raises(DesignError, match="twice"):
        publish(DESIGN, LISTED[[0, 1, 0]], seeded("set"))
    for adds, removes, words in (
        (LISTED[:0], [], "must add"),
        (LISTED[:1], [], "twice"),
        (OTHERS, [1], "id"),
        (LISTED[:0], [-1], "unsigned"),
        (LISTED[:0], [1, 1], "named twice"),
    ):
        with pytest.raises(DesignError, match=words):
            update(plain().build, adds, removes, seeded("update"))


# --- shares ---------------------------------------------------------------------------------------


def shares_of(rng: Any, threshold: int, real: int, synthetic: int) -> tuple[bytes, list[Share]]:
    device = DeviceShares(rng.take(32), rng.take(32), threshold)
    made = [device.derive(rng.take(32)) for _ in range(real + synthetic)]
    shares = [one[0] for one in made[:real]] + [one[1] for one in made[real:]]
    order = np.argsort(np.frombuffer(rng.take(8 * len(shares)), np.uint64)) if shares else []
    return device.derive(bytes(32))[2], [shares[int(at)] for at in order]


def check_accounts(count: int, seed: str) -> None:
    """The published rule, on random accounts around t: never below t, always from t' on."""
    rng = seeded(seed)
    tried = {True: 0, False: 0}
    for _ in range(count):
        threshold = 2 + rng.take(1)[0] % 9
        synthetic = rng.take(1)[0] % 24
        apart = rng.take(1)[0] % 4
        synthetic += COORDINATES * (rng.take(1)[0] < 16)  # a few have so many that they cost two more
        enough = utility_threshold(threshold, synthetic)
        for real, found in ((threshold - 1 - min(apart, threshold - 1), False), (enough + apart, True)):
            key, shares = shares_of(rng, threshold, real, synthetic)
            assert (key in list(recovered(shares, threshold))) is found
            tried[found] += 1
    assert tried == {True: count, False: count}


def test_random_accounts_open_never_below_the_threshold_and_always_from_the_other_on() -> None:
    check_accounts(10, "a few")


@pytest.mark.slow
def test_a_thousand_random_accounts_open_as_published() -> None:
    check_accounts(500, "many")


@pytest.mark.parametrize(("real", "found"), [(34, False), (35, True)])
def test_thirty_matches_among_the_made_up_ones_of_ten_thousand_pictures(real: int, found: bool) -> None:
    key, shares = shares_of(seeded("thirty"), 30, real, 139)
    assert (key in list(recovered(shares, 30))) is found


def test_a_large_threshold_is_evaluated_like_a_small_one() -> None:
    key, shares = shares_of(seeded("large"), 70, 71, 3)
    assert list(recovered(shares, 70)) == [key]


def test_a_share_has_one_encoding_and_the_field_bounds_it() -> None:
    (share,) = shares_of(seeded("one"), 2, 1, 0)[1]
    raw = share.encode()
    assert len(raw) == SHARE_BYTES
    assert Share.decode(raw) == share
    top = FIELD.to_bytes(8, "little")
    zero = bytes(8)
    for bad in (raw[:-1], raw + b"\0", zero + raw[8:], top + raw[8:], raw[:-8] + top):
        assert Share.decode(bad) is None


def test_below_the_threshold_any_other_secret_fits_the_shares_as_well() -> None:
    """Shamir 1979: for t - 1 shares and any key there are polynomials that give both."""
    device = DeviceShares(bytes(32), bytes(32), 3)
    two = [device.derive(bytes([at]) * 32)[0] for at in (1, 2)]
    (x, a), (y, b) = ((one.place, one.values[0]) for one in two)
    for secret in (0, 1, 12345):  # one point more at 0: three points, degree 2, whatever the secret
        points = ((0, secret), (x, a), (y, b))
        found = [sum(_lagrange(points, at) for _ in (0,)) % FIELD for at in (0, x, y)]
        assert found == [secret, a, b]


def _lagrange(points: Any, at: int) -> int:
    total = 0
    for i, (x, value) in enumerate(points):
        above = below = 1
        for j, (other, _) in enumerate(points):
            if i != j:
                above = above * (at - other) % FIELD
                below = below * (x - other) % FIELD
        total += value * above * pow(below, -1, FIELD)
    return total % FIELD


def test_between_the_thresholds_interpolation_in_several_variables_tells_real_from_made_up() -> None:
    """So nothing is called impossible there. t = 2, two coordinates, 6 real among 18 (Coppersmith and Sudan
    2003): the gradients of what vanishes on all points have less than full rank at the real ones alone."""
    rng = seeded("between")
    real = 6
    synthetic = 18
    coordinates = 2
    device = DeviceShares(rng.take(32), rng.take(32), 2)
    made = [device.derive(rng.take(32))[at >= real] for at in range(real + synthetic)]
    points = [(one.place, *one.values[:coordinates]) for one in made]
    cut = [replace(one, values=one.values[:coordinates]) for one in made]
    assert real < utility_threshold(2, synthetic, coordinates) == 11
    assert list(recovered(cut, 2)) == []
    powers = [one for one in product(range(real), repeat=3) if sum(one) < real]
    vanishing = _kernel([[_monomial(point, one) for one in powers] for point in points], len(powers))[0][:6]
    ranks = [_kernel([_gradient(point, one, powers) for one in vanishing], 3)[1] for point in points]
    assert [at for at, rank in enumerate(ranks) if rank < 3] == list(range(real))


def _monomial(point: Any, powers: Any) -> int:
    found = 1
    for value, power in zip(point, powers, strict=True):
        found = found * pow(value, power, FIELD) % FIELD
    return found


def _gradient(point: Any, coefficients: Any, powers: Any) -> list[int]:
    found = [0, 0, 0]
    for (at, total), (c, one) in product(enumerate(found), zip(coefficients, powers, strict=True)):
        assert total == 0
        if c and one[at]:
            lower = [power - (place == at) for place, power in enumerate(one)]
            found[at] = (found[at] + c * one[at] * _monomial(point, lower)) % FIELD
    return found


def _kernel(rows: Any, columns: int) -> tuple[list[list[int]], int]:
    rows = [list(row) for row in rows]
    pivots = list[int]()
    for column in range(columns):
        top = len(pivots)
        found = next((at for at in range(top, len(rows)) if rows[at][column]), None)
        if found is None:
            continue
        rows[top], rows[found] = rows[found], rows[top]
        inverse = pow(rows[top][column], -1, FIELD)
        rows[top] = [one * inverse % FIELD for one in rows[top]]
        for at, row in enumerate(rows):
            if at != top and row[column]:
                rows[at] = [(a - row[column] * b) % FIELD for a, b in zip(row, rows[top], strict=True)]
        pivots.append(column)
    vectors = []
    for column in set(range(columns)) - set(pivots):
        vector = [0] * columns
        vector[column] = 1
        for at, pivot in enumerate(pivots):
            vector[pivot] = -rows[at][column] % FIELD
        vectors.append(vector)
    return vectors, len(pivots)


# --- attacks --------------------------------------------------------------------------------------


def _flipped(raw: bytes, at: int = 0) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_the_key_of_another_set_sees_nothing() -> None:
    other = opened(publish(DESIGN, LISTED, seeded("another"), 1, {"threshold": T, "synthetic": 0}))
    held = opener(other)
    wrong = replace(opener(plain()), key=held.key)
    voucher = Phone(plain()).voucher(LISTED[0])
    assert isinstance(wrong.take(*ME, plain().setup.period, voucher), bm.Hidden)
    with pytest.raises(ProtocolError, match="period"):
        held.take(*ME, plain().setup.period, voucher)


@pytest.mark.parametrize("element", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31)])
def test_identity_and_encodings_that_are_no_element_are_refused(element: bytes) -> None:
    voucher = replace(Phone(plain()).voucher(LISTED[0]), blinded=element)
    with pytest.raises(ProtocolError, match="blinded"):
        opener(plain()).take(*ME, plain().setup.period, voucher)


def malformed(deployed: Deployed, own: Any) -> Iterator[Any]:
    """Vouchers of a modified device for one picture, with shares that are none."""
    rng = seeded("malformed")
    setup = deployed.setup
    for share in (bytes(SHARE_BYTES), b"\xff" * SHARE_BYTES):
        b = group.random_scalars(1, rng)
        element = group.hash_to_group(setup.domain.uniform(own.reshape(1, -1)))
        made = (
            group.multiply(b, element).tobytes(),
            group.multiply(b, setup.values(own.reshape(1, -1))).tobytes(),
        )
        yield sealed_voucher(setup.epoch, setup.period, bytes(16), made, share, bytes(32), bytes(1634))


def test_a_malformed_share_gets_the_answer_of_a_miss_or_it_would_say_what_is_listed() -> None:
    for own in (LISTED[0], OTHERS[0]):
        assert not any(is_visible(plain(), one) for one in malformed(plain(), own))

    weakened = world.built(weak.opening(weak.Complains))

    def told(own: Any) -> bool:
        return complains(weakened, malformed(weakened, own))

    assert (told(LISTED[0]), told(OTHERS[0])) == (True, False)


def test_a_picture_that_is_sent_again_counts_once() -> None:
    def opens(deployed: Deployed) -> int:
        return len(read(deployed, Phone(deployed).vouchers(LISTED[[0, 1, 2, 0, 1, 2]])))

    assert opens(plain()) == 0
    assert opens(world.built(weak.RandomPlaces())) == 6


def test_blinds_that_are_used_twice_show_that_a_picture_was_sent_again() -> None:
    def links(deployed: Deployed, rows: Any) -> bool:
        one, other = Phone(deployed).vouchers(rows)
        return bool(one.blinded == other.blinded)

    assert not links(plain(), OTHERS[[0, 0]])
    weakened = world.built(weak.SameCoins())
    assert (links(weakened, OTHERS[[0, 0]]), links(weakened, OTHERS[[0, 1]])) == (True, False)


def test_a_second_device_of_the_account_neither_adds_to_the_first_ones_shares_nor_spoils_them() -> None:
    first = Phone(plain(), "first")
    second = Phone(plain(), "second")
    assert read(plain(), [*first.vouchers(LISTED[: T - 1]), *second.vouchers(LISTED[4 : 4 + T - 1])]) == {}
    mine = first.vouchers(LISTED[:T])
    noise = second.vouchers(LISTED[4:7])
    stolen = [replace(one, device=mine[0].device) for one in noise]
    assert not any(is_visible(plain(), one) for one in stolen)
    assert read(plain(), [*mine, *noise]).keys() == set(range(T))
    assert read(plain(), [*mine, *noise], by=opener(world.built(weak.opening(weak.OneSetOfShares)))) == {}


def test_two_devices_that_claim_one_pseudonym_are_told_apart_by_their_certificates() -> None:
    phone = Phone(plain())
    held = opener(plain())
    period = plain().setup.period
    one, two = (held.take("alice", device, period, phone.voucher(LISTED[0])) for device in ("a", "b"))
    assert one.row[:32] != two.row[:32]


@pytest.mark.parametrize("field", ["epoch", "device", "blinded", "sealed"])
def test_a_voucher_with_another_field_is_refused_or_stays_closed(field: str) -> None:
    voucher = Phone(plain()).voucher(LISTED[0])
    other = Phone(plain(), "other").voucher(LISTED[1])
    moved = replace(voucher, **{field: 2 if field == "epoch" else getattr(other, field)})
    held = replace(opener(plain()), epoch=moved.epoch)
    assert isinstance(held.take(*ME, plain().setup.period, moved), bm.Hidden)
    if field in ("epoch", "device"):
        with weak.unbound():
            fresh = Phone(plain()).voucher(LISTED[0])
            fresh = replace(fresh, **{field: getattr(moved, field)})
            assert isinstance(held.take(*ME, plain().setup.period, fresh), bm.Visible)


def test_no_cell_of_a_voucher_opens_when_it_is_altered() -> None:
    voucher = Phone(plain()).voucher(LISTED[0])
    for at in (0, SHARE_BYTES, SHARE_BYTES + 40, len(voucher.sealed) - 33, len(voucher.sealed) - 1):
        assert not is_visible(plain(), replace(voucher, sealed=_flipped(voucher.sealed, at)))


def test_vouchers_open_for_the_account_whose_messages_they_are_of_and_for_no_other() -> None:
    phone = Phone(plain())
    mine = [phone.voucher(row, binding=message("alice")) for row in LISTED[:T]]
    assert len(read(plain(), mine)) == T
    assert read(plain(), mine, "mallory") == {}
    assert len(read(plain(), mine, "mallory", opener(world.built(weak.opening(weak.TakesAnyEvidence))))) == T
    assert len({len(one.encode()) for one in (*mine, phone.voucher(LISTED[0]))}) == 1


def test_evidence_that_does_not_open_its_commitment_opens_no_label() -> None:
    phone = Phone(plain())
    bound = message("alice")
    evidence = Evidence.decode(bound.evidence)
    other = replace(evidence, sent_at=evidence.sent_at + 1).encode()
    vouchers = [phone.voucher(row, binding=replace(bound, evidence=other)) for row in LISTED[:T]]
    vouchers.append(phone.voucher(LISTED[T], binding=replace(bound, evidence=b"none")))
    vouchers.append(phone.voucher(LISTED[T + 1], binding=bound))
    assert read(plain(), vouchers).keys() == {T + 1}


def test_periods_are_not_linked_by_what_the_shares_hang_on() -> None:
    def linked(design: ThresholdPsi) -> bool:
        periods = [world.built(design, threshold=T), world.built(design, threshold=T + 1)]
        phones = [Phone(one) for one in periods]
        made = [design._shares(phone.state, one.setup) for phone, one in zip(phones, periods, strict=True)]
        return made[0].derive(bytes(32))[0].place == made[1].derive(bytes(32))[0].place

    assert not linked(DESIGN)
    assert linked(weak.ForAllPeriods())


def test_real_made_up_matching_and_poor_pictures_take_the_same_operations() -> None:
    names = "multiply", "multiply_base", "add", "hash_to_group"
    with world.Operations(sodium, names, lambda *given: 1) as taken:
        assert len(taken.of(DESIGN)) == 1
        assert len(taken.of(weak.SkipsReal())) == 2


def test_lone_vouchers_of_unlisted_pictures_are_visible_in_no_small_table() -> None:
    small = opened(publish(DESIGN, LISTED[:3], seeded("set"), 1, {"threshold": T, "synthetic": 0}))
    phone = Phone(small)
    held = opener(small)
    taken = [held.take(*ME, small.setup.period, one) for one in phone.vouchers(random_hashes(200, seed=3))]
    assert taken == [bm.Hidden()] * 200
