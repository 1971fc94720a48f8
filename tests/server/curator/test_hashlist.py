"""The list file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_server.curator import HashList, ListError, ListFileError, Title, open_list, random_list
from blindmatch_server.curator.hashlist import ListWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def listed(rng: Any, into: Path) -> HashList:
    random_list(100, into, rng)
    return open_list(into)


def test_batches_cover_the_list_in_the_order_of_ids(listed: HashList) -> None:
    batches = list(listed.batches(30))
    assert [len(batch) for batch in batches] == [30, 30, 30, 10]
    assert np.concatenate([batch.ids for batch in batches]).tolist() == list(range(1, 101))
    assert np.array_equal(np.concatenate([batch.hashes for batch in batches]), listed.hashes)
    assert np.array_equal(np.concatenate([batch.salts for batch in batches]), listed.salts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.integers(1, 120), start=st.integers(0, 120))
def test_reading_can_be_resumed_anywhere(listed: HashList, size: int, start: int) -> None:
    ids = [int(one) for batch in listed.batches(size, start) for one in batch.ids]
    assert ids == list(range(1, 101))[start:]


@pytest.mark.parametrize(("size", "start"), [(0, 0), (1, -1)])
def test_impossible_batches_are_refused(listed: HashList, size: int, start: int) -> None:
    with pytest.raises(ListError):
        next(listed.batches(size, start))


def test_the_arrays_cannot_be_written_to(listed: HashList) -> None:
    with pytest.raises(ValueError, match="read-only"):
        listed.hashes[0, 0] = 1


def test_repr_shows_no_content(listed: HashList) -> None:
    assert repr(listed) == "<HashList known, 100 entries>"


def test_every_truncation_is_refused(listed: HashList, into: Path) -> None:
    whole = into.read_bytes()
    for length in [0, 1, 63, 64, 65, *range(100, len(whole), 97), len(whole) - 1]:
        into.write_bytes(whole[:length])
        with pytest.raises(ListFileError):
            open_list(into)


def test_every_flipped_bit_that_matters_is_refused(listed: HashList, into: Path) -> None:
    whole = into.read_bytes()
    covered = [(section.offset, name) for name, section in listed.footer.sections.items() if section.rows]
    for at in [*range(64), *(offset + 5 for offset, _ in covered), *range(len(whole) - 900, len(whole), 7)]:
        into.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ListFileError):
            open_list(into)


def test_left_over_bytes_a_later_version_and_other_files_are_refused(listed: HashList, into: Path) -> None:
    whole = into.read_bytes()
    for data, says in (
        (whole + b"\0", "left-over"),
        (whole[:11] + b"\2" + whole[12:], "version 2; this program reads version 1"),
        (b"pdq " * 100, "wrong magic"),
    ):
        into.write_bytes(data)
        with pytest.raises(ListFileError, match=says):
            open_list(into)
    with pytest.raises(ListFileError, match="cannot read none"):
        open_list(into.with_name("none"))


def test_a_file_cut_short_underneath_is_noticed_before_it_is_touched(listed: HashList, into: Path) -> None:
    batches = listed.batches(10)
    next(batches)
    os.truncate(into, 100)
    with pytest.raises(ListFileError, match="cut short"):
        next(batches)


def test_a_list_stays_readable_while_another_takes_its_place(rng: Any, listed: HashList, into: Path) -> None:
    before = listed.hashes.tobytes()
    random_list(10, into, rng, replace=True)
    assert listed.hashes.tobytes() == before
    assert len(open_list(into)) == 10


def test_a_list_file_of_version_one_stays_readable() -> None:
    frozen = Path(__file__).parents[2] / "vectors" / "curator" / "version-1.list"
    with open_list(frozen) as listed:
        assert listed.footer.digest() == "bcb800bd1ac45cfee6cf8f89d67572a9c78973cbc69f0716fa6f3d6110456344"
        assert listed.ids.tolist() == [1, 3, 4]
        assert "families" in listed.footer.sections
        assert len(listed.record_entries) == 1


@pytest.mark.parametrize(
    ("ids", "vouched"), [([2, 1], [1]), ([1, 1], [1]), ([0, 1], [1]), ([1, 3], [1]), ([1, 2], [3])]
)
def test_ids_that_are_out_of_order_or_unknown_are_refused(
    into: Path, ids: list[int], vouched: list[int]
) -> None:
    with ListWriter(into) as writer:
        for name, rows in (("hashes", np.ones((2, 32))), ("salts", np.ones((2, 16))), ("plain", np.ones(2))):
            writer.section(name, [rows])
        writer.section("ids", [np.array(ids)])
        writer.section("record_identities", [np.ones((1, 32))])
        writer.section("record_times", [np.ones(1)])
        writer.section("record_entries", [np.array(vouched)])
        writer.publish(Title("crafted"), 3)
    with pytest.raises(ListFileError, match="id"):
        open_list(into)
    assert len(open_list(into, verify=False)) == 2
