"""The parts of token-psi: field, shares, tokens and probes, one-way functions, index, families."""

from __future__ import annotations

import itertools
from hashlib import shake_256

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.designs.token_psi import shares, tokens
from blindmatch_protocol.designs.token_psi.build import Tokening, of_values, oprf_input_rows, oprf_inputs
from blindmatch_protocol.designs.token_psi.layers import AddressIndex, bucket_bits, index_parts
from blindmatch_protocol.designs.token_psi.shares import PRODUCTS, Elements, inverse, multiply, scaled
from blindmatch_protocol.designs.token_psi.tokens import MOST_MEMBERS, PERMUTATION, plan
from blindmatch_protocol.designs.voprf import LIMITS, Limits
from hypothesis import given
from hypothesis import strategies as st
from support.memory import random_hashes

MODULUS = 0b100011011
ELEMENTS = st.integers(0, 255)


def slow_product(left: int, right: int) -> int:
    """Product of polynomials over GF(2), then the remainder: the definition, step by step."""
    product = 0
    for bit in range(8):
        product ^= (left << bit) * (right >> bit & 1)
    for bit in range(14, 7, -1):
        product ^= (MODULUS << bit - 8) * (product >> bit & 1)
    return product


# --- GF(2^8) -------------------------------------------------------------------------------------


def test_all_products_are_those_of_the_slow_reference() -> None:
    expected = [[slow_product(left, right) for right in range(256)] for left in range(256)]
    assert PRODUCTS.tolist() == expected


def test_products_and_inverses_are_those_that_fips_197_gives() -> None:
    """FIPS 197, section 4.2: {57} times {83} is {c1}, {57} times {13} is {fe}; {53} and {ca} are inverse."""
    assert (multiply(0x57, 0x83), multiply(0x57, 0x13)) == (0xC1, 0xFE)
    assert inverse(0x53) == 0xCA
    assert all(multiply(value, inverse(value)) == 1 for value in range(1, 256))
    with pytest.raises(ZeroDivisionError):
        inverse(0)


@given(st.lists(ELEMENTS, min_size=3, max_size=3), st.binary(min_size=48, max_size=48))
def test_rows_are_scaled_by_their_constants(constants: list[int], raw: bytes) -> None:
    values = np.frombuffer(raw, np.uint8).reshape(3, 16)
    found = scaled(np.array(constants, np.uint8), values)
    assert found.tolist() == [
        [slow_product(c, v) for v in row] for c, row in zip(constants, values.tolist(), strict=True)
    ]


# --- shares --------------------------------------------------------------------------------------


def drawn(seed: int, *shape: int) -> Elements:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def slow_value(coefficients: list[int], band: int) -> int:
    power = 1
    total = 0
    for coefficient in coefficients:
        total ^= slow_product(coefficient, power)
        power = slow_product(power, band + 1)
    return total


@pytest.mark.parametrize("needed", [2, 3])
def test_values_are_those_of_the_polynomial_of_each_byte(needed: int) -> None:
    polynomials = drawn(1, 3, needed, 16)
    found = shares.values(polynomials, 16)
    for row, polynomial in enumerate(polynomials):
        columns = polynomial.T.tolist()
        assert found[row].tolist() == [[slow_value(column, band) for column in columns] for band in range(16)]


@pytest.mark.parametrize("needed", [2, 3])
def test_every_combination_of_enough_bands_gives_the_secret_and_no_smaller_one_does(needed: int) -> None:
    polynomial = drawn(2, 1, needed, 16)
    secret = shares.secrets_of(polynomial)
    own = shares.values(polynomial, 5)[0]
    for count in range(6):
        for hit in itertools.combinations(range(5), count):
            found = drawn(count, 5, 4, 16)
            for band in hit:
                found[band, band % 4] = own[band]
            tried = shares.candidates(found, needed)
            assert len(tried) == shares.candidate_count(5, 4, needed)
            matches = int((tried == secret).all(axis=1).sum())
            assert matches == len(list(itertools.combinations(hit, needed)))


def test_a_lone_value_leaves_every_secret_as_likely() -> None:
    """Two needed, one known: for each byte, every secret has exactly one polynomial through the value. With
    all 16 bytes apart that is 2^128 secrets, none more likely than another."""
    for band, value in ((0, 0), (3, 77), (15, 255)):
        polynomials = (
            np.stack(np.meshgrid(range(256), range(256)), axis=-1).reshape(-1, 2, 1).astype(np.uint8)
        )
        through = polynomials[shares.values(np.repeat(polynomials, 16, axis=2), 16)[:, band, 0] == value]
        assert sorted(through[:, 0, 0].tolist()) == list(range(256))


def test_candidates_come_in_the_documented_order() -> None:
    polynomials = drawn(3, 4, 2, 16)
    found = shares.values(polynomials, 3).swapaxes(0, 1)  # probe p of every band lies on polynomial p
    tried = shares.candidates(found, 2).reshape(3, 4, 4, 16)
    for probe in range(4):
        assert (tried[:, probe, probe] == shares.secrets_of(polynomials)[probe]).all()


