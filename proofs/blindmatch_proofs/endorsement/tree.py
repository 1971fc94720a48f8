"""`endorsement.tree`: the Merkle trees over a table, kept so that a proof reads a few hashes, not every leaf.

A set file (docs/set-format.md) of three sections: the hashes of each batch's tree, where those of a batch
begin, and the hashes of the tree over all statements. It is neither signed nor compared with its digests,
since that reads all of it: a proof that was made with it is verified against the root that the curator signed
before it is handed out (`verify.prove`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import numpy as np
from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract import Info
from blindmatch_protocol.contract.publishing import Writer
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

from blindmatch_proofs.endorsement.batch import Terms
from blindmatch_proofs.endorsement.table import EndorsedTable
from blindmatch_proofs.merkle import HASH_BYTES, Nodes, Tree

TREE_FILE: Final = "endorsement.tree"
KIND_NODES: Final = 0x24
"""Of each batch's tree the hashes of its perfect subtrees, 32 each: leaves first, level by level."""
KIND_STARTS: Final = 0x25
"""Which hash of 0x24 is the first of each batch, 8 each, little-endian."""
KIND_STATEMENTS: Final = 0x26
"""As 0x24, of the tree over the statements of all batches."""


class KeptTrees:
    """The trees over an epoch's table, as somebody kept them; nothing of them is verified here;
    `SetFileError` if the file is truncated, or of another format, design or epoch.

    Args:
        root: of all statements, as the curator signed it in the epoch's leaf, 32 bytes.
    """

    __slots__ = ("_nodes", "_starts", "_statements", "root")

    def __init__(self, data: Buffer, info: Info, epoch: int, root: bytes) -> None:
        file, raw = SetFile(data, TREE_FILE, info.name, info.version, epoch), memoryview(data).cast("B")
        rows = [file.row(kind) for kind in (KIND_NODES, KIND_STARTS, KIND_STATEMENTS)]
        self._nodes, self._starts, self._statements = (raw[row.offset : row.end] for row in rows)
        self.root = root

    def of_batch(self, number: int, size: int) -> Nodes:
        """The tree of a batch of `size` entries."""
        return _nodes(self._nodes, int.from_bytes(self._starts[8 * number : 8 * number + 8], "little"), size)

    def of_statements(self, size: int) -> Nodes:
        """The tree over the statements of `size` batches."""
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
    leaves, sizes = table.leaves_by_batch(), [int(size) for size in table.heads["size"]]
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
    return (b"".join(level) for level in Tree.of(leaves).levels)
