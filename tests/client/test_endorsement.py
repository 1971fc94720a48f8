"""A device with a policy takes endorsed epochs alone, and reports an entry that is endorsed alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from blindmatch_client.epochs.trusted import Endorsing, Kind
from blindmatch_client.errors import EpochRefusedError
from blindmatch_client.messages.messages import OutcomeKind
from blindmatch_client.settings import DeviceConfig
from blindmatch_proofs import endorsement
from blindmatch_proofs.endorsement import (
    FILE,
    Action,
    Batch,
    EndorsementPolicy,
    Terms,
    hash_entries,
    write_table,
)
from blindmatch_proofs.endorsement.batch import build_endorsement_policy
from blindmatch_proofs.epoch import Endorsement, EpochLeaf, EpochPolicy
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import EntryBatch, Label, SetParameters, batches_of
from blindmatch_protocol.contract.steps import UNCONFIRMED_ID
from blindmatch_protocol.designs import hash_upload
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.designs.threshold_psi import DESIGN as THRESHOLD
from blindmatch_protocol.messages.epoch_manifest import EpochManifest, SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.testbed.inprocess.deployed import Build, MemoryWorkspace, opened
from msgspec.structs import replace
from support.endorsing import NAMES, POLICY, file_of, signed_batch
from support.fakes import CURATOR, Epoch, World, down, hashes_with, picture, publish
from support.logs import policy
from support.memory import salts_of

from .conftest import MakeWorld

LISTED = picture(1)
OTHER = picture(2)
HASHES = hashes_with(LISTED)
TERMS = Terms(CURATOR.public, DESIGN.info.name, POLICY)
signed = partial(signed_batch, terms=TERMS)


def entries() -> EntryBatch:
    """The list, as the fake matcher's set was built of it; the listed picture is last."""
    ids = np.arange(1, len(HASHES) + 1, dtype=np.uint64)
    return EntryBatch(HASHES, ids, salts_of(len(HASHES)))


def offer(
    world: World, batches: Sequence[tuple[Batch, EntryBatch]], in_set: int = len(HASHES), epoch: int = 1
) -> None:
    """Have the matcher serve the epoch, of so many entries, with these endorsements beside it."""
    world.matcher.epoch.setup[FILE] = file_of(batches, in_set, epoch)
    world.matcher.alter_manifest = lambda manifest: replace(manifest, entries=in_set)


def endorsed(
    make_world: MakeWorld, *by: str, terms: Terms = TERMS, epochs: tuple[int, int] = (1, 9)
) -> World:
    world = make_world(DESIGN, HASHES)
    offer(world, [(signed(entries(), by or NAMES[:2], terms=terms, epochs=epochs), entries())])
    return world


def findings(alice: Any) -> list[tuple[Kind, int]]:
    return [(one.kind, one.epoch) for one in alice.device.standing().evidence]


def test_a_match_with_an_endorsed_entry_is_reported(make_world: MakeWorld) -> None:
    world = endorsed(make_world)
    world.device("bob", endorsement=POLICY)
    alice = world.device("alice", endorsement=POLICY)
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.MATCH
    assert alice.device.send_picture("bob", OTHER).outcome is OutcomeKind.NO_MATCH
    again = world.device("alice", fresh=False, endorsement=POLICY)
    assert again.device.send_picture("bob", LISTED).outcome is OutcomeKind.MATCH
    assert findings(again) == []


def test_a_device_that_makes_vouchers_takes_no_table_that_is_not_endorsed(make_world: MakeWorld) -> None:
    """It learns of no match, so it could not look at an entry's endorsement later."""
    world = make_world(THRESHOLD, HASHES)
    terms = replace(TERMS, design=THRESHOLD.info.name)
    with pytest.raises(EpochRefusedError, match="the set bears no endorsements"):
        world.device("alice", endorsement=POLICY)
    refused = world.device("alice", fresh=False, endorsement=POLICY)
    assert refused.device.send_picture("bob", LISTED).outcome is OutcomeKind.DUE
    assert set(findings(refused)) == {(Kind.UNENDORSED, 1)}
    batch = signed_batch(entries(), NAMES[:2], terms=terms)
    world.matcher.epoch.setup[FILE] = file_of([(batch, entries())], len(HASHES), 1, THRESHOLD.info)
    world.device("bob", endorsement=POLICY)
    carol = world.device("carol", endorsement=POLICY)
    assert carol.device.send_picture("bob", LISTED).delivered and findings(carol) == []


