"""The key-value store: values of present keys, harmless values of absent ones."""

from __future__ import annotations

import io
import struct
from unittest.mock import patch

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.sets import fuse_map, store
from blindmatch_protocol.sets.fuse_map import Words
from blindmatch_protocol.sets.store import DuplicateKeyError, Store
from fastconstmap import ConstMap
from hypothesis import given, settings
from hypothesis import strategies as st

IDENTITY = Identity("demo", 1, 1, {})
FILL = bytes(range(32))


def keys_of(count: int, seed: int = 1) -> store.Rows:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def values_of(count: int, seed: int = 2, words: int = 1) -> Words:
    return np.random.default_rng(seed).integers(0, 2**64, (count, words), dtype=np.uint64)


def built(keys: store.Rows, values: Words, bits: int | None = None, fill: bytes = FILL) -> bytes:
    out = io.BytesIO()
    file = SetFileWriter(out, IDENTITY)
    order = store.order_of(keys)
    words = values.shape[1]

    def content(start: int, stop: int) -> tuple[store.Rows, Words]:
        return keys[order[start:stop]], values[order[start:stop]]

    number = store.bits_for(len(keys)) if bits is None else bits
    with patch.object(store, "bits_for", lambda count: number):
        shards = store.shards(store.fronts_of(keys), content, words, fill)
    for parts, items in shards:
        file.section(store.KIND, parts, items)
    file.finish(len(keys))
    return out.getvalue()


def opened(data: bytes, words: int = 1) -> Store:
    return Store(SetFile(data, "set.bin", "demo", 1), words)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50, 5000])
@pytest.mark.parametrize("bits", [0, 1, 4])
@pytest.mark.parametrize("words", [1, 2])
def test_every_key_gives_its_value(count: int, bits: int, words: int) -> None:
    keys = keys_of(count)
    values = values_of(count, words=words)
    held = opened(built(keys, values, bits), words)
    held.check(count)
    assert (held.lookup(keys) == values).all()
    some = np.concatenate([keys[:20], keys_of(20, seed=3)])
    alone = [held.lookup(some[row : row + 1]) for row in range(len(some))]
    assert np.concatenate(alone).tobytes() == held.lookup(some).tobytes()


@settings(max_examples=30)
@given(st.sets(st.binary(min_size=16, max_size=16), max_size=40), st.integers(0, 3))
def test_any_distinct_keys_give_their_values(names: set[bytes], bits: int) -> None:
    keys = np.frombuffer(b"".join(sorted(names)), np.uint8).reshape(-1, 16)
    values = values_of(len(keys))
    assert (opened(built(keys, values, bits)).lookup(keys) == values).all()


def test_building_is_deterministic_and_does_not_depend_on_the_rows_order() -> None:
    keys = keys_of(3000)
    values = values_of(3000)
    shuffle = np.random.default_rng(5).permutation(3000)
    assert built(keys, values, 2) == built(keys, values, 2) == built(keys[shuffle], values[shuffle], 2)


def test_a_batch_may_hold_a_key_many_times_or_none() -> None:
    keys = keys_of(100)
    values = values_of(100)
    held = opened(built(keys, values, 2))
    rows = np.array([5, 5, 99, 0, 5])
    assert (held.lookup(keys[rows]) == values[rows]).all()
    assert held.lookup(keys[:0]).shape == (0, 1)


