"""A deployment with a log: what is published, pinned, renewed, told to peers, shown and verified offline."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from blindmatch_client.device import Device
from blindmatch_client.epochs.trusted import Doubt, Kind
from blindmatch_client.errors import EpochRefusedError
from blindmatch_client.matching.matching import DistrustError
from blindmatch_proofs.checkpoint import ED25519, Checkpoint, Note, NoteSigner
from blindmatch_proofs.epoch import EpochLeaf, SplitView, View
from blindmatch_proofs.tlog import Policy, TlogProof, build_policy
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import seeded, system_randomness
from blindmatch_protocol.contract import NO_LABEL, EntrySource, Party, batches_of, no_progress
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_server.centre.service import Backing
from blindmatch_server.epochs.published import Logged, current_epoch, read_logged
from blindmatch_server.matching.epochs import Renewing
from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.files import hold, line_of
from blindmatch_simulations.testbed.deployment import curating as epoch_log
from blindmatch_simulations.testbed.deployment.doctor import logged as findings
from blindmatch_simulations.testbed.deployment.doctor import servers
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.folder_checks import Status
from blindmatch_simulations.testbed.deployment.hosting import pack_server
from blindmatch_simulations.testbed.deployment.operators import OperatorError, backed_by
from blindmatch_simulations.testbed.deployment.registry import note_design
from blindmatch_simulations.testbed.deployment.transparency import (
    LOG,
    LogError,
    log_seed,
    make_log,
    read_log,
    witness_signer,
)
from blindmatch_simulations.testbed.scenario.world import World, until
from msgspec.structs import force_setattr, replace
from support.command import in_process
from support.fakes import picture
from support.logs import LOG as LOG_KEY
from support.logs import NOW, WITNESSES, MemoryLog, signer
from support.memory import random_hashes
from support.signed import CURATOR

DESIGN = "hash-upload"
EXAMPLE = Path(__file__).parents[2] / "examples" / "verify_epoch.py"


def now() -> datetime:
    return datetime.now(UTC)


def source(count: int) -> EntrySource:
    salts = np.frombuffer(seeded("salts").take(16 * count), np.uint8).reshape(count, 16)
    return batches_of(random_hashes(count), np.arange(1, count + 1, dtype=np.uint64), salts)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World.create(tmp_path / "home", DESIGN, witnesses=2) as made:
        made.start(made.log_parties, threads=True)
        made.publish(source(3), system_randomness())
        made.start(threads=True)
        yield made


def proof_of(world: World, epoch: int) -> TlogProof:
    logged = read_logged(world.published / str(epoch))
    assert logged is not None
    return TlogProof.parse(logged.proof)


def test_a_device_takes_logged_epochs_and_what_is_not_logged_is_not_served(world: World) -> None:
    alice = world.device("alice").device
    world.stop()
    world.start((LOG, *world.log_parties[1:2]), threads=True)  # a witness of two is away
    with pytest.raises(LogError, match="quorum"):
        world.publish(source(4), system_randomness())
    assert current_epoch(world.published) == 1
    world.stop()
    world.start(world.log_parties, threads=True)
    world.publish(source(4), system_randomness())  # the same build: it is finished
    world.start(threads=True)
    assert alice.refresh() == current_epoch(world.published) == proof_of(world, 2).head.size == 2
    assert alice.standing().evidence == ()
    (found,) = findings(world.deployment, world.design, now())
    assert (found.status, "epoch 2 is logged" in found.what) == (Status.OK, True)
    (soon,) = findings(world.deployment, world.design, now() + timedelta(days=4))
    assert (soon.status, soon.remedy) == (Status.WARNING, "blindmatch log renew")
    (late,) = findings(world.deployment, world.design, now() + timedelta(days=8))
    assert (late.status, late.remedy) == (Status.WRONG, "blindmatch log renew")
    (world.deployment.curator_keys / "curator.pub").write_bytes(line_of(CURATOR.public))
    (unsigned,) = findings(world.deployment, world.design, now())
    assert (unsigned.status, unsigned.remedy) == (Status.WRONG, "blindmatch list build NAME")
    assert "leaf must be signed by the curator" in unsigned.what


def test_a_witness_that_does_not_cosign_or_answer_is_found(tmp_path: Path) -> None:
    with World.create(tmp_path / "home", DESIGN, witnesses=3, needed=2) as world:
        world.start((LOG, Party("witness_1"), Party("witness_3")), threads=True)
        world.publish(source(3), system_randomness())
        logged, missing = findings(world.deployment, world.design, now())
        assert (logged.status, missing.check, missing.status) == (Status.OK, "witnesses", Status.WARNING)
        assert "witness_2" in missing.what and "witness_1" not in missing.what
        asked = {one.check: one.status for one in servers(world.deployment, world.design, None)}
    assert (asked["log"], asked["witness_1"]) == (Status.OK, Status.OK)
    assert (asked["witness_2"], asked["relay"]) == (Status.UNREACHABLE, Status.UNREACHABLE)


def test_a_log_that_is_put_back_says_so_to_whoever_publishes_and_grows_no_further(world: World) -> None:
    state = world.deployment.server(LOG) / "state"
    shutil.copytree(state, old := state.with_name("old"))
    world.publish(source(4), system_randomness())
    world.stop()
    state.rename(newest := state.with_name("newest"))
    old.rename(state)
    world.start(world.log_parties, threads=True)
    with pytest.raises(OperatorError, match=r"FAILED_PRECONDITION.*witness_1, witness_2.*newest state"):
        world.publish(source(5), system_randomness())
    world.stop()
    shutil.rmtree(state)
    newest.rename(state)
    world.start(world.log_parties, threads=True)
    world.publish(source(5), system_randomness())
    assert current_epoch(world.published) == proof_of(world, 3).head.size == 3


def test_a_proof_is_renewed_while_the_epoch_is_served(world: World) -> None:
    before = proof_of(world, 1)
    (world.published / "1" / "epoch.proof").unlink()
    assert [one.status for one in findings(world.deployment, world.design, now())] == [Status.WRONG]
    epoch_log.renew(world.deployment, world.design)
    assert proof_of(world, 1).head == before.head
    world.device("alice")


def aged(world: World, days: float) -> Path:
    """The served epoch's proof as if it had been cosigned so long ago; its file."""
    deployment = world.deployment
    path = world.published / "1" / "epoch.proof"
    proof = TlogProof.parse(path.read_bytes())
    at = int((now() - timedelta(days=days)).timestamp())
    text = proof.note.text
    old = (witness_signer(deployment, party).sign(text, at) for party in world.log_parties[1:])
    path.chmod(0o600)
    path.write_bytes(replace(proof, note=Note(text, (proof.note.signatures[0], *old))).encode())
    return path


