"""Families of near duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from blindmatch_protocol.picture.pdq import near_pairs
from blindmatch_server.curator import find_families, inspect, list_hashes, open_list, random_hashes
from blindmatch_server.curator.inspection import joined


def near_copy(row: npt.NDArray[np.uint8], bits: list[int]) -> npt.NDArray[np.uint8]:
    spread = np.unpackbits(row)
    spread[bits] ^= 1
    return np.packbits(spread)


def oracle(hashes: npt.NDArray[np.uint8]) -> list[int]:
    return joined(np.arange(len(hashes)), near_pairs(hashes, hashes, 31)).tolist()


@pytest.fixture
def crowd(rng: Any) -> npt.NDArray[np.uint8]:
    """Random hashes, and copies of some that differ in 1 to 36 bits."""
    hashes = random_hashes(300, rng)
    generator = np.random.default_rng(7)
    copies = [
        near_copy(hashes[at], list(generator.choice(256, 1 + at % 36, replace=False))) for at in range(150)
    ]
    return generator.permutation(np.concatenate((hashes, np.array(copies))))


def test_all_passes_find_what_comparing_all_pairs_finds(crowd: npt.NDArray[np.uint8]) -> None:
    found = find_families(crowd)
    assert found.complete_to == 31
    assert found.root.tolist() == oracle(crowd)
    assert found.count > 100


def test_the_hardest_pair_is_found(rng: Any) -> None:
    """Two bits of each 16-bit band but one, and one bit of that."""
    row = random_hashes(1, rng)[0]
    bits = [16 * band + offset for band in range(16) for offset in (3, 12)][:-1]
    assert len(bits) == 31
    assert find_families(np.array([row, near_copy(row, bits)])).root.tolist() == [0, 0]
    assert find_families(np.array([row, near_copy(row, [*bits, 255])])).root.tolist() == [0, 1]


def test_chains_make_one_family(rng: Any) -> None:
    first = random_hashes(1, rng)[0]
    second = near_copy(first, list(range(25)))
    third = near_copy(second, list(range(100, 125)))
    found = find_families(np.array([third, first, second]))
    assert (found.root.tolist(), found.count, found.members) == ([0, 0, 0], 1, 3)


def test_a_spent_budget_is_reported(crowd: npt.NDArray[np.uint8]) -> None:
    whole = find_families(crowd)
    assert find_families(crowd, 10).complete_to == -1
    partly = find_families(crowd, whole.pairs // 2)
    assert partly.complete_to == 15
    assert partly.pairs <= whole.pairs // 2 + len(crowd)
    assert partly.count <= whole.count


@pytest.mark.parametrize("count", [0, 1])
def test_no_entries_and_one_entry_have_no_family(rng: Any, count: int) -> None:
    found = find_families(random_hashes(count, rng))
    assert (found.count, found.members, found.complete_to) == (0, 0, 31)


def test_an_import_stores_families_by_the_id_of_their_first_member(
    rng: Any, into: Path, crowd: npt.NDArray[np.uint8]
) -> None:
    summary = list_hashes(crowd, into, rng, families=True)
    listed = open_list(into)
    assert listed.families is not None
    assert (listed.families - 1).tolist() == oracle(crowd)
    seen = inspect(listed)
    assert (seen.families, seen.family_members, seen.families_to) == (
        summary.families,
        summary.family_members,
        31,
    )


def test_a_crowd_of_near_copies_makes_one_family_within_its_budget(
    rng: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindmatch_server.curator.inspection._MOST_HELD", 1000)
    first = random_hashes(1, rng)[0]
    copies = np.array([near_copy(first, [a, b]) for a in range(32) for b in range(64, 96)])
    found = find_families(copies, 2_000_000)
    assert (found.count, found.members) == (1, 1024)
    assert 2_000_000 <= found.pairs <= 2_000_000 + len(copies)
