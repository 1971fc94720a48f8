"""Verification of endorsements: once an epoch as a whole, at a match for its one entry, offline for a report.

An epoch's table stands only if every batch in it does. For whoever has no table, a few hundred bytes prove
one entry:

entry's leaf --path--> root of its batch, in a statement <-- signatures of k organisations
statement --path--> root of all statements of an epoch = `endorsement_root` of the epoch's leaf in the log
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Annotated, Final

import numpy as np
from blindmatch_protocol.codec import Buffer, Fixed, Message, Nested, Sequence, UInt
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.contract import Info, Label
from blindmatch_protocol.contract.publishing import Executor, Writer, spread
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.setfile.files import root_of

from blindmatch_proofs import merkle
from blindmatch_proofs.endorsement.batch import (
    MOST_KEYS,
    Action,
    Batch,
    BatchStatement,
    EndorsedTable,
    Terms,
    hash_entry,
)
from blindmatch_proofs.merkle import HASH_BYTES, Nodes, Tree
from blindmatch_proofs.verdict import Failed, Passed, Verdict

TREE_FILE: Final = "endorsement.tree"
KIND_NODES: Final = 0x24
"""Of each batch's tree the hashes of its perfect subtrees, 32 each: leaves first, level by level."""
KIND_STARTS: Final = 0x25
"""Which hash of 0x24 is the first of each batch, 8 each, little-endian."""
KIND_STATEMENTS: Final = 0x26
"""As 0x24, of the tree over the statements of all batches."""


class KeptTrees:
    """The trees over an epoch's table, as somebody kept them, and the root of all statements, 32 bytes, as
    the curator signed it in the epoch's leaf; nothing of them is verified here; `SetFileError` if the file is
    truncated, or of another format, design or epoch."""

    __slots__ = ("_nodes", "_starts", "_statements", "root")

    def __init__(self, data: Buffer, info: Info, epoch: int, root: bytes) -> None:
        file = SetFile(data, TREE_FILE, info.name, info.version, epoch)
        raw = memoryview(data).cast("B")
        rows = [file.row(kind) for kind in (KIND_NODES, KIND_STARTS, KIND_STATEMENTS)]
        self._nodes, self._starts, self._statements = (raw[row.offset : row.end] for row in rows)
        self.root = root

    def open_batch(self, number: int, size: int) -> Nodes:
        """Return the nodes of the tree over a batch of `size` leaves."""
        start = int.from_bytes(self._starts[8 * number : 8 * number + 8], "little")
        return _open_nodes(self._nodes, start, size)

    def open_statements(self, size: int) -> Nodes:
        """Return the nodes of the tree over the statements of `size` batches."""
        return _open_nodes(self._statements, 0, size)

    def find_index(self, leaf: bytes, number: int, size: int) -> int:
        """Return where a leaf is, or would be, in a batch; `SetFileError` if the batch is not whole."""
        if size > len(self._nodes) // HASH_BYTES:
            raise SetFileError(f"{TREE_FILE}: batch {number} is not whole")
        nodes = self.open_batch(number, size)
        return bisect_left(range(size), leaf, key=lambda index: nodes(0, index))


def _open_nodes(raw: memoryview, first: int, size: int) -> Nodes:
    """Return the nodes of the tree whose levels begin with hash `first` of `raw`."""

    def read_node(height: int, index: int) -> bytes:
        # a level of a tree of `size` leaves has size >> height hashes, and stands behind all lower ones
        place = first + sum(size >> below for below in range(height)) + index
        return bytes(raw[place * HASH_BYTES : (place + 1) * HASH_BYTES])

    return read_node


def write_trees(out: Writer, info: Info, table: EndorsedTable, terms: Terms) -> None:
    """Write the trees over a table; `SetFileError` if it is altered, or its leaves are not in order."""
    read_leaves = table.group_leaves()
    sizes = [int(size) for size in table.heads["size"]]
    # perfect subtrees of a tree of n leaves: the sum over all heights h of n >> h = 2 n - popcount(n)
    hashes = [2 * size - size.bit_count() for size in sizes]
    starts = np.cumsum([0, *hashes], dtype="<u8")[: len(sizes)]
    writer = SetFileWriter(out, Identity(info.name, info.version, table.epoch, {}))
    levels = (level for number in range(table.size) for level in _build_levels(read_leaves(number)))
    writer.section(KIND_NODES, levels, sum(hashes))
    writer.section(KIND_STARTS, [starts.tobytes()], len(sizes))
    statements = terms.hash_statements(table.read_batches())
    writer.section(KIND_STATEMENTS, _build_levels(statements), 2 * len(sizes) - len(sizes).bit_count())
    writer.finish(table.entries)


def _build_levels(leaves: list[bytes]) -> Iterator[bytes]:
    """Yield the levels of the tree of these leaves, the leaves first, each joined to one byte string."""
    return (b"".join(level) for level in Tree.from_leaves(leaves).levels)


