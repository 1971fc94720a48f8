"""From three organisations' pictures to a set that holds what two of them endorsed, by the command line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_client.epochs.trusted import Kind
from blindmatch_client.errors import StoreError, WrongKeyError
from blindmatch_client.settings import FailureMode
from blindmatch_proofs.endorsement import TREE_FILE, Action, EndorsedTable, hash_entries
from blindmatch_proofs.endorsement.batch import build_batch
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import EntryBatch, Label, Party
from blindmatch_protocol.contract.publishing import HeldEntries, joined
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.curator import open_list
from blindmatch_server.curator.endorsement.proposing import Audited
from blindmatch_server.curator.hashlist import write_entries
from blindmatch_server.epochs.published import LEAF, Publication, open_publication
from blindmatch_simulations.testbed.deployment import curating, endorsing
from blindmatch_simulations.testbed.deployment.curating import add_references, open_named
from blindmatch_simulations.testbed.deployment.devices import (
    Options,
    Settings,
    create_device,
    create_or_open_device,
    remove_device,
)
from blindmatch_simulations.testbed.deployment.endorsing import audit, endorsed_by
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.folder_checks import Finding, Status, policies
from blindmatch_simulations.testbed.deployment.hosting import pack_server
from blindmatch_simulations.testbed.deployment.operators import backed_by
from blindmatch_simulations.testbed.deployment.transparency import (
    make_log,
    make_policy,
    read_policy,
    terms_of,
)
from blindmatch_simulations.testbed.pictures.crops import crops
from blindmatch_simulations.testbed.scenario.world import World
from msgspec.structs import replace
from support.command import in_process

NAMES = ("north", "south", "west")
PICTURES = [crop.data for crop in crops(6, seed=5)]
HELD = {"north": (0, 1, 2), "south": (1, 2, 3), "west": (2, 4)}
RNG = system_randomness()
HOLD = FailureMode.HOLD


def folder_of(base: Path, name: str, rows: tuple[int, ...]) -> Path:
    folder = base / "pictures" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for row in rows:
        (folder / f"{row}.png").write_bytes(PICTURES[row])
    return folder


def command(home: Path, *arguments: object, code: int = 0) -> Any:
    ran = in_process(home, *arguments, "--json", "-")
    assert ran.code == code, ran.err
    return json.loads(ran.out) if ran.out else ran.err


def submitted(home: Path, held: dict[str, tuple[int, ...]] = HELD) -> None:
    for name, rows in held.items():
        command(home, "list", "submit", name, folder_of(home, name, rows), "known")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("endorsed") / "home"
    assert in_process(home, "certs", "init").code == 0
    assert command(home, "list", "policy") == {"policy": "none"}
    assert command(home, "list", "policy", 2, *NAMES)["to_remove"] == 2
    submitted(home)
    assert command(home, "list", "propose", "known") == {
        "epoch": 1, "lists": 2, "removes": 0, "batches": 2, "asked": list(NAMES)
    }  # fmt: skip
    for name in NAMES:
        assert command(home, "list", "endorse", name, "known")["refused"] == []
    made = command(home, "list", "publish", "known")
    assert (made["entries"], made["endorsers"], made["not_endorsed"]) == (2, list(NAMES), 0)
    return home


@pytest.fixture
def home(once: Path, tmp_path: Path) -> Path:
    shutil.copytree(once, tmp_path / "home")
    return tmp_path / "home"


def hashes(home: Path) -> set[bytes]:
    with open_list(home / "curator" / "lists" / "known.list") as listed:
        return set(map(bytes, listed.hashes))


def wanted(*rows: int) -> set[bytes]:
    return {Picture.from_bytes(PICTURES[row]).hash for row in rows}


def test_the_set_holds_what_two_endorsed_and_an_audit_builds_it_again(home: Path) -> None:
    assert hashes(home) == wanted(1, 2)
    everything = ["endorsed", "logged", "recorded", "rebuilt"]
    assert command(home, "list", "audit", "--rebuild") == dict.fromkeys(everything, "passed")
    assert "must be endorsed" in in_process(home, "list", "build", "known").err


def test_people_read_until_when_an_endorsed_epoch_holds(home: Path) -> None:
    command(home, "list", "propose", "known")
    for name in NAMES:
        command(home, "list", "endorse", name, "known")
    ran = in_process(home, "list", "publish", "known")
    assert ran.code == 0, ran.err
    assert re.search(r"valid until +│ \d{4}-\d\d-\d\d \d\d:\d\d UTC", ran.out), ran.out


def test_an_organisation_with_another_key_submits_anew(home: Path) -> None:
    before = command(home, "list", "policy")["organisations"]
    shutil.rmtree(home / "organisations/north/keys")
    made = command(home, "list", "policy", 2, *NAMES)["organisations"]
    assert made["north"] != before["north"] and {**made, "north": 0} == {**before, "north": 0}
    assert "must be signed by its organisation" in in_process(home, "list", "propose", "known").err


def test_a_device_keeps_its_policy_until_it_is_told_to_take_the_deployments(home: Path) -> None:
    deployment = Deployment.open(home)

    def policy(take: bool = False) -> object:
        create_or_open_device(deployment, "alice", "oprf-psi", take_policies=take).device.close()
        return Settings.read(deployment, "alice").endorsement

    first = policy()
    assert first == policy() == policy(take=True) == read_policy(deployment) is not None
    for needed in (1, 3):
        made = make_policy(deployment, needed, NAMES)
        with pytest.raises(StoreError, match=r"another policy of endorsement than .* --take-policies"):
            policy()
        assert Settings.read(deployment, "alice").endorsement == first != made
    assert policy(take=True) == policy() == made
    make_policy(deployment, 1, NAMES)
    remove_device(deployment, "alice")
    assert policy() == read_policy(deployment) != made


def test_a_device_that_does_not_open_keeps_its_policy(home: Path) -> None:
    deployment = Deployment.open(home)
    options = Options(passphrase=True)
    create_device(deployment, "alice", "oprf-psi", HOLD, options, "right").device.close()
    before = Settings.read(deployment, "alice")
    make_policy(deployment, 1, NAMES)
    with pytest.raises(WrongKeyError):
        create_or_open_device(deployment, "alice", "oprf-psi", HOLD, options, "wrong", True)
    assert Settings.read(deployment, "alice") == before


def test_a_policy_of_the_log_is_taken_anew_too(home: Path) -> None:
    deployment = Deployment.open(home)
    create_device(deployment, "alice", "oprf-psi").device.close()
    shutil.rmtree(deployment.published(""))
    log = make_log(deployment, 2, 1)
    with pytest.raises(StoreError, match="another policy of log than"):
        create_or_open_device(deployment, "alice", "oprf-psi")
    create_or_open_device(deployment, "alice", "oprf-psi", take_policies=True).device.close()
    held = Settings.read(deployment, "alice")
    assert (held.log, held.endorsement) == (log.pinned("oprf-psi"), read_policy(deployment))


def test_through_a_change_of_policy_devices_go_on_with_their_keys_and_messages(home: Path) -> None:
    registered = ("device", "register")
    with World(Deployment.open(home), "oprf-psi", DESIGN) as running:
        running.start(threads=True)
        for name in ("alice", "bob"):
            assert "endorsement" not in command(home, *registered, name)
        number = command(home, "device", "fingerprint", "alice", "bob")
        for epoch, needed in enumerate((1, 2), 2):
            command(home, "device", "send", "alice", "bob", "--text", f"before {epoch}")
            command(home, "list", "policy", needed, *NAMES)
            submitted(home)
            command(home, "list", "propose", "known")
            for name in NAMES:
                command(home, "list", "endorse", name, "known")
            running.stop()
            assert command(home, "list", "publish", "known", "--yes")["epoch"] == epoch
            running.start(threads=True)
            for name in ("alice", "bob"):
                assert "another policy of endorsement" in command(home, *registered, name, code=4)
                taken = command(home, *registered, name, "--take-policies")
                assert (taken["epoch"], taken["endorsement"]) == (epoch, f"{needed} of north, south, west")
                assert command(home, *registered, name)["epoch"] == epoch
                assert command(home, "device", "status", name)["evidence"] == []
            texts = [one["text"] for one in command(home, "device", "inbox", "bob")]
            assert f"before {epoch}" in texts
            assert command(home, "device", "fingerprint", "alice", "bob") == number
            (sent,) = command(
                home, "device", "send", "alice", "bob", "--picture", home / "pictures/west/2.png"
            )
            assert sent["outcome"] == "match"


def test_the_doctor_finds_policies_that_are_not_those_of_the_deployment(home: Path) -> None:
    deployment = Deployment.open(home)

    def found() -> dict[str, Finding]:
        return {one.check: one for one in policies(deployment, DESIGN)}

    create_device(deployment, "alice", "oprf-psi", FailureMode.HOLD).device.close()
    (well,) = found().values()
    assert (well.status, "2 of north, south, west; the first" in well.what) == (Status.OK, True)
    make_policy(deployment, 1, NAMES)
    assert [one.status for one in found().values()] == [Status.WRONG, Status.WARNING]
    assert "pins another policy of endorsement" in found()["policies of alice"].what
    assert "--take-policies" in found()["policies of alice"].remedy
    (home / "endorsement.json").unlink()
    assert [one.status for one in found().values()] == [Status.WRONG, Status.WARNING]
    assert "the deployment has none: it refuses its epochs" in found()["policies of alice"].what
    make_policy(deployment, 2, NAMES)
    (home / "curator/published/oprf-psi/1/endorsement.bin").unlink()
    (broken,) = found().values()
    assert (broken.check, broken.status) == ("endorsement", Status.WRONG)
    (home / "endorsement.json").write_text("{}")
    (damaged,) = found().values()
    assert (damaged.check, damaged.status) == ("policies", Status.WRONG)


def test_the_doctor_says_what_a_device_takes_that_pins_no_policy(home: Path) -> None:
    (home / "endorsement.json").unlink()
    create_device(Deployment.open(home), "carol", "oprf-psi", FailureMode.HOLD).device.close()
    make_policy(Deployment.open(home), 2, NAMES)
    _, of_carol = policies(Deployment.open(home), DESIGN)
    assert (of_carol.check, of_carol.status) == ("policies of carol", Status.WARNING)
    assert "takes epochs without looking at one" in of_carol.what


def test_removals_and_corrections_are_endorsed_and_a_change_can_be_published_alone(home: Path) -> None:
    submitted(home, {**HELD, "south": (2, 3), "west": (0, 2, 4)})
    made = command(home, "list", "propose", "known")
    assert (made["lists"], made["removes"]) == (1, 1)
    for name in NAMES:
        command(home, "list", "endorse", name, "known")
    assert command(home, "list", "publish", "known", "--delta")["epoch"] == 2
    assert hashes(home) == wanted(0, 2)
    everything = ["endorsed", "continued", "logged", "recorded", "rebuilt"]
    assert command(home, "list", "audit", "--rebuild") == dict.fromkeys(everything, "passed")


def test_an_entry_goes_once_two_organisations_withdraw_it(home: Path) -> None:
    with open_list(home / "curator" / "lists" / "known.list") as listed:
        shared = next(
            int(number) for number, row in zip(listed.ids, listed.hashes, strict=True)
            if bytes(row) in wanted(1)
        )  # fmt: skip
    assert command(home, "list", "withdraw", "north", shared, "known")["hashes"] == 2
    assert "of no picture of west" in in_process(home, "list", "withdraw", "west", shared, "known").err
    assert "has no entry 99" in in_process(home, "list", "withdraw", "west", 99, "known").err
    assert command(home, "list", "propose", "known")["removes"] == 1
    for name in NAMES:
        command(home, "list", "endorse", name, "known")
    assert command(home, "list", "publish", "known")["entries"] == 1
    assert hashes(home) == wanted(2)
    assert command(home, "list", "audit")["continued"] == "passed"


@pytest.mark.parametrize(("entry", "salt"), [(2**64 - 1, 0), (2**64 - 1, 7), (0, 7), (9, 0)])
def test_no_organisation_signs_an_entry_that_devices_would_drop(home: Path, entry: int, salt: int) -> None:
    submitted(home, {"north": (0, 1, 2, 3), "south": (0, 1, 2, 3)})
    command(home, "list", "propose", "known")
    records = endorsing.records_of(Deployment.open(home), DESIGN)
    proposal = records.proposal()
    held = next(one for one in proposal.with_action(Action.LIST))
    salts = np.full((len(held.entries), 16), salt, np.uint8)
    entries = replace(held.entries, ids=np.full(len(held.entries), entry, np.uint64), salts=salts)
    batch = build_batch(Action.LIST, (2, 9), hash_entries(entries))
    records.propose(replace(proposal, held=(replace(held, batch=batch, entries=entries),)))
    made = command(home, "list", "endorse", "north", "known", code=1)
    assert made["signed_batches"] == 0 and "would be disabled: an id of 0 or" in made["refused"][0]


def test_no_set_is_built_of_an_entry_that_devices_would_drop(home: Path) -> None:
    """It was endorsed by organisations with older code; the audit and the list's file refuse it, too."""
    records = endorsing.records_of(Deployment.open(home), DESIGN)
    record = records.record(1)
    held = record.batches.held[0]
    bad = replace(held.entries, salts=np.zeros_like(held.entries.salts))
    batch = replace(build_batch(Action.LIST, (1, 9), hash_entries(bad)), signatures=held.batch.signatures)
    with pytest.raises(DesignError, match="cannot be listed: an id of 0 or 2"):
        curating.publish(Deployment.open(home), DESIGN, HeldEntries(bad), RNG)
    publication = open_publication(Deployment.open(home).published(DESIGN.info.name))
    altered = replace(record.batches, held=(replace(held, batch=batch, entries=bad),))
    beside = {"endorsement.bin": memoryview(altered.table(DESIGN.info))}
    audited = Audited(DESIGN, terms_of(Deployment.open(home), DESIGN), publication)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Publication, "endorsement", lambda self: beside)
        verdict = audited.recorded(replace(record, batches=altered))
    assert isinstance(verdict, Failed) and "are disabled" in verdict.reason
    path = home / "curator/lists/known.list"
    write_entries(path, bad, 99)
    ran = in_process(home, "list", "inspect", "known")
    assert ran.code == 4 and "cannot be listed" in ran.err


