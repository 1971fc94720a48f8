"""The filter: every entry is found, an absent key hardly ever, in the bits an entry may take."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.sets import filter as membership
from blindmatch_protocol.sets import store
from blindmatch_protocol.sets.filter import Filter
from hypothesis import given, settings
from hypothesis import strategies as st


def keys_of(count: int, seed: int = 1) -> Rows:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def section(keys: Rows) -> bytes:
    return b"".join(bytes(part) for part in membership.build(keys, store.order_of(keys)))


def opened(data: bytes) -> Filter:
    return Filter.open(memoryview(data))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 511, 512, 513, 1024, 5000, 20_000])
def test_every_entry_is_found_and_absent_keys_are_not(count: int) -> None:
    keys = keys_of(count)
    held = opened(section(keys))
    assert held.contains(keys).all()
    assert not held.contains(keys_of(5000, seed=2)).any()


def test_a_key_differs_if_any_of_its_first_nine_bytes_does() -> None:
    keys = keys_of(100)
    held = opened(section(keys))
    for byte in range(4, 9):
        other = keys.copy()
        other[:, byte] ^= 1
        assert not held.contains(other).any()
    other = keys.copy()
    other[:, 9:] ^= 1
    assert held.contains(other).all()


def test_an_absent_key_in_a_full_bucket_is_compared_with_every_fingerprint() -> None:
    keys = keys_of(600)
    keys[:40, :4] = keys[0, :4]
    held = opened(section(keys))
    assert held.contains(keys).all()
    absent = keys[:40].copy()
    absent[:, 8] ^= 0x55
    assert not held.contains(absent).any()


@settings(max_examples=60)
@given(st.sets(st.integers(0, 2**32 - 1), max_size=60), st.integers(0, 2**32 - 1))
def test_any_distribution_over_the_buckets_is_coded(fronts: set[int], absent: int) -> None:
    keys = np.zeros((len(fronts), 16), np.uint8)
    for row, front in enumerate(sorted(fronts)):
        keys[row, :4] = np.frombuffer(front.to_bytes(4, "big"), np.uint8)
        keys[row, 4] = row
    held = opened(section(keys))
    assert held.contains(keys).all()
    other = np.frombuffer(absent.to_bytes(4, "big") + b"\xff" * 12, np.uint8).reshape(1, 16)
    assert not held.contains(other).any()


def test_an_entry_takes_at_most_42_4_bits() -> None:
    count = 1 << 16
    assert 8 * len(section(keys_of(count))) / count <= 42.4


def test_building_is_deterministic_and_does_not_depend_on_the_rows_order() -> None:
    keys = keys_of(3000)
    assert section(keys) == section(keys[np.random.default_rng(3).permutation(3000)])


@pytest.mark.parametrize(
    ("at", "reason"),
    [(0, "magic"), (11, "version 0"), (15, "canonical"), (23, "length"), (40, "canonical"), (64, "ascend")],
)  # fmt: skip
def test_a_section_that_is_none_is_refused(at: int, reason: str) -> None:
    data = bytearray(section(keys_of(600)))
    data[at] ^= 1
    if at == 64:
        data[64:72] = b"\xff" * 8
    with pytest.raises(SetFileError, match=reason):
        opened(bytes(data))


def test_every_truncation_is_refused() -> None:
    data = section(keys_of(20))
    for length in range(len(data)):
        with pytest.raises(SetFileError, match=r"truncated|length"):
            opened(data[:length])


@settings(max_examples=60)
@given(st.data())
def test_forged_contents_give_wrong_answers_but_no_accident(data: st.DataObject) -> None:
    forged = bytearray(section(keys_of(600)))
    for _ in range(data.draw(st.integers(1, 5))):
        forged[data.draw(st.integers(64, len(forged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        held = opened(bytes(forged))
    except SetFileError:
        return
    assert held.contains(keys_of(600)).shape == (600,)


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "MOST_ENTRIES", 10)
    with pytest.raises(DesignError, match="fit one filter"):
        section(keys_of(11))