def test_without_a_policy_the_curators_word_is_enough(make_world: MakeWorld) -> None:
    for world in (make_world(DESIGN, HASHES), endorsed(make_world, NAMES[0])):
        world.device("bob")
        assert world.device("alice").device.send_picture("bob", LISTED).outcome is OutcomeKind.MATCH


BAD = {
    "k - 1": lambda make: endorsed(make, NAMES[0]),
    "nothing beside it": lambda make: make(DESIGN, HASHES),
    "another deployment": lambda make: endorsed(make, terms=replace(TERMS, deployment=b"d" * 32)),
    "expired": lambda make: endorsed(make, epochs=(2, 9)),
}


@pytest.mark.parametrize("name", BAD)
def test_an_epoch_that_is_not_endorsed_is_refused_for_every_picture(make_world: MakeWorld, name: str) -> None:
    world = BAD[name](make_world)
    with pytest.raises(EpochRefusedError):
        world.device("alice", endorsement=POLICY)
    alice = world.device("alice", fresh=False, endorsement=POLICY)
    for data in (LISTED, OTHER):
        assert alice.device.send_picture("bob", data).outcome is OutcomeKind.DUE
    assert world.matcher.asked == [] and set(findings(alice)) == {(Kind.UNENDORSED, 1)}
    assert alice.device.distrust is None
    assert all(SignedManifest.decode(one.shown) for one in alice.device.standing().evidence)


def test_a_set_with_an_entry_more_than_was_endorsed_is_refused(make_world: MakeWorld) -> None:
    world = make_world(DESIGN, HASHES)
    part = entries().part(0, len(HASHES) - 1)
    offer(world, [(signed(part), part)])
    with pytest.raises(
        EpochRefusedError, match=f"{len(part)} entries are endorsed, the set has {len(HASHES)}"
    ):
        world.device("alice", endorsement=POLICY)


def test_a_set_with_an_entry_more_than_its_manifest_says_is_refused(make_world: MakeWorld) -> None:
    """The manifest agrees with what was endorsed; the curator, who signs it, has put another entry in."""
    world = make_world(DESIGN, HASHES)
    part = entries().part(0, len(HASHES) - 1)
    offer(world, [(signed(part), part)], len(part))
    with pytest.raises(SetFileError, match=f"hold {len(HASHES)} entries, and the manifest says {len(part)}"):
        world.device("alice", endorsement=POLICY)


def test_an_entry_that_takes_anothers_place_is_no_match_to_anybody(make_world: MakeWorld) -> None:
    """The count is right, and so is every signature; the set holds another picture than was endorsed."""
    world = make_world(DESIGN, HASHES)
    whole_list = entries()
    hashes = whole_list.hashes.copy()
    hashes[-1] ^= 1
    others = EntryBatch(hashes, whole_list.ids, whole_list.salts)
    offer(world, [(signed(others), others)])
    world.device("bob", endorsement=POLICY)
    alice = world.device("alice", endorsement=POLICY)
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.outcome is OutcomeKind.NO_MATCH and sent.delivered and sent.notice == ""
    standing = alice.device.standing()
    assert standing.reports == () and findings(alice) == [(Kind.ENTRY, 1)]
    (found,) = standing.evidence
    own = Label.decode(found.shown)
    assert own.entry_hash == HASHES[-1].tobytes() and "not endorsed" in found.words
    assert [one.outcome for one in alice.traced.sessions][-1].__class__.__name__ == "NoMatch"


def with_reserved_id(
    world: World, values: dict[str, int] | None = None, entry: int | None = None, salt: int = 0
) -> EntryBatch:
    """The list, in whose set the listed picture's label bears a reserved id or salt, by default those of a
    filter's match; with `entry`, the list that is returned has it, too."""
    whole = entries()
    ids = whole.ids.copy()
    salts = whole.salts.copy()
    ids[-1] = UNCONFIRMED_ID if entry is None else entry
    salts[-1] = salt
    if entry is not None:
        whole = EntryBatch(whole.hashes, ids, salts)
    out = MemoryWorkspace()
    source = batches_of(whole.hashes, ids, salts)
    made = DESIGN.publish(source, SetParameters(1, values or {}), seeded("publish"), None, out)
    place = opened(Build(DESIGN, 1, HASHES, out.files(), made))
    world.matcher.epoch = Epoch(1, place.build.setup_files, place.states, {}, DESIGN.stated(place.setup))
    return whole