def renewing_of(world: World, **changes: object) -> Renewing:
    log = read_log(world.deployment)
    deployment = world.deployment
    assert log is not None
    find = partial(getattr, deployment.endpoints()[LOG], "address")
    credentials = deployment.server_credentials(Party.MATCHER)
    made = Renewing(world.published, log.pinned(DESIGN), LOG, find, credentials)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_server_of_the_set_renews_a_proof_in_time_and_not_before(world: World) -> None:
    at = int(now().timestamp())
    renewing = renewing_of(world)
    assert asyncio.run(renewing.renewed(1, at)) is False
    for days in (4, 8):
        path = aged(world, days)
        stale = path.read_bytes()
        # refused, and nothing is lost: a log that is away, or whose answer is too old itself
        with pytest.raises(StateError, match="not running"):
            asyncio.run(replace(renewing, find=lambda: "").renewed(1, at))
        with pytest.raises(StateError, match="quorum"):
            asyncio.run(renewing.renewed(1, at + 30 * 86_400))
        assert path.read_bytes() == stale
        held = hold(world.published / ".proof.lock", StateError("held"), StateError)
        with held, pytest.raises(StateError, match="try again"):
            asyncio.run(renewing.renewed(1, at))
        assert path.read_bytes() == stale
        assert asyncio.run(renewing.renewed(1, at)) is True
        assert asyncio.run(renewing.renewed(1, at)) is False
    world.device("alice")


def test_a_log_does_not_put_an_older_proof_in_the_place_of_what_is_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = aged(world, 6).read_bytes()
    held = (path := aged(world, 4)).read_bytes()

    async def answer(*_: object) -> bytes:
        return older

    monkeypatch.setattr(Renewing, "_asked", answer)
    with pytest.raises(StateError, match="due at once"):
        asyncio.run(renewing_of(world).renewed(1, int(now().timestamp())))
    assert path.read_bytes() == held


def test_a_deployment_that_nobody_looks_after_keeps_its_proof_fresh(world: World) -> None:
    world.stop()
    stale = aged(world, 8).read_bytes()
    world.start(threads=True)
    path = world.published / "1" / "epoch.proof"
    until(lambda: (path.read_bytes() != stale, 1, None), 150, no_progress)
    world.device("alice")


