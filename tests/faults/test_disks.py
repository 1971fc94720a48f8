"""Full, slow and read-only disks under a device and the relay; attachments that are never whole in memory."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blindmatch_client.errors import StoreError
from blindmatch_client.store import store
from blindmatch_client.store import store_file as files
from blindmatch_protocol import failpoint
from dummy_designs import ECHO
from msgspec.structs import replace
from support.fakes import World, hashes_with, picture
from support.mortal import Order, RelayPlan, check_taps, names_in

from .conftest import Place

LARGE_BYTES = 100 << 20
GROWTH_BYTES = 40 << 20


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, ECHO, hashes_with(picture(1)))
    yield made
    made.close()


@pytest.fixture
def slow_disk() -> Iterator[None]:
    failpoint.arm(lambda name: time.sleep(0.2) if name.endswith("commit.before") else None)
    yield
    failpoint.disarm()


def texts(path: Path) -> str:
    return path.read_text()


@pytest.mark.parametrize("room", [60 << 10, 90 << 10, 130 << 10])
def test_a_device_whose_disk_is_full_sends_nothing_it_has_not_kept(place: Place, room: int) -> None:
    name = f"full{room}-to-grace"
    to = "grace"
    place.first(to)
    orders: list[Order] = [("limit", room)]
    for number in range(40):
        orders.append(("text", to, f"{name}-{number}"))
        orders.append(("picture", to, f"{name}-{number}-picture", 2))
    assert place.live(name) == 0
    assert place.live(name, *orders) == 0
    plan = place.plan(name)
    refused = names_in(plan.journal, "refused")
    done = names_in(plan.journal, "done")
    assert any("full" in line or "disk" in line or "too large" in line for line in refused)
    assert place.live(name, ("flush",), ("text", to, f"{name}-after")) == 0
    assert place.live(to, ("receive",), ("inbox",)) == 0
    inbox = texts(place.plan(to).inbox)
    for one in (*done, f"{name}-after"):
        assert inbox.count(f"{one}.") == 1
    check_taps(place.relay.tap)


def test_a_relay_whose_disk_is_full_says_so_and_keeps_what_it_acknowledged(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "relay").mkdir()
    plan = RelayPlan(tmp_path / "relay", place.relay.credentials, 0, most_file_bytes=200 << 10)
    process, plan = place.processes.relay(plan)
    own = replace(place, relay=plan, folder=tmp_path)
    orders: list[Order] = [("text", "eve", f"alice-{number}") for number in range(60)]
    assert own.live("eve") == 0
    assert own.live("alice-to-eve", *orders) == 0
    assert own.live("eve", ("receive",), ("inbox",)) == 0
    assert texts(own.plan("eve").inbox).count("alice-") < 60
    process.terminate()
    process.join(240)
    process, _ = place.processes.relay(replace(plan, most_file_bytes=0))
    assert own.live("alice-to-eve", ("flush",)) == 0
    own.check("alice-to-eve", "eve")
    assert len(names_in(own.plan("alice-to-eve").journal, "done")) == 60
    process.terminate()


@pytest.mark.usefixtures("slow_disk")
def test_a_slow_disk_delays_and_breaks_nothing(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    assert alice.device.send_picture("bob", picture(1), "slowly").reported
    assert [m.text for m in bob.device.receive()] == ["slowly"]


def test_a_store_on_a_read_only_disk_is_an_error_and_nothing_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    alice.device.close()

    def read_only(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )

    monkeypatch.setattr(store, "connect", read_only)
    again = world.device("alice", fresh=False)
    with pytest.raises(StoreError, match="readonly database"):
        again.device.send_text("bob", "cannot be kept")
    assert again.methods() == []


def test_attachments_on_a_read_only_disk_are_an_error_and_nothing_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    before = alice.methods()

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files, "write_new", read_only)
    with pytest.raises(StoreError, match="an attachment cannot be kept: Read-only file system"):
        alice.device.send_picture("bob", picture(1))
    assert alice.methods() == before and alice.device.flush().waiting == 0


@pytest.mark.parametrize("broken", ["write_new", "sync_folder"])
def test_an_attachment_that_cannot_be_kept_is_fetched_when_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_picture("bob", picture(5), "see")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, broken, full)
    with pytest.raises(StoreError, match="No space left"):
        bob.device.receive()
    monkeypatch.undo()
    (got,) = bob.device.receive()
    assert got.pictures == (picture(5),)


def peak(place: Place, name: str) -> list[int]:
    """Peaks of memory that a device noted, in bytes."""
    lines = texts(place.plan(name).journal).splitlines()
    return [int(line.split()[1]) << 10 for line in lines if line.startswith("memory ")]


def resident(pid: int) -> int:
    """The peak of a process that runs, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.slow
def test_an_attachment_of_100_mib_is_never_whole_in_memory(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "large.bin"
    out = tmp_path / "out.bin"
    block = bytes(range(256)) * 4096
    with large.open("wb") as file:
        for _ in range(LARGE_BYTES // len(block)):
            file.write(block)
    (tmp_path / "relay").mkdir()
    process, plan = place.processes.relay(RelayPlan(tmp_path / "relay", place.relay.credentials, 0))
    own = replace(place, relay=plan, folder=tmp_path)
    assert process.pid is not None
    relay_before = resident(process.pid)
    assert own.live("heidi") == 0
    assert own.live("ivan", ("memory",), ("file", "heidi", "large", str(large)), ("memory",)) == 0
    assert own.live("heidi", ("memory",), ("receive",), ("save", str(out)), ("memory",)) == 0
    relay_growth = resident(process.pid) - relay_before
    process.terminate()
    assert out.stat().st_size == LARGE_BYTES
    with large.open("rb") as one, out.open("rb") as other:
        while data := one.read(1 << 20):
            assert data == other.read(1 << 20)
    sent_from, sent = peak(own, "ivan")
    got_from, got = peak(own, "heidi")
    growths = {"sender": sent - sent_from, "receiver": got - got_from, "relay": relay_growth}
    with capsys.disabled():
        print(f" [MiB more at the peak: { {k: v >> 20 for k, v in growths.items()} }]", end="")  # noqa: T201
    assert max(growths.values()) < GROWTH_BYTES
