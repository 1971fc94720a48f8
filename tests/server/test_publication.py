"""Publication: an epoch is there whole or not at all, and what is opened is what was published."""

from __future__ import annotations

import errno
import itertools
import json
import os
import sqlite3
import stat
from collections.abc import Callable
from hashlib import sha512
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_proofs.epoch import NO_SEALING_KEY, NOT_ENDORSED, Endorsement, EpochLeaf
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import EntrySource, Role, SetParameters, batches_of
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.designs.oprf_psi import design as build
from blindmatch_protocol.designs.oprf_psi.design import BATCH
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_server.epochs.building import SEED_TAG, Publishing, publish_epoch, publish_update, seed_stream
from blindmatch_server.epochs.published import (
    CURRENT,
    DamagedPublicationError,
    NoPublicationError,
    Publication,
    PublicationError,
    current_epoch,
    open_publication,
    signed_epochs,
)
from blindmatch_server.epochs.signing import CuratorKey
from blindmatch_server.storage.files import FolderWorkspace, StorageError, WorkspaceError
from msgspec.structs import replace
from support.forked import lived
from support.memory import random_hashes
from support.mortal_build import build_life
from support.signed import CURATOR, SIGNER

COUNT = 70


def source(count: int = COUNT) -> EntrySource:
    salts = np.frombuffer(seeded("salts").take(16 * count), np.uint8).reshape(count, 16)
    return batches_of(random_hashes(count), np.arange(1, count + 1, dtype=np.uint64), salts)


