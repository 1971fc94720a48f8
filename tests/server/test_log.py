"""The log and its witnesses: one leaf an index, cosigned by who keeps what it signs, whatever is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, Checkpoint, Note, NoteSigner
from blindmatch_proofs.epoch import Endorsement, EpochLeaf
from blindmatch_proofs.merkle import (
    ENTRIES,
    ENTRY_MOST,
    Tree,
    compute_root,
    encode_entries,
    leaf_hash,
    prove_inclusion,
)
from blindmatch_proofs.tlog import (
    CONFLICT,
    OK,
    Accepted,
    AddCheckpoint,
    Policy,
    Refused,
    TlogProof,
    build_policy,
)
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol import failpoint
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.epochs.signing import CuratorKey
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.endpoint import Call
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.log import tree_store
from blindmatch_server.log import witness as witness_module
from blindmatch_server.log.service import (
    Log,
    LogConfig,
    Month,
    StreamRule,
    _proven,
    counts,
    epochs_of,
    open_log,
    open_witness,
    parse_leaf,
)
from blindmatch_server.log.service import leaf_of as leaf_of_month
from blindmatch_server.log.tree_store import TreeStore
from blindmatch_server.log.witness import Cosigning, Witness, WitnessAt, ask_over_grpc
from blindmatch_server.storage.errors import ConflictError, StateError
from msgspec.structs import replace
from support.dying import die
from support.logs import MemoryLog, signer
from support.signed import CURATOR, signed
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader

from .deployment import ALICE, OPERATOR, SECONDS, Client, Deployment, refused

LOG = Party("log")
NAMES = (Party("witness_1"), Party("witness_2"))
EPOCHS = "log.example/epochs/dummy"
COUNTS = "log.example/counts"
SEED = b"s" * 32
KEY = NoteSigner.from_seed(EPOCHS, ED25519, SEED)
WITNESSES = {party: signer(f"{party}.example") for party in NAMES}
CENTRE = Identity.of(Party.CENTRE)
STATUS = grpc.StatusCode


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness that is late since the machine is counts all the same."""
    monkeypatch.setattr(witness_module, "SECONDS", SECONDS)


def policy(needed: int) -> Policy:
    return build_policy([KEY.key], {party: [one.key] for party, one in WITNESSES.items()}, needed)


POLICY = policy(2)


def rules(origin: str) -> StreamRule | None:
    return {EPOCHS: epochs_of("dummy", CURATOR.public), COUNTS: counts()}.get(origin)


def leaf(epoch: int, entries: int = 1, **more: Any) -> EpochLeaf:
    before = (0, bytes(32)) if epoch == 1 else (epoch - 1, b"p" * 32)
    manifest = EpochManifest("dummy", 1, epoch, *before, 5, 6, entries, (), (), ())
    return CURATOR.leaf(replace(manifest, **more))


ENDORSED = CURATOR.leaf(leaf(1).manifest, Endorsement(b"e" * 32, b"2 of 3"))


def counted(month: int, reports: int = 1) -> bytes:
    return leaf_of_month(Month(2026, 1).after(month - 1), {"reports": reports})


@dataclass
class Scene:
    """A log and its witnesses; those in `ports` run."""

    folder: Path
    deployment: Deployment = field(default_factory=Deployment)
    ports: dict[Party, int] = field(default_factory=dict)
    needed: int = 2

    @asynccontextmanager
    async def running(self, witnesses: Sequence[Party] = NAMES) -> AsyncIterator[Client]:
        async with AsyncExitStack() as stack:
            for party in witnesses:
                services = partial(open_witness, self.folder / party, WITNESSES[party], self._known, LOG)
                server = self.deployment.server(party, services)
                self.ports[party] = await stack.enter_async_context(server)
            credentials = self.deployment.credentials(Identity.of(LOG))
            ask = {one: partial(ask_over_grpc, one, self._finder(one), credentials) for one in WITNESSES}
            at = [WitnessAt(party, one.key, ask[party]) for party, one in WITNESSES.items()]
            quorum = policy(self.needed).is_quorum
            config = LogConfig(self.folder / "log", SEED, rules, at, quorum)
            port = await stack.enter_async_context(self.deployment.server(LOG, partial(open_log, config)))
            self.ports[LOG] = port
            yield await stack.enter_async_context(self.deployment.client(OPERATOR, LOG, port))
        self.ports.clear()

    def _finder(self, party: Party) -> Any:
        return lambda: f"127.0.0.1:{self.ports[party]}" if party in self.ports else ""

    def _known(self, origin: str) -> Any:
        return NoteSigner.from_seed(origin, ED25519, SEED).key if origin.startswith("log.example/") else None