# --- tokens --------------------------------------------------------------------------------------


def test_the_permutation_names_every_bit_once() -> None:
    assert sorted(PERMUTATION) == list(range(256))


@pytest.mark.parametrize(("k", "count"), [(24, 10), (20, 12), (32, 8), (4, 16)])
def test_tokens_are_the_bits_of_disjoint_bands(k: int, count: int) -> None:
    hashes = random_hashes(5)
    members = tokens.band_bits(k, count)
    assert len(set(members.ravel().tolist())) == k * count
    bits = np.unpackbits(hashes, axis=1)
    expected = [[int("".join(map(str, row[band])), 2) for band in members] for row in bits]
    assert tokens.entry_tokens(hashes, k, count).tolist() == expected


@given(
    st.lists(st.floats(0, 100, width=32), min_size=6, max_size=6),
    st.sampled_from([1, 2, 3, 8, 16, 33, 64]),
)
def test_probes_are_the_cheapest_sets_in_order(costs: list[float], probes: int) -> None:
    found = tokens.flips(np.array([costs], np.float32), probes)[0].tolist()
    price = [sum(costs[5 - bit] for bit in range(6) if number >> bit & 1) for number in range(64)]
    assert len(set(found)) == probes and found[0] == 0
    assert np.allclose([price[number] for number in found], sorted(price)[:probes])
    assert all(price[a] <= price[b] + 1e-9 for a, b in itertools.pairwise(found))


def test_a_picture_asks_for_its_own_tokens_first_and_flips_its_weakest_bit_next() -> None:
    hash_ = random_hashes(1)
    strengths = np.random.default_rng(4).permutation(256).astype(np.float32) + 1
    coefficients = np.where(np.unpackbits(hash_[0]) == 1, strengths, -strengths)
    found = tokens.probe_tokens(hash_.tobytes(), coefficients, 24, 10, 16)
    assert found[:, 0].tolist() == tokens.entry_tokens(hash_, 24, 10)[0].tolist()
    weakest = 23 - strengths[tokens.band_bits(24, 10)].argmin(axis=1)
    assert (found[:, 0] ^ found[:, 1]).tolist() == [1 << int(bit) for bit in weakest]


# --- one-way functions ---------------------------------------------------------------------------


def test_each_derivation_depends_on_every_byte_of_its_input_and_has_its_own_tag() -> None:
    assert len(set(shares.TAGS)) == len(shares.TAGS)
    secret = np.arange(16, dtype=np.uint8)
    flipped = np.stack([secret, *(secret ^ (np.arange(16) == at) for at in range(16))]).astype(np.uint8)
    assert len(set(shares.addresses(flipped, 1).tolist())) == 17
    assert len({row.tobytes() for row in shares.label_keys(flipped, 1)}) == 17
    outputs = np.zeros((65, 64), np.uint8)
    outputs[range(1, 65), range(64)] = 1
    keys = shares.token_keys(outputs, 1)
    assert len({row.tobytes() for row in keys.store_keys}) == len({row.tobytes() for row in keys.masks}) == 65


def test_each_derivation_is_another_one_under_another_epoch() -> None:
    output = drawn(4, 1, 64)
    secret = drawn(5, 1, 16)
    of_token = [shares.token_keys(output, epoch) for epoch in (1, 2)]
    for parts in (
        [keys.store_keys.tobytes() for keys in of_token],
        [keys.masks.tobytes() for keys in of_token],
        [shares.addresses(secret, epoch).tobytes() for epoch in (1, 2)],
        [shares.label_keys(secret, epoch).tobytes() for epoch in (1, 2)],
        [shares.member_secret(secret.tobytes(), 1, epoch) for epoch in (1, 2)],
    ):
        assert len(set(parts)) == 2


def test_members_of_a_family_have_secrets_of_their_own() -> None:
    first = bytes(range(16))
    assert shares.member_secret(first, 0, 1) == first
    assert len({shares.member_secret(first, member, 1) for member in range(64)}) == 64


# --- index of addresses --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 9, 1000, 1025])
def test_the_index_finds_every_label_and_hardly_anything_else(count: int) -> None:
    rng = np.random.default_rng(5)
    listed = np.sort(rng.integers(0, 2**64, count, np.uint64))
    index = AddressIndex(memoryview(b"".join(index_parts(listed))), count)
    others = rng.integers(0, 2**64, 5000, np.uint64)
    rows, numbers = index.lookup(np.concatenate([listed, others]))
    found = dict(zip(rows.tolist(), numbers.tolist(), strict=True))
    assert found == {row: row for row in range(count)}


def test_two_labels_that_the_index_cannot_tell_apart_are_both_found() -> None:
    listed = np.array([5, 1 << 60, (1 << 60) + 1], np.uint64)
    index = AddressIndex(memoryview(b"".join(index_parts(listed))), 3)
    assert index.lookup(listed[1:2])[1].tolist() in ([1], [1, 2])