def publish(folder: Path, epoch: int = 1, entries: EntrySource | None = None, **values: int) -> Publication:
    entries = source() if entries is None else entries
    how = Publishing(DESIGN, folder, SIGNER)
    return publish_epoch(how, entries, SetParameters(epoch, values), seeded("publish"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def writable(path: Path) -> Path:
    path.chmod(0o600)
    return path


# --- what is published is opened -----------------------------------------------------------------


def test_a_seed_gives_the_same_bytes_in_whatever_pieces_they_are_taken() -> None:
    seed = bytes(range(32))
    pieces = (0, 1, 63, 64, 65, 0, 1000, 1 << 20, 7)
    blocks = (sha512(SEED_TAG + seed + at.to_bytes(8, "big")).digest() for at in range(sum(pieces) // 64 + 1))
    stream = seed_stream(seed)
    # 1 MiB at once took 4 s of copies, and 4 MiB more than a minute
    assert b"".join(map(stream.take, pieces)) == b"".join(blocks)[: sum(pieces)]


def test_what_is_published_is_opened_and_mapped(tmp_path: Path) -> None:
    made = publish(tmp_path / "sets", 3, evaluations=2)
    for publication in (made, open_publication(tmp_path / "sets"), open_publication(tmp_path / "sets", 3)):
        assert publication.manifest.epoch == 3
        assert publication.parameters == {"evaluations": 2, "filter": 0, "signatures": 0}
        assert publication.setup().keys() == {"set.bin"}
        assert publication.role("matcher").keys() == {"set.bin", "matcher.bin"}
        assert DESIGN.open_setup(publication.setup(), 3).entries == COUNT
        assert DESIGN.open_role(Role("matcher"), publication.role("matcher")).epoch == 3
        publication.verify()


def test_an_empty_list_can_be_published(tmp_path: Path) -> None:
    assert DESIGN.open_setup(publish(tmp_path, entries=source(0)).setup(), 1).entries == 0


def test_the_leaf_names_what_the_epoch_is_endorsed_by_and_sealed_to(tmp_path: Path) -> None:
    signer = replace(SIGNER, sealing_key=b"k" * 32)
    endorsed = Endorsement(b"r" * 32, b"2 of 3")
    values = SetParameters(1, {})
    rng = seeded("publish")
    how = Publishing(DESIGN, tmp_path, signer, endorsement=endorsed)
    made = publish_epoch(how, source(), values, rng)
    leaf = EpochLeaf.decode((made.folder / "epoch.leaf").read_bytes())
    assert (leaf.manifest, leaf.endorsement, leaf.sealing_key) == (made.signed.manifest, endorsed, b"k" * 32)
    assert leaf.verify(CURATOR.public) == Passed()
    nothing = publish_update(Publishing(DESIGN, tmp_path, SIGNER), 1, source(0), [3], seeded("update"))
    leaf = EpochLeaf.decode((nothing.folder / "epoch.leaf").read_bytes())
    assert (leaf.index, leaf.endorsement, leaf.sealing_key) == (1, NOT_ENDORSED, NO_SEALING_KEY)


def test_the_manifest_is_canonical_and_describes_the_files(tmp_path: Path) -> None:
    publish(tmp_path)
    raw = (tmp_path / "1" / "files.json").read_text()
    document = json.loads(raw)
    assert raw == json.dumps(document, indent=2, sort_keys=True) + "\n"
    assert [file["name"] for file in document["files"]] == ["matcher.bin", "set.bin"]
    assert document["files"][1]["size"] == (tmp_path / "1" / "set.bin").stat().st_size


def test_what_is_published_is_signed_and_names_the_epoch_before(tmp_path: Path) -> None:
    first = publish(tmp_path)
    second = update(tmp_path, 1, more(2), [3])
    whole = publish(tmp_path, 5)
    signed = [one.signed.manifest for one in (first, second, whole)]
    assert [one.predecessor_epoch for one in signed] == [0, 1, 2]
    assert [one.predecessor for one in signed] == [bytes(32), signed[0].digest, signed[1].digest]
    assert [one.name for one in signed[1].files] == ["delta-0000000002.bin", "set.bin"]
    key = DESIGN.open_setup(second.setup(), 2).public_key.element
    assert [(one.role, one.key) for one in signed[1].role_keys] == [("matcher", key)]
    assert (signed[1].entries, signed[1].valid_until) == (COUNT + 4, 1 + 4_000_000_000)
    for publication in (first, second, whole):
        publication.check_signed(CURATOR.public)
        with pytest.raises(DamagedPublicationError, match="must be signed by the curator's key"):
            publication.check_signed(CuratorKey.generate().public)


@pytest.mark.parametrize("damage", ["missing", "garbage", "of another epoch"])
def test_an_epoch_whose_signed_manifest_is_not_its_own_is_not_opened(tmp_path: Path, damage: str) -> None:
    publish(tmp_path)
    publish(tmp_path, 2)
    path = tmp_path / "2" / "epoch.manifest"
    other = (tmp_path / "1" / "epoch.manifest").read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"?" if damage == "garbage" else other)
    words = {"missing": "must be signed", "garbage": "cannot be read", "of another epoch": "is for epoch 1"}
    with pytest.raises(DamagedPublicationError, match=words[damage]):
        open_publication(tmp_path)


def test_the_centre_counts_epochs_that_the_curator_signed_for_this_design_and_no_others(
    tmp_path: Path,
) -> None:
    assert signed_epochs(tmp_path / "none", DESIGN.info, CURATOR.public) == frozenset()
    for epoch in (1, 2, 3):
        publish(tmp_path, epoch)
    for at, forged in ((2, b"no manifest"), (3, None)):
        path = writable(tmp_path / str(at) / "epoch.manifest")
        manifest = SignedManifest.decode(path.read_bytes()).manifest
        path.write_bytes(forged or CuratorKey.generate().sign(manifest).encode())
    assert signed_epochs(tmp_path, DESIGN.info, CURATOR.public) == {1}
    assert signed_epochs(tmp_path, replace(DESIGN.info, version=9), CURATOR.public) == frozenset()


def test_published_files_are_read_only_and_secret_ones_private(tmp_path: Path) -> None:
    publish(tmp_path)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "1").iterdir()}
    public = dict.fromkeys(("files.json", "epoch.manifest", "epoch.leaf", "set.bin"), 0o444)
    assert modes == public | {"matcher.bin": 0o400}


def test_nothing_of_the_build_is_left(tmp_path: Path) -> None:
    publish(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "current", "lock"]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    publish(tmp_path / "a")
    publish(tmp_path / "b")
    assert contents(tmp_path / "a" / "1") == contents(tmp_path / "b" / "1")


def test_a_new_epoch_becomes_the_current_one_and_the_old_one_stays_open(tmp_path: Path) -> None:
    first = publish(tmp_path)
    before = bytes(first.setup()["set.bin"])
    publish(tmp_path, 2)
    assert current_epoch(tmp_path) == 2
    assert (
        bytes(first.setup()["set.bin"]) == before == bytes(open_publication(tmp_path, 1).setup()["set.bin"])
    )
    first.check_intact()


def test_an_epoch_is_neither_replaced_nor_added_behind_the_current_one(tmp_path: Path) -> None:
    publish(tmp_path, 2)
    with pytest.raises(PublicationError, match="epoch 2 is published already"):
        publish(tmp_path, 2)
    with pytest.raises(PublicationError, match="epoch 1 is not later than the one served, 2"):
        publish(tmp_path, 1)


# --- damage --------------------------------------------------------------------------------------


def test_nothing_published_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NoPublicationError, match="nothing is published"):
        open_publication(tmp_path)
    publish(tmp_path)
    with pytest.raises(NoPublicationError, match="epoch 9 is not published"):
        open_publication(tmp_path, 9)
    with pytest.raises(NoPublicationError, match="no files for role other"):
        open_publication(tmp_path).role("other")


