"""What a log says of an epoch, in two files beside it, which travel with the set-up to devices.

epoch.proof     c2sp.org/tlog-proof of epoch.leaf; renewed while the epoch is served
epoch.tree      the hashes of all leaves, 32 bytes each, from which consistency proofs are made
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final

from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.merkle import Tree, consistency_path, hashes_of, root_of
from blindmatch_proofs.tlog_proof import TlogProof
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.epochs.published import LEAF, PROOF, TREE
from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.files import StorageError, hold, replace_file

SIZES_MOST: Final = 16
"""Of earlier checkpoints that a device may ask about at a time."""
_PUBLIC: Final = 0o444
_LOCK: Final = ".proof.lock"


class Logged(Redacted, Struct, frozen=True):
    """An epoch's leaf and proof, and the tree it is in."""

    SHOWN: ClassVar = ("leaf", "proof")

    leaf: bytes
    proof: bytes
    tree: Tree

    @classmethod
    def of(cls, leaf: EpochLeaf, proof: TlogProof, hashes: bytes) -> Logged:
        """Raises `ProtocolError` unless `hashes` are the leaves under the proof's checkpoint."""
        tree, head = Tree.of(hashes_of(hashes)), proof.head
        if tree.size != head.size or root_of(tree.node, tree.size) != head.root:
            raise ProtocolError("log", "must be those under the checkpoint", "leaves")
        return cls(leaf.encode(), proof.encode(), tree)

    def consistency(self, sizes: Iterable[int]) -> list[wire.Consistency]:
        """That the log continues what it was with so many leaves; of larger sizes nothing can be said."""
        size = self.tree.size
        known = sorted({one for one in sizes if 0 < one <= size})[:SIZES_MOST]
        paths = {one: consistency_path(self.tree.node, one, size) for one in known}
        return [wire.Consistency(tree_size=one, path=path) for one, path in paths.items()]


def write_logged(home: Path, logged: Logged) -> None:
    """Write the files into an epoch's folder, each in one step, the proof last; `StateError` if somebody else
    is writing those of the design at this time."""
    busy = StateError("a proof of this design is being renewed at this time: try again")
    with hold(home.parent / _LOCK, busy, StorageError):
        replace_file(home / TREE, b"".join(logged.tree.levels[0]), _PUBLIC)
        replace_file(home / PROOF, logged.proof, _PUBLIC)


def read_logged(home: Path) -> Logged | None:
    """What a log says of the epoch in `home`, read again when it was renewed; None if it was never logged.
    Raises `StateError` if the files cannot be read, or do not fit one another."""
    try:
        return _read(home, (home / PROOF).stat().st_mtime_ns)
    except FileNotFoundError:
        return None


@lru_cache(4)
def _read(home: Path, written: int) -> Logged:
    try:
        proof = TlogProof.parse((home / PROOF).read_bytes())
        leaf = EpochLeaf.decode((home / LEAF).read_bytes())
        return Logged.of(leaf, proof, (home / TREE).read_bytes())
    except (OSError, ProtocolError) as error:
        raise StateError(f"{PROOF} of epoch {home.name} cannot be used: {error}") from error
