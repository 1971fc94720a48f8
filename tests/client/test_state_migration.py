"""A store of before device states were named by period is brought up to date whole, and its states go on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from blindmatch_client.errors import StoreError
from blindmatch_client.store import store_file
from blindmatch_client.store.store import IN_USE, DesignState, Store
from blindmatch_client.store.store_file import FILE_NAME, KEY_NAME, SCHEMA_VERSION
from blindmatch_protocol import contract as bm
from blindmatch_protocol import failpoint
from blindmatch_protocol.codec import Fixed, Message
from blindmatch_protocol.codec.randomness import Randomness
from dummy_designs import ECHO, Vouchers
from msgspec.structs import replace
from support.fakes import Owned, hashes_with, picture, publish

from .conftest import MakeWorld

STORED = Path(__file__).parents[1] / "vectors" / "device-store-16.sql"
"""Written by the program of version 16: states of epochs 1 and 2 of one design, and of epoch 2 of another."""
KEY = bytes(range(32))
STATES = {
    ("lasting", 1, 1): b"state of epoch 1",
    ("lasting", 1, 2): b"state of epoch 2",
    ("single", 3, 2): b"another state",
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a store of version 16."""
    folder = tmp_path / "old"
    folder.mkdir()
    key = folder / KEY_NAME
    key.write_bytes(KEY)
    key.chmod(0o600)
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        db.executescript(STORED.read_text())
    return folder


