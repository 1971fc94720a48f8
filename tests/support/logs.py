"""A log and witnesses of the tests, in memory: keys, checkpoints and proofs of what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, Checkpoint, Note, NoteSigner
from blindmatch_proofs.merkle import Tree, compute_root, leaf_hash, prove_consistency, prove_inclusion
from blindmatch_proofs.tlog import Policy, TlogProof, build_policy

ORIGIN = "log.example/epochs/dummy"
NOW = 1_800_000_000


def signer(name: str, kind: int = COSIGNATURE) -> NoteSigner:
    return NoteSigner.from_seed(name, kind, sha256(name.encode()).digest())


LOG = signer(ORIGIN, ED25519)
WITNESSES = tuple(signer(f"w{number}.example") for number in range(1, 6))


def policy(least: int = 3, per_operator: int = 1, witnesses: Sequence[NoteSigner] = WITNESSES) -> Policy:
    """Each operator runs so many of the witnesses, one after the other."""
    groups = [witnesses[at : at + per_operator] for at in range(0, len(witnesses), per_operator)]
    operators = {f"operator-{at}": [one.key for one in group] for at, group in enumerate(groups, 1)}
    return build_policy([LOG.key], operators, least)


@dataclass
class MemoryLog:
    """A log that appends and proves, signs whatever is asked of it, and asks no witness whether it may."""

    entries: list[bytes] = field(default_factory=list)
    key: NoteSigner = LOG
    at: int = NOW

    @property
    def tree(self) -> Tree:
        return Tree.from_leaves([leaf_hash(entry) for entry in self.entries])

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = len(self.entries) if size is None else size
        return Checkpoint(self.key.key.name, size, compute_root(self.tree.node, size))

    def note(self, witnesses: Sequence[NoteSigner] = WITNESSES[:3], size: int | None = None) -> Note:
        text = self.checkpoint(size).text
        return Note(text, (self.key.sign(text), *(one.sign(text, self.at) for one in witnesses)))

    def proof(
        self, index: int, witnesses: Sequence[NoteSigner] = WITNESSES[:3], size: int | None = None
    ) -> TlogProof:
        size = len(self.entries) if size is None else size
        return TlogProof(index, prove_inclusion(self.tree.node, index, size), self.note(witnesses, size))

    def consistency(self, first: int, second: int | None = None) -> tuple[bytes, ...]:
        return prove_consistency(self.tree.node, first, len(self.entries) if second is None else second)
