"""The key-value store: values of present keys, harmless values of absent ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from blindmatch_protocol import store
from blindmatch_protocol.errors import DesignError, SetFileError
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.store import DuplicateKeyError, Store
from hypothesis import given, settings
from hypothesis import strategies as st

IDENTITY = Identity("demo", 1, 1, {})


def keys_of(count: int, seed: int = 1) -> store.Rows:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def values_of(count: int, seed: int = 2) -> store.Values:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def built(keys: store.Rows, values: store.Values, bits: int | None = None) -> bytes:
    out = io.BytesIO()
    file = SetFileWriter(out, IDENTITY)
    order = store.order_of(keys)
    for parts, items in store.shards(keys, order, lambda a, b: values[order[a:b]], bits):
        file.section(store.KIND, parts, items)
    file.finish(len(keys))
    return out.getvalue()


def opened(data: bytes) -> Store:
    return Store(SetFile(data, "set.bin", "demo", 1))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50, 5000])
@pytest.mark.parametrize("bits", [0, 1, 4])
def test_every_key_gives_its_value(count: int, bits: int) -> None:
    keys, values = keys_of(count), values_of(count)
    assert (opened(built(keys, values, bits)).lookup(keys) == values).all()


@settings(max_examples=30)
@given(st.sets(st.binary(min_size=16, max_size=16), max_size=40), st.integers(0, 3))
def test_any_distinct_keys_give_their_values(names: set[bytes], bits: int) -> None:
    keys = np.frombuffer(b"".join(sorted(names)), np.uint8).reshape(-1, 16)
    values = values_of(len(keys))
    assert (opened(built(keys, values, bits)).lookup(keys) == values).all()


def test_building_is_deterministic_and_does_not_depend_on_the_rows_order() -> None:
    keys, values = keys_of(3000), values_of(3000)
    shuffle = np.random.default_rng(5).permutation(3000)
    assert built(keys, values, 2) == built(keys, values, 2) == built(keys[shuffle], values[shuffle], 2)


def test_a_batch_may_hold_a_key_many_times_or_none() -> None:
    keys, values = keys_of(100), values_of(100)
    held = opened(built(keys, values, 2))
    rows = np.array([5, 5, 99, 0, 5])
    assert (held.lookup(keys[rows]) == values[rows]).all()
    assert held.lookup(keys[:0]).shape == (0,)


def test_absent_keys_under_their_own_mask_look_uniform_also_where_three_cells_are_empty() -> None:
    count = 1 << 14
    keys, absent = keys_of(count), keys_of(200_000, seed=3)
    found = opened(built(keys, values_of(count))).lookup(absent)
    assert (found == 0).any(), "no absent key read three empty cells: the trap is not exercised"
    unmasked = found ^ values_of(len(absent), seed=4)
    assert not (unmasked < count).any()


def test_duplicate_keys_are_refused_and_named() -> None:
    keys = keys_of(10)
    keys[7] = keys[2]
    with pytest.raises(DuplicateKeyError, match="entries 2 and 7") as caught:
        store.order_of(keys)
    assert caught.value.rows == (2, 7)


def test_keys_that_share_their_first_half_are_ordered_by_the_second() -> None:
    keys = keys_of(6)
    keys[:, :8] = keys[0, :8]
    ordered = [row.tobytes() for row in keys[store.order_of(keys)]]
    assert ordered == sorted(ordered)


def test_shards_hold_at_most_the_limit_and_too_many_keys_are_refused() -> None:
    most = store.MOST_SHARD_KEYS
    assert [store.bits_for(n) for n in (0, 1, most, most + 1, 4 * most, 4 * most + 1)] == [0, 0, 0, 1, 2, 3]
    with pytest.raises(DesignError, match="fit one set"):
        store.bits_for((most << store.MOST_BITS) + 1)


def replaced(data: bytes, shard: bytes, items: int, copies: int = 1) -> Store:
    """A store whose shards have these bytes under fitting digests."""
    out = io.BytesIO()
    file = SetFileWriter(out, IDENTITY)
    for _ in range(copies):
        file.section(store.KIND, [shard], items)
    file.finish(items)
    return opened(out.getvalue())


def shard_of(data: bytes) -> bytes:
    return bytes(SetFile(data, "set.bin", "demo", 1).section(store.KIND))


@pytest.mark.parametrize(
    ("at", "reason"),
    [(0, "magic number"), (11, "version 0"), (15, "belongs to this store"), (20, "number of keys"),
     (40, "belongs to this store"), (64, "no map of a version"), (200, "no map of a version")],
)  # fmt: skip
def test_a_shard_that_is_none_is_refused_even_under_a_fitting_digest(at: int, reason: str) -> None:
    data = built(keys_of(50), values_of(50))
    shard = bytearray(shard_of(data))
    shard[at] ^= 1
    with pytest.raises(SetFileError, match=reason):
        replaced(data, bytes(shard), 50).lookup(keys_of(1))


def test_a_truncated_shard_is_refused_even_under_a_fitting_digest() -> None:
    data = built(keys_of(50), values_of(50))
    shard = shard_of(data)
    for length in (0, 63, 64, 70, len(shard) - 8):
        with pytest.raises(SetFileError, match=r"truncated|no map"):
            replaced(data, shard[:length], 50).lookup(keys_of(1))


def test_shards_that_are_not_a_power_of_two_are_refused() -> None:
    data = built(keys_of(50), values_of(50))
    for copies in (0, 3):
        with pytest.raises(SetFileError, match=f"{copies} shards are not a power of two"):
            replaced(data, shard_of(data), 50, copies)


def test_a_map_that_is_not_aligned_in_memory_is_read_all_the_same() -> None:
    keys, values = keys_of(50), values_of(50)
    data = memoryview(b"x" + built(keys, values))[1:]
    assert (Store(SetFile(data, "set.bin", "demo", 1)).lookup(keys) == values).all()


def test_a_store_takes_little_more_than_nine_bytes_a_key() -> None:
    count = 1 << 18
    assert len(built(keys_of(count), values_of(count))) / count < 9.3