def test_a_split_view_that_a_message_shows_is_evidence_for_anyone(world: World, tmp_path: Path) -> None:
    alice = world.device("alice").device
    bob = world.device("bob").device
    assert 2 * 256 < len(alice._sender.choose_checkpoint("nobody")) < 3 * 256
    world.send_text("alice", "bob", "as it is")
    assert [one.text for one in world.receive("bob", 1)] == ["as it is"]
    assert bob.standing().evidence == ()
    forked = Note.parse(forged(world, 1, *world.log_parties[1:]))
    force_setattr(alice._sender, "choose_checkpoint", lambda peer: forked.encode())
    world.send_text("alice", "bob", "from elsewhere")
    world.receive("bob", 1)
    (found,) = bob.standing().evidence
    assert found.kind is Kind.SPLIT
    assert "alice was shown another log" in found.words
    with pytest.raises(DistrustError):
        bob.refresh()
    bob.forgive(Doubt.LOG)
    junk = forked.add_signatures(
        replace(forked.signatures[0], name="junk.example")
    )  # others' lines tell nothing new
    for repeated in (forked, junk):
        force_setattr(alice._sender, "choose_checkpoint", lambda peer, note=repeated: note.encode())
        world.send_text("alice", "bob", "from elsewhere")
        world.receive("bob", 1)
        assert bob.standing().evidence == (found,) and bob.refresh() == 1
    bob.close()
    home = world.deployment.home
    out = tmp_path / "evidence"
    assert in_process(home, "proof", "export", "bob", out).code == 0
    log = read_log(world.deployment)
    assert log is not None
    policy = tmp_path / "policy.txt"
    policy.write_text(log.pinned(DESIGN).policy.text)
    (file,) = out.iterdir()
    shown = in_process(home, "proof", "verify", file, "--policy", policy, "--json", tmp_path / "r.json")
    assert shown.code == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["verified"] is True
    assert result["cosigned both"].split(", ") == sorted(key.name for key in log.witnesses.values())
    file.write_bytes(file.read_bytes().replace(b"epochs/hash-upload\\n1\\n", b"epochs/hash-upload\\n2\\n", 1))
    assert in_process(home, "proof", "verify", file, "--policy", policy).code == 1


def test_a_report_of_an_epoch_whose_leaf_is_of_version_1_is_backed_by_nothing(world: World) -> None:
    leaf = world.published / "1" / "epoch.leaf"
    assert (found := backed_by(world.deployment, world.design)(1, NO_LABEL)).leaf is not None and found.proof
    leaf.chmod(0o600)
    leaf.write_bytes((Path(__file__).parents[1] / "vectors" / "epoch-leaf-v1.bin").read_bytes())
    assert backed_by(world.deployment, world.design)(1, NO_LABEL) == Backing()


def forged(world: World, size: int, *cosigners: Party, root: bytes = bytes(32)) -> bytes:
    """A checkpoint of so many leaves that the log signed beside its tree, and `cosigners` with it."""
    head = proof_of(world, 1).head
    text = Checkpoint(head.origin, size, root).text
    log = NoteSigner.from_seed(head.origin, ED25519, log_seed(world.deployment))
    at = int(now().timestamp())
    lines = [witness_signer(world.deployment, party).sign(text, at) for party in cosigners]
    return Note(text, (log.sign(text), *lines)).encode()


def next_epoch(world: World, count: int) -> None:
    world.publish(source(count), system_randomness())
    world.stop()
    world.start(threads=True)


def tell(world: World, alice: Device, note: bytes) -> None:
    """Alice's message to Bob bears a checkpoint."""
    force_setattr(alice._sender, "choose_checkpoint", lambda peer: note)
    world.send_text("alice", "bob", "hello")
    world.receive("bob", 1)


@pytest.mark.parametrize("size", [1, 2, 1 << 40])
@pytest.mark.parametrize("cosigned", [0, 1])
def test_a_log_and_a_peer_stop_no_device(world: World, size: int, cosigned: int) -> None:
    alice = world.device("alice").device
    bob = world.device("bob").device
    for root in range(3):
        tell(world, alice, forged(world, size, *world.log_parties[1 : 1 + cosigned], root=bytes([root] * 32)))
    assert [one.kind for one in bob.standing().evidence] == [Kind.SPLIT] * (size == 1)
    assert bob.log_distrust is None
    next_epoch(world, 4)
    assert bob.refresh() == 2


