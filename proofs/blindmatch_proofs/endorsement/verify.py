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
    leaf_of,
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

    def of_batch(self, number: int, size: int) -> Nodes:
        return _nodes(self._nodes, int.from_bytes(self._starts[8 * number : 8 * number + 8], "little"), size)

    def of_statements(self, size: int) -> Nodes:
        return _nodes(self._statements, 0, size)

    def index_of(self, leaf: bytes, number: int, size: int) -> int:
        """Where a leaf is, or would be, in a batch. Raises `SetFileError` if so many leaves are not here."""
        if size > len(self._nodes) // HASH_BYTES:
            raise SetFileError(f"{TREE_FILE}: batch {number} is not whole")
        nodes = self.of_batch(number, size)
        return bisect_left(range(size), leaf, key=lambda at: nodes(0, at))


def _nodes(raw: memoryview, first: int, size: int) -> Nodes:
    def node(height: int, index: int) -> bytes:
        at = first + sum(size >> below for below in range(height)) + index
        return bytes(raw[at * HASH_BYTES : (at + 1) * HASH_BYTES])

    return node


def write_trees(out: Writer, info: Info, table: EndorsedTable, terms: Terms) -> None:
    """Write the trees over a table; `SetFileError` if the table is altered, or its leaves are not in
    order."""
    leaves = table.leaves_by_batch()
    sizes = [int(size) for size in table.heads["size"]]
    hashes = [2 * size - size.bit_count() for size in sizes]
    starts = np.cumsum([0, *hashes], dtype="<u8")[: len(sizes)]
    writer = SetFileWriter(out, Identity(info.name, info.version, table.epoch, {}))
    each = (part for number in range(table.size) for part in _levels(leaves(number)))
    writer.section(KIND_NODES, each, sum(hashes))
    writer.section(KIND_STARTS, [starts.tobytes()], len(sizes))
    statements = terms.statement_leaves(table.batches())
    writer.section(KIND_STATEMENTS, _levels(statements), 2 * len(sizes) - len(sizes).bit_count())
    writer.finish(table.entries)


def _levels(leaves: list[bytes]) -> Iterator[bytes]:
    return (b"".join(level) for level in Tree.from_leaves(leaves).levels)


def verify_table(
    table: EndorsedTable, terms: Terms, entries: int, executor: Executor | None = None
) -> Verdict:
    """Whether everything an epoch's table says is endorsed, and it lists as many `entries` as the epoch has
    by its manifest."""
    try:
        leaves = table.leaves_by_batch()

        def work(start: int, stop: int) -> Verdict:
            for number in range(start, stop):
                batch = table.batch(number)
                own = leaves(number)
                if not own or root_of(own) != batch.root:
                    return Failed(f"batch {number}: its entries do not have the root that was signed")
                match terms.verify_batch(batch, table.epoch):
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
    # of removals that begin with the epoch: a listing may end before what removed it does
    begun = table.leaves_with(Action.REMOVE, since=table.epoch)
    unknown = np.setdiff1d(begun, table.leaves_with(Action.LIST), True)
    return Failed("an entry is removed that was never listed") if len(unknown) else Passed()


def verify_none_dropped(before: EndorsedTable, after: EndorsedTable) -> Verdict:
    """Whether an epoch dropped no entry of an earlier one without an endorsed removal, and brought no removed
    one back; nor left out what a later one would have to be held against: a removal, while it or what it
    removed holds, and up to which epoch each entry is listed or removed. Both passed `verify_table`."""
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
    if any(batch.action is Action.REMOVE for batch in found):
        return Failed("the entry's removal is endorsed")
    verdicts = [terms.verify_batch(batch, table.epoch) for batch in found]
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
        one = self.statement
        return Batch(Action(one.action), one.first_epoch, one.last_epoch, one.size, one.root, self.signatures)


