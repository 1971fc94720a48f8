"""What a log can show when it cheats: histories of epochs, under keys of its own and of witnesses.

In memory, with the device's own check and the package's own proofs; nothing is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from blindmatch_client.transparency import Transparency
from blindmatch_proofs.checkpoint import Checkpoint
from blindmatch_proofs.cosignature import NoteSigner
from blindmatch_proofs.epoch_leaf import EpochLeaf
from blindmatch_proofs.epoch_proof import EpochPolicy
from blindmatch_proofs.merkle import Tree, consistency_path, inclusion_path, leaf_hash, root_of
from blindmatch_proofs.signed_note import COSIGNATURE, ED25519, Note
from blindmatch_proofs.tlog_policy import policy_of
from blindmatch_proofs.tlog_proof import TlogProof
from blindmatch_protocol.epoch_manifest import NO_PREDECESSOR, EpochManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.curator.signing import CuratorKey
from msgspec import Struct, field

from blindmatch_simulations.attacks.arena import Arena

NOW: Final = 1_800_000_000
"""A device's clock, in Unix seconds."""
AGE: Final = 86_400
NEEDED: Final = 3
SEALING: Final = b"s" * 32


class Kept(dict[str, bytes]):
    """What a device keeps."""

    def put(self, name: str, value: bytes, /) -> None:
        self[name] = value


class Scene(Struct, frozen=True):
    """A curator, a log and five witnesses of four operators, three of whom a device needs.

    Attributes:
        curator: signs whatever the adversary wants.
        log, foreign: the log that devices pin, and another one.
        witnesses: the last two are one operator's.
    """

    design: str
    curator: CuratorKey
    log: NoteSigner
    foreign: NoteSigner
    witnesses: tuple[NoteSigner, ...]

    @classmethod
    def of(cls, arena: Arena) -> Scene:
        """With keys of the arena's."""
        rng, name = arena.rng("log"), arena.design.info.name
        log, foreign = (NoteSigner.of(f"{at}/{name}", ED25519, rng.take(32)) for at in ("log", "foreign"))
        witnesses = tuple(NoteSigner.of(f"w{n}", COSIGNATURE, rng.take(32)) for n in range(1, 6))
        return cls(name, CuratorKey.of(rng.take(32)), log, foreign, witnesses)

    def device(self) -> Transparency:
        """A device that pins the log and three of four operators."""
        keys = [one.key for one in self.witnesses]
        operators = {"a": keys[:1], "b": keys[1:2], "c": keys[2:3], "d": keys[3:]}
        pinned = EpochPolicy(policy_of([self.log.key], operators, NEEDED), AGE)
        return Transparency(Kept(), pinned, self.curator.public, SEALING)

    def leaf(self, epoch: int, entries: int = 1, sealing: bytes = SEALING) -> EpochLeaf:
        """An epoch; another number of `entries` stands for another list, key or parameter."""
        before = (0, NO_PREDECESSOR) if epoch == 1 else (epoch - 1, b"p" * 32)
        manifest = EpochManifest(self.design, 1, epoch, *before, NOW, NOW + AGE, entries, (), (), ())
        return self.curator.leaf(manifest, sealing_key=sealing)

    def history(self, epochs: int, since: int = 1 << 30) -> History:
        """So many epochs, from number `since` on other ones than everybody's."""
        return History([self.leaf(n, 1 + (n >= since)) for n in range(1, epochs + 1)], self.log)


class History(Struct):
    """A log that shows whatever it wants.

    Attributes:
        leaves: in their order.
        log: signs.
        at: when witnesses cosign.
    """

    leaves: list[EpochLeaf]
    log: NoteSigner
    at: int = NOW
    _tree: dict[int, Tree] = field(default_factory=dict)

    def described(
        self, epoch: int, witnesses: Sequence[NoteSigner], size: int = 0, sizes: Iterable[int] = ()
    ) -> pb.Description:
        """What is offered of an epoch, under a checkpoint of `size` leaves, cosigned by `witnesses`."""
        size, tree = size or epoch, self.tree
        head = Checkpoint(self.log.key.name, size, root_of(tree.node, size))
        note = Note(head.text, (self.log.sign(head.text), *(w.sign(head.text, self.at) for w in witnesses)))
        proof = TlogProof(epoch - 1, inclusion_path(tree.node, epoch - 1, size), note)
        made = pb.Description(leaf=self.leaves[epoch - 1].encode(), proof=proof.encode())
        for seen in (one for one in sizes if one <= size):
            path = consistency_path(tree.node, seen, size)
            made.consistency.append(pb.Consistency(tree_size=seen, path=path))
        return made

    @property
    def tree(self) -> Tree:
        """The tree of all leaves."""
        count = len(self.leaves)
        if count not in self._tree:
            self._tree[count] = Tree.of([leaf_hash(one.encode()) for one in self.leaves])
        return self._tree[count]
