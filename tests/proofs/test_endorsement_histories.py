"""Whatever a curator leaves out of its tables, what organisations signed brings no removed entry back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import pytest
from blindmatch_proofs.endorsement import Action, EndorsedTable
from blindmatch_proofs.endorsement.verify import verify_none_dropped, verify_table
from blindmatch_proofs.verdict import Passed
from support.endorsing import TERMS, signed_batch, some_entries, table_of

ENTRY = some_entries(1, 500)
OTHERS = some_entries(2)
EPOCHS = range(1, 7)
SIGNED = {
    "removed for as long": ["L1-6", "R2-6"],
    "removed for less long": ["L1-6", "R2-4"],
    "removed for one epoch": ["L1-6", "R2-2"],
    "removed for longer": ["L1-3", "R2-6"],
    "a removal of two lengths": ["L1-6", "R2-6", "R2-3"],
    "a listing of two lengths": ["L1-6", "L1-3", "R2-4"],
    "both of two lengths": ["L1-6", "L1-3", "R2-6", "R2-3"],
    "overlapping listings": ["L1-4", "L3-6", "R2-3", "R3-5"],
    "listed twice and never removed": ["L1-6", "L1-3"],
}


class Signed(NamedTuple):
    """A batch of the one entry that organisations signed."""

    action: Action
    first: int
    last: int


class Shown(NamedTuple):
    """A table that stands, and what it says of the entry."""

    table: EndorsedTable
    batches: tuple[Signed, ...]
    listed: bool

    def until(self, action: Action) -> int:
        """The last epoch of it; 0 if the table has none."""
        return max((one.last for one in self.batches if one.action is action), default=0)


def signed_of(text: str) -> Signed:
    first, last = text[1:].split("-")
    return Signed({"L": Action.LIST, "R": Action.REMOVE}[text[0]], int(first), int(last))


def tables(signed: list[Signed]) -> Iterator[Shown]:
    """Every table that a curator can make of them and a device takes as its first."""
    others = (signed_batch(OTHERS), OTHERS)
    made = {
        one: (signed_batch(ENTRY, action=one.action, epochs=(one.first, one.last)), ENTRY) for one in signed
    }
    for epoch in EPOCHS:
        held = [one for one in signed if one.first <= epoch <= one.last]
        for batches in (some for count in range(len(held) + 1) for some in combinations(held, count)):
            listed = {one.action for one in batches} == {Action.LIST}
            table = table_of([others, *(made[one] for one in batches)], 2 + listed, epoch)
            if verify_table(table, TERMS, 2 + listed) == Passed():
                yield Shown(table, batches, listed)


@pytest.mark.parametrize("name", SIGNED)
def test_no_history_lists_a_removed_entry_again_or_drops_one_while_what_was_shown_of_it_holds(
    name: str,
) -> None:
    every = list(tables([signed_of(text) for text in SIGNED[name]]))
    begun = [(number, one.until(Action.LIST), one.until(Action.REMOVE)) for number, one in enumerate(every)]
    walked = set[tuple[int, int, int]]()
    while begun:
        at, listed, removed = state = begun.pop()
        if state in walked:
            continue
        walked.add(state)
        for number, after in enumerate(every):
            if after.table.epoch <= every[at].table.epoch:
                continue
            if verify_none_dropped(every[at].table, after.table) != Passed():
                continue
            if removed:
                assert not after.listed or after.table.epoch > max(listed, removed)
            elif listed >= after.table.epoch:
                assert after.listed or after.until(Action.REMOVE)
            ends = (max(listed, after.until(Action.LIST)), max(removed, after.until(Action.REMOVE)))
            begun.append((number, ends[0], 0 if after.listed else ends[1]))
    assert walked