@pytest.mark.parametrize("text", ["", "x\n", "1", "01\n", "-1\n", "1\n1\n", "1 \n"])
def test_a_damaged_pointer_is_refused(tmp_path: Path, text: str) -> None:
    publish(tmp_path)
    (tmp_path / "current").write_text(text)
    with pytest.raises(DamagedPublicationError, match="current does not hold"):
        open_publication(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": "1"},
        {"more": 1},
        {"setup": []},
        {"setup": ["../set.bin"]},
        {"files": []},
        {"opener": None},
        {"roles": {"matcher": [1]}},
    ],
)
def test_a_damaged_list_of_files_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    publish(tmp_path)
    path = writable(tmp_path / "1" / "files.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DamagedPublicationError, match=r"files\.json of epoch 1"):
        open_publication(tmp_path)


def test_a_file_that_is_missing_or_has_another_length_is_refused_by_name(tmp_path: Path) -> None:
    publish(tmp_path)
    path = writable(tmp_path / "1" / "set.bin")
    data = path.read_bytes()
    for changed in (data[:-1], data + b"\0", b""):
        path.write_bytes(changed)
        with pytest.raises(
            DamagedPublicationError, match=rf"set\.bin: {len(changed)} bytes, {len(data)} expected"
        ):
            open_publication(tmp_path)
    path.unlink()
    with pytest.raises(DamagedPublicationError, match=r"set\.bin: No such file"):
        open_publication(tmp_path)


def test_a_flipped_byte_is_found_by_verify(tmp_path: Path) -> None:
    publish(tmp_path)
    path = writable(tmp_path / "1" / "set.bin")
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedPublicationError, match=r"set\.bin: altered"):
        open_publication(tmp_path).verify()


def test_a_file_replaced_under_a_map_leaves_the_map_as_it_is(tmp_path: Path) -> None:
    publication = publish(tmp_path)
    before = bytes(publication.setup()["set.bin"])
    other = tmp_path / "other"
    other.write_bytes(b"other")
    other.replace(tmp_path / "1" / "set.bin")
    publication.check_intact()
    publication.verify()
    assert bytes(publication.setup()["set.bin"]) == before


def test_a_file_truncated_or_overwritten_under_a_map_is_found_before_a_page_is_touched(
    tmp_path: Path,
) -> None:
    for epoch, damage in enumerate((lambda f: f.truncate(100), lambda f: f.write(b"x")), start=1):
        publication = publish(tmp_path, epoch)
        path = writable(tmp_path / str(epoch) / "set.bin")
        with path.open("r+b") as file:
            damage(file)
        with pytest.raises(DamagedPublicationError, match=r"set\.bin: truncated or overwritten while in use"):
            publication.verify()


# --- builds --------------------------------------------------------------------------------------


