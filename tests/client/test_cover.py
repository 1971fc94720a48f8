"""Reports on a cover schedule: nobody but the centre can tell a slot with a report from one without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from blindmatch_client.device import Device, DeviceConfig
from blindmatch_client.egress import Recorder
from blindmatch_client.errors import DeviceError, ServiceUnavailableError
from blindmatch_client.reports.reporting import Reporting
from blindmatch_client.settings import CoverSchedule
from blindmatch_client.trace import Purpose
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.content import padded_attachment_length
from blindmatch_protocol.messages.report import (
    KEPT_MS,
    SLOT_SIZES,
    Slot,
    capacity,
    cover,
    fragments_of,
    open_report,
    open_slot,
    seal_slot,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from dummy_designs import ECHO
from support.fakes import CENTRE, Owned, World, down, hashes_with, picture
from support.signed import CURATOR

from .conftest import MakeWorld

LISTED = picture(1, 256)
OTHER = picture(2, 256)
SMALL = SLOT_SIZES[0]
PERIOD_S = 60
RNG = system_randomness()


class Scheduled:
    """A world in which Alice keeps a schedule, and the time is what it is told to be."""

    def __init__(self, world: World, size: int = SMALL) -> None:
        self.world = world
        self.now = 1_700_000_000_000
        self.size = size
        world.device("bob")
        self.alice = self.open(Device.create)
        self.alice.device.register()
        assert not self.alice.device.tick()

    def open(self, make: object = Device.open) -> Owned:
        recorder = Recorder()
        egress = self.world.egress("alice", recorder, [])
        cover = CoverSchedule(PERIOD_S, self.size)
        centre = CENTRE
        config = DeviceConfig("alice", ECHO, CURATOR.public, cover=cover, centre=centre)
        folder: Path = self.world.folder / "alice"
        device = make(folder, config, egress, RNG, lambda: self.now)  # type: ignore[operator]
        self.world.devices.append(device)
        return Owned(device, recorder, [], [])

    def slots(self, count: int) -> None:
        """Let so many slots pass; within each the device ticks several times, and it flushes before them."""
        self.alice.device.flush()
        for _ in range(count):
            for _ in range(4):
                self.now += PERIOD_S * 250
                self.alice.device.tick()

    def opened(self) -> list[Slot]:
        centre = self.world.centre
        return [open_slot(sealed, name, centre.key) for name, sealed in centre.sealed]


@pytest.fixture
def scheduled(make_world: MakeWorld) -> Scheduled:
    return Scheduled(make_world(ECHO, hashes_with(LISTED)))


def test_a_slot_leaves_once_in_every_period_whether_there_is_a_report_or_not(scheduled: Scheduled) -> None:
    scheduled.slots(3)
    assert [slot.count for slot in scheduled.opened()] == [0, 0, 0]
    sent = scheduled.alice.device.send_picture("bob", LISTED)
    assert sent.delivered and not sent.reported and "in the next slots" in sent.notice
    assert len(scheduled.world.centre.sealed) == 3
    scheduled.slots(3)
    assert len(scheduled.world.centre.sealed) == 6


def test_what_leaves_has_one_form_whatever_is_in_it(scheduled: Scheduled) -> None:
    scheduled.slots(2)
    scheduled.alice.device.send_picture("bob", LISTED)
    scheduled.slots(20)
    records = [r for r in scheduled.alice.recorder.records() if r.party == Party.CENTRE][1:]
    assert {(r.purpose, r.item, r.method, r.request_bytes, len(r.requests)) for r in records} == {
        (Purpose.COVER, None, "/blindmatch.v1.Centre/Submit", records[0].request_bytes, 1)
    }
    assert {len(sealed) for _, sealed in scheduled.world.centre.sealed} == {SMALL}


def test_a_report_larger_than_a_slot_comes_whole_over_several(scheduled: Scheduled) -> None:
    sent = scheduled.alice.device.send_picture("bob", LISTED)
    scheduled.slots(30)
    pieces = {slot.position: slot for slot in scheduled.opened() if slot.count}
    count = pieces[0].count
    assert count > 1 and sorted(pieces) == list(range(count))
    sealed = b"".join(pieces[position].data for position in range(count))
    assert sent.report_id is not None
    report = open_report(sealed, sent.report_id, scheduled.world.centre.key)
    assert report.picture == LISTED and scheduled.alice.device.flush().waiting == 0


def test_at_a_slots_time_no_report_is_read_and_nothing_is_noted_of_one(
    scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both take time that cover does not, and what comes after a slot leaves later by that."""
    seen: list[str] = []
    for name in ("load_oldest", "note_fragment"):
        whole = getattr(Reporting, name)

        def noted(*given: object, name: str = name, whole: Callable[..., object] = whole) -> object:
            seen.append(name)
            return whole(*given)

        monkeypatch.setattr(Reporting, name, noted)
    scheduled.alice.device.send_picture("bob", LISTED)
    for _ in range(5):
        scheduled.alice.device.flush()
        seen.clear()
        scheduled.now += PERIOD_S * 1000
        assert scheduled.alice.device.tick() and seen == []
    assert [slot.position for slot in scheduled.opened() if slot.count] == [0, 1, 2, 3]


