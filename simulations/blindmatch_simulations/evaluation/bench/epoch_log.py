"""`blindmatch bench accountability`: the log as it stores, opens and proves, and a device's check."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

from blindmatch_client.epochs.transparency import Transparency
from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, Checkpoint, Note, NoteSigner
from blindmatch_proofs.epoch import EpochPolicy
from blindmatch_proofs.merkle import Tree, consistency_path, inclusion_path, leaf_hash, root_of
from blindmatch_proofs.tlog_policy import policy_of
from blindmatch_proofs.tlog_proof import TlogProof
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.log.tree_store import TreeStore

from blindmatch_simulations.measure.meter import Meter, expect
from blindmatch_simulations.testbed.deployment.curating import throwaway_signer

ORIGIN: Final = "log.blindmatch.test/0123456789abcdef/epochs/oprf-psi"
LEAF_BYTES: Final = 300
BATCH: Final = 50_000
"""Leaves under a checkpoint."""
EPOCHS: Final = 1 << 16
NOW: Final = 1_800_000_000
NEEDED, WITNESSES = 3, 5


class _Kept(dict[str, bytes]):
    def put(self, name: str, value: bytes, /) -> None:
        self[name] = value


def bench_epoch_log(meter: Meter, folder: Path, log2n: int) -> None:
    """Measure a log of 2^(log2n + 4) leaves, and the check of the newest of 2^16 epochs."""
    leaves = 1 << (log2n + 4)
    _storage(meter, folder, leaves)
    _check(meter)


def _storage(meter: Meter, folder: Path, leaves: int) -> None:
    """Append in batches, each under a signed checkpoint on the disk; open again; prove."""
    log, number = NoteSigner.of(ORIGIN, ED25519, bytes(32)), 0

    def append() -> None:
        nonlocal number
        number += 1
        store = TreeStore(folder / f"log-{number}", ORIGIN)
        for first in range(0, leaves, BATCH):
            many = range(first, min(first + BATCH, leaves))
            head = store.extended([at.to_bytes(LEAF_BYTES, "big") for at in many])
            store.keep(Note(head.text, (log.sign(head.text),)))

    meter.time("log/append", append, count=leaves, repeat=False, entries=leaves)
    place = folder / f"log-{number}"
    meter.time("log/open", lambda: TreeStore(place, ORIGIN), entries=leaves)

    def prove() -> None:
        store = TreeStore(place, ORIGIN)
        inclusion_path(store.nodes, leaves // 3, leaves)

    meter.time("log/prove", prove, entries=leaves)


def _check(meter: Meter) -> None:
    """What a device does with the epoch after the one it has, under three of five witnesses."""
    witnesses = [
        NoteSigner.of(f"w{n}.example", COSIGNATURE, bytes([n]) * 32) for n in range(1, WITNESSES + 1)
    ]
    log = NoteSigner.of(ORIGIN, ED25519, bytes(32))
    pinned = EpochPolicy(policy_of([log.key], {one.key.name: [one.key] for one in witnesses}, NEEDED))
    key = throwaway_signer().key
    signed = key.sign(EpochManifest("oprf-psi", 2, EPOCHS, EPOCHS - 1, b"p" * 32, 0, 1, 1, (), (), ()))
    leaf = key.leaf(signed.manifest)
    before = [sha256(at.to_bytes(8, "big")).digest() for at in range(EPOCHS - 1)]
    tree = Tree.of([*before, leaf_hash(leaf.encode())])
    seen, head = (Checkpoint(ORIGIN, size, root_of(tree.node, size)) for size in (EPOCHS - 1, EPOCHS))
    old, new = (
        Note(at.text, (log.sign(at.text), *(one.sign(at.text, NOW) for one in witnesses[:NEEDED])))
        for at in (seen, head)
    )
    proof = TlogProof(EPOCHS - 1, inclusion_path(tree.node, EPOCHS - 1, EPOCHS), new)
    path = consistency_path(tree.node, seen.size, EPOCHS)
    described = pb.Description(proof=proof.encode())
    described.consistency.append(pb.Consistency(tree_size=seen.size, path=path))
    meter.record("log/size", {"bytes": described.ByteSize()}, entries=EPOCHS)
    described.leaf = leaf.encode()
    device = Transparency(_Kept(), pinned, key.public, None)
    device.hear("peer", old.encode())

    def check() -> None:
        expect(device.sizes() == [seen.size], "the device has heard of another checkpoint")
        expect(bool(device.check(signed, described, NOW).taken), "the device takes no epoch")

    meter.time("log/check", check, entries=EPOCHS)