def test_two_builds_at_once_are_refused(tmp_path: Path) -> None:
    publish(tmp_path)
    other = sqlite3.connect(tmp_path / "lock", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(PublicationError, match="another build works in"):
        publish(tmp_path, 2)
    other.close()
    publish(tmp_path, 2)


class Watched:
    """A list that does something each time it is read: for the plan, for the build, and once more."""

    def __init__(self, *actions: Callable[[], EntrySource]) -> None:
        self.actions = list(actions)

    def __len__(self) -> int:
        return COUNT

    def batches(self, size: int, start: int = 0) -> Any:
        return self.actions.pop(0)().batches(size, start)


def reversed_source() -> EntrySource:
    part = next(source().batches(COUNT))
    return batches_of(part.hashes[::-1].copy(), part.ids, part.salts)


def test_a_build_inside_a_build_is_refused(tmp_path: Path) -> None:
    def nested() -> EntrySource:
        with pytest.raises(PublicationError):
            publish(tmp_path, 2)
        return source()

    watched = Watched(source, nested, source)
    publish(tmp_path, entries=watched)
    assert not watched.actions


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_a_list_that_changes_while_it_is_built_is_refused(tmp_path: Path, changed: int) -> None:
    reads = [source, source, source]
    reads[changed] = reversed_source
    if changed == 1:  # changes after the plan and stays changed
        reads[2] = reversed_source
    with pytest.raises(DesignError, match="changed while the set was built"):
        publish(tmp_path, entries=Watched(*reads))
    assert not (tmp_path / "current").exists()


def test_what_other_builds_left_is_removed(tmp_path: Path) -> None:
    stale = tmp_path / ".build-7"
    (stale / "result").mkdir(parents=True)
    (stale / "evaluated.scratch").write_bytes(b"x")
    publish(tmp_path)
    assert not stale.exists()


def test_a_build_that_fails_leaves_the_old_epoch_in_force(tmp_path: Path) -> None:
    publish(tmp_path)
    hashes = random_hashes(3)
    hashes[2] = hashes[0]
    twice = batches_of(hashes, np.arange(1, 4, dtype=np.uint64), np.ones((3, 16), np.uint8))
    with pytest.raises(DesignError, match="have the same hash"):
        publish(tmp_path, 2, twice)
    assert current_epoch(tmp_path) == 1
    open_publication(tmp_path).verify()
    publish(tmp_path, 2)


def failing() -> EntrySource:
    raise DesignError("no entries today")


@pytest.mark.parametrize(("first", "evaluations"), [(source, 2), (reversed_source, 1)])
def test_a_build_left_behind_for_other_parameters_or_another_list_starts_afresh(
    tmp_path: Path, first: Callable[[], EntrySource], evaluations: int
) -> None:
    with pytest.raises(DesignError, match="no entries today"):
        publish(tmp_path / "a", 1, Watched(first, failing), evaluations=evaluations)
    publish(tmp_path / "a", 1)
    publish(tmp_path / "b", 1)
    assert contents(tmp_path / "a" / "1") == contents(tmp_path / "b" / "1")


def test_a_full_disk_is_an_error_and_the_old_epoch_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(StorageError, match=r"making room for scratch evaluated.*No space left"):
            publish(tmp_path, 2)
    assert current_epoch(tmp_path) == 1
    publish(tmp_path, 2)


def test_a_file_that_cannot_grow_is_an_error_and_the_build_can_go_on_later(tmp_path: Path) -> None:
    limited = lived(build_life, tmp_path / "sets", COUNT, "limit:5000")
    assert limited.code == 1
    assert limited.said.startswith("StorageError: making room") and "File too large" in limited.said
    assert lived(build_life, tmp_path / "sets", COUNT, "never").code == 0
    publish(tmp_path / "whole")
    assert contents(tmp_path / "sets" / "1") == contents(tmp_path / "whole" / "1")


@pytest.mark.parametrize("number", range(1, 13))
def test_a_disk_that_fills_up_at_any_fsync_or_rename_is_an_error_and_the_build_can_go_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    calls = itertools.count(1)

    def failing(call: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*args: Any, **named: Any) -> None:
            if next(calls) == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            call(*args, **named)

        return wrapped

    publish(tmp_path / "whole")
    with monkeypatch.context() as patch:
        for name in ("fsync", "rename", "replace"):
            patch.setattr(os, name, failing(getattr(os, name)))
        with pytest.raises(StorageError, match="No space left"):
            publish(tmp_path / "sets")
    publish(tmp_path / "sets")
    assert contents(tmp_path / "sets" / "1") == contents(tmp_path / "whole" / "1")


# --- updates -------------------------------------------------------------------------------------


def update(folder: Path, previous: int, adds: EntrySource, removes: list[int]) -> Publication:
    return publish_update(Publishing(DESIGN, folder, SIGNER), previous, adds, removes, seeded("update"))


def more(seed: int, count: int = 5) -> EntrySource:
    salts = np.ones((count, 16), np.uint8)
    return batches_of(
        random_hashes(count, seed), np.arange(1, count + 1, dtype=np.uint64) + 1000 * seed, salts
    )


def test_an_update_becomes_the_next_epoch_and_keeps_the_files_devices_have(tmp_path: Path) -> None:
    first = publish(tmp_path)
    second = update(tmp_path, 1, more(2), [3, 4])
    assert current_epoch(tmp_path) == 2 and second.manifest.entries == COUNT + 3
    assert second.contents.setup == ("set.bin", "delta-0000000002.bin")
    assert bytes(second.setup()["set.bin"]) == bytes(first.setup()["set.bin"])
    assert DESIGN.open_setup(second.setup(), 2).deltas == ((5, 2),)
    assert DESIGN.open_role(Role("matcher"), second.role("matcher")).epoch == 2
    second.verify()
    assert update(tmp_path, 2, more(3), []).manifest.entries == COUNT + 8


def test_an_update_of_another_epoch_than_the_current_one_is_refused(tmp_path: Path) -> None:
    publish(tmp_path)
    update(tmp_path, 1, more(2), [])
    with pytest.raises(PublicationError, match="epoch 2 is published already"):
        update(tmp_path, 1, more(2), [])
    with pytest.raises(NoPublicationError, match="epoch 3 is not published"):
        update(tmp_path, 3, more(2), [])
    publish(tmp_path, 5)
    with pytest.raises(PublicationError, match="epoch 3 is not later than the one served, 5"):
        update(tmp_path, 2, more(3), [])


def test_an_interrupted_update_goes_on_with_what_was_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path)
    adds = more(2, 3 * BATCH)
    told = list[tuple[int, int]]()
    evaluated = list[int]()
    real = build.evaluated_rows

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2 * BATCH:
            raise KeyboardInterrupt

    def counted(key: Any, batch: Any, *others: Any) -> Any:
        evaluated.append(len(batch))
        return real(key, batch, *others)

    with pytest.raises(KeyboardInterrupt):
        how = Publishing(DESIGN, tmp_path, SIGNER, progress=stop)
        publish_update(how, 1, adds, [3], seeded("update"))
    assert told == [(BATCH, 3 * BATCH), (2 * BATCH, 3 * BATCH)] and current_epoch(tmp_path) == 1
    monkeypatch.setattr(build, "evaluated_rows", counted)
    later = replace(SIGNER, valid_from=99)
    second = publish_update(Publishing(DESIGN, tmp_path, later), 1, adds, [3], seeded("other"))
    assert evaluated == [BATCH] and second.signed.manifest.valid_from == SIGNER.valid_from
    assert DESIGN.open_setup(second.setup(), 2).deltas == ((3 * BATCH, 1),)


