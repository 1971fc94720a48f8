"""Merging and comparing lists."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_server.curator import HashList, diff, import_list, merge, open_list


@pytest.fixture
def make(rng: Any, tmp_path: Path, hexes: list[str]) -> Any:
    def run(name: str, *numbers: int, onto: HashList | None = None) -> HashList:
        data = "".join(f"pdq {hexes[number]}\n" for number in numbers).encode()
        import_list(io.BytesIO(data), tmp_path / name, rng, onto=onto)
        return open_list(tmp_path / name)

    return run


def numbers(listed: Any, hexes: list[str]) -> list[int]:
    return [hexes.index(row.tobytes().hex()) for batch in listed.batches(3) for row in batch.hashes]


def test_a_merge_keeps_the_first_lists_ids_and_gives_new_ones_to_the_rest(
    rng: Any, make: Any, into: Path, hexes: list[str]
) -> None:
    first, second = make("a", 0, 1, 2), make("b", 2, 5, 1, 6)
    summary = merge(first, second, into, rng)
    merged = open_list(into)
    assert (summary.entries, summary.added, summary.duplicates) == (5, 2, 2)
    assert numbers(merged, hexes) == [0, 1, 2, 5, 6]
    assert merged.ids.tolist() == [1, 2, 3, 4, 5]
    assert np.array_equal(merged.salts[:3], first.salts)
    assert merged.footer.source_digests == (first.footer.digest(), second.footer.digest())


def test_records_by_which_entries_can_be_deleted_survive_a_merge(
    rng: Any, make: Any, into: Path, hexes: list[str]
) -> None:
    def document(kind: str, inner: str, time: str) -> io.BytesIO:
        record = f'<member id="1"/><id>a</id><timestamp>{time}</timestamp>{inner}'
        root = 'queryResult xmlns="https://hashsharing.ncmec.org/hashsharing/v2"'
        return io.BytesIO(f"<{root}><images><{kind}>{record}</{kind}></images></queryResult>".encode())

    named = into.with_name("named")
    prints = f"<fingerprints><pdq>{hexes[7]}</pdq></fingerprints>"
    import_list(document("image", prints, "2020-01-01T00:00:00Z"), named, rng)
    merge(make("a", 0, 1), open_list(named), into, rng)
    assert numbers(open_list(into), hexes) == [0, 1, 7]
    import_list(document("deletedImage", "", "2020-01-02T00:00:00Z"), into, rng, onto=open_list(into))
    assert numbers(open_list(into), hexes) == [0, 1]


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