@pytest.mark.parametrize("count", [1, 10, 100, 1000])
def test_absent_keys_read_zero_or_another_keys_value_no_more_often_than_present_ones(count: int) -> None:
    """Without filled cells an absent key reads zero in 48 % of look-ups at 10 keys, and in 10 % at 100."""
    absent = keys_of(20_000, seed=3)
    found = opened(built(keys_of(count), values_of(count))).lookup(absent)[:, 0]
    assert not (found == 0).any()
    # each bit of what absent keys read is set in half of the cells, by any measure of chance
    cells = np.unique(found)
    shares = np.unpackbits(cells.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    assert (np.abs(shares - 0.5) < 6 * 0.5 / np.sqrt(min(len(cells), count))).all()


@pytest.mark.parametrize("count", [1, 2, 9, 10, 333])
def test_the_length_of_a_store_tells_the_number_of_its_keys_alone(count: int) -> None:
    lengths = {len(built(keys_of(count, seed), values_of(count, seed))) for seed in range(8)}
    assert len(lengths) == 1


def test_cells_follow_from_the_fill_key_the_shard_and_the_word() -> None:
    keys = keys_of(50)
    values = np.repeat(values_of(50), 2, axis=1)
    shards = [shard_of(built(keys, values, fill=fill)) for fill in (FILL, FILL, bytes(32))]
    assert shards[0] == shards[1] != shards[2]
    first, second = (np.frombuffer(part, "<u8") for part in halves(shards[0]))
    empty = opened(built(keys, values), 2).lookup(keys_of(500, seed=3))
    assert (empty[:, 0] != empty[:, 1]).any() and (first != second).any()
    assert store.fill_key(b"k" * 32, 1) != store.fill_key(b"k" * 32, 2)


def halves(shard: bytes) -> tuple[bytes, bytes]:
    """The maps of a shard of two words."""
    body = shard[64:]
    return body[: len(body) // 2], body[len(body) // 2 :]


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


@pytest.mark.parametrize("count", [*range(1, 60), 999, 5000, 100_000])
def test_the_head_of_a_map_is_foreseen_but_for_its_seed(count: int) -> None:
    """Else a map is built twice."""
    head = fuse_map._likely_head(count)
    made = first_head(keys_of(count))
    assert (made[:8], made[16:]) == (head[:8], head[16:])


def test_a_map_whose_first_seed_does_not_serve_gives_its_values() -> None:
    count = 55
    usual = fuse_map._likely_head(count)
    seed = next(one for one in range(1000) if first_head(keys_of(count, one)) != usual)
    keys = keys_of(count, seed)
    values = values_of(count)
    assert (opened(built(keys, values)).lookup(keys) == values).all()


@pytest.mark.parametrize("count", [1, 2, 50, 5000])
def test_a_map_of_arrays_is_the_one_that_the_library_makes_of_objects(count: int) -> None:
    keys = keys_of(count)
    values = values_of(count)[:, 0]
    fitted = fuse_map.Fitted(keys, fuse_map.Cells(FILL, 0))
    order = np.argsort(fuse_map._hashed(keys))
    made = ConstMap(dict(zip(fuse_map.key_list(keys), values.tolist(), strict=True)))
    assert bytes(fitted._built(values[order])) == made.to_bytes()


def first_head(keys: store.Rows) -> bytes:
    """How the library's own map of these keys begins."""
    return ConstMap(dict.fromkeys(fuse_map.key_list(keys), 0)).to_bytes()[:32]


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
    [(0, "magic number"), (11, "version 3"), (15, "belongs to this store"), (20, "number of keys"),
     (27, "belongs to this store"), (40, "belongs to this store"), (64, "no map of a version"),
     (80, "no map of a version"), (84, "no map of a version"), (88, "no map of a version"),
     (92, "no map of a version"), (200, "wrong checksum")],
)  # fmt: skip
def test_a_shard_that_is_none_is_refused_even_under_a_fitting_digest(at: int, reason: str) -> None:
    data = built(keys_of(50), values_of(50))
    shard = bytearray(shard_of(data))
    shard[at] ^= 1
    with pytest.raises(SetFileError, match=reason):
        replaced(data, bytes(shard), 50).lookup(keys_of(1))


def test_a_shard_of_version_1_is_refused_with_the_reason() -> None:
    data = built(keys_of(50), values_of(50))
    shard = bytearray(shard_of(data))
    shard[11] = 1
    with pytest.raises(SetFileError, match="version 1 is not the one this program reads, 2"):
        replaced(data, bytes(shard), 50).lookup(keys_of(1))


def fnv1a(data: bytes) -> int:
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return found


@pytest.mark.parametrize(
    ("what", "at", "number"),
    [("no segments", 20, 0), ("a segment of three", 16, 3), ("none", 16, 0), ("other keys", 28, 51)],
)
def test_a_map_whose_look_ups_would_leave_its_cells_is_refused_under_right_sums(
    what: str, at: int, number: int
) -> None:
    """The library takes these; a key would then be read from whatever lies behind the map."""
    shard = bytearray(shard_of(built(keys_of(50), values_of(50))))
    struct.pack_into("<I", shard, 64 + at, number)
    shard[-8:] = struct.pack("<Q", fnv1a(shard[64:-8]))
    ConstMap.from_bytes(bytes(shard[64:]))
    with pytest.raises(SetFileError, match="no map of a version"):
        replaced(b"", bytes(shard), 50).check(50)


def test_shards_of_another_number_of_keys_than_belong_to_the_entries_are_refused() -> None:
    with pytest.raises(SetFileError, match="50 keys, not the 51"):
        opened(built(keys_of(50), values_of(50))).check(51)


@pytest.mark.parametrize("extra", [b"", bytes(8)])
def test_an_empty_shard_with_a_map_or_a_map_too_few_is_refused(extra: bytes) -> None:
    shard = shard_of(built(keys_of(0), values_of(0)))
    count = 0 if extra else 5
    header = store.HEADER.pack(store.MAGIC, store.VERSION, 0, count, 1)
    assert len(shard) == 64
    with pytest.raises(SetFileError, match="no map for each word"):
        replaced(b"", header + extra, count).check(count)


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
    keys = keys_of(50)
    values = values_of(50)
    data = memoryview(b"x" + built(keys, values))[1:]
    assert (Store(SetFile(data, "set.bin", "demo", 1), 1).lookup(keys) == values).all()


def test_a_store_takes_little_more_than_nine_bytes_a_key() -> None:
    count = 1 << 18
    assert len(built(keys_of(count), values_of(count))) / count < 9.3