def verify_table(
    table: EndorsedTable, terms: Terms, entries: int, executor: Executor | None = None
) -> Verdict:
    """Verify every batch of an epoch's table.

    Args:
        entries: Number of entries in the epoch's manifest, which the table must list.
        executor: Runs batches side by side; None verifies one after another.
    """
    try:
        read_leaves = table.group_leaves()

        def verify_batches(start: int, stop: int) -> Verdict:
            for number in range(start, stop):
                batch = table.read_batch(number)
                leaves = read_leaves(number)
                if not leaves or root_of(leaves) != batch.root:
                    return Failed(f"batch {number}: its entries do not have the root that was signed")
                match terms.verify_batch(batch, table.epoch):
                    case Failed(reason):
                        return Failed(f"batch {number}: {reason}")
            return Passed()

        verdicts = spread(verify_batches, table.size, executor)
        listed = len(table.select_listed())
    except SetFileError as error:
        return Failed(str(error))
    fault = next((verdict for verdict in verdicts if isinstance(verdict, Failed)), None)
    if fault is not None:
        return fault
    if not listed == table.entries == entries:
        return Failed(f"{listed} entries are endorsed, the set has {entries}")
    # only removals that begin with this epoch: a listing may end, and be left out, before its removal does
    begun = table.select_leaves(Action.REMOVE, since=table.epoch)
    unknown = np.setdiff1d(begun, table.select_leaves(Action.LIST), True)
    return Failed("an entry is removed that was never listed") if len(unknown) else Passed()


def verify_none_dropped(before: EndorsedTable, after: EndorsedTable) -> Verdict:
    """Verify that an epoch continues an earlier one; both tables have passed `verify_table`.

    The later table

    - drops no entry without an endorsed removal,
    - lists no removed entry again,
    - keeps each removal while it, or the listing that it removed, holds,
    - shortens no listing and no removal.

    The last two are what a table after it must be compared with.
    """
    listed = after.select_listed()
    dropped = np.setdiff1d(before.select_listed(after.epoch), listed, True)
    unendorsed = np.setdiff1d(dropped, after.select_leaves(Action.REMOVE), True)
    if len(unendorsed):
        return Failed(f"{len(unendorsed)} entries of epoch {before.epoch} are gone, and nobody endorsed that")
    removed = before.select_leaves(Action.REMOVE)
    relisted = np.intersect1d(removed, listed, True)
    if len(relisted):
        return Failed(f"{len(relisted)} entries that were removed by epoch {before.epoch} are listed again")
    listable = np.intersect1d(removed, before.select_leaves(Action.LIST, after.epoch), True)
    due = np.union1d(before.select_leaves(Action.REMOVE, after.epoch), listable)
    forgotten = np.setdiff1d(due, after.select_leaves(Action.REMOVE), True)
    if len(forgotten):
        return Failed(f"removals of {len(forgotten)} entries by epoch {before.epoch} are left out")
    shorter = sum(_count_shortened(before, after, action) for action in Action)
    if shorter:
        return Failed(f"{shorter} entries of epoch {before.epoch} are listed, or removed, for less long")
    return Passed()


def _count_shortened(before: EndorsedTable, after: EndorsedTable, action: Action) -> int:
    """Count the entries whose listing, or removal, now ends earlier, or is left out while it holds."""
    leaves, last_before = before.find_last_epochs(action, after.epoch)
    kept, last_after = after.find_last_epochs(action)
    _, rows_before, rows_after = np.intersect1d(leaves, kept, True, return_indices=True)
    return len(leaves) - int(np.count_nonzero(last_after[rows_after] >= last_before[rows_before]))


def verify_label(table: EndorsedTable, terms: Terms, label: Label) -> Verdict:
    """Verify at a match that the label's entry is endorsed in the table's epoch."""
    try:
        numbers = table.find_batches(hash_entry(label.entry_hash, label.entry_id, label.salt))
        batches = [table.read_batch(number) for number in numbers]
    except SetFileError as error:
        return Failed(str(error))
    if any(batch.action is Action.REMOVE for batch in batches):
        return Failed("the entry's removal is endorsed")
    verdicts = [terms.verify_batch(batch, table.epoch) for batch in batches]
    if Passed() in verdicts:
        return Passed()
    return verdicts[0] if verdicts else Failed("no organisation has endorsed the entry")


PATH_MOST: Final = merkle.PATH_MOST


class EndorsementProof(Message, tag=0x25, name="endorsement/proof"):
    """That an entry was endorsed; paths are inclusion proofs (RFC 9162, section 2.1.3)."""

    statement: Annotated[BatchStatement, Nested(BatchStatement)]
    """Of the entry's batch."""
    signatures: Annotated[tuple[bytes, ...], Sequence(Fixed(64), MOST_KEYS)]
    """One for each key of the policy, in its order; zeros where there is none."""
    index: Annotated[int, UInt(64)]
    """Of the entry's leaf among those of its batch."""
    path: Annotated[tuple[bytes, ...], Sequence(Fixed(32), PATH_MOST)]
    """To the statement's root."""
    number: Annotated[int, UInt(32)]
    """Of the batch among those of the epoch."""
    batches: Annotated[int, UInt(32)]
    """How many those are."""
    batches_path: Annotated[tuple[bytes, ...], Sequence(Fixed(32), PATH_MOST)]
    """To the endorsement root in the epoch's 0x1e."""

    @property
    def batch(self) -> Batch:
        """Return the batch that the statement is on."""
        statement = self.statement
        return Batch(
            Action(statement.action),
            statement.first_epoch,
            statement.last_epoch,
            statement.size,
            statement.root,
            self.signatures,
        )