def test_a_flush_does_not_let_a_report_out_before_its_slot(scheduled: Scheduled) -> None:
    scheduled.alice.device.send_picture("bob", LISTED)
    assert scheduled.alice.device.flush().waiting == 1 and scheduled.world.centre.sealed == []


def test_a_slot_that_was_lost_passes_and_its_fragment_comes_in_the_next(scheduled: Scheduled) -> None:
    scheduled.alice.device.send_picture("bob", LISTED)
    scheduled.world.centre.fail_always(down())
    scheduled.now += PERIOD_S * 1000
    with pytest.raises(ServiceUnavailableError):
        scheduled.alice.device.tick()
    assert not scheduled.alice.device.tick()
    scheduled.world.centre.heal()
    scheduled.world.centre.sealed.clear()
    scheduled.slots(1)
    assert [slot.position for slot in scheduled.opened()] == [0]


def test_the_schedule_goes_on_after_a_restart_and_with_the_next_fragment(scheduled: Scheduled) -> None:
    scheduled.alice.device.send_picture("bob", LISTED)
    scheduled.slots(2)
    scheduled.alice.device.close()
    scheduled.alice = scheduled.open()
    assert not scheduled.alice.device.tick()
    scheduled.slots(1)
    assert [slot.position for slot in scheduled.opened()] == [0, 1, 2]


def test_after_a_pause_in_which_the_centre_forgets_fragments_the_report_begins_again(
    scheduled: Scheduled,
) -> None:
    centre = scheduled.world.centre
    scheduled.alice.device.send_picture("bob", LISTED)
    scheduled.slots(2)
    centre.now_ms += KEPT_MS
    scheduled.slots(1)
    centre.now_ms += KEPT_MS + 1
    scheduled.slots(20)
    positions = [slot.position for slot in scheduled.opened() if slot.count]
    assert positions == [0, 1, 2, 3] * 2
    assert scheduled.alice.device.flush().waiting == 0


def test_after_a_change_of_size_all_fragments_are_of_the_new_one(scheduled: Scheduled) -> None:
    scheduled.alice.device.send_picture("bob", LISTED)
    scheduled.slots(2)
    scheduled.alice.device.close()
    scheduled.size = SLOT_SIZES[2]
    scheduled.alice = scheduled.open()
    scheduled.slots(1)
    last = scheduled.opened()[-1]
    assert (last.position, last.count) == (0, 1)


@pytest.mark.parametrize("bad", [{"period_s": 1}, {"period_s": 60, "size": 1000}])
def test_a_schedule_out_of_range_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(DeviceError, match="a cover schedule has"):
        CoverSchedule(**bad)


@pytest.mark.parametrize("size", SLOT_SIZES)
def test_no_sealed_report_has_the_size_of_a_slot(size: int) -> None:
    sealed_overhead = 48
    assert all(padded_attachment_length(n) + sealed_overhead != size for n in range(1, SLOT_SIZES[-1] + 4096))


@pytest.mark.parametrize("size", SLOT_SIZES)
def test_every_slot_of_a_class_has_its_size(size: int) -> None:
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    assert len(seal_slot(cover(RNG, size), bytes(16), public)) == size
    assert fragments_of(capacity(size), size) == 1 and fragments_of(capacity(size) + 1, size) == 2


def test_a_slot_opens_under_its_own_id_alone_and_must_be_canonical() -> None:
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    sealed = seal_slot(cover(RNG, SMALL), bytes(16), public)
    with pytest.raises(ProtocolError, match="must be sealed to this centre"):
        open_slot(sealed, b"x" * 16, key)
    for broken in (
        Slot(bytes(16), 1, 1, b"data", b""),
        Slot(bytes(16), 0, 1, b"", b""),
        Slot(bytes(16), 0, 0, b"data", b""),
        Slot(bytes(16), 0, 0, b"", b"\x01"),
        Slot(bytes(16), 0, 5000, b"data", b""),
    ):
        with pytest.raises(ProtocolError, match="field"):
            open_slot(seal_slot(broken, bytes(16), public), bytes(16), key)
