"""Verification of endorsements: once an epoch as a whole, at a match for its one entry, offline for a report.

An epoch's table stands only if every batch in it does: a batch that k organisations did not sign, or whose
epochs are over, is refused with the epoch, whoever of its entries would ever match.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract import Label
from blindmatch_protocol.contract.executor import Executor, spread
from blindmatch_protocol.setfile.pages import root_of

from blindmatch_proofs.endorsement.batch import Action, Batch, Terms, leaf_of
from blindmatch_proofs.endorsement.table import EndorsedTable
from blindmatch_proofs.verdict import Failed, Passed, Verdict


def verify_table(
    table: EndorsedTable, terms: Terms, entries: int, executor: Executor | None = None
) -> Verdict:
    """Whether everything an epoch's table says is endorsed, and it lists as many entries as the epoch has.

    Args:
        entries: of the epoch, as its manifest says.
    """
    try:
        leaves = table.leaves_by_batch()

        def work(start: int, stop: int) -> Verdict:
            for number in range(start, stop):
                match _verify(table.batch(number), leaves(number), terms, table.epoch):
                    case Failed(reason):
                        return Failed(f"batch {number}: {reason}")
            return Passed()

        verdicts = spread(work, table.size, executor)
        listed = len(table.listed())
    except SetFileError as error:
        return Failed(str(error))
    fault = next((one for one in verdicts if isinstance(one, Failed)), None)
    if fault is not None:
        return fault
    if not listed == table.entries == entries:
        return Failed(f"{listed} entries are endorsed, the set has {entries}")
    return _removals_known(table)


def _verify(batch: Batch, leaves: list[bytes], terms: Terms, epoch: int) -> Verdict:
    if not leaves or root_of(leaves) != batch.root:
        return Failed("its entries do not have the root that was signed")
    return terms.verify_batch(batch, epoch)


def _removals_known(table: EndorsedTable) -> Verdict:
    """Of removals that begin with the epoch: a listing may end before what removed it does."""
    begun = table.leaves_with(Action.REMOVE, since=table.epoch)
    unknown = np.setdiff1d(begun, table.leaves_with(Action.LIST), True)
    return Failed("an entry is removed that was never listed") if len(unknown) else Passed()


def verify_none_dropped(before: EndorsedTable, after: EndorsedTable) -> Verdict:
    """Whether an epoch dropped no entry without an endorsed removal, and brought no removed one back; nor
    left out what a later one would have to be held against: a removal, while it or what it removed holds, and
    up to which epoch each entry is listed or removed.

    Args:
        before: of an earlier epoch, which passed `verify_table`.
        after: of the later one, which did, too.
    """
    listed = after.listed()
    dropped = np.setdiff1d(before.listed(after.epoch), listed, True)
    unendorsed = np.setdiff1d(dropped, after.leaves_with(Action.REMOVE), True)
    if len(unendorsed):
        return Failed(f"{len(unendorsed)} entries of epoch {before.epoch} are gone, and nobody endorsed that")
    removed = before.leaves_with(Action.REMOVE)
    back = np.intersect1d(removed, listed, True)
    if len(back):
        return Failed(f"{len(back)} entries that were removed by epoch {before.epoch} are listed again")
    listable = np.intersect1d(removed, before.leaves_with(Action.LIST, after.epoch), True)
    due = np.union1d(before.leaves_with(Action.REMOVE, after.epoch), listable)
    forgotten = np.setdiff1d(due, after.leaves_with(Action.REMOVE), True)
    if len(forgotten):
        return Failed(f"removals of {len(forgotten)} entries by epoch {before.epoch} are left out")
    shorter = sum(_shorter(before, after, action) for action in Action)
    if shorter:
        return Failed(f"{shorter} entries of epoch {before.epoch} are listed, or removed, for less long")
    return Passed()


def _shorter(before: EndorsedTable, after: EndorsedTable, action: Action) -> int:
    """Entries whose listing, or removal, holds up to an earlier epoch, or is left out while it holds."""
    leaves, ends = before.ends(action, after.epoch)
    still, ends_now = after.ends(action)
    _, old, new = np.intersect1d(leaves, still, True, return_indices=True)
    return len(leaves) - int(np.count_nonzero(ends_now[new] >= ends[old]))


def verify_label(table: EndorsedTable, terms: Terms, label: Label) -> Verdict:
    """Whether the entry that a label is of is endorsed in the table's epoch: what is asked at a match."""
    try:
        numbers = table.numbers_with(leaf_of(label.entry_hash, label.entry_id, label.salt))
        found = [table.batch(number) for number in numbers]
    except SetFileError as error:
        return Failed(str(error))
    return verify_batches(found, terms, table.epoch)


def verify_batches(found: Iterable[Batch], terms: Terms, epoch: int) -> Verdict:
    """Whether an entry that is in these batches is listed in an epoch."""
    held = list(found)
    if any(batch.action is Action.REMOVE for batch in held):
        return Failed("the entry's removal is endorsed")
    verdicts = [terms.verify_batch(batch, epoch) for batch in held]
    if Passed() in verdicts:
        return Passed()
    return verdicts[0] if verdicts else Failed("no organisation has endorsed the entry")