def prove(
    table: EndorsedTable, terms: Terms, label: Label, trees: KeptTrees | None = None
) -> EndorsementProof | None:
    """Prove that the entry of a label is endorsed.

    With `trees` this takes O(log n), and the proof is returned only if it passes `verify_proof`. If it does
    not pass, or without trees, it takes a pass over the entry's batch: a second for a million entries.

    Returns:
        The proof, or None if the table has no batch that lists the entry.

    Raises:
        SetFileError: The table is altered.
    """
    quick = None if trees is None else _prove_with_trees(trees, table.skip_digests(), terms, label)
    if quick is not None:
        return quick
    leaf = hash_entry(label.entry_hash, label.entry_id, label.salt)
    read_leaves = table.group_leaves()
    number = _find_listing(table, leaf)
    if number is None:
        return None
    return build_proof(terms, leaf, read_leaves(number), number, list(table.read_batches()))


def _find_listing(table: EndorsedTable, leaf: bytes) -> int | None:
    """Return the number of a batch that lists the leaf in the table's epoch; None if there is none."""
    for number in table.find_batches(leaf):
        batch = table.read_batch(number)
        if batch.action is Action.LIST and batch.is_valid_in(table.epoch):
            return number
    return None


def _prove_with_trees(
    trees: KeptTrees, table: EndorsedTable, terms: Terms, label: Label
) -> EndorsementProof | None:
    """Build a proof from trees and a table that nobody verified; None if it does not pass."""
    leaf = hash_entry(label.entry_hash, label.entry_id, label.salt)
    try:
        number = _find_listing(table, leaf)
        if number is None:
            return None
        batch = table.read_batch(number)
        index = trees.find_index(leaf, number, batch.size)
        nodes = (trees.open_batch(number, batch.size), trees.open_statements(table.size))
        proof = _assemble_proof(terms, batch, index, (number, table.size), nodes)
        verdict = verify_proof(proof, terms, label, table.epoch, trees.root)
    except (SetFileError, ProtocolError):
        return None
    return proof if verdict == Passed() else None


def build_proof(
    terms: Terms, leaf: bytes, leaves: list[bytes], number: int, batches: list[Batch]
) -> EndorsementProof:
    """Build the proof for a leaf.

    Args:
        leaves: All leaves of its batch, ascending.
        number: The batch's place among `batches`.
        batches: All batches of the epoch.
    """
    nodes = (
        merkle.Tree.from_leaves(leaves).node,
        merkle.Tree.from_leaves(terms.hash_statements(batches)).node,
    )
    return _assemble_proof(terms, batches[number], leaves.index(leaf), (number, len(batches)), nodes)


def _assemble_proof(
    terms: Terms, batch: Batch, index: int, place: tuple[int, int], nodes: tuple[merkle.Nodes, merkle.Nodes]
) -> EndorsementProof:
    """Build the proof for a leaf.

    Args:
        index: The leaf's index in the batch.
        place: The batch's number, and the number of all batches.
        nodes: The trees over the batch and over all statements.
    """
    return EndorsementProof(
        BatchStatement.decode(terms.encode_statement(batch)),
        batch.signatures,
        index,
        merkle.prove_inclusion(nodes[0], index, batch.size),
        *place,
        merkle.prove_inclusion(nodes[1], *place),
    )


def verify_proof(proof: EndorsementProof, terms: Terms, label: Label, epoch: int, root: bytes) -> Verdict:
    """Verify that the entry of a label was endorsed in an epoch with the endorsement root `root`.

    A proof cannot show that no removal was endorsed: only the table can.
    """
    batch = proof.batch
    if proof.statement.encode() != terms.encode_statement(batch):
        return Failed("endorsed for another deployment, design or policy")
    if len(proof.signatures) != len(terms.policy.organisations):
        return Failed("there must be a signature, or zeros, for each key of the policy")
    if batch.action is not Action.LIST:
        return Failed("the statement lists no entry")
    leaf = hash_entry(label.entry_hash, label.entry_id, label.salt)
    stated = merkle.leaf_hash(proof.statement.encode())
    checks = (
        merkle.verify_inclusion(leaf, proof.index, batch.size, proof.path, batch.root),
        terms.verify_batch(batch, epoch),
        merkle.verify_inclusion(stated, proof.number, proof.batches, proof.batches_path, root),
    )
    return next((verdict for verdict in checks if isinstance(verdict, Failed)), Passed())
