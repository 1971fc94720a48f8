"""Pre-keys are renewed in time; sessions can be reset; groups and several conversations at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blindmatch_client.device import Device, DeviceConfig, OutcomeKind
from blindmatch_client.egress import Recorder
from blindmatch_client.messages import relay as upkeep
from blindmatch_client.messenger.state import ONE_TIME_MOST, WITHDRAWN_KEPT_MS, AccountKeeper
from blindmatch_client.settings import FailureMode
from blindmatch_client.store.store import Store
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party
from blindmatch_server.relay.service import HOLD_SECONDS
from blindmatch_server.relay.store import RelayLimits
from dummy_designs import ECHO
from support.fakes import Owned, World, down, hashes_with, picture
from support.signed import CURATOR

from .conftest import MakeWorld

WEEK_MS = 7 * 24 * 60 * 60 * 1000


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(ECHO, hashes_with(picture(1)))


def timed(world: World, name: str, clock: Callable[[], int]) -> Owned:
    """A device whose clock is `clock`."""
    recorder = Recorder()
    egress = world.egress(name, recorder, [])
    folder: Path = world.folder / name
    device = Device.create(
        folder, DeviceConfig(name, ECHO, CURATOR.public), egress, system_randomness(), clock
    )
    world.devices.append(device)
    device.register()
    return Owned(device, recorder, [], [])


def start_sessions(world: World, to: str, count: int) -> None:
    for number in range(count):
        world.device(f"peer{number}").device.send_text(to, f"hello from {number}")


def test_one_time_pre_keys_that_were_used_up_are_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "FEW", 99)
    bob = world.device("bob")
    start_sessions(world, "bob", 2)
    assert len(world.relay.keys["bob"].one_time_pre_keys) == 98
    assert len(bob.device.receive()) == 2
    assert len(world.relay.keys["bob"].one_time_pre_keys) >= 100
    carol = world.device("carol").device
    carol.send_text("bob", "with a fresh one")
    assert [m.text for m in bob.device.receive()] == ["with a fresh one"]


def test_pre_keys_that_others_drained_are_replaced_when_the_relay_is_next_asked(world: World) -> None:
    now = [1_700_000_000_000]
    bob = timed(world, "bob", lambda: now[0])
    del world.relay.keys["bob"].one_time_pre_keys[3:]
    bob.device.flush()
    assert bob.methods().count("Register") == 1
    held = [3, 100]
    world.relay.held = lambda: held.pop(0)
    now[0] += upkeep.LOOK_AFTER_MS + 1
    bob.device.flush()
    assert bob.methods().count("Register") == 3
    assert len(world.relay.keys["bob"].one_time_pre_keys) == 100, "those before are not published any more"


def drained(world: World, bob: Owned, now: list[int]) -> int:
    """How many one-time pre-keys are handed out, without a message, until there are no more."""
    count = 0
    while keys := world.relay.keys["bob"].one_time_pre_keys:
        count += len(keys)
        world.relay.handed_out.update(keys)
        del keys[:]
        now[0] += upkeep.LOOK_AFTER_MS + 1
        bob.device.flush()
    return count


def test_one_time_pre_keys_that_were_all_fetched_and_never_used_come_again_once_no_message_can_use_them(
    world: World,
) -> None:
    now = [1_700_000_000_000]
    bob = timed(world, "bob", lambda: now[0])
    assert drained(world, bob, now) == ONE_TIME_MOST
    now[0] += WITHDRAWN_KEPT_MS
    bob.device.flush()
    assert drained(world, bob, now) == ONE_TIME_MOST
    bob.device.close()
    (state,) = {AccountKeeper(Store(world.folder / "bob", False)).account.one_time_kept}
    assert state == ONE_TIME_MOST, "and no more of them are kept than that"


def test_withdrawn_pre_keys_are_kept_while_the_relay_does_not_take_others(world: World) -> None:
    now = [1_700_000_000_000]
    bob = timed(world, "bob", lambda: now[0])
    held = [3]
    world.relay.held = lambda: held[0]
    registered: list[int] = []

    def second_fails(method: str) -> Exception | None:
        registered.append(1)
        return down() if method == "Register" and len(registered) > 1 else None

    world.relay.fault = second_fails
    now[0] += upkeep.LOOK_AFTER_MS + 1
    bob.device.flush()  # they are withdrawn, and the relay does not hear of it
    now[0] += WITHDRAWN_KEPT_MS + 1
    bob.device.flush()
    account = bob.device._keeper.account
    assert (account.one_time_kept, account.one_time_left) == (200, 100)
    world.relay.heal()
    held[0] = 100
    for kept in (200, 200, 100):  # it hears of it; nearly long enough; long enough
        bob.device.flush()
        assert (account.one_time_kept, account.one_time_left) == (kept, 100)
        now[0] += WITHDRAWN_KEPT_MS // 2 + upkeep.LOOK_AFTER_MS


def test_a_first_message_opens_by_a_pre_key_that_was_withdrawn_since_and_uses_it_up(world: World) -> None:
    now = [1_700_000_000_000]
    bob = timed(world, "bob", lambda: now[0])
    alice = world.device("alice")
    alice.device.send_text("bob", "by a key of before")
    world.relay.handed_out.update(world.relay.keys["bob"].one_time_pre_keys)
    now[0] += upkeep.LOOK_AFTER_MS + 1
    bob.device.flush()
    kept = bob.device._keeper.account.one_time_kept
    assert kept == 200 and bob.device._keeper.account.one_time_left == 100
    bob.device.close()
    bob = world.device("bob", fresh=False)
    assert [one.text for one in bob.device.receive()] == ["by a key of before"]
    assert bob.device._keeper.account.one_time_kept == kept - 1


def test_a_device_keeps_withdrawn_pre_keys_longer_than_the_relay_keeps_messages() -> None:
    assert 1000 * (RelayLimits().retention_seconds + HOLD_SECONDS) <= WITHDRAWN_KEPT_MS


def test_a_signed_pre_key_is_replaced_after_a_week_and_the_old_one_still_opens(world: World) -> None:
    now = [1_700_000_000_000]
    bob = timed(world, "bob", lambda: now[0])
    alice = world.device("alice")
    first = world.relay.keys["bob"].signed_pre_key
    alice.device.send_text("bob", "sealed for the old key")
    now[0] += WEEK_MS + 1
    bob.device.flush()
    assert world.relay.keys["bob"].signed_pre_key != first
    assert [m.text for m in bob.device.receive()] == ["sealed for the old key"]
    carol = world.device("carol")
    carol.device.send_text("bob", "sealed for the new one")
    assert [m.text for m in bob.device.receive()] == ["sealed for the new one"]


def test_a_clock_that_jumps_back_and_forth_breaks_nothing(world: World) -> None:
    now = [1_700_000_000_000]
    bob = timed(world, "bob", lambda: now[0])
    alice = timed(world, "alice", lambda: now[0])
    for jump in (-10 * WEEK_MS, 20 * WEEK_MS, -15 * WEEK_MS, 1):
        now[0] += jump
        assert alice.device.send_text("bob", f"after {jump}").delivered
        assert [m.text for m in bob.device.receive()] == [f"after {jump}"]
        assert bob.device.flush().problems == () and alice.device.flush().waiting == 0


def test_a_relay_that_is_away_is_asked_for_its_pre_keys_next_time(world: World) -> None:
    now = [1_700_000_000_000]
    bob = timed(world, "bob", lambda: now[0])
    now[0] += WEEK_MS + 1
    world.relay.fail_always(down(), "Register")
    bob.device.flush()
    world.relay.heal()
    bob.device.flush()
    assert bob.methods()[-1] == "Register"


def test_after_a_reset_the_next_message_starts_a_session_and_is_understood(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_text("bob", "one")
    assert [m.text for m in bob.device.receive()] == ["one"]
    assert alice.device.reset_session("bob") and not alice.device.reset_session("bob")
    alice.device.send_text("bob", "two")
    assert alice.methods().count("FetchBundle") == 2
    assert [m.text for m in bob.device.receive()] == ["two"]
    bob.device.send_text("alice", "three")
    assert [m.text for m in alice.device.receive()] == ["three"]


def test_a_picture_for_a_group_is_matched_uploaded_and_reported_once(world: World) -> None:
    alice = world.device("alice")
    group = [world.device(name) for name in ("bob", "carol", "dave")]
    sent = alice.device.send_picture_to(["bob", "carol", "dave"], picture(1), "for all")
    assert [one.outcome for one in sent] == [OutcomeKind.MATCH] * 3 and all(one.delivered for one in sent)
    assert len({one.report_id for one in sent}) == 1 and len(world.centre.reports) == 1
    methods = alice.methods()
    assert len(alice.traces) == 1
    assert (methods.count("Upload"), methods.count("Send"), methods.count("Submit")) == (1, 3, 1)
    for member in group:
        (got,) = member.device.receive()
        assert (got.text, got.pictures) == ("for all", (picture(1),))
    assert list((world.folder / "alice" / "attachments").iterdir()) == []


def test_a_member_that_does_not_exist_keeps_nobody_else_from_the_message(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    first, second = alice.device.send_text_to(["nobody", "bob"], "hello")
    assert not first.delivered and "refused" in first.notice and second.delivered
    assert [m.text for m in bob.device.receive()] == ["hello"]


@pytest.mark.parametrize("mode", [FailureMode.HOLD, FailureMode.SEND_AND_MATCH_LATER])
def test_a_matcher_that_is_away_is_asked_once_for_a_group(world: World, mode: FailureMode) -> None:
    alice = world.device("alice", mode=mode)
    bob = world.device("bob")
    carol = world.device("carol")
    world.matcher.fail_always(down(), "Exchange")
    alice.device.send_picture_to(["bob", "carol"], picture(1))
    assert len(world.matcher.asked) == 3  # one picture, three attempts
    world.matcher.heal()
    assert alice.device.flush().waiting == 0 and len(world.centre.reports) == 1
    assert bob.device.receive()[0].pictures == carol.device.receive()[0].pictures == (picture(1),)


def test_several_devices_talk_to_each_other_at_once(world: World) -> None:
    names = ["a", "b", "c", "d"]
    devices = {name: world.device(name).device for name in names}

    def talk(name: str) -> None:
        for number in range(5):
            for other in names:
                if other != name:
                    devices[name].send_text(other, f"{name}{number}")
            devices[name].receive()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(talk, names))
    for name in names:
        devices[name].receive()
        got = sorted((m.sender, m.text) for m in devices[name].inbox())
        assert got == sorted((other, f"{other}{n}") for other in names if other != name for n in range(5))
    assert world.relay.queues == {name: [] for name in names}
    assert Party.PROVIDER in world.ports
