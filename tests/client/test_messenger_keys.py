"""The messenger: identity keys, pre-keys, hostile bundles, and what is stored."""

from __future__ import annotations

import random
import traceback

import pytest
from blindmatch_client.errors import (
    BundleNeededError,
    BundleRefusedError,
    IdentityChangedError,
    MalformedError,
    NoSessionError,
    NotAuthenticError,
    PreKeyUnavailableError,
    ReplayedMessageError,
    StateError,
    TooManyFirstsError,
)
from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.state import ACCEPTED_MOST
from blindmatch_protocol.messages.content import Content
from blindmatch_protocol.messages.sealed_message import SealedMessage
from msgspec.structs import replace
from support.conversation import NOW, account, bundle, conversation, deliver, say, send
from x3dh.pre_key_pair import PreKeyPair

# identity keys and pre-keys


def test_a_first_message_needs_a_bundle() -> None:
    alice = account("alice")
    with pytest.raises(BundleNeededError, match="fetch a pre-key bundle"):
        alice.encrypt("bob", say("x"))
    assert alice.peer_identity("bob") is None


def test_a_changed_identity_key_is_refused_in_a_bundle_and_in_a_first_message() -> None:
    alice, bob = conversation()
    impostor = account("bob")
    with pytest.raises(IdentityChangedError):
        alice.encrypt("bob", say("x"), bundle(impostor))
    with pytest.raises(IdentityChangedError):
        alice.decrypt("bob", send(impostor, alice, "it is me"))
    assert alice.peer_identity("bob") == bob.identity


def test_another_spelling_of_a_key_is_neither_pinned_nor_kept_as_offered() -> None:
    """The user would be shown a safety number, and could trust a key that verifies and equals no other."""
    alice, bob = conversation()
    top = bob.identity[:31] + bytes([bob.identity[31] | 0x80])
    for identity in (top, bytes(32)):
        for one in (alice, account("carol")):
            with pytest.raises(BundleRefusedError):
                one.encrypt("bob", say("x"), replace(bundle(bob), identity=identity))
        with pytest.raises(MalformedError, match="identity"):
            alice.trust("bob", identity)
    assert alice.peers()["bob"].offered == () and alice.peer_identity("bob") == bob.identity


def test_a_changed_identity_key_is_taken_once_it_is_trusted() -> None:
    alice, _ = conversation()
    renewed = account("bob")
    alice.trust("bob", renewed.identity)
    deliver(alice, renewed, "hello again")
    deliver(renewed, alice, "hello")


@pytest.mark.parametrize("restart", [False, True])
def test_a_one_time_pre_key_is_accepted_once_also_after_a_restart(restart: bool) -> None:
    alice = account("alice")
    carol = account("carol")
    bob = account("bob")
    shared = bundle(bob)
    bob.decrypt("alice", alice.encrypt("bob", say("x"), shared))
    if restart:
        bob = Account.load(bob.dump())
    with pytest.raises(PreKeyUnavailableError):
        bob.decrypt("carol", carol.encrypt("bob", say("y"), shared))
    assert shared.one_time[0] not in bob.get_published_keys().one_time
    assert len(bob.get_published_keys().one_time) == 3


@pytest.mark.parametrize("restart", [False, True])
def test_a_first_message_without_one_time_pre_key_is_taken_but_its_replay_is_not(restart: bool) -> None:
    alice = account("alice")
    bob = account("bob")
    first = alice.encrypt("bob", say("x"), bundle(bob, one_time=0))
    assert bob.decrypt("alice", first).text == "x"
    bob.reset_sessions("alice")
    if restart:
        bob = Account.load(bob.dump())
    with pytest.raises(ReplayedMessageError):
        bob.decrypt("alice", first)


def test_a_first_message_computes_none_of_its_sender_s_one_time_pre_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alice = account("alice")
    bob = account("bob")
    theirs = bundle(bob)
    computed = list[object]()
    monkeypatch.setattr(PreKeyPair, "pub", property(computed.append))
    first = alice.encrypt("bob", say("x"), theirs)
    monkeypatch.undo()
    assert computed == []
    assert bob.decrypt("alice", first).text == "x"
    assert len(alice.get_published_keys().one_time) == 4
    deliver(bob, alice, "back")


def test_new_one_time_pre_keys_are_those_to_publish() -> None:
    bob = account("bob", 2)
    before = set(bob.get_published_keys().one_time)
    bob.add_one_time_pre_keys(3)
    assert set(bob.get_published_keys().one_time) > before and len(bob.get_published_keys().one_time) == 5
    with pytest.raises(ValueError, match="1000"):
        bob.add_one_time_pre_keys(1000)


