"""An epoch is used once it was checked as a whole; no server moves a device back, aside or onto a bad set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from blindmatch_client.epochs import adoption
from blindmatch_client.epochs.transparency import Seen, UnloggedError
from blindmatch_client.epochs.trusted import Doubt, Evidence, Kind
from blindmatch_client.errors import EpochRefusedError, MisbehavedError
from blindmatch_client.matching.matching import DistrustError
from blindmatch_client.messages.messages import OutcomeKind
from blindmatch_client.store.vault import Vault
from blindmatch_protocol import failpoint
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign, Party, Role
from blindmatch_protocol.designs.oprf_psi import DESIGN as OPRF_PSI
from blindmatch_protocol.designs.token_psi import DESIGN as TOKEN_PSI
from blindmatch_protocol.messages.epoch_manifest import (
    EpochManifest,
    ManifestParameter,
    RoleKey,
    SignedManifest,
)
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.setfile import SetFile
from blindmatch_server.epochs.signing import CuratorKey
from dummy_designs import ECHO, Echo
from msgspec.structs import replace
from support.fakes import Fail, Owned, World, down, hashes_with, picture, publish

from .conftest import MakeWorld

LISTED = picture(1)
OTHER = picture(2)
THIRD = picture(3)
HASHES = hashes_with(LISTED)
SHARD = (0x01, 0)
LABELS = (0x02, 0)


def at_epoch(make_world: MakeWorld, number: int, design: AnyDesign = ECHO) -> tuple[World, Owned]:
    """A device that adopted this epoch."""
    world = make_world(design, HASHES)
    world.matcher.epoch = publish(design, HASHES, number)
    world.device("bob")
    return world, world.device("alice")


def findings(alice: Owned) -> list[tuple[Kind, int]]:
    return [(one.kind, one.epoch) for one in alice.device.standing().evidence]


def test_an_epoch_is_looked_up_without_opening_all_that_were_ever_adopted(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, alice = at_epoch(make_world, 1)
    opened: Counter[str] = Counter()
    unseal = Vault.unseal

    def count(vault: Vault, value: Any, place: str, row: Any) -> Any:
        opened[place] += 1
        return unseal(vault, value, place, row)

    monkeypatch.setattr(Vault, "unseal", count)
    each = []
    for number in range(2, 12):
        world.matcher.epoch = publish(ECHO, HASHES, number)
        before = opened["adopted.manifest"]
        assert alice.device.refresh() == number
        each.append(opened["adopted.manifest"] - before)
    assert max(each) == each[0] <= 5


# --- A1: a set that fails for chosen pictures only ------------------------------------------------


def faulty(raw: bytes, design: AnyDesign, section: tuple[int, int]) -> bytes:
    """A set file that opens, with bytes in a section that are not those of its digest."""
    data = bytearray(raw)
    file = SetFile(raw, "set.bin", design.info.name, design.info.version)
    data[file.sections[section].offset + file.sections[section].length // 2] ^= 1
    return bytes(data)


@pytest.mark.parametrize("section", [SHARD, LABELS], ids=["shard", "labels"])
@pytest.mark.parametrize("design", [OPRF_PSI, TOKEN_PSI], ids=lambda d: d.info.name)
def test_a_set_that_would_fail_for_chosen_pictures_is_adopted_for_none(
    make_world: MakeWorld, design: AnyDesign, section: tuple[int, int]
) -> None:
    world = make_world(design, HASHES)
    setup = world.matcher.epoch.setup
    setup["set.bin"] = faulty(setup["set.bin"], design, section)
    with pytest.raises(SetFileError):
        world.device("alice")
    alice = world.device("alice", fresh=False)
    for data in (LISTED, OTHER):
        sent = alice.device.send_picture("bob", data)
        assert not sent.delivered and sent.outcome is OutcomeKind.DUE
    assert [alice.device.flush().waiting for _ in range(2)] == [2, 2]
    assert world.matcher.asked == [] and alice.device.epoch == 0
    assert set(findings(alice)) == {(Kind.FILES, 1)} and alice.device.distrust is None


def test_a_matcher_that_alters_a_signed_set_is_found_out_before_any_picture(make_world: MakeWorld) -> None:
    world = make_world(OPRF_PSI, HASHES)
    raw = world.matcher.epoch.setup["set.bin"]
    world.matcher.manifest = world.matcher._signed()
    world.matcher.epoch.setup["set.bin"] = faulty(raw, OPRF_PSI, LABELS)
    with pytest.raises(MisbehavedError, match="must have the digest that its manifest says"):
        world.device("alice")
    alice = world.device("alice", fresh=False)
    assert not alice.device.send_picture("bob", LISTED).delivered
    assert world.matcher.asked == [] and findings(alice) == [(Kind.BYTES, 1)]
    assert "must have the digest" in (alice.device.distrust or "")


class FailsOnListed(Echo):
    """ECHO that fails for one picture, after the matcher answered, as a set would that passed every check."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def receive(self, session: Any, setup: int, replies: Mapping[Role, Message], rng: Randomness) -> Any:
        if session.hash == Picture.from_bytes(LISTED).hash:
            raise self.error
        return super().receive(session, setup, replies, rng)


