"""The path of a text and of a picture through a device: nothing is read back, or synced twice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_client.settings import Consequence
from blindmatch_client.store import outbox
from blindmatch_client.store.store import Store
from blindmatch_client.store.vault import Vault
from blindmatch_protocol.designs.oprf_psi import DESIGN
from support.fakes import Owned, World, down, hashes_with, picture

LISTED = picture(1)
OTHER = picture(2)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What was sealed and opened, by place; outcomes that were decoded; commits that were synced."""
    counts: Counter[str] = Counter()
    seal = Vault.seal
    unseal = Vault.unseal
    commit = Store._commit
    decode = outbox.decode_outcome
    synchronous = "PRAGMA synchronous"

    def sealed(vault: Vault, value: Any, place: str, row: Any) -> Any:
        counts[f"seal {place}"] += 1
        return seal(vault, value, place, row)

    def unsealed(vault: Vault, value: Any, place: str, row: Any) -> Any:
        counts[f"open {place}"] += 1
        return unseal(vault, value, place, row)

    def committed(store: Store) -> Any:
        (level,) = store._db.execute(synchronous).fetchone()
        counts["synced" if level == 2 else "not synced"] += 1
        return commit(store)

    def decoded(*given: Any) -> Any:
        counts["decoded"] += 1
        return decode(*given)

    monkeypatch.setattr(Vault, "seal", sealed)
    monkeypatch.setattr(Vault, "unseal", unsealed)
    monkeypatch.setattr(Store, "_commit", committed)
    monkeypatch.setattr(outbox, "decode_outcome", decoded)
    return counts


@pytest.fixture
def alice(make_world: Callable[..., World], seen: Counter[str]) -> Owned:
    """She has a session with Bob, and nothing of hers waits; what is seen is seen from now on."""
    world = make_world(DESIGN, hashes_with(LISTED))
    bob = world.device("bob")
    alice = world.device("alice")
    alice.device.send_picture("bob", picture(3))
    bob.device.receive()
    seen.clear()
    return alice


def test_a_text_is_one_synced_transaction_and_three_sealed_records(alice: Owned, seen: Counter[str]) -> None:
    assert alice.device.send_text("bob", "a text").delivered
    expected = {"synced": 1, "seal outgoing.body": 1, "seal peer.state": 1, "seal handed_over.body": 1}
    assert seen == expected


def test_of_a_picture_nothing_is_read_back(alice: Owned, seen: Counter[str]) -> None:
    assert alice.device.send_picture("bob", OTHER).outcome is OutcomeKind.NO_MATCH
    # queued; sealed and uploaded; concluded. That the relay has it, with its stamp, is noted without a sync.
    # what came of it is kept, in the last one, until its user was shown it
    assert seen == {
        "synced": 3,
        "not synced": 1,
        "seal outgoing.body": 4,
        "seal attached.body": 2,
        "seal peer.state": 1,
        "seal handed_over.body": 1,
    }


def test_outcome_and_report_of_a_match_are_one_transaction(alice: Owned, seen: Counter[str]) -> None:
    assert alice.device.send_picture("bob", LISTED).reported
    assert seen["synced"] == 4, "with the receipt of the centre"
    assert [name for name in seen if name.startswith("open")] == ["open meta.value"]
    assert seen["seal meta.value"] == 2 and not seen["decoded"]


def test_a_device_that_refuses_saves_an_outcome_once_for_a_group(
    make_world: Callable[..., World], seen: Counter[str]
) -> None:
    world = make_world(DESIGN, hashes_with(LISTED))
    group = ["bob", "carol", "dave"]
    alice = world.device("alice", consequence=Consequence.REFUSE)
    seen.clear()
    sent = alice.device.send_picture_to(group, LISTED)
    assert {one.outcome for one in sent} == {OutcomeKind.MATCH} and not any(one.delivered for one in sent)
    # each queued; the outcome, with the one that it was looked at for; what came of each
    assert seen["seal outgoing.body"] == 2 * len(group) + 1 and seen["seal attached.body"] <= 2 + len(group)


def test_a_device_that_is_opened_reads_what_it_knows_of_each_peer_once(
    make_world: Callable[..., World], seen: Counter[str]
) -> None:
    world = make_world(DESIGN, hashes_with(LISTED))
    world.device("bob")
    alice = world.device("alice")
    alice.device.send_text("bob", "a text")
    alice.device.close()
    seen.clear()
    world.device("alice", fresh=False)
    assert seen["open peer.state"] == 2, "Bob and the centre's notices"


def test_what_was_sent_has_no_row_once_its_user_was_shown_what_came_of_it(alice: Owned) -> None:
    alice.device.send_text("bob", "a text")
    sent = alice.device.send_picture("bob", LISTED)
    assert alice.device.outcomes()[-1] == sent
    alice.device.mark_shown(alice.device.outcomes())
    store = alice.device._base.store
    assert store.all("SELECT number FROM outgoing") == []
    assert store.all("SELECT item FROM attached") == []


def test_what_comes_is_written_unsynced_and_acknowledged_after_a_sync(
    make_world: Callable[..., World], seen: Counter[str]
) -> None:
    world = make_world(DESIGN, hashes_with(LISTED))
    bob = world.device("bob")
    alice = world.device("alice")
    for text in ("first", "second"):
        alice.device.send_text("bob", text)
    asked: list[Counter[str]] = []
    world.relay.fault = lambda method: asked.append(seen.copy()) if method == "Acknowledge" else None
    seen.clear()
    assert [one.text for one in bob.device.receive()] == ["first", "second"]
    (before,) = asked
    assert before["synced"] == 1 and before["not synced"] >= 1 and seen["synced"] == 3
    # the second: shown; the third, once an hour: when the relay was asked what expired
    assert world.relay.queues["bob"] == [] and not seen["open incoming.body"]


def test_of_a_picture_that_comes_nothing_is_read_back(
    make_world: Callable[..., World], seen: Counter[str]
) -> None:
    world = make_world(DESIGN, hashes_with(LISTED))
    bob = world.device("bob")
    alice = world.device("alice")
    alice.device.send_picture("bob", OTHER)
    seen.clear()
    (came,) = bob.device.receive()
    assert came.pictures == (OTHER,) and not seen["open incoming.body"]


def test_a_loss_of_power_before_an_acknowledgement_takes_back_messages_and_account_alike(
    make_world: Callable[..., World],
) -> None:
    world = make_world(DESIGN, hashes_with(LISTED))
    bob = world.device("bob")
    alice = world.device("alice")
    for text in ("starts a session", "second"):
        alice.device.send_text("bob", text)
    bob.device.close()
    shutil.copytree(world.folder / "bob", world.folder / "before")
    bob = world.device("bob", fresh=False)
    world.relay.fail_always(down(), "Acknowledge")
    assert len(bob.device.receive()) == 2 and len(world.relay.queues["bob"]) == 2
    bob.device.close()
    shutil.rmtree(world.folder / "bob")
    (world.folder / "before").rename(world.folder / "bob")
    world.relay.heal()
    bob = world.device("bob", fresh=False)
    assert [one.text for one in bob.device.receive()] == ["starts a session", "second"]
    bob.device.send_text("alice", "an answer")
    assert [one.text for one in alice.device.receive()] == ["an answer"] and world.relay.queues["bob"] == []