@pytest.mark.parametrize("size", [1, 2, 3, 1 << 40])
def test_who_trusts_again_goes_on_whatever_a_quorum_cosigned_and_evidence_is_kept(
    world: World, size: int
) -> None:
    alice = world.device("alice").device
    bob = world.device("bob").device
    tell(world, alice, note := forged(world, size, *world.log_parties[1:]))
    next_epoch(world, 4)
    with pytest.raises((DistrustError, EpochRefusedError)):
        bob.refresh()
    bob.forgive(Doubt.LOG)
    assert bob.refresh() == 2
    assert any(
        Checkpoint.from_note(Note.parse(one.held or one.shown)).size == size
        for one in bob.standing().evidence
    )
    count = len(bob.standing().evidence)
    tell(world, alice, note)
    next_epoch(world, 5)
    assert bob.refresh() == 3 and len(bob.standing().evidence) == count


def test_who_forgives_the_matcher_launders_no_forked_log(world: World) -> None:
    """A bad reply is what `device forgive` is for: a checkpoint that a peer told of outlives it, and so does
    the doubt of a log that showed two histories, whatever came after it."""
    alice = world.device("alice").device
    bob = world.device("bob").device
    tell(world, alice, note := forged(world, 2, *world.log_parties[1:]))
    bob._matcher.record.add_doubt(Doubt.ROLES, "a bad reply")
    bob.forgive(Doubt.ROLES)
    next_epoch(world, 4)
    with pytest.raises(EpochRefusedError, match="does not continue"):
        bob.refresh()
    assert bob.log_distrust and bob.distrust is None
    bob._matcher.record.add_doubt(Doubt.ROLES, "a bad reply after it")
    bob.forgive(Doubt.ROLES)
    with pytest.raises(DistrustError):
        bob.refresh()
    assert bob.distrust is None and bob.log_distrust
    assert note in {one.held for one in bob.standing().evidence}
    bob.close()
    home = world.deployment.home
    told = in_process(home, "device", "status", "bob")
    assert "device trust-log bob" in told.out and "device forgive" not in told.out
    assert in_process(home, "device", "forgive", "bob").code == 0
    assert "trust-log bob" in in_process(home, "device", "status", "bob").out
    assert in_process(home, "device", "trust-log", "bob").code == 0
    assert "trust-log" not in in_process(home, "device", "status", "bob").out


@pytest.mark.parametrize("first", [False, True])
def test_a_second_history_that_was_held_when_the_user_went_on_is_evidence_whatever_was_told_before(
    world: World, first: bool
) -> None:
    alice = world.device("alice").device
    bob = world.device("bob").device
    if first:
        tell(world, alice, forged(world, 1, root=bytes([7] * 32)))  # the log alone signed it
    tell(world, alice, note := forged(world, 2, *world.log_parties[1:]))
    bob.forgive(Doubt.LOG)  # for whatever reason: no epoch was refused for it
    next_epoch(world, 4)
    assert bob.refresh() == 2
    for _ in range(2):
        tell(world, alice, note)
        *before, found = bob.standing().evidence
        assert len(before) == first and found.kind is Kind.SPLIT and found.shown == note
        assert "A quorum cosigned that" in found.words and bob.log_distrust is None
    next_epoch(world, 5)
    assert bob.refresh() == 3


def test_hashes_of_leaves_are_those_under_the_checkpoint(world: World) -> None:
    held = read_logged(world.published / "1")
    assert held is not None
    leaf = EpochLeaf.decode(held.leaf)
    proof = TlogProof.parse(held.proof)
    good = b"".join(held.tree.levels[0])
    assert Logged.of(leaf, proof, good) == held
    for wrong in (good[:-1] + bytes([good[-1] ^ 1]), good + bytes(32), b""):
        with pytest.raises(ProtocolError, match="under the checkpoint"):
            Logged.of(leaf, proof, wrong)