@pytest.mark.parametrize("error", [SetFileError("planted"), ZeroDivisionError("planted")], ids=type)
def test_a_fault_with_one_picture_ends_the_epoch_for_all_and_is_remembered(
    make_world: MakeWorld, error: Exception
) -> None:
    world, alice = at_epoch(make_world, 1, FailsOnListed(error))
    assert alice.device.send_picture("bob", OTHER).delivered
    before = len(world.matcher.asked)
    held = alice.device.send_picture("bob", LISTED)
    assert not held.delivered and "failed on this device" in held.notice
    asked = len(world.matcher.asked)
    assert asked == before + 1
    for _ in range(3):
        alice.device.flush()
    assert not alice.device.send_picture("bob", THIRD).delivered
    alice.device.close()
    alice = world.device("alice", fresh=False)
    assert not alice.device.send_picture("bob", OTHER).delivered and alice.device.flush().waiting == 3
    assert len(world.matcher.asked) == asked and findings(alice) == [(Kind.FAULT, 1)]
    assert alice.methods(Party.MATCHER).count("FetchSetup") == 0, "the files on this disk are right"


def test_a_newer_epoch_takes_the_place_of_one_that_failed(make_world: MakeWorld) -> None:
    design = FailsOnListed(SetFileError("planted"))
    world, alice = at_epoch(make_world, 1, design)
    alice.device.send_picture("bob", LISTED)
    world.matcher.epoch = publish(design, HASHES, 2)
    design.error = AssertionError("not reached")
    assert alice.device.send_picture("bob", OTHER).delivered and alice.device.epoch == 2


def test_the_user_may_try_a_set_that_failed_again(make_world: MakeWorld) -> None:
    _, alice = at_epoch(make_world, 1, FailsOnListed(SetFileError("planted")))
    alice.device.send_picture("bob", LISTED)
    alice.device.forgive(Doubt.ROLES)
    assert alice.device.send_picture("bob", OTHER).delivered


# --- A2: another epoch, another key, another list -------------------------------------------------


def unmoved(world: World, alice: Owned, epoch: int, data: bytes) -> None:
    """Whatever the matcher offers now, it stays at the epoch, and a picture of another list is no report."""
    asked = len(world.matcher.asked)
    sent = alice.device.send_picture("bob", data)
    alice.device.flush()
    assert not sent.delivered and sent.report_id is None and world.centre.sealed == []
    assert alice.device.epoch == epoch and len(world.matcher.asked) <= asked + 1


def test_a_matcher_cannot_move_a_device_back_to_an_older_list(make_world: MakeWorld) -> None:
    world, alice = at_epoch(make_world, 7)
    world.matcher.epoch = publish(ECHO, hashes_with(OTHER), 3)
    unmoved(world, alice, 7, OTHER)
    assert findings(alice) == [(Kind.OLDER, 3)]
    assert "epoch 3 is older than epoch 7" in (alice.device.distrust or "")
    (found,) = alice.device.standing().evidence
    assert SignedManifest.decode(found.shown).manifest.epoch == 3
    assert SignedManifest.decode(found.held).manifest.epoch == 7