def test_a_replaced_signed_pre_key_serves_once_more_and_then_no_longer() -> None:
    alice = account("alice")
    bob = account("bob")
    first, second = (account(name).encrypt("bob", say("x"), bundle(bob, 0)) for name in ("carol", "dave"))
    replayed = alice.encrypt("bob", say("x"), bundle(bob, 0))
    bob.decrypt("alice", replayed)
    bob.rotate_signed_pre_key(NOW + 10)
    assert NOW + 15 - bob.rotated_at == 5
    assert bob.decrypt("carol", first).text == "x"
    bob.rotate_signed_pre_key(NOW + 20)
    with pytest.raises(PreKeyUnavailableError):
        bob.decrypt("dave", second)
    bob.reset_sessions("alice")
    with pytest.raises(PreKeyUnavailableError):
        bob.decrypt("alice", replayed)


@pytest.mark.parametrize(
    "change",
    [
        {"signature": bytes(64)},
        {"signature": bytes(63)},
        {"identity": bytes(32)},
        {"identity": b"\x01" + bytes(31)},
        {"identity": bytes(31)},
        {"identity": b"\xff" * 32},
        {"signed_pre_key": bytes(32)},
        {"signed_pre_key": b"\x09" + bytes(31)},
        {"signed_pre_key": b""},
        {"one_time": (bytes(32),)},
        {"one_time": (b"\x01" + bytes(31),)},
        {"one_time": (bytes(33),)},
        {"one_time": (b"\x09" + bytes(31), b"\x02" + bytes(31))},
    ],
)
def test_a_hostile_bundle_is_refused_and_pins_nothing(change: dict[str, object]) -> None:
    alice = account("alice", 0)
    bob = account("bob", 1)
    with pytest.raises(BundleRefusedError):
        alice.encrypt("bob", say("x"), replace(bundle(bob), **change))  # type: ignore[arg-type]
    assert alice.peer_identity("bob") is None
    deliver(alice, bob, "with the real one")


def test_a_bundle_with_a_pre_key_signed_by_somebody_else_is_refused() -> None:
    alice = account("alice")
    bob = account("bob")
    mallory = account("mallory")
    mixed = replace(bundle(mallory), identity=bob.identity)
    with pytest.raises(BundleRefusedError):
        alice.encrypt("bob", say("x"), mixed)


def test_ones_own_bundle_under_another_name_is_refused() -> None:
    alice = account("alice")
    with pytest.raises(BundleRefusedError):
        alice.encrypt("bob", say("x"), bundle(alice))


@pytest.mark.parametrize("content", [say("x" * 65_537), replace(say("x"), id=b"")])
def test_a_content_out_of_bounds_is_refused_before_the_ratchet_moves(content: Content) -> None:
    alice, _ = conversation()
    before = alice.dump()
    with pytest.raises(MalformedError):
        alice.encrypt("bob", content)
    assert alice.dump() == before


def test_names_are_up_to_64_bytes() -> None:
    with pytest.raises(MalformedError, match="name"):
        account("x" * 65)
    with pytest.raises(MalformedError, match="recipient"):
        account("alice").encrypt("x" * 65, say("x"), bundle(account("bob")))


# storing


def test_a_dump_loads_to_the_same_dump_at_every_stage() -> None:
    alice = account("alice")
    bob = account("bob")
    late = [send(alice, bob, "late") for _ in range(2)]
    deliver(alice, bob, "x")
    for stage in (alice, bob, account("carol", 0)):
        assert Account.load(stage.dump()).dump() == stage.dump()
    bob = Account.load(bob.dump())
    assert [bob.decrypt("alice", sealed).text for sealed in late] == ["late", "late"]


def test_a_conversation_goes_on_when_both_restart_after_every_step() -> None:
    alice = account("alice")
    bob = account("bob")
    for turn in range(4):
        sealed = send(alice, bob, f"a{turn}")
        alice = Account.load(alice.dump())
        bob = Account.load(bob.dump())
        assert bob.decrypt("alice", sealed).text == f"a{turn}"
        bob = Account.load(bob.dump())
        deliver(bob, alice, f"b{turn}")


def test_an_account_saved_before_sending_uses_no_number_twice() -> None:
    alice, bob = conversation()
    sent = SealedMessage.decode(send(alice, bob, "x"))
    again = SealedMessage.decode(send(Account.load(alice.dump()), bob, "y"))
    assert (sent.header.number, again.header.number) == (0, 1)


def test_an_account_restored_from_before_a_sending_is_refused_by_the_peer_but_repeats_no_keystream() -> None:
    alice, bob = conversation()
    stale = alice.dump()
    content = say("the same")
    sent = SealedMessage.decode(alice.encrypt("bob", content))
    again = SealedMessage.decode(Account.load(stale).encrypt("bob", content))
    assert again.header == sent.header
    assert again.ciphertext[16:-32] != sent.ciphertext[16:-32]
    bob.decrypt("alice", sent.encode())
    with pytest.raises(ReplayedMessageError):
        bob.decrypt("alice", again.encode())