@pytest.mark.parametrize("terms", [POLICY, None])
def test_a_label_that_was_opened_is_never_a_filters_match(
    make_world: MakeWorld, terms: EndorsementPolicy | None
) -> None:
    """The curator alone put the reserved id into the label: the user is told of no match, and it is kept."""
    world = make_world(DESIGN, HASHES)
    whole = with_reserved_id(world)
    if terms:
        offer(world, [(signed(whole), whole)])
    world.device("bob", endorsement=terms)
    alice = world.device("alice", endorsement=terms)
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.outcome is OutcomeKind.NO_MATCH and sent.delivered and sent.notice == ""
    (found,) = alice.device.standing().evidence
    assert found.kind is (Kind.ENTRY if terms else Kind.RESERVED) and Label.decode(found.shown).unconfirmed
    assert ("no organisation has endorsed" if terms else "is reserved") in found.words


@pytest.mark.parametrize(("entry", "salt"), [(UNCONFIRMED_ID, 0), (UNCONFIRMED_ID, 7), (0, 7), (9, 0)])
def test_what_is_kept_of_an_endorsed_entry_with_a_reserved_value_does_not_deny_its_endorsement(
    make_world: MakeWorld, entry: int, salt: int
) -> None:
    """Organisations signed it, as older code does: the match is dropped, and the evidence is true."""
    world = make_world(DESIGN, HASHES)
    whole = with_reserved_id(world, entry=entry, salt=salt)
    offer(world, [(signed(whole), whole)])
    world.device("bob", endorsement=POLICY)
    alice = world.device("alice", endorsement=POLICY)
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.NO_MATCH
    (found,) = alice.device.standing().evidence
    assert found.kind is Kind.RESERVED
    assert "is reserved" in found.words and "not endorsed" not in found.words


def test_the_same_label_in_a_reply_is_no_match_either(make_world: MakeWorld) -> None:
    world = make_world(hash_upload.DESIGN, HASHES)

    def answer(envelope: pb.Envelope) -> pb.Envelope:
        forged = Label(HASHES[-1].tobytes(), UNCONFIRMED_ID, bytes(16))
        envelope.body = hash_upload.Compared(True, forged).encode()
        return envelope

    world.matcher.alter = answer
    world.device("bob")
    alice = world.device("alice")
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.outcome is OutcomeKind.NO_MATCH and sent.notice == ""
    assert findings(alice) == [(Kind.RESERVED, 1)]


def test_a_set_of_filters_is_refused_where_entries_must_be_endorsed(make_world: MakeWorld) -> None:
    """None of its matches could be held against an endorsement, and each would be told to the user."""
    world = make_world(DESIGN, HASHES)
    whole = with_reserved_id(world, {"filter": 1})
    offer(world, [(signed(whole), whole)])
    with pytest.raises(SetFileError, match="opens no label"):
        world.device("alice", endorsement=POLICY)


def test_the_next_epoch_drops_no_entry_unless_its_removal_is_endorsed(make_world: MakeWorld) -> None:
    world = endorsed(make_world)
    every = entries()
    rest = every.part(0, len(every) - 1)
    gone = every.part(len(every) - 1, len(every))
    world.device("bob", endorsement=POLICY)
    alice = world.device("alice", endorsement=POLICY)
    world.matcher.epoch = publish(DESIGN, HASHES[:-1], 2)
    offer(world, [(signed(rest), rest)], len(rest), 2)
    with pytest.raises(EpochRefusedError, match="1 entries of epoch 1 are gone"):
        alice.device.refresh()
    assert alice.device.epoch == 1 and findings(alice) == [(Kind.UNENDORSED, 2)]
    removal = (signed(gone, action=Action.REMOVE), gone)
    offer(world, [(signed(every), every), removal], len(rest), 2)
    alice.device.refresh()
    assert alice.device.epoch == 2
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.NO_MATCH
    assert findings(alice) == [(Kind.UNENDORSED, 2)]


def test_the_next_epoch_is_held_against_the_policy_as_the_first_was(make_world: MakeWorld) -> None:
    world = endorsed(make_world)
    every = entries()
    alice = world.device("alice", endorsement=POLICY)
    world.matcher.epoch = publish(DESIGN, HASHES, 2)
    offer(world, [(signed(every), every), (signed(every, NAMES[:1]), every)], len(every), 2)
    with pytest.raises(EpochRefusedError, match="batch 1: listed by 1 of 3 organisations, 2 are needed"):
        alice.device.refresh()
    assert alice.device.epoch == 1 and findings(alice) == [(Kind.UNENDORSED, 2)]