@pytest.mark.parametrize("number", [7, 8])
def test_a_matcher_s_own_list_is_refused_whatever_its_epoch(make_world: MakeWorld, number: int) -> None:
    world, alice = at_epoch(make_world, 7)
    world.matcher.curator = CuratorKey.generate()
    world.matcher.epoch = publish(ECHO, hashes_with(OTHER), number)
    world.matcher.fail_next(Fail(grpc.StatusCode.FAILED_PRECONDITION), method="Exchange")
    unmoved(world, alice, 7, OTHER)
    assert findings(alice) == [(Kind.UNSIGNED, number)] and alice.device.distrust


def test_another_key_for_one_epoch_is_evidence_with_both_manifests(make_world: MakeWorld) -> None:
    world, alice = at_epoch(make_world, 7, OPRF_PSI)
    other = publish(OPRF_PSI, hashes_with(OTHER), 7, "another key")
    assert other.setup != world.matcher.epoch.setup
    world.matcher.epoch = other
    with pytest.raises(EpochRefusedError, match="signed two manifests of epoch 7"):
        alice.device.refresh()
    unmoved(world, alice, 7, OTHER)
    (found,) = alice.device.standing().evidence
    shown, held = (SignedManifest.decode(raw).manifest for raw in (found.shown, found.held))
    assert found.kind is Kind.FORKED and shown.epoch == held.epoch == 7
    assert shown.role_keys != held.role_keys and "show them" in found.words


FORKS: dict[str, Callable[[EpochManifest], EpochManifest]] = {
    "another predecessor": lambda m: replace(m, predecessor=b"x" * 32),
    "past an adopted epoch": lambda m: replace(m, predecessor_epoch=3),
    "no predecessor": lambda m: replace(m, predecessor_epoch=0, predecessor=bytes(32)),
}


@pytest.mark.parametrize("fork", FORKS)
def test_an_epoch_that_continues_another_history_is_refused(make_world: MakeWorld, fork: str) -> None:
    world, alice = at_epoch(make_world, 7)
    world.matcher.alter_manifest = FORKS[fork]
    world.matcher.epoch = publish(ECHO, hashes_with(OTHER), 8)
    unmoved(world, alice, 7, OTHER)
    assert findings(alice) == [(Kind.FORKED, 8)]


def test_an_epoch_after_some_that_were_missed_is_adopted(make_world: MakeWorld) -> None:
    world, alice = at_epoch(make_world, 7)
    missed = publish(ECHO, HASHES, 8)
    world.matcher.epoch = missed
    world.matcher._signed()
    world.matcher.epoch = publish(ECHO, HASHES, 9)
    assert alice.device.refresh() == 9 and findings(alice) == []


def test_an_epoch_that_has_not_begun_is_refused_until_then_and_nobody_is_accused(
    make_world: MakeWorld,
) -> None:
    world, alice = at_epoch(make_world, 7)
    world.matcher.epoch = publish(ECHO, HASHES, 8)
    world.matcher.alter_manifest = lambda m: replace(m, valid_from=3_000_000_000)
    sent = alice.device.send_picture("bob", LISTED)
    assert not sent.delivered and "valid only from" in sent.notice and alice.device.distrust is None
    alice.device.flush()
    assert findings(alice) == [(Kind.EARLY, 8)]
    world.matcher.alter_manifest = lambda m: m
    assert alice.device.flush().messages[0].delivered and alice.device.epoch == 8


