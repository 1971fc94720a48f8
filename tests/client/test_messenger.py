"""The messenger: conversations under loss, repeats, tampering, hostile peers and restarts."""

from __future__ import annotations

import random

import pytest
import x3dh
from blindmatch_client.errors import (
    CommitmentError,
    MalformedError,
    MessengerError,
    NoSessionError,
    NotAuthenticError,
    PreKeyUnavailableError,
    ReplayedMessageError,
    TooManySkippedError,
)
from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.peers import Plain, Session, start
from blindmatch_client.messenger.state import SESSIONS_MOST, Chain
from blindmatch_client.messenger.suite import AGREEMENT_TAG, SKIP_MOST, KeyAgreement, dump_ratchet
from blindmatch_protocol.codec import Text
from blindmatch_protocol.messages.content import NAME_MOST, pad_text
from blindmatch_protocol.messages.franking import commit
from blindmatch_protocol.messages.sealed_message import Franked, SealedMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.conversation import account, bundle, conversation, deliver, say, send

# conversations


def test_a_conversation_goes_both_ways() -> None:
    alice, bob = conversation()
    for turn in range(4):
        deliver(alice, bob, f"a{turn}")
        deliver(alice, bob, f"b{turn}")
        deliver(bob, alice, f"c{turn}")


def test_the_content_arrives_as_it_was_sent() -> None:
    alice = account("alice")
    bob = account("bob")
    content = say("Grüße")
    assert bob.decrypt("alice", alice.encrypt("bob", content, bundle(bob))) == content


def test_the_initial_header_goes_along_until_the_first_answer() -> None:
    alice = account("alice")
    bob = account("bob")
    assert [len(SealedMessage.decode(send(alice, bob, "x")).initial) for _ in range(2)] == [1, 1]
    deliver(alice, bob, "y")
    deliver(bob, alice, "answer")
    assert not SealedMessage.decode(send(alice, bob, "z")).initial


def test_texts_of_similar_length_have_ciphertexts_of_one_length() -> None:
    alice, bob = conversation()
    assert len({len(send(alice, bob, "x" * length)) for length in (0, 1, 60, 170)}) == 1


@given(st.permutations(range(6)))
@settings(max_examples=15, deadline=None)
def test_messages_arrive_in_any_order(order: list[int]) -> None:
    alice = account("alice")
    bob = account("bob")
    sealed = [send(alice, bob, str(number)) for number in range(6)]
    assert [bob.decrypt("alice", sealed[number]).text for number in order] == [str(n) for n in order]


def test_lost_messages_of_an_earlier_chain_arrive_late() -> None:
    alice, bob = conversation()
    late = [send(alice, bob, f"late {number}") for number in range(3)]
    for _ in range(3):
        deliver(alice, bob, "on time")
        deliver(bob, alice, "answer")
    assert [bob.decrypt("alice", sealed).text for sealed in reversed(late)] == ["late 2", "late 1", "late 0"]


def test_what_is_stored_of_a_ratchet_is_what_its_library_says_of_it() -> None:
    alice, bob = conversation()
    for text in ("lost", "lost, too"):
        send(alice, bob, text)
    deliver(alice, bob, "arrives")
    for account_, peer in ((alice, "bob"), (bob, "alice")):
        ratchet = account_.peers()[peer].sessions[0].ratchet
        stored = dump_ratchet(ratchet)
        model = ratchet.model
        moving = model.diffie_hellman_ratchet
        chains = moving.symmetric_key_ratchet
        assert (stored.own_private, stored.other_public) == (
            moving.own_ratchet_priv,
            moving.other_ratchet_pub,
        )
        assert stored.root == Chain(moving.root_chain.length, moving.root_chain.key)
        pairs = ((stored.receiving, chains.receiving_chain), (stored.sending, chains.sending_chain))
        assert [[(c.length, c.key) for c in ours] for ours, _ in pairs] == [
            [(theirs.length, theirs.key)] if theirs else [] for _, theirs in pairs
        ]
        assert stored.previous == tuple(
            filter(lambda n: n is not None, [chains.previous_sending_chain_length])
        )
        kept = [(one.ratchet_pub, one.index, one.message_key) for one in model.skipped_message_keys]
        assert [(one.ratchet_key, one.number, one.key) for one in stored.skipped] == kept
    assert len(bob.peers()["alice"].sessions[0].ratchet.model.skipped_message_keys) == 2


