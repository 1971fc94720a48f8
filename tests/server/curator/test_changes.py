"""Comparing lists."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from blindmatch_server.curator import HashList, diff, import_list, open_list


@pytest.fixture
def make(rng: Any, tmp_path: Path, hexes: list[str]) -> Any:
    def run(name: str, *numbers: int, onto: HashList | None = None) -> HashList:
        data = "".join(f"pdq {hexes[number]}\n" for number in numbers).encode()
        import_list(io.BytesIO(data), tmp_path / name, rng, onto=onto)
        return open_list(tmp_path / name)

    return run


def numbers(listed: Any, hexes: list[str]) -> list[int]:
    return [hexes.index(row.tobytes().hex()) for batch in listed.batches(3) for row in batch.hashes]


def test_the_difference_of_a_grown_list_is_what_was_added_with_its_ids(make: Any, hexes: list[str]) -> None:
    first = make("a", 0, 1, 2)
    second = make("b", 4, 1, 5, onto=first)
    there = diff(first, second)
    assert numbers(there.adds, hexes) == [4, 5]
    assert [int(one) for batch in there.adds.batches(9) for one in batch.ids] == [4, 5]
    assert (there.removes.tolist(), there.shared, there.consistent) == ([], 3, True)
    back = diff(second, first)
    assert (len(back.adds), back.removes.tolist(), back.shared, back.consistent) == (0, [4, 5], 3, True)


def test_the_difference_of_a_list_with_itself_is_empty(make: Any) -> None:
    listed = make("a", 0, 1, 2)
    same = diff(listed, listed)
    assert (len(same.adds), len(same.removes), same.shared, same.consistent) == (0, 0, 3, True)


def test_lists_that_are_not_made_from_each_other_are_not_consistent(make: Any, hexes: list[str]) -> None:
    there = diff(make("a", 0, 1, 2), make("b", 2, 1, 9))
    assert numbers(there.adds, hexes) == [9]
    assert (there.removes.tolist(), there.shared, there.consistent) == ([1], 2, False)