def test_an_epoch_is_verified_with_its_files_alone(world: World, tmp_path: Path) -> None:
    home = world.deployment.home
    policy = tmp_path / "policy.txt"
    assert in_process(home, "log", "show", "--design", DESIGN, "--policy", policy).code == 0
    note_design(world.deployment, DESIGN)
    ran = in_process(home, "log", "show", "--policy", tmp_path / "noted.txt")
    assert ran.code == 0 and f"which devices of {DESIGN} pin" in " ".join(ran.out.split())
    assert (tmp_path / "noted.txt").read_bytes() == policy.read_bytes()
    assert "7 days" in in_process(home, "log", "show").out
    proof = world.published / "1" / "epoch.proof"
    assert in_process(home, "proof", "verify", proof, "--policy", policy).code == 0
    for changed in ("epoch.proof", "epoch.leaf"):
        folder = tmp_path / changed
        folder.mkdir()
        for name in ("epoch.proof", "epoch.leaf"):
            raw = bytearray((world.published / "1" / name).read_bytes())
            raw[-20] ^= name == changed
            (folder / name).write_bytes(raw)
        assert in_process(home, "proof", "verify", folder / "epoch.proof", "--policy", policy).code != 0
    (other := tmp_path / "other.pub").write_bytes(line_of(CURATOR.public))
    own = world.deployment.curator_keys / "curator.pub"
    for more, code in (("--at", "2040-01-01"), 1), (("--curator", other), 1), (("--curator", own), 0):
        assert in_process(home, "proof", "verify", proof, "--policy", policy, *more).code == code
    assert in_process(home, "proof", "verify", proof).code == 2


def test_evidence_of_two_leaves_says_whose_doing_they_are(tmp_path: Path) -> None:
    first = CURATOR.leaf(EpochManifest("dummy", 1, 1, 0, bytes(32), 5, 6, 1, (), (), ()))
    file, policy, curator, result = (tmp_path / name for name in ("split", "policy.txt", "pub", "result"))
    policy.write_text(build_policy([LOG_KEY.key], {"one": [WITNESSES[0].key]}, 1).text)
    curator.write_bytes(line_of(CURATOR.public))
    others = {
        "the curator's, ": CURATOR.leaf(replace(first.manifest, entries=2)),
        "the log's: ": replace(first, sealing_key=b"o" * 32),
    }
    for whose, other in others.items():
        held = [MemoryLog([one.encode()]) for one in (first, other)]
        first_view, second = (View(one.proof(0).encode(), one.entries[0]) for one in held)
        file.write_bytes(SplitView(LOG_KEY.key, (first_view, second)).encode())
        more = ("--policy", policy, "--curator", curator, "--json", result)
        assert in_process(tmp_path, "proof", "verify", file, *more).code == 0
        assert json.loads(result.read_text())["whose doing"].startswith(whose)


def test_absence_is_shown_of_an_epoch_that_a_quorum_has_seen_if_the_verifier_has_a_policy(
    tmp_path: Path,
) -> None:
    file = tmp_path / "absent.proof"
    policy = tmp_path / "policy.txt"
    other = tmp_path / "other.txt"
    (tmp_path / "picture.png").write_bytes(picture(7))
    with World.create(tmp_path / "home", "oprf-psi", witnesses=2) as world:
        world.start(world.log_parties, threads=True)
        world.publish(source(3), system_randomness())
        world.start(threads=True)
        for name in ("alice", "bob"):
            world.device(name).device.close()
        absence = partial(in_process, world.deployment.home, "proof")
        assert absence("absence", "alice", tmp_path / "picture.png", file, "--to", "bob").code == 0
    in_process(world.deployment.home, "log", "show", "--design", "oprf-psi", "--policy", policy)
    own = Policy.parse(policy.read_text()).logs
    other.write_text(build_policy([*own.values()], {"one": [WITNESSES[0].key]}, 1).text)
    assert absence("verify", file).code == absence("verify", file, "--policy", policy).code == 0
    for more in (("--policy", other), ("--policy", policy, "--at", "2040-01-01")):
        unseen = absence("verify", file, *more, "--json", tmp_path / "found.json")
        assert unseen.code == 1 and "failed: the quorum of witnesses" in " ".join(unseen.out.split())
        found = json.loads((tmp_path / "found.json").read_text())
        assert (found["session"], "is not met" in found["logged"]) == ("passed", True)