async def fails(status: grpc.StatusCode, call: Any) -> None:
    assert (await refused(call))[0] is status


async def append(client: Client, index: int, raw: bytes, origin: str = EPOCHS) -> TlogProof:
    request = wire.AppendRequest(origin=origin, index=index, leaf=raw)
    return TlogProof.parse((await client.one("Log/Append", request)).proof)


def test_leaves_are_logged_and_cosigned_across_restarts_and_one_index_has_one_leaf(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def first() -> None:
        async with scene.running() as client:
            for epoch in (1, 2, 3):
                proof = await append(client, epoch - 1, leaf(epoch).encode())
                found = POLICY.accept(proof.note, int(scene.deployment.clock()), 3600)
                assert isinstance(found, Accepted)
                assert (found.head.size, len(found.witnesses)) == (epoch, 2)
                assert proof.verify(leaf(epoch).encode()) == Passed()
            assert (await append(client, 1, leaf(2).encode())).head.size == 3
            await fails(STATUS.ALREADY_EXISTS, append(client, 1, leaf(2, entries=2).encode()))
            await fails(STATUS.FAILED_PRECONDITION, append(client, 4, leaf(5).encode()))

    async def second() -> None:
        async with scene.running() as client:
            proof = await append(client, 3, leaf(4).encode())
            assert isinstance(POLICY.accept(proof.note, int(scene.deployment.clock()), 3600), Accepted)
            assert len(proof.note.signatures) == 3
            renewed = await client.one("Log/Prove", wire.ProveRequest(origin=EPOCHS, index=0))
            assert TlogProof.parse(renewed.proof).verify(leaf(1).encode()) == Passed()

    asyncio.run(first())
    asyncio.run(second())


async def test_what_is_no_leaf_of_a_stream_or_not_the_caller_s_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    other = leaf(1, design="other")
    unsigned = replace(leaf(1), signature=bytes(64))
    async with scene.running() as client:
        for wrong in (other, unsigned, leaf(2)):
            await fails(STATUS.FAILED_PRECONDITION, append(client, 0, wrong.encode()))
        await fails(STATUS.INVALID_ARGUMENT, append(client, 0, b"junk"))
        await fails(STATUS.NOT_FOUND, append(client, 0, leaf(1).encode(), "log.example/else"))
        await fails(STATUS.PERMISSION_DENIED, append(client, 0, counted(1), COUNTS))
        async with scene.deployment.client(CENTRE, LOG, scene.ports[LOG]) as centre:
            assert (await append(centre, 0, counted(11), COUNTS)).head.size == 1
            await fails(STATUS.PERMISSION_DENIED, append(centre, 0, leaf(1).encode()))
            await fails(STATUS.ALREADY_EXISTS, append(centre, 0, counted(11, 2), COUNTS))
            for raw in (counted(11, 3), counted(10), counted(13)):
                await fails(STATUS.FAILED_PRECONDITION, append(centre, 1, raw, COUNTS))
            await fails(STATUS.INVALID_ARGUMENT, append(centre, 1, counted(12)[:-1], COUNTS))
            assert (await append(centre, 1, counted(12), COUNTS)).head.size == 2
            assert (await append(centre, 2, counted(13), COUNTS)).head.size == 3
        async with scene.deployment.client(ALICE, LOG, scene.ports[LOG]) as device:
            # a log does not trust the devices' root: no call of theirs is even read
            await fails(STATUS.UNAVAILABLE, append(device, 0, leaf(1).encode()))
        body = AddCheckpoint(0, (), MemoryLog([b"x"], KEY).note(())).encode()
        for who in (OPERATOR, CENTRE, Identity(Kind.HOST, "matcher")):
            async with scene.deployment.client(who, NAMES[0], scene.ports[NAMES[0]]) as stranger:
                asked = wire.AddCheckpointRequest(body=body)
                call = stranger.one("Witness/AddCheckpoint", asked)
                await fails(STATUS.PERMISSION_DENIED, call)


def not_the_curators() -> dict[str, bytes]:
    """Leaves for index 0, made of what the curator signed by somebody without its key."""
    mine = leaf(1)
    order = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's group
    more = (int.from_bytes(mine.signature[32:], "little") + order).to_bytes(32, "little")
    signatures = {
        "nobody": bytes(64),
        "of the manifest": signed(mine.manifest).signature,
        "of another epoch's leaf": leaf(2).signature,
        "of another design's leaf": leaf(1, design="other").signature,
        "of another deployment's leaf": CuratorKey.of(b"a" * 32).leaf(mine.manifest).signature,
        "of another list's leaf": leaf(1, entries=2).signature,
        "as the same point, another number": mine.signature[:32] + more,
    }
    return {
        "another sealing key": replace(mine, sealing_key=b"o" * 32).encode(),
        "another root": replace(mine, endorsement_root=b"r" * 32, endorsement_policy=b"p").encode(),
        "no endorsement": replace(ENDORSED, endorsement_root=bytes(32), endorsement_policy=b"").encode(),
        "another policy": replace(ENDORSED, endorsement_policy=b"1 of 1").encode(),
        **{f"signature {name}": replace(mine, signature=one).encode() for name, one in signatures.items()},
    }


async def test_nobody_without_the_curators_key_takes_an_epochs_index(tmp_path: Path) -> None:
    """Whoever had the signed manifest first could put another key, root or policy beside it for good."""
    scene = Scene(tmp_path)
    async with scene.running() as client:
        for name, raw in not_the_curators().items():
            status, words, *_ = await refused(append(client, 0, raw))
            assert (status, "signed by the curator" in words) == (STATUS.FAILED_PRECONDITION, True), name
        old = (Path(__file__).parents[1] / "vectors" / "epoch-leaf-v1.bin").read_bytes()
        assert old.startswith(b"\x1d")
        await fails(STATUS.INVALID_ARGUMENT, append(client, 0, old))
        assert (await append(client, 0, ENDORSED.encode())).head.size == 1


async def test_another_package_reads_the_tiles_and_so_does_whoever_asks_by_their_paths(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    leaves = [leaf(epoch).encode() for epoch in range(1, 4)]
    async with scene.running() as client:
        for index, raw in enumerate(leaves):
            await append(client, index, raw)

        async def read(path: str) -> bytes:
            request = wire.ResourceRequest(origin=EPOCHS, path=path)
            parts = await client.all("Log/Read", request)
            return b"".join(part.data for part in parts)

        assert (await read("tile/0/000.p/3")) == b"".join(map(leaf_hash, leaves))
        assert leaves[2] in await read("tile/entries/000.p/3")
        assert Checkpoint.from_note(Note.parse(await read("checkpoint"))).size == 3
        none = ["", "tile/0/000", "tile/0/000.p/4", "tile/0/000.p/0", "tile/1/000.p/1", "tile/0/001.p/1"]
        for path in (*none, "../log", "tile/0/x000/000.p/3", "tile/00/000.p/3", "tile/0/000.p/03"):
            await fails(STATUS.NOT_FOUND, read(path))
    reader = TilesReader(LocalBackend(tmp_path / "log" / EPOCHS.replace("/", "_")))
    head = reader.get_checkpoint()
    assert reader.calculate_root_hash() == head.root_hash
    for index, raw in enumerate(leaves):
        assert reader.get_entry(index) == raw
        reader.get_inclusion_proof(index, 3).check(leaf_hash(raw), head.root_hash)


async def test_a_witness_that_is_away_or_has_a_second_history_cosigns_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.running(NAMES[:1]) as client:
        proof = await append(client, 0, leaf(1).encode())
        assert len(proof.note.signatures) == 2
    async with scene.running() as client:
        assert len((await append(client, 0, leaf(1).encode())).note.signatures) == 3
        for epoch in (2, 3):
            await append(client, epoch - 1, leaf(epoch).encode())
    forked = TreeStore(tmp_path / "log" / EPOCHS.replace("/", "_"), EPOCHS)
    forked.head = replace(forked.head, size=2)
    forked.head = replace(forked.head, root=compute_root(forked.nodes, 2))
    head = forked.extended([leaf(3, entries=9).encode()])
    forked.keep(Note(head.text, (KEY.sign(head.text),)))
    async with scene.running() as client:
        proof = await append(client, 2, leaf(3, entries=9).encode())
        assert len(proof.note.signatures) == 1
        assert all("409" in event["reason"] for event in scene.deployment.events("not-cosigned")[-2:])


async def test_a_witness_that_signs_nothing_true_does_not_spoil_the_checkpoint_for_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What claims to be by a key of the policy and is not makes a checkpoint one that no device takes."""
    honest = WITNESSES[NAMES[0]]
    other = WITNESSES[NAMES[1]]
    scene = Scene(tmp_path)
    asked = dict(WITNESSES)
    monkeypatch.setitem(WITNESSES, NAMES[0], replace(honest, _secret=other._secret))
    async with scene.running() as client:
        proof = await append(client, 0, leaf(1).encode())
    assert {one.name for one in proof.note.signatures} == {EPOCHS, other.key.name}
    one_of_two = build_policy([KEY.key], {party: [one.key] for party, one in asked.items()}, 1)
    assert isinstance(one_of_two.accept(proof.note, proof_time(proof), 60), Accepted)
    (event,) = scene.deployment.events("not-cosigned")
    assert "its cosignature" in event["reason"]


def put_back(scene: Scene, size: int) -> None:
    """The log's folder as it was when the stream had `size` leaves."""
    shutil.rmtree(scene.folder / "log", ignore_errors=True)
    if size:
        shutil.copytree(scene.folder / f"backup-{size}", scene.folder / "log")


@pytest.mark.parametrize("size", [0, 1, 2])
@pytest.mark.parametrize("remembering", [NAMES[:1], NAMES])
async def test_a_log_that_is_put_back_signs_no_second_history(
    tmp_path: Path, size: int, remembering: Sequence[Party]
) -> None:
    scene = Scene(tmp_path)
    kept = tmp_path / "log" / EPOCHS.replace("/", "_") / "checkpoint"
    for epoch in (1, 2, 3):
        async with scene.running(NAMES if epoch < 3 else remembering) as client:
            await append(client, epoch - 1, leaf(epoch).encode())
        shutil.copytree(tmp_path / "log", tmp_path / f"backup-{epoch}")
    put_back(scene, size)
    before = kept.read_bytes() if size else b""
    async with scene.running() as client:
        for index in (size, size, 3):  # in a lost leaf's place, and after the last one
            status, words, _ = await refused(append(client, index, leaf(index + 1, entries=9).encode()))
            assert status is STATUS.FAILED_PRECONDITION
            assert "witness_1" in words and "newest state" in words
        assert (kept.read_bytes() if kept.exists() else b"") == before
    put_back(scene, 3)
    async with scene.running() as client:
        assert (await append(client, 3, leaf(4).encode())).head.size == 4


async def test_a_log_that_has_forked_grows_no_further(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for epoch in (1, 2):
        async with scene.running() as client:
            await append(client, epoch - 1, leaf(epoch).encode())
        shutil.copytree(tmp_path / "log", tmp_path / f"backup-{epoch}")
    put_back(scene, 1)
    for fork in (2, 3):  # as long as what the witnesses have, and longer
        grown(
            TreeStore(tmp_path / "log" / EPOCHS.replace("/", "_"), EPOCHS), [leaf(fork, entries=9).encode()]
        )
        async with scene.running() as client:
            await fails(STATUS.FAILED_PRECONDITION, append(client, fork, leaf(fork + 1).encode()))


async def test_a_witness_that_claims_to_have_kept_more_stops_a_log_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_module, "judge", lambda *_: Refused(CONFLICT, "999\n"))
    async with Scene(tmp_path).running(NAMES[1:]) as client:
        status, words, _ = await refused(append(client, 0, leaf(1).encode()))
    assert (status, "witness_2 kept" in words) == (STATUS.FAILED_PRECONDITION, True)


NONSENSE = (b"", b"\xff", b"\xe2\x80\x94 ", "\u0663\n".encode(), b"-1\n", b"1" * 5000)


@pytest.mark.parametrize("status", [OK, CONFLICT, 422, 0, 1 << 31])
async def test_one_witness_that_answers_nonsense_stops_no_log_unless_it_claims_another_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    scene = Scene(tmp_path)
    honest = witness_module.Witness._answer
    said = [b""]

    def answer(self: Any, asked: bytes) -> wire.AddCheckpointReply:
        lies = self._signer is WITNESSES[NAMES[0]]
        return wire.AddCheckpointReply(status=status, body=said[0]) if lies else honest(self, asked)

    monkeypatch.setattr(witness_module.Witness, "_answer", answer)
    async with scene.running() as client:
        for number, said[0] in enumerate(NONSENSE):
            if status == 422:
                await fails(STATUS.FAILED_PRECONDITION, append(client, 0, leaf(1).encode()))
                continue
            for index in (2 * number, 2 * number + 1):
                proof = await append(client, index, leaf(index + 1).encode())
                assert {one.name for one in proof.note.signatures} == {EPOCHS, "witness_2.example"}


async def test_a_log_does_not_grow_while_witnesses_that_may_be_a_quorum_are_silent(tmp_path: Path) -> None:
    scene = Scene(tmp_path, needed=1)
    async with scene.running(NAMES[:1]) as client:  # a quorum; and so may be the other one
        for _ in range(2):
            status, words, _ = await refused(append(client, 0, leaf(1).encode()))
            assert status is STATUS.UNAVAILABLE and "witness_2" in words
    assert not list((tmp_path / "log").glob("*/checkpoint"))
    async with scene.running() as client:
        await append(client, 0, leaf(1).encode())
        scene.ports.pop(NAMES[1])  # away since: it was asked in this run
        assert len((await append(client, 1, leaf(2).encode())).note.signatures) == 2


def proof_time(proof: TlogProof) -> int:
    """When the last of its signatures was made."""
    return int.from_bytes(proof.note.signatures[-1].signature[:8], "big")


def test_a_checkpoint_that_was_cosigned_late_does_not_take_a_longer_ones_place(tmp_path: Path) -> None:
    log = Log(
        tmp_path,
        rules,
        SEED,
        Cosigning([], POLICY.is_quorum, EventLog("log"), lambda: 0.0),
    )
    stream = log._stream(EPOCHS, "test")
    log._appended(stream, 0, leaf(1).encode())
    short = stream.store.note
    assert short is not None
    log._appended(stream, 1, leaf(2).encode())
    made = TlogProof.parse(_proven(stream, 0, short).proof)
    assert made.verify(leaf(1).encode()) == Passed() and made.head.size == 1
    assert stream.store.size == TreeStore(stream.store._folder, EPOCHS).size == 2


# --- the tree in files -----------------------------------------------------------------------------


def grown(store: TreeStore, entries: Sequence[bytes]) -> None:
    head = store.extended(entries)
    store.keep(Note(head.text, (KEY.sign(head.text),)))


@pytest.mark.parametrize("batches", [[1] * 5, [255, 1, 1], [256, 256], [300, 211, 1, 600], [1, 700]])
def test_a_tree_in_files_is_the_tree_of_its_entries(tmp_path: Path, batches: Sequence[int]) -> None:
    entries = [str(n).encode() for n in range(sum(batches))]
    store = TreeStore(tmp_path, EPOCHS)
    done = 0
    for count in batches:
        grown(store, entries[done : done + count])
        done += count
        store = TreeStore(tmp_path, EPOCHS)
    tree = MemoryLog(entries, KEY)
    assert (store.size, store.head) == (len(entries), tree.checkpoint())
    memory = Tree.from_leaves([leaf_hash(one) for one in entries])
    for index in {0, done // 2, done - 1}:
        assert store.entry(index) == entries[index]
        assert prove_inclusion(store.nodes, index, done) == prove_inclusion(memory.node, index, done)
    reader = TilesReader(LocalBackend(tmp_path))
    reader.set_size(reader.get_checkpoint().size)
    assert reader.calculate_root_hash() == store.head.root


def test_a_checkpoint_of_another_log_or_a_damaged_one_ends_the_start(tmp_path: Path) -> None:
    grown(TreeStore(tmp_path, EPOCHS), [b"a"])
    with pytest.raises(StateError, match="another log"):
        TreeStore(tmp_path, COUNTS)
    (tmp_path / "checkpoint").write_bytes(b"junk")
    with pytest.raises(StateError, match="cannot be read"):
        TreeStore(tmp_path, EPOCHS)


def test_a_log_whose_tiles_are_damaged_signs_no_second_history(tmp_path: Path) -> None:
    grown(TreeStore(tmp_path, EPOCHS), [b"a", b"b", b"c"])
    tile = tmp_path / "tile" / "0" / "000.p" / "3"
    whole = tile.read_bytes()
    tile.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    store = TreeStore(tmp_path, EPOCHS)
    with pytest.raises(StateError, match="not those of the checkpoint"):
        store.extended([b"d"])
    tile.write_bytes(whole)
    grown(TreeStore(tmp_path, EPOCHS), [b"d"])


def test_a_log_with_the_tiles_of_another_history_grows_no_further(tmp_path: Path) -> None:
    for name, entries in (("log", [b"a", b"b", b"c"]), ("other", [b"a", b"b", b"d"])):
        grown(TreeStore(tmp_path / name, EPOCHS), entries)
    shutil.copytree(tmp_path / "other" / "tile", tmp_path / "log" / "tile", dirs_exist_ok=True)
    with pytest.raises(StateError, match="not those of the checkpoint"):
        TreeStore(tmp_path / "log", EPOCHS).extended([b"e"])


def test_a_narrower_form_of_a_whole_tile_is_its_first_rows(tmp_path: Path) -> None:
    entries = [str(n).encode() for n in range(300)]
    grown(TreeStore(tmp_path, EPOCHS), entries)
    store = TreeStore(tmp_path, EPOCHS)
    assert store.tile(0, 0, 3) == b"".join(map(leaf_hash, entries[:3]))
    assert store.tile(ENTRIES, 0, 3) == encode_entries(entries[:3])


@pytest.mark.parametrize("tile", ["0/000.p/3", "entries/000.p/3"])
@pytest.mark.parametrize(
    "damaged", [lambda raw: b"", lambda raw: raw[: len(raw) // 3], lambda raw: raw + raw]
)
def test_a_log_whose_tiles_are_cut_off_or_too_long_grows_no_further(
    tmp_path: Path, tile: str, damaged: Callable[[bytes], bytes]
) -> None:
    grown(TreeStore(tmp_path, EPOCHS), [b"a", b"b", b"c"])
    path = tmp_path / "tile" / tile
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(StateError, match="not those of the checkpoint"):
        TreeStore(tmp_path, EPOCHS).extended([b"d"])


def test_an_entry_that_is_too_long_for_a_bundle_is_refused_and_the_log_grows_on(tmp_path: Path) -> None:
    store = TreeStore(tmp_path, EPOCHS)
    with pytest.raises(ProtocolError, match="at most 65535 bytes"):
        store.extended([b"a", bytes(ENTRY_MOST + 1)])
    assert not list(tmp_path.iterdir())
    grown(store, [b"a", bytes(ENTRY_MOST)])
    assert TreeStore(tmp_path, EPOCHS).entry(1) == bytes(ENTRY_MOST)


def test_a_log_whose_upper_tile_is_too_long_grows_no_further(tmp_path: Path) -> None:
    grown(TreeStore(tmp_path, EPOCHS), [b"entry"] * 511)
    upper = tmp_path / "tile" / "1" / "000.p" / "1"
    upper.write_bytes(upper.read_bytes() * 2)
    with pytest.raises(StateError, match="not those of the checkpoint"):
        TreeStore(tmp_path, EPOCHS).extended([b"more"])


@pytest.mark.parametrize("entries", [1, 256_001])
def test_every_file_and_folder_that_a_log_or_a_witness_keeps_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    synced = set[Path]()
    for module in (tree_store, witness_module):
        monkeypatch.setattr(module, "sync_folder", synced.add)
    monkeypatch.setattr(tree_store, "_SYNC_ALL_FROM", 1 << 20)
    files = set[int]()
    monkeypatch.setattr(tree_store.os, "fsync", lambda number: files.add(os.fstat(number).st_ino))
    folder = tmp_path / "log" / "stream"
    TreeStore(folder, EPOCHS).extended([b"entry"] * entries)
    made = {one for one in folder.rglob("*") if one.is_dir()}
    assert synced == made | {folder, folder.parent}
    assert files == {one.stat().st_ino for one in folder.rglob("*") if one.is_file()}
    Witness(tmp_path / "witness" / "state", signer("w.example"), lambda origin: None, LOG, lambda: 7.0)
    assert tmp_path / "witness" in synced


@pytest.mark.skipif(not hasattr(os, "sync"), reason="there is no call for all files")
def test_many_new_tiles_are_brought_to_the_disk_by_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[str]()
    monkeypatch.setattr(tree_store.os, "sync", lambda: calls.append("all"))
    monkeypatch.setattr(tree_store.os, "fsync", lambda number: calls.append("one"))
    TreeStore(tmp_path, EPOCHS).extended([b"entry"] * 32 * 256)
    assert calls == ["all"]


def test_a_partial_tile_is_there_until_the_whole_one_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [str(n).encode() for n in range(255)]
    grown(TreeStore(tmp_path, EPOCHS), entries)

    def power_fails(paths: Sequence[Path], root: Path) -> None:
        for path in paths:
            path.write_bytes(b"")  # its name is on the disk, and nothing of its content
        raise OSError

    monkeypatch.setattr(tree_store, "_sync", power_fails)
    with pytest.raises(OSError):
        TreeStore(tmp_path, EPOCHS).extended([b"more"])
    monkeypatch.undo()
    store = TreeStore(tmp_path, EPOCHS)
    assert [store.entry(at) for at in (0, 254)] == [entries[0], entries[254]]
    grown(store, [b"more"])
    assert store.head == MemoryLog([*entries, b"more"], KEY).checkpoint()
    assert not (tmp_path / "tile" / "0" / "000.p").exists()


def test_a_whole_tile_that_did_not_count_yet_can_be_lost_while_it_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [str(n).encode() for n in range(255)]
    grown(TreeStore(tmp_path, EPOCHS), entries)
    TreeStore(tmp_path, EPOCHS).extended([b"never counted"])  # killed before the checkpoint

    def killed(path: Path, data: bytes) -> int:
        with path.open("wb"):
            raise OSError

    monkeypatch.setattr(Path, "write_bytes", killed)
    with pytest.raises(OSError):
        TreeStore(tmp_path, EPOCHS).extended([b"more"])
    for whole in (tmp_path / "tile").glob("*/000"):
        whole.unlink()
    monkeypatch.undo()
    store = TreeStore(tmp_path, EPOCHS)
    assert [store.entry(at) for at in (0, 254)] == [entries[0], entries[254]]
    grown(store, [b"more"])
    assert store.head == MemoryLog([*entries, b"more"], KEY).checkpoint()
    assert not list((tmp_path / "tile").glob("*/000.p"))[1:]


# --- killed between save and cosign ----------------------------------------------------------------


def in_child(run: Any) -> int:
    """Run in a forked process; its exit code."""
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join()
    return child.exitcode or 0


def killed_at(point: str, run: Any) -> None:
    def dying() -> None:
        failpoint.arm(lambda name: die() if name == point else None)
        run()

    assert in_child(dying) == -signal.SIGKILL


@pytest.mark.parametrize("point", ["log.checkpoint.before", "log.checkpoint.after"])
@pytest.mark.parametrize("begun", [0, 2, 255, 256])
def test_a_log_that_is_killed_has_signed_one_history(tmp_path: Path, point: str, begun: int) -> None:
    entries = [str(n).encode() for n in range(begun)]
    if begun:
        grown(TreeStore(tmp_path, EPOCHS), entries)
    killed_at(point, lambda: grown(TreeStore(tmp_path, EPOCHS), [b"mine"]))
    store = TreeStore(tmp_path, EPOCHS)
    kept = point.endswith("after")
    assert store.size == begun + kept
    if kept:
        assert store.entry(begun) == b"mine"
        assert store.head == MemoryLog([*entries, b"mine"], KEY).checkpoint()
    else:
        grown(store, [b"another", b"more"])  # nothing was signed: another leaf may come there
        assert store.head == MemoryLog([*entries, b"another", b"more"], KEY).checkpoint()


@pytest.mark.parametrize("point", ["witness.keep.before", "witness.keep.after", "witness.cosign.before"])
def test_a_witness_that_is_killed_never_cosigns_two_histories(tmp_path: Path, point: str) -> None:
    one = MemoryLog([b"a", b"b"], KEY)
    other = MemoryLog([b"a", b"c"], KEY)
    key = signer("w.example", COSIGNATURE)

    def asked(log: MemoryLog) -> wire.AddCheckpointReply:
        witness = Witness(tmp_path, key, lambda origin: KEY.key, LOG, lambda: 7.0)
        return witness._answer(AddCheckpoint(0, (), log.note(())).encode())

    killed_at(point, lambda: asked(one))
    kept = point != "witness.keep.before"
    assert (asked(other).status == OK) is not kept
    again = asked(one)
    assert again.status != OK or not kept
    if kept:
        witness = Witness(tmp_path, key, lambda origin: KEY.key, LOG, lambda: 7.0)
        assert witness._answer(AddCheckpoint(2, (), one.note(())).encode()).status == OK
        assert witness._answer(AddCheckpoint(2, (), other.note(())).encode()).status != OK


def test_a_witness_whose_record_is_damaged_cosigns_nothing(tmp_path: Path) -> None:
    witness = Witness(tmp_path, signer("w.example"), lambda origin: KEY.key, LOG, lambda: 7.0)
    body = AddCheckpoint(0, (), MemoryLog([b"a"], KEY).note(())).encode()
    assert witness._answer(body).status == OK
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"")
    with pytest.raises(StateError, match="cannot be read"):
        witness._answer(body)


# --- cancelled while a thread writes ---------------------------------------------------------------


class SlowDisk:
    """Holds up the `nth` small file that is written through a module, until `go` is set."""

    def __init__(self, patch: pytest.MonkeyPatch, module: Any, nth: int = 1) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        self._left = nth
        self._write = module.replace_file
        patch.setattr(module, "replace_file", self)

    def __call__(self, path: Path, content: bytes) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            assert self.go.wait(SECONDS)
        self._write(path, content)

    async def cancelled_then(self, first: Any, second: Any) -> Any:
        """Cancel `first` while the disk holds it up, ask `second` meanwhile; what becomes of that."""
        one = asyncio.create_task(first)
        assert await asyncio.to_thread(self.reached.wait, SECONDS)
        one.cancel()
        await asyncio.wait([one])
        other = asyncio.create_task(second)
        await asyncio.wait([other], timeout=0.3)
        self.go.set()
        await asyncio.wait([other])
        assert one.cancelled()
        return other.exception() or other.result()


def called(caller: Identity) -> Call:
    return Call("", "", asyncio.Event(), caller)


async def test_a_witness_whose_call_is_cancelled_while_it_keeps_cosigns_one_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = MemoryLog([b"a"], KEY)
    other = MemoryLog([b"b"], KEY)
    witness = Witness(tmp_path, signer("w.example"), lambda origin: KEY.key, LOG, lambda: 7.0)
    call = called(Identity.of(LOG))
    disk = SlowDisk(monkeypatch, witness_module)

    def ask(old: int, log: MemoryLog) -> Any:
        request = wire.AddCheckpointRequest(body=AddCheckpoint(old, (), log.note(())).encode())
        return witness.add_checkpoint(request, call)

    assert (await disk.cancelled_then(ask(0, one), ask(0, other))).status == CONFLICT
    assert (await ask(1, other)).status != OK
    assert (await ask(1, one)).status == OK


@pytest.mark.parametrize("nth", [1, 2], ids=["signed", "cosigned"])
@pytest.mark.parametrize("index", [0, 1])
async def test_a_log_whose_call_is_cancelled_while_it_writes_signs_one_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, index: int
) -> None:
    credentials = Deployment().credentials(Identity.of(LOG))
    log = Log(tmp_path, rules, SEED, Cosigning([], POLICY.is_quorum, credentials, EventLog("log")))
    call = called(OPERATOR)
    disk = SlowDisk(monkeypatch, tree_store, nth)
    first = leaf(1).encode()
    second = leaf(index + 1, entries=2).encode()

    def ask(at: int, raw: bytes) -> Any:
        return log.append(wire.AppendRequest(origin=EPOCHS, index=at, leaf=raw), call)

    found = await disk.cancelled_then(ask(0, first), ask(index, second))
    assert isinstance(found, ConflictError) is (index == 0), found
    kept = TreeStore(tmp_path / EPOCHS.replace("/", "_"), EPOCHS)
    assert kept.head == MemoryLog([first, second][: index + 1], KEY).checkpoint()


# --- a month's leaf --------------------------------------------------------------------------------

WRONG_MONTHS: list[bytes] = [
    b"", b"{}", b"[]", b"1", b"\xff", b"[" * 9999, counted(1) + b" ", counted(1).replace(b"1}", b"-1}"),
    counted(1).replace(b"1}", b"true}"), counted(1).replace(b"2026-01", b"2026-13"),
    counted(1).replace(b'{"reports":1}', b'[[1,1],["a",1]]'), counted(1).replace(b"counts", b"count"),
    counted(1).replace(b'{"reports"', b'{"reports":2,"reports"'),
]  # fmt: skip


@pytest.mark.parametrize("raw", WRONG_MONTHS)
def test_what_is_no_month_s_leaf_is_refused(raw: bytes) -> None:
    assert parse_leaf(counted(1)) == (Month(2026, 1), {"reports": 1})
    with pytest.raises(ProtocolError, match="blindmatch-monthly-counts"):
        parse_leaf(raw)