def version_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def schema_of(folder: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        return sorted(db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def check_whole(folder: Path) -> None:
    """Everything that the old store held is there, under this program's schema."""
    with closing(Store(folder, False)) as store:
        for (design, version, epoch), state in STATES.items():
            assert DesignState(store, design, version, bm.epoch_scope(epoch)).load() == state
        assert store.get("first") == b"a value"
    assert version_of(folder) == SCHEMA_VERSION


def test_a_store_of_version_16_is_brought_up_to_date_and_loses_nothing(old: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    Store(fresh, True).close()
    check_whole(old)
    check_whole(old)
    assert schema_of(old) == schema_of(fresh)


@pytest.mark.parametrize("point", ["device.commit.before", "device.commit.after"])
def test_a_store_whose_conversion_is_cut_off_is_of_one_version_or_of_the_other(old: Path, point: str) -> None:
    def cut(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    failpoint.arm(cut)
    try:
        with pytest.raises(KeyboardInterrupt):
            Store(old, False)
    finally:
        failpoint.disarm()
    assert version_of(old) == (16 if point.endswith("before") else SCHEMA_VERSION)
    check_whole(old)


def test_a_conversion_that_fails_half_way_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(db: sqlite3.Connection) -> None:
        convert(db)
        raise StoreError("half way")

    convert = store_file.MIGRATIONS[16]
    before = schema_of(old)
    with monkeypatch.context() as patch:
        patch.setattr(store_file, "MIGRATIONS", {16: fail})
        with pytest.raises(StoreError, match="half way"):
            Store(old, False)
    assert (version_of(old), schema_of(old)) == (16, before)
    check_whole(old)


def test_a_state_that_was_altered_is_refused_and_the_store_stays_as_it_is(old: Path) -> None:
    with closing(sqlite3.connect(old / FILE_NAME)) as db, db:
        db.execute("UPDATE device_state SET epoch = 3 WHERE epoch = 1")
    with pytest.raises(StoreError, match="altered"):
        Store(old, False)
    assert version_of(old) == 16


def test_a_store_that_another_process_writes_is_not_converted_under_it(old: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(old, copy)
    with closing(Store(copy, False)) as other:
        other.put("second", b"held")
        with closing(sqlite3.connect(copy / FILE_NAME)) as db, db:
            db.execute("PRAGMA user_version = 16")
        with pytest.raises(StoreError, match=IN_USE):
            Store(copy, False)


class Held(Message, tag=0xDF, name="lasting/state"):
    """What an account keeps."""

    key: Annotated[bytes, Fixed(16)]


class Lasting(Vouchers):
    """Vouchers whose state is drawn once; epochs 1 to 9 are of one period, 10 to 19 of the next."""

    info = replace(Vouchers.info, name="lasting", version=1)
    device_state: ClassVar[type[Message]] = Held

    def period(self, setup: int) -> bytes:
        return (setup // 10).to_bytes(8, "big")

    def enrol(self, rng: Randomness) -> Any:
        return Held(rng.take(16))


LASTING = Lasting()
LISTED = picture(1)
HASHES = hashes_with(LISTED)


def used(owned: Owned) -> bytes:
    """The state that the device uses for the next picture."""
    owned.device.send_picture("bob", LISTED)
    return Held.decode(owned.traces[-1].state_before).key


def kept(folder: Path) -> list[bytes]:
    """Scopes of the states in a device's store."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        return [scope for (scope,) in db.execute("SELECT scope FROM device_state ORDER BY scope")]


def as_version_16(folder: Path, states: dict[int, bytes]) -> None:
    """Make a closed device's store what the program of version 16 left of these states, by epoch."""
    with closing(Store(folder, False)) as store, store.transaction():
        store.run("DROP TABLE device_state")
        store.run(
            "CREATE TABLE device_state (design TEXT NOT NULL, version INTEGER NOT NULL,"
            " epoch INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY (design, version, epoch)) STRICT"
        )
        for epoch, key in states.items():
            store.run(
                "INSERT INTO device_state VALUES ('lasting', 1, ?, sealed(?, 'device_state.state', ?))",
                *(epoch, Held(key).encode(), f"lasting/1/{epoch}"),
            )
        store.run("PRAGMA user_version = 16")


def test_the_state_of_a_design_with_vouchers_lasts_for_its_period_and_no_longer(
    make_world: MakeWorld,
) -> None:
    world = make_world(LASTING, HASHES)
    world.device("bob")
    alice = world.device("alice")
    seen = [used(alice)]
    for epoch in (2, 3, 10, 11):
        world.matcher.epoch = publish(LASTING, HASHES, epoch)
        alice.device.refresh()
        seen.append(used(alice))
        assert len(kept(world.folder / "alice")) == 1
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4]


def test_the_state_of_any_other_design_is_of_its_epoch_and_goes_with_it(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    for epoch in (2, 3):
        alice.device.send_picture("bob", picture(5))
        world.matcher.epoch = publish(ECHO, HASHES, epoch)
        alice.device.refresh()
        assert kept(world.folder / "alice") == [bm.epoch_scope(epoch)]


def test_a_state_that_is_opened_again_in_its_period_is_the_same(make_world: MakeWorld) -> None:
    world = make_world(LASTING, HASHES)
    world.device("bob")
    alice = world.device("alice")
    before = used(alice)
    alice.device.close()
    world.matcher.epoch = publish(LASTING, HASHES, 4)
    again = world.device("alice", fresh=False)
    again.device.refresh()
    assert used(again) == before and again.device.epoch == 4


@pytest.fixture
def converted(make_world: MakeWorld) -> Iterator[tuple[Any, dict[int, bytes]]]:
    """A world whose device has adopted epoch 3, and states of epochs 1 to 3 in a store of version 16."""
    world = make_world(LASTING, HASHES)
    states = {epoch: bytes([epoch]) * 16 for epoch in (1, 2, 3)}
    world.device("bob")
    alice = world.device("alice")
    for epoch in (2, 3):
        world.matcher.epoch = publish(LASTING, HASHES, epoch)
        alice.device.refresh()
    alice.device.close()
    as_version_16(world.folder / "alice", states)
    yield world, states


def test_of_several_states_of_one_period_the_current_epoch_s_goes_on(
    converted: tuple[Any, dict[int, bytes]],
) -> None:
    """It made the newest vouchers. The others made older ones, and shares of two states never add up."""
    world, states = converted
    alice = world.device("alice", fresh=False)
    assert used(alice) == states[3]
    assert kept(world.folder / "alice") == [bm.state_scope(LASTING, 3)]


@pytest.mark.parametrize(("epoch", "goes_on"), [(4, True), (10, False)])
def test_a_state_goes_on_if_the_first_that_a_new_program_does_is_to_fetch_an_update(
    converted: tuple[Any, dict[int, bytes]], epoch: int, goes_on: bool
) -> None:
    world, states = converted
    world.matcher.epoch = publish(LASTING, HASHES, epoch)
    alice = world.device("alice", fresh=False)
    alice.device.refresh()
    seen = used(alice)
    assert (seen == states[3]) is goes_on and seen not in (states[1], states[2])
    assert kept(world.folder / "alice") == [bm.state_scope(LASTING, epoch)]


def test_a_number_of_an_epoch_is_not_taken_for_a_period_of_the_same_bytes(make_world: MakeWorld) -> None:
    """The period of epochs 10 to 19 is 1, as is the number of the first epoch."""
    world = make_world(LASTING, HASHES)
    world.device("bob")
    alice = world.device("alice")
    alice.device.close()
    as_version_16(world.folder / "alice", {1: bytes(16)})
    world.matcher.epoch = publish(LASTING, HASHES, 10)
    again = world.device("alice", fresh=False)
    again.device.refresh()
    assert used(again) != bytes(16)
