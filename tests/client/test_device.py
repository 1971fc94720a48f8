"""Messages of a device: delivered once, kept until they are, whatever happens in between."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_client.errors import MessengerError, RefusedError, ServiceUnavailableError, StoreError
from blindmatch_client.settings import MATCH_TIME, MESSENGER_FACTS, list_device_facts
from blindmatch_client.store.outbox import decode_outcome, encode_outcome
from blindmatch_client.store.store import Store
from blindmatch_client.store.store_file import FILE_NAME, SCHEMA_VERSION
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Label, Match, NoMatch, Outcome, Party, Undisclosed, Voucher
from blindmatch_protocol.designs import provider_scan
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from dummy_designs import ECHO, VOUCHERS, Sealed
from support.fakes import Fail, World, down, hashes_with, picture

HASHES = hashes_with(picture(1))
STATUS = grpc.StatusCode


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(ECHO, HASHES)


def test_texts_and_pictures_arrive_as_they_were_sent_in_both_directions(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    sent = alice.device.send_text("bob", "hello")
    assert sent.delivered and sent.outcome is OutcomeKind.NO_PICTURE and sent.item is None
    alice.device.send_picture("bob", picture(5, file_format="JPEG"), "a picture")
    first, second = bob.device.receive()
    assert (first.sender, first.text, first.pictures) == ("alice", "hello", ())
    assert second.pictures == (picture(5, file_format="JPEG"),)
    assert [file.media_type for file in second.attachments] == ["image/jpeg"]
    bob.device.send_text("alice", "thanks")
    assert [m.text for m in alice.device.receive()] == ["thanks"]
    assert world.relay.queues == {"alice": [], "bob": []}


def test_the_relay_gets_neither_text_nor_picture(world: World) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    data = picture(5)
    alice.device.send_picture("bob", data, "a secret text")
    sent = b"".join(b"".join(r.requests) for r in alice.recorder.records() if r.party == Party.PROVIDER)
    assert b"a secret text" not in sent and data[100:140] not in sent


def test_a_message_is_shown_once_and_stays_in_the_inbox(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_text("bob", "once")
    assert len(bob.device.receive()) == 1 and bob.device.receive() == []
    assert [m.text for m in bob.device.inbox()] == ["once"]


def test_a_lost_acknowledgement_does_not_show_a_message_twice(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_text("bob", "once")
    world.relay.fail_always(down(), "Acknowledge")
    assert len(bob.device.receive()) == 1
    world.relay.heal()
    assert bob.device.receive() == [] and world.relay.queues["bob"] == []


def test_a_message_is_acknowledged_only_once_it_is_saved(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_text("bob", "kept")
    saved: list[int] = []

    def look(method: str) -> None:
        if method == "Acknowledge":
            store = Store(world.folder / "bob", create=False)
            saved.append(len(store.all("SELECT 1 FROM incoming")))
            store.close()

    world.relay.fault = look
    bob.device.receive()
    assert saved == [1]


def test_a_message_waits_while_the_relay_is_down_and_survives_a_restart(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    world.relay.fail_always(down(), "Send")
    sent = alice.device.send_text("bob", "later")
    assert not sent.delivered and "waits on this device" in sent.notice
    sealed = [r.requests for r in alice.recorder.records() if r.method.endswith("/Send")]
    alice.device.close()
    world.relay.heal()
    again = world.device("alice", fresh=False)
    (later,) = again.device.flush().messages
    assert later.delivered and later.message_id == sent.message_id
    again_sealed = [r.requests for r in again.recorder.records() if not r.method.endswith("/FetchExpired")]
    assert again_sealed == sealed[:1]
    assert [m.text for m in bob.device.receive()] == ["later"]


def test_a_picture_that_was_matched_is_not_matched_again_after_a_restart(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    world.relay.fail_always(down(), "Upload")
    assert not alice.device.send_picture("bob", picture(1)).delivered
    asked = len(world.matcher.asked)
    assert world.centre.sealed == []
    alice.device.close()
    world.relay.heal()
    (later,) = world.device("alice", fresh=False).device.flush().messages
    assert later.reported and len(world.matcher.asked) == asked
    assert bob.device.receive()[0].pictures == (picture(1),)


def test_a_send_whose_reply_was_lost_is_delivered_once(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    lost = [down()]

    def lose(method: str) -> None:
        if lost:
            raise lost.pop()

    world.relay.fault_after = lose
    assert alice.device.send_text("bob", "once").delivered
    assert world.relay.calls.count("Send") == 2
    assert [m.text for m in bob.device.receive()] == ["once"]


def test_the_account_is_saved_before_a_sealed_message_leaves(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    states: list[list[bytes]] = []

    def look(method: str) -> None:
        store = Store(world.folder / "alice", create=False)
        if method == "Send":
            states.append(
                [state for (state,) in store.all("SELECT opened(state, 'peer.state', number) FROM peer")]
            )
        store.close()

    world.relay.fault = look
    alice.device.send_text("bob", "one")
    alice.device.send_text("bob", "two")
    (notices, one), (again, two) = states
    assert notices == again
    assert one != two
    world.relay.heal()
    assert [m.text for m in bob.device.receive()] == ["one", "two"]


def test_a_message_to_an_unknown_account_fails_for_good_and_says_so(world: World) -> None:
    alice = world.device("alice")
    with pytest.raises(RefusedError, match="the relay refused"):
        alice.device.send_picture("nobody", picture(1))
    assert alice.device.flush().waiting == 0 and world.centre.sealed == []


def test_a_bundle_that_its_owner_did_not_publish_is_refused(world: World) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    world.relay.keys["bob"].signed_pre_key_signature = bytes(64)
    with pytest.raises(MessengerError, match="bundle is refused"):
        alice.device.send_text("bob", "hi")
    assert alice.device.flush().waiting == 0 and "Send" not in alice.methods()


def test_a_message_that_cannot_be_opened_is_shown_as_a_problem_and_acknowledged(world: World) -> None:
    bob = world.device("bob")
    world.relay.queues["bob"].append(pb.Delivery(sequence=1, sender="alice", sealed=b"garbage"))
    (shown,) = bob.device.receive()
    assert "sealed-message" in shown.problem and shown.text == "" and world.relay.queues["bob"] == []


def test_an_attachment_that_cannot_be_had_now_is_fetched_next_time(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_picture("bob", picture(5))
    world.relay.fail_always(down(), "Download")
    assert bob.device.receive() == []
    bob.device.close()
    world.relay.heal()
    assert world.device("bob", fresh=False).device.receive()[0].pictures == (picture(5),)


@pytest.mark.parametrize("damage", [lambda blob: blob[:-1], lambda blob: bytes([blob[0] ^ 1]) + blob[1:]])
def test_a_damaged_attachment_is_left_out_and_named(world: World, damage: Callable[[bytes], bytes]) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_picture("bob", picture(5), "see")
    world.relay.blobs = {name: damage(blob) for name, blob in world.relay.blobs.items()}
    (shown,) = bob.device.receive()
    assert shown.text == "see" and shown.pictures == () and shown.problem


def test_receiving_from_a_relay_that_is_down_is_an_error_in_plain_words(world: World) -> None:
    bob = world.device("bob")
    world.relay.fail_always(down())
    with pytest.raises(ServiceUnavailableError, match="the relay cannot be reached"):
        bob.device.receive()


def test_delivery_does_not_wait_for_the_centre(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    world.centre.fail_always(Fail(STATUS.PERMISSION_DENIED))
    assert alice.device.send_picture("bob", picture(1)).delivered
    assert len(bob.device.receive()) == 1


def test_a_folder_holds_one_device_of_one_account(world: World) -> None:
    world.device("alice")
    with pytest.raises(StoreError, match="holds a device already"):
        world.device("alice")
    (world.folder / "alice").rename(world.folder / "carol")
    with pytest.raises(StoreError, match="holds the account alice, not carol"):
        world.device("carol", fresh=False)
    with pytest.raises(StoreError, match="holds no device"):
        world.device("dave", fresh=False)


def test_the_store_is_for_its_owner_alone_and_of_a_known_version(world: World) -> None:
    alice = world.device("alice")
    path = world.folder / "alice" / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    alice.device.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=f"is of version 99, this program's is {SCHEMA_VERSION}"):
        world.device("alice", fresh=False)


def test_what_is_not_needed_any_more_is_not_kept(world: World) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    alice.device.send_picture("bob", picture(1), "text that goes")
    alice.device.close()
    held = b"".join(p.read_bytes() for p in (world.folder / "alice").glob("device.sqlite*"))
    assert b"text that goes" not in held and picture(1)[100:140] not in held


def test_pictures_are_numbered_from_zero_on_also_after_a_restart(world: World) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    alice.device.send_text("bob", "x")
    assert alice.device.send_picture("bob", picture(3)).item == 0
    alice.device.close()
    again = world.device("alice", fresh=False)
    again.device.send_text("bob", "y")
    assert again.device.send_picture("bob", picture(4)).item == 1 and again.traces[0].item == 1


OUTCOMES: list[Outcome] = [
    NoMatch(),
    Undisclosed(),
    Match(Label(bytes(32), 1, bytes(16))),
    Voucher(Sealed(bytes(32), 3)),
]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_is_stored_and_read_back_the_same(outcome: Outcome) -> None:
    assert decode_outcome(VOUCHERS, encode_outcome(outcome)) == outcome


@pytest.mark.parametrize("stored", [b"", b"\x00\x00", b"\x07", b"\x02", b"\x03\x99"])
def test_a_stored_outcome_that_is_none_is_refused(stored: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_outcome(VOUCHERS, stored)


def test_the_facts_of_the_messenger_name_match_time_unless_reports_are_covered() -> None:
    assert (
        MATCH_TIME in list_device_facts()[Party.PROVIDER] and MATCH_TIME in list_device_facts()[Party.CENTRE]
    )
    covered = list_device_facts(cover_schedule=True)
    assert not any(MATCH_TIME in facts for facts in covered.values())
    assert all(set(facts) <= set(covered[party]) for party, facts in MESSENGER_FACTS.items())
    names = {fact.name for fact in MESSENGER_FACTS[Party.PROVIDER]}
    assert {"account", "recipient", "message_time", "padded_size"} <= names


def test_a_full_disk_while_a_message_comes_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_text("bob", "kept by the relay")
    run = Store.run

    def full(store: Store, statement: str, *values: Any) -> int:
        if statement.startswith("INSERT INTO incoming"):
            raise StoreError("the device's store failed: database or disk is full")
        return run(store, statement, *values)

    monkeypatch.setattr(Store, "run", full)
    with pytest.raises(StoreError, match="full"):
        bob.device.receive()
    assert len(world.relay.queues["bob"]) == 1
    monkeypatch.undo()
    assert [m.text for m in bob.device.receive()] == ["kept by the relay"]


def test_a_full_disk_while_a_message_is_sealed_sends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    run = Store.run

    def full(store: Store, statement: str, *values: Any) -> int:
        if "INTO peer" in statement:
            raise StoreError("the device's store failed: database or disk is full")
        return run(store, statement, *values)

    monkeypatch.setattr(Store, "run", full)
    with pytest.raises(StoreError, match="full"):
        alice.device.send_text("bob", "hello")
    assert "Send" not in alice.methods()
    monkeypatch.setattr(Store, "run", run)
    assert alice.device.flush().messages[0].delivered
    assert [m.text for m in bob.device.receive()] == ["hello"]


def test_a_repeated_message_is_acknowledged_and_not_shown(world: World) -> None:
    alice = world.device("alice")
    bob = world.device("bob")
    alice.device.send_text("bob", "once")
    (delivery,) = world.relay.queues["bob"]
    repeat = pb.Delivery(sequence=99, sender="alice", sealed=delivery.sealed)
    repeat.message_id = delivery.message_id
    repeat.accepted_at_ms = delivery.accepted_at_ms
    world.relay.queues["bob"].append(repeat)
    assert [m.text for m in bob.device.receive()] == ["once"] and world.relay.queues["bob"] == []


def test_what_sqlite_raises_is_an_error_of_the_store(world: World) -> None:
    world.device("alice")
    store = Store(world.folder / "alice", create=False)
    with pytest.raises(StoreError, match="the device's store failed"):
        store.one("SELECT nothing FROM nowhere")
    with pytest.raises(StoreError), store.transaction():
        store.put("kept", b"not")
        store.run("INSERT INTO nowhere VALUES (1)")
    assert store.get("kept") is None
    store.close()


def test_a_flush_asks_a_matcher_that_is_down_about_one_picture_only(world: World) -> None:
    alice = world.device("alice")
    _ = world.device("bob")
    world.matcher.fail_always(down(), "Exchange")
    for seed in range(3):
        alice.device.send_picture("bob", picture(seed))
    before = len(world.matcher.asked)
    assert alice.device.flush().waiting == 3
    assert len(world.matcher.asked) - before == 3  # one picture, three attempts
    world.matcher.heal()
    assert alice.device.flush().waiting == 0


def test_what_waits_to_be_sent_end_to_end_encrypted_is_never_sent_in_the_clear(world: World) -> None:
    """A deployment that comes back with a design without encryption does not get what was written before."""
    alice = world.device("alice")
    _ = world.device("bob")
    world.relay.fail_always(down(), "Upload")
    assert not alice.device.send_picture("bob", picture(5), "a secret text").delivered
    alice.device.close()
    own = world.design
    world.design = provider_scan.DESIGN
    with pytest.raises(StoreError, match=r"made for messages end-to-end encrypted; .*provider-scan: in the"):
        world.device("alice", fresh=False)
    with pytest.raises(RefusedError):  # the relay here serves no set
        world.device("carol")
    world.devices[-1].close()
    world.device("carol", fresh=False).device.close()
    world.design = own
    with pytest.raises(StoreError, match=r"made for messages in the clear; .*: end-to-end encrypted"):
        world.device("carol", fresh=False)
    assert world.device("alice", fresh=False).device.flush().waiting == 1


def test_a_device_is_imported_without_a_design_and_what_only_designs_need() -> None:
    script = "import sys, blindmatch_client.device; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "blindmatch_proofs.absence" in loaded
    assert not loaded & {
        "blindmatch_protocol.designs",
        "blindmatch_protocol.group.sodium",
        "doubleratchet",
        "PIL",
        "grpc",
    }