def test_an_index_of_another_length_or_order_is_refused() -> None:
    listed = np.sort(np.random.default_rng(6).integers(0, 2**64, 100, np.uint64))
    content = bytearray(b"".join(index_parts(listed)))
    with pytest.raises(SetFileError, match="not an index of 100 labels"):
        AddressIndex(memoryview(content[:-1]), 100)
    content[0] = 1
    with pytest.raises(SetFileError, match="in order"):
        AddressIndex(memoryview(content), 100)


def test_an_index_that_would_make_some_look_ups_slow_is_refused() -> None:
    """One bucket that has all labels: whoever meets it waits for as long as there are labels."""
    count = 1000
    listed = np.sort(np.random.default_rng(6).integers(0, 2**64, count, np.uint64))
    content = bytearray(b"".join(index_parts(listed)))
    directory = np.frombuffer(content, "<u4", (1 << bucket_bits(count)) + 1)
    directory[1:-1] = 0
    with pytest.raises(SetFileError, match="does not cover the labels in order"):
        AddressIndex(memoryview(content), count)
    with pytest.raises(DesignError, match="too many labels in one bucket"):
        index_parts(np.arange(count, dtype=np.uint64))


# --- families ------------------------------------------------------------------------------------


def test_near_entries_are_one_family_and_share_their_tokens() -> None:
    hashes = random_hashes(50)
    hashes[30] = hashes[10]
    hashes[40] = hashes[10]
    hashes[30, 0] ^= 1
    found = plan(hashes, 24, 10)
    assert found.first[[10, 30, 40]].tolist() == [10, 10, 10]
    assert found.member[[10, 30, 40]].tolist() == [0, 1, 2]
    assert not found.lost.any()
    assert found.stored[[10, 30, 40]].any(axis=0).all()
    assert found.stored.sum() < 500
    alone = np.setdiff1d(np.arange(50), [30, 40])
    assert (found.first[alone] == alone).all() and found.stored[np.setdiff1d(alone, [10])].all()


def test_a_family_has_a_bounded_number_of_members() -> None:
    found = plan(np.repeat(random_hashes(1), 150, axis=0), 24, 10)
    assert found.member.max() == MOST_MEMBERS - 1
    assert np.unique(found.first).tolist() == [0, 64, 128]


def test_tokens_that_meet_go_to_one_entry_and_losses_are_spread_and_counted() -> None:
    hashes = random_hashes(3000, seed=3)
    found = plan(hashes, 8, 10)  # 256 tokens a band for 3000 entries
    drawn = tokens.entry_tokens(hashes, 8, 10)
    for band in range(10):
        owners = drawn[found.stored[:, band], band]
        assert sorted(owners.tolist()) == np.unique(drawn[:, band]).tolist()
    assert (found.lost | found.stored | (found.first != np.arange(3000))[:, None]).all()
    assert found.stored.sum(axis=1).max() <= 3


# --- parameters ----------------------------------------------------------------------------------


def test_the_defaults_fit_and_bad_combinations_are_refused_with_the_rule() -> None:
    assert Tokening().tokens == 160 and of_values(Tokening().values()) == (Tokening(), Limits())
    for values, rule in (
        ({"k": 32, "bands": 9}, "k times bands"),
        ({"k": 4, "probes": 17}, "only 16 tokens"),
        ({"probes": 128}, "bands times probes"),
        ({"needed": 4}, "needed: must be 2 to 3"),
        ({"bands": 2, "needed": 3}, "at most the number of bands"),
        ({"bands": 10, "probes": 40, "needed": 3}, "combinations"),
    ):
        with pytest.raises(DesignError, match=rule):
            Tokening(**values)
    with pytest.raises(DesignError, match="must be k, bands, probes and needed"):
        of_values({"k": 24})


def test_limits_of_a_key_are_all_there_or_none_and_let_one_request_through() -> None:
    whole = Tokening().values() | Limits(160, 320, 1_800_000_000).values()
    assert of_values(whole) == (Tokening(), Limits(160, 320, 1_800_000_000))
    with pytest.raises(DesignError, match="the key's limits must all be there: account_evaluations"):
        of_values({name: value for name, value in whole.items() if name != "key_expires"})
    for name in ("account_evaluations", "all_evaluations"):
        with pytest.raises(DesignError, match=f"parameter {name}: must be 0 or at least the 160 tokens"):
            of_values(whole | {name: 159})
    with pytest.raises(DesignError, match="parameter key_expires: must be 0 to"):
        Limits(key_expires=-1)
    assert {p.name: p.default for p in LIMITS} == {
        "account_evaluations": 1 << 20, "all_evaluations": 1 << 24, "key_expires": 0,
    }  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 5])
def test_tokens_as_rows_are_the_same_inputs(count: int) -> None:
    raw = np.frombuffer(shake_256(b"tokens").digest(4 * 10 * count), "<u4")
    some = raw.astype(np.uint32).reshape(count, 10)
    listed = [row.tobytes() for row in oprf_input_rows(some)]
    assert listed == oprf_inputs(some)
