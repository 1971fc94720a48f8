"""The device's store: sealed, opened by one key alone, and brought up to date whole or not at all."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from blindmatch_client.errors import StoreError, WrongKeyError
from blindmatch_client.store.store import UNSETTLED_MOST, Store
from blindmatch_client.store.store_file import FILE_NAME, KEY_NAME, SCHEMA_VERSION
from blindmatch_client.store.vault import KeyFile, KeySource, Lock, Passphrase, Vault
from dummy_designs import ECHO
from support.fakes import hashes_with, picture

from .conftest import MakeWorld

SECRET = b"a secret that must not be found"


def quick(text: str) -> Passphrase:
    """A passphrase that costs little to stretch."""
    return Passphrase(text, operations=1, memory=1 << 20)


def key_in(folder: Path) -> KeyFile:
    return KeyFile(folder / "keys" / "mine")


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("source", [quick("correct horse"), None], ids=["passphrase", "key file"])
def test_what_was_kept_is_found_again_with_the_same_key(tmp_path: Path, source: KeySource | None) -> None:
    store = Store(tmp_path, True, source, {"first": SECRET})
    store.put("second", SECRET * 2)
    store.close()
    again = Store(tmp_path, False, source)
    assert (again.get("first"), again.get("second"), again.get("third")) == (SECRET, SECRET * 2, None)
    again.close()
    assert SECRET not in on_disk(tmp_path)


def test_another_passphrase_is_refused_and_named_as_such(tmp_path: Path) -> None:
    Store(tmp_path, True, quick("right"), {"name": SECRET}).close()
    with pytest.raises(WrongKeyError, match="does not open with this passphrase"):
        Store(tmp_path, False, quick("wrong"))
    with pytest.raises(WrongKeyError, match="locked with a passphrase, not with the key in"):
        Store(tmp_path, False)


def test_another_key_file_is_refused_and_named_as_such(tmp_path: Path) -> None:
    Store(tmp_path, True, key_in(tmp_path)).close()
    other = KeyFile(tmp_path / "other")
    other.make()
    with pytest.raises(WrongKeyError, match=r"does not open with the key in .*other"):
        Store(tmp_path, False, other)


def test_a_key_file_is_made_for_its_owner_alone_and_refused_when_others_may_read_it(tmp_path: Path) -> None:
    Store(tmp_path, True).close()
    path = tmp_path / KEY_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(StoreError, match="for its owner alone"):
        Store(tmp_path, False)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"short")])
def test_a_key_file_that_is_missing_or_none_is_named(tmp_path: Path, damage: Any) -> None:
    Store(tmp_path, True).close()
    damage(tmp_path / KEY_NAME)
    with pytest.raises(StoreError, match=r"store\.key: .*key file"):
        Store(tmp_path, False)


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="must not be empty"):
        Store(tmp_path, True, quick(""))
    assert not (tmp_path / FILE_NAME).exists()


def test_a_sealed_value_opens_nowhere_but_where_it_stood(tmp_path: Path) -> None:
    store = Store(tmp_path, True, None, {"mine": SECRET, "yours": b"another"})
    store.run("UPDATE meta SET value = (SELECT value FROM meta WHERE name = 'yours') WHERE name = 'mine'")
    with pytest.raises(StoreError, match="altered"):
        store.get("mine")
    assert store.get("yours") == b"another"
    store.close()


def test_an_altered_value_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, True, None, {"mine": SECRET})
    store.run("UPDATE meta SET value = substr(value, 1, length(value) - 1)")
    with pytest.raises(StoreError, match="altered"):
        store.get("mine")
    store.close()


@pytest.mark.parametrize("function", ["seal", "unseal"])
def test_an_interrupt_within_a_statement_is_one_and_no_sign_of_an_altered_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    store = Store(tmp_path, True, None, {"name": b"before"})
    step = getattr(Vault, function)
    is_due = [True]

    def interrupting(vault: Vault, *given: Any) -> Any:
        if is_due:
            is_due.clear()
            signal.raise_signal(signal.SIGINT)
        return step(vault, *given)

    monkeypatch.setattr(Vault, function, interrupting)
    with pytest.raises(KeyboardInterrupt):
        store.put("name", b"after")
        store.get("name")
    assert store.get("name") == (b"before" if function == "seal" else b"after")
    store.put("name", b"later")
    assert store.get("name") == b"later"
    store.close()


def test_two_seals_of_one_value_differ() -> None:
    vault, _ = Vault.create(quick("x"))
    assert vault.seal(b"v", "place", 1) != vault.seal(b"v", "place", 1)


def test_a_lock_that_asks_for_too_much_memory_is_refused() -> None:
    with pytest.raises(StoreError, match="damaged lock"):
        Passphrase("x").key(Lock("passphrase", bytes(16), 1, 1 << 40, b""))


def test_nothing_said_in_messages_is_in_the_clear_on_the_device(make_world: MakeWorld) -> None:
    world = make_world(ECHO, hashes_with(picture(1)))
    bob = world.device("bob")
    alice = world.device("alice")
    alice.device.send_picture("bob", picture(5), "a text for the disk")
    (got,) = bob.device.receive()
    assert got.pictures == (picture(5),)
    held = on_disk(world.folder)
    for clear in (b"a text for the disk", picture(5)[100:140], b"alice\x00", b'"pre_keys"', b'"ratchet"'):
        assert clear not in held


def sealed_states(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, bytes]]:
    """Every state of account and peers that is sealed from now on, with its place."""
    states: list[tuple[object, bytes]] = []
    seal = Vault.seal

    def noted(vault: Vault, value: Any, place: str, row: Any) -> Any:
        made = seal(vault, value, place, row)
        if place in ("peer.state", "meta.value") and made is not None:
            states.append((f"{id(vault)}/{place}/{row}", made))
        return made

    monkeypatch.setattr(Vault, "seal", noted)
    return states


def test_no_earlier_state_of_a_ratchet_is_in_any_file_once_a_device_is_at_rest(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(ECHO, hashes_with())
    alice = world.device("alice")
    bob = world.device("bob")
    states = sealed_states(monkeypatch)
    for rest in (lambda: bob.device.receive(), lambda: bob.device.flush(), bob.device.close):
        for number in range(5):
            alice.device.send_text("bob", f"message {number}")
            bob.device.receive()
            bob.device.send_text("alice", f"answer {number}")
            alice.device.receive()
        rest()
        latest = set(dict(states).values())
        held = on_disk(world.folder / "bob")
        earlier = [made for _, made in states if made not in latest]
        assert len(earlier) > 10
        assert not any(made[:24] in held or made[-24:] in held for made in earlier)


def test_what_a_killed_device_left_in_the_log_is_cut_off_by_the_next_one(tmp_path: Path) -> None:
    store = Store(tmp_path, True)
    killed = tmp_path / "killed"
    for number in range(3):
        store.put("state", bytes([number]) * 40)
    (old,) = store._db.execute("SELECT value FROM meta WHERE name = 'state'").fetchone()
    store.put("state", SECRET)
    shutil.copytree(tmp_path, killed, ignore=shutil.ignore_patterns("killed"))
    store.close()
    assert old[:24] in on_disk(killed)
    again = Store(killed, False)
    again.settle()
    assert again.get("state") == SECRET and old[:24] not in on_disk(killed)
    again.close()


def test_a_device_that_never_rests_keeps_no_more_than_so_many_transactions(tmp_path: Path) -> None:
    store = Store(tmp_path, True)
    log = tmp_path / f"{FILE_NAME}-wal"
    sizes = []
    for number in range(4 * UNSETTLED_MOST):
        store.put("state", bytes([number % 256]) * 40)
        sizes.append(log.stat().st_size)
    assert sizes.count(0) == 4
    store.close()


def test_another_reader_of_the_store_delays_that_the_log_is_cut_off(tmp_path: Path) -> None:
    store = Store(tmp_path, True)
    log = tmp_path / f"{FILE_NAME}-wal"
    store.put("state", SECRET)
    store._db.execute("PRAGMA busy_timeout = 1")
    reader = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM meta").fetchall()
    store.put("state", SECRET)
    store.settle()
    assert log.stat().st_size
    reader.close()
    store.settle()
    assert not log.stat().st_size
    store.close()


def test_which_tables_and_columns_are_in_the_clear_is_known(tmp_path: Path) -> None:
    Store(tmp_path, True).close()
    db = sqlite3.connect(tmp_path / FILE_NAME)
    schema = "".join(sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"))
    db.close()
    columns = [
        line.split()[0] for line in schema.splitlines() if line.startswith("  ") and "KEY (" not in line
    ]
    sealed = [line.split()[0] for line in schema.splitlines() if "-- sealed" in line]
    clear = set(columns) - set(sealed)
    assert clear == {
        *("kind", "salt", "operations", "memory", "wrapped", "name", "design", "version", "epoch", "number"),
        *("message_id", "queued_at_ms", "stage", "item", "file", "sequence", "accepted_at_ms"),
        *("acknowledged", "shown", "position", "examined", "found_at_ms", "content_id", "asked", "scope"),
    }


def test_a_store_of_another_version_is_refused_with_the_reason(tmp_path: Path) -> None:
    Store(tmp_path, True, None, {"account": SECRET}).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(
        StoreError, match=f"version 9, this program's is {SCHEMA_VERSION}, .*: register a new device"
    ):
        Store(tmp_path, False)


def test_a_transaction_that_is_not_synced_is_kept_by_the_next_one_that_is(tmp_path: Path) -> None:
    store = Store(tmp_path, True)
    with store.transaction(synced=False):
        store.put("first", SECRET)
        assert store.one("PRAGMA synchronous") == (1,)
    with store.transaction():
        assert store.one("PRAGMA synchronous") == (2,)
    with pytest.raises(ValueError, match="on purpose"), store.transaction(synced=False):
        store.put("first", b"other")
        raise ValueError("on purpose")
    with store.transaction():
        assert store.one("PRAGMA synchronous") == (2,)
        store.put("second", SECRET)
    again = Store(tmp_path, False)
    assert (again.get("first"), again.get("second")) == (SECRET, SECRET)
    for one in (store, again):
        one.close()