def prove(
    table: EndorsedTable, terms: Terms, label: Label, trees: KeptTrees | None = None
) -> EndorsementProof | None:
    """The proof for the entry of a label; None if the table has none that lists it; `SetFileError` if the
    table is altered.

    With `trees` it takes O(log n), and is handed out only if it passes `verify_proof`. Where it does not, or
    without them, it takes a pass over the entry's batch: a second for a million entries.
    """
    quick = None if trees is None else _prove_by(trees, table.unverified(), terms, label)
    if quick is not None:
        return quick
    leaf = leaf_of(label.entry_hash, label.entry_id, label.salt)
    leaves_of = table.leaves_by_batch()
    number = _listing(table, leaf)
    return None if number is None else proof_of(terms, leaf, leaves_of(number), number, list(table.batches()))


def _listing(table: EndorsedTable, leaf: bytes) -> int | None:
    for number in table.numbers_with(leaf):
        batch = table.batch(number)
        if batch.action is Action.LIST and batch.holds_in(table.epoch):
            return number
    return None


def _prove_by(trees: KeptTrees, table: EndorsedTable, terms: Terms, label: Label) -> EndorsementProof | None:
    """The proof that trees and a table give of which nothing was verified; None if it does not hold."""
    leaf = leaf_of(label.entry_hash, label.entry_id, label.salt)
    try:
        number = _listing(table, leaf)
        if number is None:
            return None
        batch = table.batch(number)
        nodes = (trees.of_batch(number, batch.size), trees.of_statements(table.size))
        proof = _proof(terms, batch, trees.index_of(leaf, number, batch.size), (number, table.size), nodes)
        verdict = verify_proof(proof, terms, label, table.epoch, trees.root)
    except (SetFileError, ProtocolError):
        return None
    return proof if verdict == Passed() else None


def proof_of(
    terms: Terms, leaf: bytes, leaves: list[bytes], number: int, batches: list[Batch]
) -> EndorsementProof:
    """The proof for a leaf, one of the `leaves`, ascending, of the batch that is `number` of an epoch's."""
    nodes = (
        merkle.Tree.from_leaves(leaves).node,
        merkle.Tree.from_leaves(terms.statement_leaves(batches)).node,
    )
    return _proof(terms, batches[number], leaves.index(leaf), (number, len(batches)), nodes)


def _proof(
    terms: Terms, batch: Batch, index: int, place: tuple[int, int], nodes: tuple[merkle.Nodes, merkle.Nodes]
) -> EndorsementProof:
    """The proof for a leaf by its index in a batch, the batch's place among how many, and both trees."""
    return EndorsementProof(
        BatchStatement.decode(terms.statement(batch)),
        batch.signatures,
        index,
        merkle.prove_inclusion(nodes[0], index, batch.size),
        *place,
        merkle.prove_inclusion(nodes[1], *place),
    )


def verify_proof(proof: EndorsementProof, terms: Terms, label: Label, epoch: int, root: bytes) -> Verdict:
    """Whether the entry of a label was endorsed in an epoch with the endorsement root `root`; that no removal
    of it was endorsed is for the table to say."""
    batch = proof.batch
    if proof.statement.encode() != terms.statement(batch):
        return Failed("endorsed for another deployment, design or policy")
    if len(proof.signatures) != len(terms.policy.organisations):
        return Failed("there must be a signature, or zeros, for each key of the policy")
    if batch.action is not Action.LIST:
        return Failed("the statement lists no entry")
    leaf = leaf_of(label.entry_hash, label.entry_id, label.salt)
    stated = merkle.leaf_hash(proof.statement.encode())
    checks = (
        merkle.verify_inclusion(leaf, proof.index, batch.size, proof.path, batch.root),
        terms.verify_batch(batch, epoch),
        merkle.verify_inclusion(stated, proof.number, proof.batches, proof.batches_path, root),
    )
    return next((one for one in checks if isinstance(one, Failed)), Passed())