def test_the_check_at_a_match_is_what_stops_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same world as above, with a device that looks at neither table nor label: the match is reported."""
    from blindmatch_client.epochs import trusted

    world = endorsed(make_world, NAMES[0])
    world.device("bob")
    monkeypatch.setattr(trusted, "verify_table", lambda *_: Passed())
    monkeypatch.setattr(trusted, "verify_label", lambda *_: Passed())
    alice = world.device("alice", endorsement=POLICY)
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.MATCH
    monkeypatch.setattr(trusted, "verify_label", endorsement.verify_label)
    again = world.device("alice", fresh=False, endorsement=POLICY)
    assert again.device.send_picture("bob", LISTED).outcome is OutcomeKind.NO_MATCH


def test_an_epoch_that_was_taken_without_a_policy_is_checked_once_there_is_one(make_world: MakeWorld) -> None:
    world = endorsed(make_world, NAMES[0])
    world.device("bob")
    assert world.device("alice").device.epoch == 1
    asked = len(world.matcher.asked)
    alice = world.device("alice", fresh=False, endorsement=POLICY)
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.DUE
    assert findings(alice) == [(Kind.UNENDORSED, 1)] and len(world.matcher.asked) == asked
    offer(world, [(signed(entries()), entries())])
    world.matcher.manifests.clear()
    other = world.device("carol", endorsement=POLICY)
    assert other.device.send_picture("bob", LISTED).outcome is OutcomeKind.MATCH


@pytest.mark.parametrize("pins", ["a policy", "a log"])
def test_a_matcher_that_describes_nothing_is_asked_nothing_with_an_epoch_that_was_not_checked(
    make_world: MakeWorld, pins: str
) -> None:
    """It would answer about pictures: the device took the epoch when it asked for neither."""
    world = endorsed(make_world, NAMES[0])
    world.device("bob")
    assert world.device("alice").device.epoch == 1
    asked = len(world.matcher.asked)
    world.matcher.fail_always(down(), "Describe")
    config: dict[str, Any] = {"endorsement": POLICY} if pins == "a policy" else {"log": EpochPolicy(policy())}
    alice = world.device("alice", fresh=False, **config)
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.DUE
    assert len(world.matcher.asked) == asked


def test_a_table_that_is_not_what_the_log_shows_everybody_is_refused() -> None:
    """The leaf binds what is endorsed under which policy; who of them signed is the table's to say."""
    every = entries()
    info = DESIGN.info
    batches, others = ([(signed(every, by), every)] for by in (NAMES[:2], NAMES[1:]))
    files = {FILE: file_of(others, len(every))}
    config = DeviceConfig("alice", DESIGN, CURATOR.public, endorsement=POLICY)
    endorsing = Endorsing.from_config(config)
    assert endorsing is not None
    manifest = EpochManifest(info.name, info.version, 1, 0, bytes(32), 1, 2, len(every), (), (), ())

    def leaf(statements: Sequence[tuple[Batch, EntryBatch]], policy: bytes) -> EpochLeaf:
        bound = Endorsement(TERMS.compute_root(batch for batch, _ in statements), policy)
        return CURATOR.leaf(manifest, bound)

    said = Failed("everybody is shown other endorsements in the log")
    listed_less = [(signed(every.part(0, 3)), every)]
    assert endorsing.verify(leaf(batches, POLICY.encode()), manifest, files, None) == Passed()
    assert endorsing.verify(leaf(listed_less, POLICY.encode()), manifest, files, None) == said
    assert endorsing.verify(leaf(batches, b"another"), manifest, files, None) == said
    assert endorsing.verify(CURATOR.leaf(manifest), manifest, files, None) == said
    assert endorsing.verify(None, manifest, files, None) == Passed()


def test_a_device_with_another_policy_than_before_holds_the_next_epoch_against_none(
    make_world: MakeWorld,
) -> None:
    world = endorsed(make_world)
    world.device("bob")
    assert world.device("alice", endorsement=POLICY).device.epoch == 1
    more = build_endorsement_policy(1, [("north", POLICY.organisations[0].key)])
    terms = replace(TERMS, policy=more)
    world.matcher.epoch = publish(DESIGN, HASHES, 2)
    every = entries()
    batch = signed_batch(every, ["north"], terms=terms)
    leaves = [np.frombuffer(b"".join(hash_entries(every)), np.uint8).reshape(-1, 32)]
    out = BytesIO()
    write_table(out, DESIGN.info, 2, [batch], leaves, len(every))
    world.matcher.epoch.setup[FILE] = out.getvalue()
    alice = world.device("alice", fresh=False, endorsement=more)
    assert alice.device.refresh() == 2
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.MATCH