def test_a_damaged_epoch_is_not_updated(tmp_path: Path) -> None:
    publish(tmp_path)
    path = writable(tmp_path / "1" / "set.bin")
    data = bytearray(path.read_bytes())
    data[-80] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedPublicationError, match=r"set\.bin: altered"):
        update(tmp_path, 1, more(2), [])


# --- the workspace -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", ".hidden"])
def test_a_workspace_takes_plain_names_only(tmp_path: Path, name: str) -> None:
    space = FolderWorkspace(tmp_path)
    for make in (space.create, lambda name: space.scratch(name, 1)):
        with pytest.raises(WorkspaceError, match="not a plain file name"):
            make(name)


def test_a_workspace_gives_a_name_once(tmp_path: Path) -> None:
    space = FolderWorkspace(tmp_path)
    space.create("a")
    held = space.scratch("a", 10)
    with pytest.raises(WorkspaceError, match="twice"):
        space.create("a")
    with pytest.raises(WorkspaceError, match="twice"):
        space.scratch("a", 10)
    assert len(held) == 10


def test_a_scratch_of_another_size_is_zeroed_and_one_of_the_same_is_kept(tmp_path: Path) -> None:
    FolderWorkspace(tmp_path).scratch("a", 10)[3] = 7
    assert FolderWorkspace(tmp_path).scratch("a", 10)[3] == 7
    assert bytes(FolderWorkspace(tmp_path).scratch("a", 11)) == bytes(11)


def test_relaxing_loses_nothing_that_was_written(tmp_path: Path) -> None:
    space = FolderWorkspace(tmp_path)
    held = space.scratch("a", 1 << 16)
    held[:] = os.urandom(1 << 16)
    before = bytes(held)
    space.relax()
    assert bytes(held) == before


@pytest.mark.parametrize("times", [{"valid_seconds": 0}, {"valid_from": -1}, {"valid_from": 1 << 64}])
def test_a_time_that_no_manifest_can_have_is_refused_before_anything_is_built(
    tmp_path: Path, times: dict[str, int]
) -> None:
    how = Publishing(DESIGN, tmp_path, replace(SIGNER, **times))
    with pytest.raises(DesignError, match="valid_"):
        publish_epoch(how, source(), SetParameters(1, {}), seeded("times"))
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_many_digits_is_no_epoch(tmp_path: Path) -> None:
    (tmp_path / CURRENT).write_text("1" * 5_000 + "\n")
    with pytest.raises(DamagedPublicationError, match="does not hold the number"):
        current_epoch(tmp_path)
