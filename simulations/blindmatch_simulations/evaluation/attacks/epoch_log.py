"""A curator, with its key, the matcher and the log, gives one user another epoch than everybody.

In memory, with the device's own check and the package's own proofs; nothing is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from blindmatch_client.epochs import transparency
from blindmatch_client.epochs.transparency import LogView, UnloggedError
from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, Checkpoint, Note, NoteSigner
from blindmatch_proofs.epoch import EpochLeaf, EpochPolicy
from blindmatch_proofs.merkle import Tree, compute_root, leaf_hash, prove_consistency, prove_inclusion
from blindmatch_proofs.tlog import Accepted, TlogProof, build_policy
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.epoch_manifest import NO_PREDECESSOR, EpochManifest, SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.epochs.signing import CuratorKey
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.testbed.deployment.transparency import LOG

NOW: Final = 1_800_000_000
"""A device's clock, in Unix seconds."""
AGE: Final = 86_400
NEEDED: Final = 3
SEALING: Final = b"s" * 32


class Device(Struct):
    """What a device knows of the log; what it keeps of each step is in it."""

    view: LogView


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
        rng = arena.rng("log")
        name = arena.design.info.name
        log, foreign = (
            NoteSigner.from_seed(f"{at}/{name}", ED25519, rng.take(32)) for at in ("log", "foreign")
        )
        witnesses = tuple(NoteSigner.from_seed(f"w{n}", COSIGNATURE, rng.take(32)) for n in range(1, 6))
        return cls(name, CuratorKey.of(rng.take(32)), log, foreign, witnesses)

    def device(self) -> Device:
        """A device that pins the log and three of four operators."""
        keys = [one.key for one in self.witnesses]
        operators = {"a": keys[:1], "b": keys[1:2], "c": keys[2:3], "d": keys[3:]}
        pinned = EpochPolicy(build_policy([self.log.key], operators, NEEDED), AGE)
        return Device(LogView(pinned, self.curator.public, SEALING))

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
        size = size or epoch
        tree = self.tree
        head = Checkpoint(self.log.key.name, size, compute_root(tree.node, size))
        note = Note(head.text, (self.log.sign(head.text), *(w.sign(head.text, self.at) for w in witnesses)))
        proof = TlogProof(epoch - 1, prove_inclusion(tree.node, epoch - 1, size), note)
        made = pb.Description(leaf=self.leaves[epoch - 1].encode(), proof=proof.encode())
        for seen in (one for one in sizes if one <= size):
            path = prove_consistency(tree.node, seen, size)
            made.consistency.append(pb.Consistency(tree_size=seen, path=path))
        return made

    @property
    def tree(self) -> Tree:
        count = len(self.leaves)
        if count not in self._tree:
            self._tree[count] = Tree.from_leaves([leaf_hash(one.encode()) for one in self.leaves])
        return self._tree[count]


EPOCHS: Final = 6
FORKED: Final = 4
"""From this epoch on a history differs from everybody's."""
Form = Callable[[Scene, Device], tuple[pb.Description, int]]
"""What a device that has taken epoch `EPOCHS` - 1 is offered, and its clock."""


_DEAF: Final = replacing((LogView, "hear", lambda view, *_: (view.seen, None)))
"""A device that passes over what peers tell of the log."""
_COALITION: Final = frozenset({Party.CURATOR, Party.MATCHER, LOG})


@attack(
    "two-histories",
    Means(_COALITION, has="a quorum of witnesses that cosigns two histories"),
    Claim("devices that write to one another find two histories of the log"),
    budget="two pairs of devices, a message each",
    weakness=_DEAF,
    needs=(needs.ANY_ONE,),
    exposes="that everybody has one list",
    left=Left.SPLIT,
)
def two_histories(arena: Arena) -> Figure:
    """Count the pairs of devices that do not notice."""
    scene = Scene.of(arena)
    honest = scene.history(EPOCHS + 1)
    other = scene.history(EPOCHS + 1, FORKED)
    cases = {}
    for ahead in (0, 1):
        alice = scene.device()
        bob = scene.device()
        _take(alice, other, EPOCHS - ahead, scene)
        _take(bob, honest, EPOCHS, scene)
        seen, split = bob.view.hear("alice", alice.view.choose_checkpoint())
        bob.view = replace(bob.view, seen=seen)
        told = split is not None and split.verify(scene.log.key) == Passed()
        if not told:  # another size: the log must now show that it continues what was heard
            told = not _taken(bob, _offer(bob, honest, EPOCHS + 1, scene), NOW)
        cases["devices of one epoch" if not ahead else "one device is an epoch behind"] = (int(not told), 1)
    return counted("pairs that notice nothing", cases)


def _offer(device: Device, history: History, epoch: int, scene: Scene) -> pb.Description:
    return history.described(epoch, scene.witnesses[:3], sizes=device.view.list_sizes())


def _take(device: Device, history: History, epoch: int, scene: Scene) -> None:
    if not _taken(device, _offer(device, history, epoch, scene), NOW):
        raise AttackError("a device did not take what a quorum cosigned")