def test_a_damaged_dump_is_refused_or_is_another_account() -> None:
    alice, _ = conversation()
    dump = alice.dump()
    dice = random.Random(1)
    for at in dice.sample(range(len(dump)), 150):
        damaged = dump[:at] + bytes([dump[at] ^ (1 << dice.randrange(8))]) + dump[at + 1 :]
        try:
            Account.load(damaged)
        except StateError:
            continue
    for damaged in (b"", dump[:-1], dump + b"\x00", b"\x00" + dump):
        with pytest.raises(StateError):
            Account.load(damaged)


def test_errors_and_repr_show_no_secret_and_chain_no_library_error() -> None:
    alice, bob = conversation()
    sealed = SealedMessage.decode(send(alice, bob, "x"))
    with pytest.raises(NotAuthenticError) as caught:
        bob.decrypt("alice", replace(sealed, ciphertext=bytes(90)).encode())
    assert caught.value.__context__ is None
    assert "AuthenticationFailed" not in "".join(traceback.format_exception(caught.value))
    assert repr(alice) == "<Account>"
    dump = alice.dump()
    with pytest.raises(StateError) as unreadable:
        Account.load(dump.replace(b'"identity_key"', b'"identity_kex"'))
    assert unreadable.value.__context__ is None


# first messages without a one-time pre-key


def first_of(sender: Account, recipient: Account) -> bytes:
    """A first message without a one-time pre-key."""
    sender.reset_sessions(recipient.name)
    return sender.encrypt(recipient.name, say("first"), bundle(recipient, one_time=0))


def stored(owner: Account) -> Account:
    """The account as it comes back from its rows."""
    return Account.load(owner.dump())


def test_each_peer_may_start_so_many_sessions_and_the_next_one_waits_for_a_new_pre_key() -> None:
    alice = account("alice")
    bob = account("bob")
    carol = account("carol")
    sealed = [first_of(alice, bob) for _ in range(ACCEPTED_MOST + 1)]
    for one in sealed[:-1]:
        bob.decrypt("alice", one)
    bob = stored(bob)
    with pytest.raises(TooManyFirstsError, match="wait until the pre-key is replaced"):
        bob.decrypt("alice", sealed[-1])
    # others are not held up, nor is she with a one-time pre-key or in a session
    assert bob.decrypt("carol", first_of(carol, bob)).text == "first"
    alice.reset_sessions("bob")
    assert bob.decrypt("alice", alice.encrypt("bob", say("x"), bundle(bob))).text == "x"
    bob.rotate_signed_pre_key(NOW)
    assert bob.decrypt("alice", first_of(alice, bob)).text == "first"


def test_a_first_message_is_never_taken_twice_whenever_it_comes_again() -> None:
    alice = account("alice")
    bob = account("bob")
    sealed = [first_of(alice, bob) for _ in range(12)]
    for one in sealed:
        bob.decrypt("alice", one)
    for change in ("nothing", "reset", "trust", "rotate"):
        if change == "reset":
            bob.reset_sessions("alice")
        if change == "trust":
            bob.trust("alice", alice.identity)
        if change == "rotate":
            bob.rotate_signed_pre_key(NOW)
        bob = stored(bob)
        for one in sealed:
            with pytest.raises(ReplayedMessageError):
                bob.decrypt("alice", one)
    bob.rotate_signed_pre_key(NOW)
    assert not bob.peers()["alice"].accepted
    for one in sealed:
        with pytest.raises((PreKeyUnavailableError, NoSessionError, ReplayedMessageError)):
            bob.decrypt("alice", one)


def test_a_first_message_opens_for_a_thief_until_the_second_replacement_of_the_signed_pre_key() -> None:
    """Without a one-time pre-key, though it was received: who has the keys does without the memory."""
    alice = account("alice")
    bob = account("bob")
    bob.decrypt("alice", recorded := first_of(alice, bob))
    opened = []
    for _ in range(3):
        thief = stored(bob)
        thief._set_peer("alice", replace(thief.peers()["alice"], sessions=(), accepted=()))
        try:
            opened.append(thief.decrypt("alice", recorded).text)
        except PreKeyUnavailableError:
            opened.append("")
        bob.rotate_signed_pre_key(NOW)
    assert opened == ["first", "first", ""]


def test_what_first_messages_of_many_peers_leave_is_in_their_rows_and_goes_with_the_pre_key() -> None:
    bob = account("bob", 0)
    bob.take_changes()
    core = len(bob.dump())
    for number in range(40):
        sender = account(f"peer-{number}", 0)
        for _ in range(3):
            bob.decrypt(sender.name, first_of(sender, bob))
        changes = bob.take_changes()
        # the account's own value is not written again, and no other peer's either
        assert changes.core is None and set(changes.peers) == {sender.name}
    assert all(len(peer.accepted) == 3 for peer in bob.peers().values())
    bob.rotate_signed_pre_key(NOW)
    assert set(bob.take_changes().peers) == set()
    bob.rotate_signed_pre_key(NOW)
    changes = bob.take_changes()
    assert len(changes.peers) == 40 and changes.core is not None and len(changes.core) < core + 1000
    assert not any(peer.accepted for peer in bob.peers().values())