def test_with_an_epoch_whose_manifest_has_ended_nobody_is_asked(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.matcher.alter_manifest = lambda m: replace(m, valid_until=1_600_000_000)
    alice = world.device("alice")
    sent = alice.device.send_picture("bob", LISTED)
    assert "the set of epoch 1 ended at 2020-09-13" in sent.notice and world.matcher.asked == []
    assert alice.device.distrust is None and findings(alice) == []


UNTRUE: dict[str, Callable[[EpochManifest], EpochManifest]] = {
    "parameters": lambda m: replace(m, parameters=(ManifestParameter("evaluations", 9), *m.parameters[1:])),
    "a role's key": lambda m: replace(m, role_keys=(RoleKey("matcher", b"k" * 32),)),
    "no role's key": lambda m: replace(m, role_keys=()),
}


@pytest.mark.parametrize("what", UNTRUE)
def test_a_manifest_that_says_other_than_the_files_is_refused(make_world: MakeWorld, what: str) -> None:
    world = make_world(OPRF_PSI, HASHES)
    world.matcher.alter_manifest = UNTRUE[what]
    with pytest.raises(SetFileError, match="than the manifest"):
        world.device("alice")
    assert findings(world.device("alice", fresh=False)) == [(Kind.FILES, 1)]


UNSIGNED: dict[str, bytes | None] = {"nothing": b"", "garbage": b"?" * 99, "too much": bytes(1 << 17)}


@pytest.mark.parametrize("what", UNSIGNED)
def test_what_is_no_signed_manifest_is_refused_and_nothing_is_fetched(
    make_world: MakeWorld, what: str
) -> None:
    world = make_world(ECHO, HASHES)
    world.matcher.manifest = UNSIGNED[what]
    with pytest.raises(MisbehavedError, match="signed by the curator"):
        world.device("alice")
    alice = world.device("alice", fresh=False)
    assert world.matcher.fetched == [] and findings(alice) == [(Kind.UNSIGNED, 0)]
    with pytest.raises(DistrustError):
        alice.device.refresh()
    assert alice.methods(Party.MATCHER) == []


def test_more_bytes_than_the_manifest_says_are_not_taken(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.matcher.alter_part = lambda part: pb.Part(size=part.size, data=part.data + b"x")
    with pytest.raises(MisbehavedError, match=r"more than the .* bytes announced"):
        world.device("alice")
    alice = world.device("alice", fresh=False)
    assert findings(alice) == [(Kind.BYTES, 1)] and alice.device.distrust


def test_forgiving_lets_the_matcher_be_asked_again_and_forgets_no_epoch(make_world: MakeWorld) -> None:
    world, alice = at_epoch(make_world, 7)
    right = world.matcher.epoch
    world.matcher.epoch = publish(ECHO, hashes_with(OTHER), 3)
    unmoved(world, alice, 7, OTHER)
    alice.device.forgive(Doubt.ROLES)
    with pytest.raises(EpochRefusedError, match="older than epoch 7"):
        alice.device.refresh()
    alice.device.forgive(Doubt.ROLES)
    world.matcher.epoch = right
    (sent,) = alice.device.flush().messages
    assert sent.outcome is OutcomeKind.NO_MATCH and findings(alice) == [(Kind.OLDER, 3)], (
        "kept for good, once"
    )


@pytest.mark.parametrize("split", [True, False])
def test_a_log_that_is_not_shown_to_continue_is_refused_and_not_called_two_histories(
    make_world: MakeWorld, split: bool
) -> None:
    world, alice = at_epoch(make_world, 7)

    def check(*args: Any) -> Seen:
        raise UnloggedError("not shown", b"shown", b"held")

    adopting = alice.device._matcher._adoption
    view = SimpleNamespace(check=check, list_sizes=list, is_split=lambda error: split)
    adopting._transparency = SimpleNamespace(view=view)
    world.matcher.epoch = publish(ECHO, HASHES, 8)
    fetched = len(world.matcher.fetched)
    with pytest.raises(EpochRefusedError, match="not shown"):
        alice.device.refresh()
    assert len(world.matcher.fetched) == fetched, "nothing of it is fetched"
    assert findings(alice) == [(Kind.SPLIT if split else Kind.UNCONTINUED, 8)]
    assert alice.device.log_distrust and not alice.device.distrust


def test_evidence_that_anybody_can_make_pushes_out_none_that_convicts(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, alice = at_epoch(make_world, 7)
    monkeypatch.setattr(adoption, "MOST_ROWS", 2)
    for kind in (Kind.UNSIGNED, Kind.EARLY, Kind.FORKED, Kind.SPLIT, Kind.ENTRY):
        for number in range(4):
            alice.device._matcher.record.keep(Evidence(kind, number, f"{number}", number))
    kept = Counter(kind for kind, _ in findings(alice))
    assert kept == {Kind.UNSIGNED: 2, Kind.EARLY: 2, Kind.FORKED: 4, Kind.SPLIT: 4, Kind.ENTRY: 4}


# --- cut off at any point -------------------------------------------------------------------------


class Killed(BaseException):
    """Ends the device where it stands."""


@pytest.fixture
def dies() -> Iterator[Callable[[str], None]]:
    """Ends the process, in effect, the first time a point is reached."""

    def arm(point: str) -> None:
        def handler(name: str) -> None:
            if name == point:
                failpoint.disarm()
                raise Killed

        failpoint.arm(handler)

    yield arm
    failpoint.disarm()


POINTS = ["setup.rename.before", "setup.rename.after", "setup.adopt.before", "setup.adopt.after"]


@pytest.mark.parametrize("point", POINTS)
def test_an_adoption_that_was_cut_off_goes_on_and_the_old_epoch_serves_until_then(
    make_world: MakeWorld, dies: Callable[[str], None], point: str
) -> None:
    world, alice = at_epoch(make_world, 7, OPRF_PSI)
    right = world.matcher.epoch
    world.matcher.epoch = publish(OPRF_PSI, hashes_with(LISTED, OTHER), 8)
    dies(point)
    with pytest.raises(Killed):
        alice.device.refresh()
    alice.device.close()
    alice = world.device("alice", fresh=False)
    fetched = len(world.matcher.fetched)
    adopted = point == "setup.adopt.after"
    if not adopted:
        new = world.matcher.epoch
        world.matcher.epoch = right
        assert alice.device.send_picture("bob", LISTED).reported and alice.device.epoch == 7
        world.matcher.epoch = new
    assert alice.device.send_picture("bob", OTHER).reported and alice.device.epoch == 8
    assert len(world.matcher.fetched) == fetched, "what was fetched is not fetched again"


def test_a_fault_is_on_disk_before_anything_else_is_done(make_world: MakeWorld, dies: Any) -> None:
    world, alice = at_epoch(make_world, 1, FailsOnListed(SetFileError("planted")))
    alice.device.send_picture("bob", LISTED)
    dies("device.commit.before")  # while the bytes are found right
    with pytest.raises(Killed):
        alice.device.send_picture("bob", OTHER)
    alice.device.close()
    alice = world.device("alice", fresh=False)
    asked = len(world.matcher.asked)
    assert not alice.device.send_picture("bob", OTHER).delivered and len(world.matcher.asked) == asked


def test_what_this_disk_damaged_is_fetched_again_and_checked_as_a_whole(make_world: MakeWorld) -> None:
    world, alice = at_epoch(make_world, 7, OPRF_PSI)
    alice.device.close()
    (path,) = (world.folder / "alice").rglob("set.bin")
    right = path.read_bytes()
    path.unlink()
    path.write_bytes(faulty(right, OPRF_PSI, LABELS))
    alice = world.device("alice", fresh=False)
    world.matcher.fail_always(down(), "FetchSetup")
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.delivered and sent.outcome is OutcomeKind.DUE, "the relay had it before the fault was met"
    asked = len(world.matcher.asked)
    assert not alice.device.send_picture("bob", OTHER).delivered and len(world.matcher.asked) == asked
    world.matcher.heal()
    first, second = alice.device.flush().messages
    assert first.reported and second.outcome is OutcomeKind.NO_MATCH
    assert alice.device.standing().adopted and path.read_bytes() == right