@pytest.mark.parametrize(("entry", "salt"), [(2**64 - 1, 7), (0, 7), (9, 0)])
def test_no_update_adds_an_entry_that_devices_would_drop(home: Path, entry: int, salt: int) -> None:
    deployment = Deployment.open(home)
    adds = EntryBatch(
        np.full((1, 32), 0x0F, np.uint8), np.array([entry], np.uint64), np.full((1, 16), salt, np.uint8)
    )
    with pytest.raises(DesignError, match="1 of 1 cannot be listed: an id of 0 or 2"):
        curating.publish_change(deployment, DESIGN, HeldEntries(adds), [], RNG)
    assert open_publication(deployment.published(DESIGN.info.name)).manifest.epoch == 1


@pytest.mark.parametrize("arguments", [("new", "--onto", "bad"), ("bad", "--onto", "bad")])
def test_no_import_starts_from_a_list_with_an_entry_that_devices_would_drop(
    home: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with open_list(home / "curator/lists/known.list") as listed:
        entries = EntryBatch(listed.hashes, listed.ids, np.zeros_like(listed.salts))
        write_entries(home / "curator/lists/bad.list", entries, 99)
    (tmp_path / "more.txt").write_text(f"pdq {'0f' * 32}\n")
    ran = in_process(home, "list", "import", tmp_path / "more.txt", *arguments)
    assert ran.code == 4 and "cannot be listed" in ran.err


def test_an_organisation_that_lost_a_picture_does_not_sign_its_hash(home: Path) -> None:
    submitted(home, {**HELD, "south": (0, 1, 2, 3)})
    assert command(home, "list", "propose", "known")["lists"] == 1
    submitted(home, {"south": (1, 2, 3)})
    for name in ("north", "west"):
        command(home, "list", "endorse", name, "known")
    made = command(home, "list", "endorse", "south", "known", code=1)
    assert made["refused"] == ["batch 0: 1 of 1 hashes are of no picture of its own"]
    made = command(home, "list", "publish", "known")
    assert (made["entries"], made["not_endorsed"], made["endorsers"]) == (2, 1, ["north"])
    assert hashes(home) == wanted(1, 2)


def test_a_submission_that_its_organisation_did_not_sign_is_refused(home: Path) -> None:
    folder = home / "curator" / "submissions" / "known"
    shutil.copyfile(folder / "north.list", folder / "west.list")
    assert "must be signed by its organisation" in in_process(home, "list", "propose", "known").err
    (folder / "west.sig").unlink()
    assert "bears no signature" in in_process(home, "list", "propose", "known").err


def test_strangers_and_bad_policies_are_refused(home: Path) -> None:
    assert (
        "names no organisation east"
        in in_process(home, "list", "submit", "east", folder_of(home, "east", (1,)), "known").err
    )
    for wrong in ((4, *NAMES), (1, "North"), (2, "north", "north"), (1,)):
        assert in_process(home, "list", "policy", *wrong).code != 0, wrong
    assert in_process(home, "list", "endorse", "north", "other").code != 0
    (home / "endorsement.json").write_text('{"needed": 9, "organisations": {}}')
    assert in_process(home, "list", "policy").code == 4


def test_an_entry_slipped_into_the_set_is_found_by_count_and_by_building_again(home: Path) -> None:
    deployment = Deployment.open(home)
    records = endorsing.records_of(deployment, DESIGN)
    record = records.record(1).batches
    terms = terms_of(deployment, DESIGN)
    extra = replace_first(record.listed(1), PICTURES[5])
    (deployment.published("oprf-psi")).rename(home / "honest")
    endorsement = record.endorsement(DESIGN.info, terms)
    slipped = HeldEntries(joined([record.listed(1), replace(extra, ids=extra.ids + 1)]))
    curating.publish(deployment, DESIGN, slipped, RNG, 1, endorsement=endorsement)
    found = audit(deployment, DESIGN)
    assert found["endorsed"] == Failed("2 entries are endorsed, the set has 3")
    shutil.rmtree(deployment.published("oprf-psi"))
    swapped = HeldEntries(joined([record.listed(1).part(0, 1), extra]))
    curating.publish(deployment, DESIGN, swapped, RNG, 1, endorsement=endorsement)
    found = audit(deployment, DESIGN, rebuild=True)
    assert found["endorsed"] == found["recorded"] == Passed()
    assert found["rebuilt"] == Failed("matcher.bin, set.bin: not what the endorsed list gives")


def test_an_audit_finds_another_leaf_another_list_in_the_clear_and_an_epoch_without_endorsements(
    home: Path,
) -> None:
    deployment = Deployment.open(home)
    records = endorsing.records_of(deployment, DESIGN)
    epoch = deployment.published("oprf-psi") / "1"
    record = records.record(1)
    raw = (epoch / LEAF).read_bytes()
    whole = open_publication(epoch.parent, 1)
    audited = Audited(DESIGN, terms_of(deployment, DESIGN), whole)
    moved = replace(record.batches, held=record.batches.held[::-1])
    assert isinstance(audited.recorded(replace(record, batches=moved)), Failed)
    (epoch / LEAF).unlink()
    for field in ("endorsement_root", "endorsement_policy"):
        altered = replace(EpochLeaf.decode(raw), **{field: b"another".ljust(32)})
        (epoch / LEAF).write_bytes(altered.encode())
        assert "names another policy or other batches" in str(audited.endorsements()["logged"])
    bare = Publication(whole.folder, whole.manifest, whole.signed, frozenset())
    assert replace(audited, publication=bare).endorsements() == {
        "endorsed": Failed("the epoch bears no endorsements")
    }


def replace_first(entries: Any, data: bytes) -> Any:
    """The last entry, with another picture's hash."""
    last = entries.part(len(entries) - 1, len(entries))
    return replace(last, hashes=np.frombuffer(Picture.from_bytes(data).hash, np.uint8).reshape(1, 32))


@pytest.fixture(scope="module")
def world(once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("running") / "home"
    shutil.copytree(once, folder)
    made = World(Deployment.open(folder), "oprf-psi", DESIGN)
    with made, open_named(made.deployment, "known") as entries:
        add_references(made.deployment, entries, [Picture.from_bytes(PICTURES[row]) for row in (1, 2)])
        made.start(threads=True)
        made.device("alice"), made.device("bob")
        yield made


def test_a_match_with_an_endorsed_entry_is_reported_and_passes(world: World) -> None:
    assert world.send_picture("alice", "bob", PICTURES[1]).outcome is OutcomeKind.MATCH
    assert world.send_picture("alice", "bob", PICTURES[0]).outcome is OutcomeKind.NO_MATCH
    (row,) = world.checked(1).reports
    assert row.checks == "passed"
    assert not world.of("alice").watched.device.standing().evidence


def test_the_centre_takes_no_label_that_is_not_endorsed_in_its_epoch(world: World) -> None:
    verify = endorsed_by(world.deployment, DESIGN)
    with open_named(world.deployment, "known") as entries:
        label = Label(entries.hashes[0].tobytes(), int(entries.ids[0]), entries.salts[0].tobytes())
    assert verify(1, label) == Passed()
    assert verify(1, replace(label, entry_id=9)) == Failed("no organisation has endorsed the entry")
    assert isinstance(verify(2, label), Failed)


def test_the_centre_verifies_all_of_an_epochs_endorsements_before_it_goes_by_them(home: Path) -> None:
    deployment = Deployment.open(home)
    record = endorsing.records_of(deployment, DESIGN).record(1).batches
    first = record.held[0]
    extra = replace_first(first.entries, PICTURES[5])
    forged = replace(first, batch=replace(first.batch, size=2), entries=joined([first.entries, extra]))
    path = deployment.published("oprf-psi") / "1" / "endorsement.bin"
    path.unlink()
    path.write_bytes(replace(record, held=(forged, *record.held[1:])).table(DESIGN.info))
    label = Label(extra.hashes[0].tobytes(), int(extra.ids[0]), extra.salts[0].tobytes())
    found = endorsed_by(deployment, DESIGN)(1, label)
    assert isinstance(found, Failed) and "epoch 1 is not endorsed: batch 0" in found.reason


def test_kept_trees_stand_beside_the_set_for_nobody_but_who_makes_proofs_and_change_none(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment.open(home)
    publication = open_publication(deployment.published("oprf-psi"), 1)
    tree = publication.folder / TREE_FILE
    entries = endorsing.records_of(deployment, DESIGN).record(1)
    assert tree.is_file() and TREE_FILE not in publication.every_file()
    assert TREE_FILE not in {one.name for one in publication.manifest.files}
    listed = entries.batches.listed(1)
    label = Label(listed.hashes[0].tobytes(), int(listed.ids[0]), listed.salts[0].tobytes())
    with monkeypatch.context() as patch:
        patch.setattr(EndorsedTable, "group_leaves", lambda _: pytest.fail("every leaf was read"))
        quick = backed_by(deployment, DESIGN)(1, label)
    assert quick.endorsement is not None
    whole = tree.read_bytes()
    tree.unlink()
    for damaged in (None, b"", whole[:1000], whole[: len(whole) // 2], bytes(len(whole))):
        if damaged is not None:
            tree.write_bytes(damaged)
        assert backed_by(deployment, DESIGN)(1, label) == quick
    for packed in (Party.CENTRE, Party.MATCHER, Party.PROVIDER):
        names = {path.name for path in pack_server(deployment, packed, DESIGN, home / f"of {packed}")}
        assert TREE_FILE not in names


def test_a_device_that_knows_a_policy_takes_no_epoch_without(world: World, tmp_path: Path) -> None:
    assert read_policy(world.deployment) is not None
    bare = World.create(tmp_path / "bare", "oprf-psi", DESIGN)
    with bare:
        make_policy(bare.deployment, 2, NAMES)
        bare.publish(
            HeldEntries(endorsing.records_of(world.deployment, DESIGN).record(1).batches.listed(1)), RNG
        )
        bare.start(threads=True)
        with pytest.raises(Exception, match="bears no endorsements"):
            bare.device("alice")
        kinds = {one.kind for one in bare.of("alice").watched.device.standing().evidence}
        assert kinds == {Kind.UNENDORSED}


def test_a_device_says_which_policy_it_has(world: World) -> None:
    found = in_process(world.deployment.home, "device", "status", "alice", "--json", "-")
    assert found.code == 0 and found.json["endorsement"] == "2 of north, south, west"


def test_the_centres_machine_gets_endorsements_and_policy(home: Path, tmp_path: Path) -> None:
    names = {
        path.name for path in pack_server(Deployment.open(home), Party.CENTRE, DESIGN, tmp_path / "packed")
    }
    assert {"endorsement.bin", "endorsement.json", "epoch.manifest"} <= names
    assert not {"batches.bin", "build.json", "organisation.key", "proposal.bin"} & names


def test_a_publication_that_was_cut_off_is_finished_under_the_seed_of_its_record(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment.open(home)
    submitted(home, {**HELD, "north": (1, 2, 3)})
    command(home, "list", "propose", "known")
    for name in NAMES:
        command(home, "list", "endorse", name, "known")
    with monkeypatch.context() as patch:
        patch.setattr(endorsing, "publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            endorsing.publish_endorsed(deployment, DESIGN, "known", RNG)
    kept = endorsing.records_of(deployment, DESIGN).record(2).seed
    assert command(home, "list", "publish", "known")["epoch"] == 2
    assert endorsing.records_of(deployment, DESIGN).record(2).seed == kept
    assert set(command(home, "list", "audit", "--rebuild").values()) == {"passed"}


def test_a_proof_of_absence_is_made_and_verified_by_the_command_line(world: World, tmp_path: Path) -> None:
    home = world.deployment.home
    proof = tmp_path / "absent.proof"
    paths = [tmp_path / f"{row}.png" for row in (0, 1)]
    for path, row in zip(paths, (0, 1), strict=True):
        path.write_bytes(PICTURES[row])
    world.of("alice").watched.device.close()
    made = command(home, "proof", "absence", "alice", paths[0], proof, "--to", "bob")
    assert made["epoch"] == 1 and made["bytes"] == proof.stat().st_size < 2500
    found = command(home, "proof", "verify", proof, "--picture", paths[0])
    checks = ("files", "leaf", "set-up", "session")
    assert {name: found[name] for name in checks} == dict.fromkeys(checks, "passed")
    other = command(home, "proof", "verify", proof, "--picture", paths[1], code=1)
    assert "of another picture" in other["session"]
    leaf = world.published / "1" / "epoch.leaf"
    held = leaf.read_bytes()
    leaf.chmod(0o600)
    leaf.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    assert "signed by the curator" in command(home, "proof", "verify", proof, code=1)["leaf"]
    leaf.write_bytes(held)
    refused = in_process(home, "proof", "absence", "alice", paths[1], tmp_path / "no", "--to", "bob")
    assert refused.code == 6 and "the message came to: match" in " ".join(refused.err.split())
    number = command(home, "device", "status", "alice")["reports"][-1]["report"]
    assert f"report number {number}" in " ".join(refused.err.split())
    assert not (tmp_path / "no").exists()
    (tmp_path / "none.png").write_text("no picture")
    for picture, out, code, said in (
        (paths[1], tmp_path / "lost" / "no", 2, "in a folder that exists"),
        (tmp_path / "none.png", tmp_path / "no", 6, "none.png: picture: format"),
    ):
        ran = in_process(home, "proof", "absence", "alice", picture, out, "--to", "bob")
        assert (ran.code, said in " ".join(ran.err.replace("│", " ").split())) == (code, True), ran.err
    assert command(home, "device", "status", "alice")["reports"][-1]["report"] == number, "nothing was sent"
    raw = bytearray(proof.read_bytes())
    raw[-1] ^= 1
    proof.write_bytes(raw)
    assert "does not come to an end" in command(home, "proof", "verify", proof, code=1)["session"]
    proof.write_bytes(raw[:-1])
    assert in_process(home, "proof", "verify", proof).code == 4


def test_a_list_of_another_name_is_published_only_in_the_place_of_the_one_before(home: Path) -> None:
    for name, rows in HELD.items():
        command(home, "list", "submit", name, folder_of(home, name, rows), "other")
    command(home, "list", "random", 20, "other")
    command(home, "list", "propose", "other")
    for name in NAMES:
        command(home, "list", "endorse", name, "other")
    lists = home / "curator/lists"
    before = (lists / "other.list").read_bytes()

    def refused(*options: str) -> str:
        said = str(command(home, "list", "publish", "other", *options, code=2))
        assert (lists / "other.list").read_bytes() == before
        return " ".join(said.replace("│", " ").split())

    assert "a list other with 20 entries that no epoch was published from" in refused()
    assert "was published from the list known, not from other" in refused("--yes")
    assert "published from the list known" in refused("--yes", "--instead-of", "third")
    made = command(home, "list", "publish", "other", "--yes", "--instead-of", "known")
    assert (made["epoch"], made["entries"]) == (2, 2)


def test_a_change_of_policy_begins_anew_and_gives_no_id_twice(home: Path) -> None:
    command(home, "list", "policy", 3, *NAMES)
    submitted(home, dict.fromkeys(NAMES, (2, 3)))
    assert command(home, "list", "propose", "known")["lists"] == 2
    for name in NAMES:
        command(home, "list", "endorse", name, "known")
    assert command(home, "list", "publish", "known")["entries"] == 2
    with open_list(home / "curator" / "lists" / "known.list") as listed:
        assert listed.ids.tolist() == [3, 4]
    command(home, "list", "policy", 2, *NAMES, "east")
    submitted(home, {"east": (2,), "north": (2,)})
    command(home, "list", "propose", "known")
    for name in ("north", "east"):
        command(home, "list", "endorse", name, "known")
    assert command(home, "list", "publish", "known")["epoch"] == 3
    assert set(command(home, "list", "audit")) == {"endorsed", "logged", "recorded"}
    (leaf,) = home.glob("curator/published/*/3/epoch.leaf")
    raw = leaf.read_bytes()
    leaf.chmod(0o600)
    leaf.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert "leaf must be signed by the curator" in command(home, "list", "audit", code=1)["logged"]


def test_publishing_loses_no_entry_that_was_imported_since_without_a_question(
    home: Path, tmp_path: Path
) -> None:
    """The list has the name that the current epoch was published from, and entries that no epoch has."""
    (tmp_path / "more.txt").write_text(f"pdq {'0f' * 32}\n")
    command(home, "list", "import", tmp_path / "more.txt", "known", "--onto", "known")
    command(home, "list", "propose", "known")
    for name in NAMES:
        command(home, "list", "endorse", name, "known")
    said = command(home, "list", "publish", "known", code=2)
    assert "list known with 3 entries" in " ".join(said.replace("│", " ").split())
    assert bytes.fromhex("0f" * 32) in hashes(home)
    assert command(home, "list", "publish", "known", "--yes")["entries"] == 2