def _taken(device: Device, described: pb.Description, now: int) -> bool:
    try:
        signed = SignedManifest(EpochLeaf.decode(described.leaf).manifest, bytes(64))  # looked at before
        device.view = replace(device.view, seen=device.view.check(signed, described, now))
    except UnloggedError:
        return False
    return True


def _one_user(scene: Scene, device: Device) -> tuple[pb.Description, int]:
    """A leaf signed by the curator for this user, beside the proof that everybody gets."""
    described = _offer(device, scene.history(EPOCHS), EPOCHS, scene)
    described.leaf = scene.leaf(EPOCHS, entries=2).encode()
    return described, NOW


def _other_key(scene: Scene, device: Device) -> tuple[pb.Description, int]:
    """Logged for everybody, with a sealing key that is not the centre's."""
    history = scene.history(EPOCHS - 1)
    history.leaves.append(scene.leaf(EPOCHS, sealing=b"o" * 32))
    return _offer(device, history, EPOCHS, scene), NOW


def _unsigned(scene: Scene, device: Device) -> tuple[pb.Description, int]:
    """Logged for everybody by somebody without the curator's key, with another root and policy in it."""
    history = scene.history(EPOCHS - 1)
    genuine = scene.leaf(EPOCHS)
    history.leaves.append(replace(genuine, endorsement_root=b"r" * 32, endorsement_policy=b"other"))
    return _offer(device, history, EPOCHS, scene), NOW


def _two_witnesses(scene: Scene, device: Device) -> tuple[pb.Description, int]:
    forked = scene.history(EPOCHS, EPOCHS)
    return forked.described(EPOCHS, scene.witnesses[:2], sizes=device.view.list_sizes()), NOW


def _counted_twice(scene: Scene, device: Device) -> tuple[pb.Description, int]:
    forked = scene.history(EPOCHS, EPOCHS)
    first, second, *_ = scene.witnesses
    described = forked.described(EPOCHS, (first, second), sizes=device.view.list_sizes())
    proof = TlogProof.parse(described.proof)
    more = [second.sign(proof.note.text, NOW - at) for at in (1, 2)]
    described.proof = replace(proof, note=proof.note.add_signatures(*more)).encode()
    return described, NOW


def _one_operator(scene: Scene, device: Device) -> tuple[pb.Description, int]:
    first, *_, fourth, fifth = scene.witnesses
    forked = scene.history(EPOCHS, EPOCHS)
    return forked.described(EPOCHS, (first, fourth, fifth), sizes=device.view.list_sizes()), NOW


def _foreign(scene: Scene, device: Device) -> tuple[pb.Description, int]:
    """Another log's checkpoint, which a quorum of the same witnesses cosigned."""
    history = replace(scene.history(EPOCHS, EPOCHS), log=scene.foreign)
    return _offer(device, history, EPOCHS, scene), NOW


FORMS: Final[Mapping[str, Form]] = {
    "a set-up for one user": _one_user,
    "another sealing key": _other_key,
    "a leaf not signed by the curator": _unsigned,
    # the epoch that the device has, in the newest tree: the newer one is held back
    "a newer epoch held back": lambda scene, device: (
        scene.history(EPOCHS).described(EPOCHS - 1, scene.witnesses[:3], EPOCHS, device.view.list_sizes()),
        NOW,
    ),
    # the epoch before the device's, with the proof it once had, cosigned again
    "rollback": lambda scene, device: (_offer(device, scene.history(EPOCHS), EPOCHS - 2, scene), NOW),
    # the device's epoch, with its old checkpoint, when that is too old
    "freeze": lambda scene, device: (_offer(device, scene.history(EPOCHS), EPOCHS - 1, scene), NOW + AGE + 1),
    # a history that does not continue the device's, which a quorum of witnesses cosigns
    "fork": lambda scene, device: (_offer(device, scene.history(EPOCHS, FORKED), EPOCHS, scene), NOW),
    "w - 1 witnesses": _two_witnesses,
    "one witness counted twice": _counted_twice,
    "one operator counted twice": _one_operator,
    "a foreign log": _foreign,
}


_UNLOOKED: Final = replacing(
    (transparency, "verify_leaf", lambda *_: Passed()),
    (transparency, "verify_logged", lambda leaf, proof, *_: Accepted(proof.head, frozenset())),
    (transparency, "verify_continues", lambda *_: Passed()),
)
"""A device that looks at neither the leaf, nor whose word it is, nor what it saw before."""


@attack(
    "unlogged-epoch",
    Means(_COALITION, has="all their keys, and two of five witnesses where it says so"),
    Claim("a device takes an epoch only if a quorum shows it to be everybody's newest"),
    budget=f"{len(FORMS)} devices",
    weakness=_UNLOOKED,
    needs=(needs.ANY_ONE,),
    exposes="that everybody has one list",
    left=Left.KEPT,
)
def unlogged_epoch(arena: Arena) -> Figure:
    """Count the forms that a device takes."""
    scene = Scene.of(arena)
    cases = {}
    for name, form in arena.each(FORMS.items()):
        device = scene.device()
        _take(device, scene.history(EPOCHS), EPOCHS - 1, scene)
        described, now = form(scene, device)
        cases[name] = (int(_taken(device, described, now)), 1)
    return counted("epochs taken", cases)