def test_both_may_start_at_once() -> None:
    alice = account("alice")
    bob = account("bob")
    from_alice = send(alice, bob, "a")
    from_bob = send(bob, alice, "b")
    assert (bob.decrypt("alice", from_alice).text, alice.decrypt("bob", from_bob).text) == ("a", "b")
    for _ in range(3):
        deliver(alice, bob, "to bob")
        deliver(bob, alice, "to alice")


@pytest.mark.parametrize("seed", range(5))
def test_random_schedules_with_loss_repeats_and_restarts_deliver_each_message_once(seed: int) -> None:
    dice = random.Random(seed)
    people = {"alice": account("alice", 20), "bob": account("bob", 20)}
    wire: list[tuple[str, str, bytes]] = []
    delivered: list[str] = []
    for number in range(60):
        sender, recipient = dice.sample(["alice", "bob"], 2)
        wire.append((sender, recipient, send(people[sender], people[recipient], str(number))))
        if dice.random() < 0.2:
            people[recipient] = Account.load(people[recipient].dump())
        while wire and dice.random() < 0.6:
            origin, target, sealed = wire.pop(dice.randrange(len(wire)))
            if dice.random() < 0.1:
                continue
            delivered.append(people[target].decrypt(origin, sealed).text)
            with pytest.raises(ReplayedMessageError):
                people[target].decrypt(origin, sealed)
    assert len(delivered) > 40
    assert len(set(delivered)) == len(delivered)


# repeats, bounds and tampering


def test_a_repeated_message_is_refused_at_once_and_much_later() -> None:
    alice = account("alice")
    bob = account("bob")
    first = send(alice, bob, "first")
    bob.decrypt("alice", first)
    for _ in range(3):
        with pytest.raises(ReplayedMessageError):
            bob.decrypt("alice", first)
        deliver(bob, alice, "answer")
        deliver(alice, bob, "next")


def test_a_message_after_too_many_lost_ones_is_refused_and_nothing_breaks() -> None:
    alice, bob = conversation()
    sealed = [send(alice, bob, "x") for _ in range(SKIP_MOST + 2)]
    with pytest.raises(TooManySkippedError):
        bob.decrypt("alice", sealed[-1])
    assert bob.decrypt("alice", sealed[SKIP_MOST]).text == "x"
    assert bob.decrypt("alice", sealed[0]).text == "x"


def test_a_session_recovers_when_a_whole_chain_longer_than_the_bound_is_lost() -> None:
    alice, bob = conversation()
    deliver(alice, bob, "one of the chain")
    question = send(bob, alice, "still there?")
    for _ in range(SKIP_MOST + 5):
        send(alice, bob, "lost")
    assert alice.decrypt("bob", question).text == "still there?"
    deliver(alice, bob, "yes")
    deliver(bob, alice, "good")


def flips(sealed: bytes, mask: int) -> list[bytes]:
    return [sealed[:at] + bytes([sealed[at] ^ mask]) + sealed[at + 1 :] for at in range(len(sealed))]


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_any_flipped_byte_is_refused_and_the_session_goes_on(mask: int) -> None:
    alice, bob = conversation()
    before = bob.dump()
    sealed = send(alice, bob, "good")
    for damaged in flips(sealed, mask):
        with pytest.raises(MessengerError):
            bob.decrypt("alice", damaged)
    assert bob.dump() == before
    assert bob.decrypt("alice", sealed).text == "good"


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_any_flipped_byte_of_a_first_message_is_refused_and_uses_no_pre_key(mask: int) -> None:
    alice = account("alice", 1)
    bob = account("bob", 1)
    before = bob.dump()
    sealed = send(alice, bob, "good")
    for damaged in flips(sealed, mask):
        with pytest.raises(MessengerError):
            bob.decrypt("alice", damaged)
    assert bob.dump() == before
    assert bob.decrypt("alice", sealed).text == "good"


