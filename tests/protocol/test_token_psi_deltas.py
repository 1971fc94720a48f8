"""token-psi: deltas that add and remove entries, families among them, and are refused out of place."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Match, SetParameters, batches_of
from blindmatch_protocol.contract.entries import HeldEntries
from blindmatch_protocol.designs.deltas import MOST_DELTAS, delta_file
from blindmatch_protocol.designs.token_psi import DESIGN
from blindmatch_protocol.errors import DesignError, SetFileError
from blindmatch_protocol.randomness import seeded
from support.memory import Held, MemoryWorkspace, random_hashes
from support.token_world import LISTED, MATCHER, SMALL, Picture, flipped, run

NEW = random_hashes(6, seed=44)


@dataclass
class Epochs:
    """The files of the newest epoch."""

    files: dict[str, bytes]

    def update(self, hashes: Rows = NEW[:0], first_id: int = 100, removes: Sequence[int] = ()) -> Epochs:
        out = MemoryWorkspace()
        published = DESIGN.update(self.files, entries(hashes, first_id), removes, out, seeded("none"))
        return Epochs(out.files((*published.setup, *published.roles[MATCHER])))

    def finds(self, hash_: bytes) -> int | None:
        """Id of the entry that a picture with this hash matches."""
        place = Held(
            DESIGN, DESIGN.open_setup(self.files), {MATCHER: DESIGN.open_role(MATCHER, self.files)}, NEW, NEW
        )
        found = run(place, Picture(hash_))
        return found.label.entry_id if isinstance(found, Match) else None


def entries(hashes: Rows, first_id: int) -> HeldEntries:
    n = len(hashes)
    salts = np.frombuffer(seeded("salts").take(16 * max(n, 1)), np.uint8).reshape(-1, 16)[:n]
    return batches_of(hashes, np.arange(first_id, first_id + n, dtype=np.uint64), salts)


def start(hashes: Rows = LISTED[:6]) -> Epochs:
    out = MemoryWorkspace()
    DESIGN.publish(entries(hashes, 1), SetParameters(3, SMALL), seeded("k"), None, out)
    return Epochs({name: file.getvalue() for name, file in out.created.items()})


def test_a_delta_adds_and_removes_and_leaves_the_rest() -> None:
    after = start().update(NEW[:2], 100, [2])
    assert [after.finds(row.tobytes()) for row in LISTED[:3]] == [1, None, 3]
    assert [after.finds(row.tobytes()) for row in NEW[:3]] == [100, 101, None]
    setup = DESIGN.open_setup(after.files, 4)
    assert setup.entries == 7 and setup.deltas == ((2, 1),)


def test_an_update_is_the_same_on_threads_and_says_how_far_it_is() -> None:
    told, out = list[tuple[int, int]](), MemoryWorkspace()
    before, adds = start(), entries(NEW, 100)
    with ThreadPoolExecutor(2) as threads:
        made = DESIGN.update(
            before.files, adds, [2], out, seeded("none"), threads, lambda *counts: told.append(counts)
        )
    assert out.files((*made.setup, *made.roles[MATCHER])) == before.update(NEW, 100, [2]).files
    assert told[0] == (len(NEW), len(NEW))


def test_two_entries_of_one_family_are_removed_one_after_the_other() -> None:
    hashes = LISTED[:4].copy()
    hashes[2] = np.frombuffer(flipped(LISTED[1].tobytes(), 3, 9), np.uint8)
    hashes[3] = np.frombuffer(flipped(LISTED[1].tobytes(), 5), np.uint8)
    epochs, asked = start(hashes), LISTED[1].tobytes()
    assert epochs.finds(asked) == 2
    epochs = epochs.update(removes=[2])
    assert epochs.finds(asked) == 4
    epochs = epochs.update(removes=[4])
    assert epochs.finds(asked) == 3
    assert epochs.update(removes=[3]).finds(asked) is None


def test_an_addition_near_an_older_entry_and_one_that_comes_back_are_found() -> None:
    near = np.frombuffer(flipped(LISTED[0].tobytes(), 7), np.uint8).reshape(1, 32)
    after = start().update(near, 100, [1])
    assert after.finds(LISTED[0].tobytes()) == after.finds(near.tobytes()) == 100
    again = after.update(LISTED[:1], 200)
    assert again.finds(LISTED[0].tobytes()) == 200


def test_an_update_that_changes_nothing_or_adds_what_is_there_is_refused() -> None:
    epochs = start()
    for hashes, removes, rule in (
        (NEW[:0], [], "must add or remove"),
        (NEW[:0], [2, 2], "named twice"),
        (NEW[:0], [-1], "unsigned integer"),
        (LISTED[1:2], [], r"addition 0 \(counted from 0\) is in the set already"),
    ):
        with pytest.raises(DesignError, match=rule):
            epochs.update(hashes, 100, removes)
    assert epochs.update(LISTED[1:2], 100, [2]).finds(LISTED[1].tobytes()) == 100


def test_deltas_applied_twice_out_of_order_or_to_another_set_are_refused() -> None:
    first = start().update(NEW[:1], 100)
    second, other = first.update(NEW[1:2], 101), start(LISTED[:5]).update(NEW[:1], 100)
    four, five = delta_file(4), delta_file(5)
    twice = {**first.files, five: first.files[four]}
    with pytest.raises(SetFileError, match="applied twice or out of order"):
        DESIGN.open_setup(twice)
    gap = {name: raw for name, raw in second.files.items() if name != four}
    with pytest.raises(SetFileError, match="continues epoch 4, not epoch 3"):
        DESIGN.open_setup(gap)
    with pytest.raises(SetFileError, match="made for another set of epoch 3"):
        DESIGN.open_setup({**first.files, four: other.files[four]})
    with pytest.raises(SetFileError, match="for epoch 5, not epoch 4"):
        DESIGN.open_setup(second.files, 4)


def test_after_some_deltas_a_full_set_is_due() -> None:
    epochs = start()
    for number in range(MOST_DELTAS):
        assert not DESIGN.open_setup(epochs.files).full_set_due
        epochs = epochs.update(random_hashes(1, seed=1000 + number), 500 + number)
    assert DESIGN.open_setup(epochs.files).full_set_due
    with pytest.raises(DesignError, match="publish a full set"):
        epochs.update(NEW[:1], 900)
