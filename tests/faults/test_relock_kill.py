"""A change of a device's lock, killed at every point: what opened it before opens it, or the new key does."""

from __future__ import annotations

import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blindmatch_client.errors import StoreError, WrongKeyError
from blindmatch_simulations.testbed.deployment.device_settings import Settings, relock
from blindmatch_simulations.testbed.deployment.devices import create_device, needs_passphrase, open_device
from blindmatch_simulations.testbed.deployment.folder import Deployment
from msgspec import Struct
from support.command import BAD_STATE, USAGE, in_process, refused
from support.forked import lived
from support.mortal import Arm
from support.mortal_relock import RelockPlan, relock_life

OLD, NEW = "the old one", "the new one"
FILE, OTHER = "keys/one", "keys/other"


class Change(Struct, frozen=True):
    """From a file or a passphrase, or from neither, to a file or a passphrase."""

    name: str
    old_file: str = ""
    old: str | None = None
    new_file: str = ""
    new: str | None = None

    def begin(self, home: Path) -> None:
        if self.old or self.old_file:
            relock(Deployment.open(home), "alice", self._file(home, self.old_file), self.old)

    def arguments(self, home: Path) -> tuple[Path | None, str | None, str | None]:
        return self._file(home, self.new_file), self.new, self.old

    @staticmethod
    def _file(home: Path, name: str) -> Path | None:
        return home / name if name else None


CHANGES = [
    Change("to a passphrase", new=NEW),
    Change("passphrase to file", old=OLD, new_file=FILE),
    Change("another passphrase", old=OLD, new=NEW),
    Change("another file", old_file=FILE, new_file=OTHER),
]
COMMITS = [Arm(f"device.commit.{side}") for side in ("before", "after")]
SETTINGS = [Arm(f"device.settings.rename.{side}", hit) for hit in (1, 2) for side in ("before", "after")]
KILLED = [
    *((CHANGES[0], arm) for arm in (*SETTINGS, *COMMITS)),
    *((CHANGES[1], arm) for arm in COMMITS),
    # the settings do not change with the passphrase, and are written at the end alone
    *((CHANGES[2], arm) for arm in (*COMMITS, SETTINGS[0])),
    *((CHANGES[3], arm) for arm in (*SETTINGS[1:3], *COMMITS)),
]


def is_made(change: Change, arm: Arm) -> bool:
    """Did the transaction that changes the lock come before the kill?"""
    if arm in COMMITS:
        return arm.point.endswith("after")
    return arm.hit == 2 or change == CHANGES[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "home"
    create_device(Deployment.create(folder, datetime.now(UTC)), "alice", "none").device.close()
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


def opens(home: Path, passphrase: str | None) -> bool:
    deployment = Deployment.open(home)
    try:
        secret = passphrase if needs_passphrase(deployment, "alice") else None
        open_device(deployment, "alice", secret).device.close()
    except StoreError:
        return False
    return True


@pytest.mark.parametrize(("change", "arm"), KILLED, ids=lambda one: getattr(one, "name", None) or str(one))
def test_a_device_opens_with_the_old_key_or_the_new_one(home: Path, change: Change, arm: Arm) -> None:
    change.begin(home)
    assert lived(relock_life, RelockPlan(home, change.arguments(home), arm)).code == -signal.SIGKILL
    works, fails = (change.new, change.old) if is_made(change, arm) else (change.old, change.new)
    assert opens(home, works)
    assert not (works and fails and opens(home, fails))
    assert Settings.read(Deployment.open(home), "alice").following is None
    if not is_made(change, arm):
        relock(Deployment.open(home), "alice", *change.arguments(home))
    assert opens(home, change.new)
    assert not (home / "devices/alice/state/store.key").exists()


def test_every_point_that_is_reached_is_one_at_which_a_test_kills(home: Path, tmp_path: Path) -> None:
    change, noted = CHANGES[0], tmp_path / "noted"
    assert lived(relock_life, RelockPlan(home, change.arguments(home), None, noted)).code == 0
    reached = noted.read_text().split()
    assert set(reached) == {arm.point for arm in (*SETTINGS, *COMMITS)}
    assert reached.count("device.commit.before") == 1 and reached.count("device.settings.rename.before") == 2


def test_the_old_key_opens_nothing_any_more(home: Path) -> None:
    deployment, old = Deployment.open(home), home / "devices/alice/state/store.key"
    key = old.read_bytes()
    lock = (home / "devices/alice/state/device.sqlite").read_bytes()
    relock(deployment, "alice", None, OLD)
    assert not old.exists() and opens(home, OLD)
    relock(deployment, "alice", None, NEW, OLD)
    assert opens(home, NEW) and not opens(home, OLD)
    with pytest.raises(WrongKeyError):
        relock(deployment, "alice", home / FILE, None, OLD)
    relock(deployment, "alice", home / FILE, None, NEW)
    (home / FILE).write_bytes(key)
    assert not opens(home, None)
    assert lock != (home / "devices/alice/state/device.sqlite").read_bytes()


def test_a_new_key_that_cannot_be_had_changes_nothing(home: Path) -> None:
    deployment = Deployment.open(home)
    (home / "keys").mkdir()
    (home / FILE).write_bytes(b"short")
    (home / FILE).chmod(0o600)
    with pytest.raises(StoreError, match="32 bytes"):
        relock(deployment, "alice", home / FILE, None)
    assert opens(home, None)
    with pytest.raises(StoreError, match="must not be empty"):
        relock(deployment, "alice", None, "")
    assert opens(home, None)
    with pytest.raises(StoreError, match="already"):
        relock(deployment, "alice", None, None)


def test_the_command_changes_the_lock(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDMATCH_NEW_PASSPHRASE", NEW)
    ran = in_process(home, "device", "relock", "alice", "--passphrase", "--json", "-")
    assert (ran.code, ran.json) == (0, {"account": "alice", "locked_with": "passphrase"})
    monkeypatch.setenv("BLINDMATCH_PASSPHRASE", OLD)
    refused(in_process(home, "device", "relock", "alice", "--key-beside"), BAD_STATE, "this passphrase")
    monkeypatch.setenv("BLINDMATCH_PASSPHRASE", NEW)
    assert in_process(home, "device", "relock", "alice", "--key-beside").code == 0
    monkeypatch.delenv("BLINDMATCH_PASSPHRASE")
    assert in_process(home, "device", "status", "alice").code == 0
    assert in_process(home, "device", "relock", "alice").code == USAGE
    refused(in_process(home, "device", "relock", "nobody", "--passphrase"), BAD_STATE, "no device nobody")