@pytest.mark.parametrize(("design", "code"), [("dummy", 0), ("other", 1)])
def test_the_log_of_another_designs_epochs_proves_nothing(tmp_path: Path, design: str, code: int) -> None:
    leaf = CURATOR.leaf(EpochManifest("dummy", 1, 1, 0, bytes(32), 5, 6, 1, (), (), ()))
    held = MemoryLog([leaf.encode()], signer(f"log.example/epochs/{design}", ED25519))
    policy = tmp_path / "policy.txt"
    proof = tmp_path / "epoch.proof"
    policy.write_text(build_policy([held.key.key], {"one": [WITNESSES[0].key]}, 1).text)
    proof.write_bytes(held.proof(0).encode())
    proof.with_suffix(".leaf").write_bytes(leaf.encode())
    curator = tmp_path / "curator.pub"
    curator.write_bytes(line_of(CURATOR.public))
    more = ("--policy", policy, "--at", "2027-01-15T08:00:00", "--curator", curator)
    assert in_process(tmp_path, "proof", "verify", proof, *more).code == code
    command = [sys.executable, "-I", EXAMPLE, policy, curator, tmp_path, "--at", str(NOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = "epoch 1 of dummy: newest of log.example" if code == 0 else "does not hold: the log is of the"
    assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done.stderr


def test_a_log_is_made_once_before_the_first_epoch(world: World, tmp_path: Path) -> None:
    deployment = world.deployment
    with pytest.raises(DeploymentError, match="one log"):
        make_log(deployment, 2, 1)
    (deployment.home / "log.json").unlink()
    with pytest.raises(DeploymentError, match="begins with epoch 1"):
        make_log(deployment, 2, 1)
    fresh = Deployment.create(tmp_path / "fresh", now())
    for witnesses, needed in ((0, 0), (2, 3), (2, 0), (17, 1)):
        with pytest.raises(DeploymentError, match="witnesses"):
            make_log(fresh, witnesses, needed)
    (fresh.home / "log.json").write_text("{}")
    with pytest.raises(DeploymentError, match="damaged"):
        read_log(fresh)
    (fresh.home / "log.json").unlink()
    make_log(fresh, 2, 1)
    packed = {str(path) for path in pack_server(fresh, LOG, world.design, tmp_path / "packed")}
    assert {"log/keys/note.key", "log/log.key", "log.json"} <= packed
    assert not any("witness" in path or "curator.key" in path for path in packed)


def test_one_operator_of_two_witnesses_counts_once(tmp_path: Path) -> None:
    run_by = {Party("witness_1"): "Office, one", Party("witness_2"): "Office, one"}
    log = make_log(Deployment.create(tmp_path / "home", now(), run_by), 3, 2)
    policy = log.pinned(DESIGN).policy
    first, second, third = (key.name for key in log.witnesses.values())
    assert not policy.is_quorum({first, second})
    assert policy.is_quorum({second, third})


def test_a_deployment_without_a_log_says_so(tmp_path: Path) -> None:
    with World.create(tmp_path / "home", DESIGN) as world:
        world.publish(source(2), system_randomness())
        world.start(threads=True)
        world.device("alice").device.close()
        (found,) = findings(world.deployment, world.design, now())
        assert "no log" in found.what
        shown = in_process(world.deployment.home, "device", "status", "alice")
        assert "no policy pinned" in " ".join(shown.out.split())
        assert in_process(world.deployment.home, "log", "renew", "--design", DESIGN).code == 6


def test_the_example_verifies_an_epoch_without_our_packages(world: World, tmp_path: Path) -> None:
    epoch = world.published / "1"
    policy = tmp_path / "policy.txt"
    log = read_log(world.deployment)
    assert log is not None
    policy.write_text(log.pinned(DESIGN).policy.text)
    curator = world.deployment.curator_keys / "curator.pub"

    def ran(folder: Path, *more: str) -> tuple[int, str]:
        command = [sys.executable, "-I", EXAMPLE, policy, curator, folder, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert "blindmatch_" not in EXAMPLE.read_text()
    code, words = ran(epoch)
    assert (code, f"epoch 1 of {DESIGN}: newest of {log.name}" in words) == (0, True), words
    assert "a quorum cosigned it in time" in ran(epoch, "--at", str(1 << 31))[1]
    altered = tmp_path / "altered"
    altered.mkdir()
    rules = {"epoch.leaf": ("curator", "root", "leaf"), "epoch.proof": ("signed", "quorum", "path", "root")}
    for name, rule in rules.items():
        raw = (epoch / name).read_bytes()
        for at in (40, len(raw) // 2, len(raw) - 12):
            for other in rules:
                (altered / other).write_bytes((epoch / other).read_bytes())
            (altered / name).write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
            code, words = ran(altered)
            assert code == 1, (name, at)
            assert words.startswith("does not hold: ")
            assert any(word in words for word in (*rule, "form"))