@given(st.binary(max_size=700))
@settings(max_examples=50, deadline=None)
def test_garbage_is_malformed(garbage: bytes) -> None:
    with pytest.raises(MalformedError):
        account("bob", 0).decrypt("alice", garbage)


def test_a_swapped_commitment_is_refused() -> None:
    alice, bob = conversation()
    one, two = (SealedMessage.decode(send(alice, bob, text)) for text in "12")
    with pytest.raises(NotAuthenticError):
        bob.decrypt("alice", replace(one, commitment=two.commitment).encode())


def test_a_message_for_somebody_else_or_under_another_name_is_refused() -> None:
    alice = account("alice")
    bob = account("bob")
    first = send(alice, bob, "for bob")
    with pytest.raises(NotAuthenticError):
        bob.decrypt("mallory", first)
    with pytest.raises(PreKeyUnavailableError):
        account("carol").decrypt("alice", first)


def test_a_message_sent_back_to_its_sender_is_refused() -> None:
    alice, bob = conversation()
    with pytest.raises(NotAuthenticError):
        alice.decrypt("bob", send(alice, bob, "mine"))


def test_a_message_of_no_known_session_says_so() -> None:
    alice, bob = conversation()
    bob.reset_sessions("alice")
    with pytest.raises(NoSessionError):
        bob.decrypt("alice", send(alice, bob, "x"))
    deliver(bob, alice, "let us start again")
    deliver(alice, bob, "yes")


def test_sessions_that_a_peer_starts_again_and_again_are_bounded() -> None:
    alice = account("alice", 0)
    bob = account("bob", 2 * SESSIONS_MOST)
    for _ in range(SESSIONS_MOST + 2):
        alice.reset_sessions("bob")
        deliver(alice, bob, "once more")
    bob = Account.load(bob.dump())
    deliver(bob, alice, "enough")


# hostile senders


def hostile(recipient: Account, plain: Plain) -> tuple[Session, SealedMessage]:
    keys = KeyAgreement.create(x3dh.IdentityKeyFormat.CURVE_25519, x3dh.HashFunction.SHA_256, AGREEMENT_TAG)
    names = b"".join(Text(NAME_MOST).write(name, "", "") for name in ("mallory", recipient.name))
    return start(keys, bundle(recipient), names, plain)


def forged(recipient: Account, padded: bytes, commitment: bytes) -> bytes:
    return hostile(recipient, Plain(padded, commitment))[1].encode()


def test_an_authentic_message_whose_commitment_binds_something_else_is_refused() -> None:
    bob = account("bob")
    content = say("abuse")
    harmless = commit(replace(content, text="harmless"), "mallory", "bob")
    before = bob.dump()
    with pytest.raises(CommitmentError):
        bob.decrypt("mallory", forged(bob, pad_text(Franked(content, b"", ()).encode()), harmless))
    assert bob.dump() == before
    honest = commit(content, "mallory", "bob")
    assert (
        bob.decrypt("mallory", forged(bob, pad_text(Franked(content, b"", ()).encode()), honest)) == content
    )


def test_a_false_commitment_inside_a_session_leaves_the_session_as_it_was() -> None:
    bob = account("bob")
    content = say("x")
    good = Plain(pad_text(Franked(content, b"", ()).encode()), commit(content, "mallory", "bob"))
    session, first = hostile(bob, good)
    bob.decrypt("mallory", first.encode())
    _, false = session.encrypt(replace(good, commitment=bytes(32)))
    _, honest = session.encrypt(good)
    before = bob.dump()
    with pytest.raises(CommitmentError):
        bob.decrypt("mallory", false.encode())
    assert bob.dump() == before
    assert bob.decrypt("mallory", honest.encode()) == content


@pytest.mark.parametrize("padded", [b"", bytes(256), pad_text(b"no content"), pad_text(b"")])
def test_an_authentic_message_with_a_malformed_content_is_refused(padded: bytes) -> None:
    bob = account("bob")
    with pytest.raises(MalformedError):
        bob.decrypt("mallory", forged(bob, padded, bytes(32)))
