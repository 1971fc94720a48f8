"""Safety numbers: one on both sides, of both names and keys; and a relay that hands out keys of its own."""

from __future__ import annotations

from typing import Any

import pytest
from blindmatch_client.errors import IdentityChangedError
from blindmatch_client.messages.contacts import DIGITS, DeviceError, group_digits, parse_number, safety_number
from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.state import PreKeys, frame_name
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from dummy_designs import ECHO
from support.fakes import NOTICES, Owned, World, hashes_with

from .conftest import MakeWorld

A = bytes(range(32))
B = bytes(range(1, 33))
C = bytes(range(2, 34))
ALICE, BOB, CAROL = (frame_name(name) for name in ("alice", "bob", "carol"))
VECTOR = "04099 33529 37423 57666 05308 06215 54475 02136 21895 41935 47885 08687"


# the number


def test_both_sides_have_one_number_and_it_does_not_change() -> None:
    number = safety_number(ALICE, A, BOB, B)
    assert number == safety_number(BOB, B, ALICE, A) and len(number) == DIGITS
    assert group_digits(number) == VECTOR


@pytest.mark.parametrize(
    "other",
    [(ALICE, A, BOB, C), (ALICE, C, BOB, B), (ALICE, A, CAROL, B), (CAROL, A, BOB, B), (ALICE, B, BOB, A)],
)
def test_another_name_or_key_on_either_side_gives_another_number(other: tuple[bytes, ...]) -> None:
    assert safety_number(*other) != safety_number(ALICE, A, BOB, B)


def test_a_number_is_typed_with_blanks_or_without_and_nothing_else_is_one() -> None:
    number = safety_number(ALICE, A, BOB, B)
    for typed in (group_digits(number), f" {number}\n", group_digits(number).replace(" ", "-")):
        assert parse_number(typed) == number
    for said in ("", number[1:], number + "0", number[:-1] + "x", number[:-1] + "\u0661"):
        assert parse_number(said) is None


# contacts


class Between:
    """A relay that reads along: it hands out keys of its own and passes every message on."""

    def __init__(self, world: World) -> None:
        self.relay = world.relay
        self.read: list[str] = []
        self.mine = {name: Account.create(name, 1, 50) for name in ("alice", "bob")}
        self.honest = dict(world.relay.keys)
        self.substitute()
        world.relay.deliveries = self._deliver

    def substitute(self) -> None:
        for name, account in self.mine.items():
            self.relay.keys[name] = registered(account)

    def be_honest(self) -> None:
        self.relay.keys.update(self.honest)
        self.relay.deliveries = lambda account, context: list(self.relay.queues[account])

    def _deliver(self, to: str, context: Any) -> list[pb.Delivery]:
        passed = []
        for delivery in self.relay.queues[to]:
            content = self.mine[to].decrypt(delivery.sender, delivery.sealed)
            self.read.append(content.text)
            again = compose(content.text, (), content.sent_at, system_randomness())
            as_sender = self.mine[delivery.sender]
            sealed = as_sender.encrypt(to, again, None if as_sender.has_session(to) else self._bundle(to))
            passed.append(pb.Delivery(sequence=delivery.sequence, sender=delivery.sender, sealed=sealed))
        return passed

    def _bundle(self, of: str) -> PreKeys:
        return bundle_of(self.honest[of])


def registered(account: Account) -> pb.RegisterRequest:
    keys = account.get_published_keys()
    return pb.RegisterRequest(
        identity_key=keys.identity,
        signed_pre_key=keys.signed_pre_key,
        signed_pre_key_signature=keys.signature,
        one_time_pre_keys=keys.one_time,
    )


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(ECHO, hashes_with())


def pair(world: World) -> tuple[Owned, Owned]:
    return world.device("alice"), world.device("bob")


def test_a_malicious_relay_reads_along_until_the_numbers_are_compared_and_never_after(world: World) -> None:
    alice, bob = pair(world)
    between = Between(world)
    # before a comparison the attack succeeds; that is declared, and listed as not claimed
    alice.device.send_text("bob", "private words")
    assert [one.text for one in bob.device.receive()] == ["private words"] == between.read
    hers = alice.device.contacts.look_up("bob")
    his = bob.device.contacts.look_up("alice")
    assert hers.number != his.number and not hers.verified
    with pytest.raises(DeviceError, match="somebody may have put another key in between"):
        alice.device.contacts.trust("bob", his.number)
    assert not alice.device.contacts.look_up("bob").verified

    # the real keys are refused as others than those seen first, until their number was compared
    between.be_honest()
    bob_real = safety_number(frame_name("alice"), _own(alice), frame_name("bob"), _own(bob))
    for device, peer in ((alice, "bob"), (bob, "alice")):
        device.device.reset_session(peer)
        with pytest.raises(IdentityChangedError):
            device.device.send_text(peer, "again")
        offered = device.device.contacts.look_up(peer).offered
        assert offered == bob_real
        assert device.device.contacts.trust(peer, group_digits(offered)).verified
    alice.device.send_text("bob", "private again")
    assert [one.text for one in bob.device.receive()] == ["private again"]
    assert "private again" not in between.read

    # a substituted key is refused from now on, over restarts, in bundles and in first messages
    between.substitute()
    alice.device.close()
    alice = world.device("alice", fresh=False)
    alice.device.reset_session("bob")
    with pytest.raises(IdentityChangedError):
        alice.device.send_text("bob", "never read")
    assert alice.device.contacts.look_up("bob").verified
    forged = Account.create("bob", 1).encrypt("alice", _said("it is me"), bundle_of(between.honest["alice"]))
    world.relay.queues["alice"].append(pb.Delivery(sequence=999, sender="bob", sealed=forged))
    (problem,) = (one for one in alice.device.receive() if one.sequence == 999)
    assert problem.text == "" and "identity key is not the one known so far" in problem.problem


def test_first_contact_and_a_changed_key_are_told_until_they_were_shown_each_with_the_number(
    world: World,
) -> None:
    alice, bob = pair(world)
    alice.device.send_text("bob", "hello")
    (first,) = alice.device.contacts.list_news()
    assert "First contact with bob" in first
    assert group_digits(alice.device.contacts.look_up("bob").number) in first
    bob.device.receive()
    assert len(bob.device.contacts.list_news()) == 1
    alice.device.close()
    alice = world.device("alice", fresh=False)
    assert alice.device.contacts.list_news() == [first], "nobody said that it was shown"
    alice.device.contacts.mark_news_shown()
    assert alice.device.contacts.list_news() == []
    alice.device.close()
    alice = world.device("alice", fresh=False)
    assert alice.device.contacts.list_news() == []
    Between(world)
    alice.device.reset_session("bob")
    with pytest.raises(IdentityChangedError):
        alice.device.send_text("bob", "hello")
    (changed,) = alice.device.contacts.list_news()
    assert "another key as that of bob than the one seen first" in changed
    assert group_digits(alice.device.contacts.look_up("bob").offered) in changed
    assert alice.device.contacts.list_news() == [changed]
    alice.device.contacts.mark_news_shown()
    assert alice.device.contacts.list_news() == []


def test_a_compared_key_is_told_of_as_such_and_stays_compared_over_restarts(world: World) -> None:
    alice, bob = pair(world)
    number = alice.device.contacts.look_up("bob").number
    assert bob.device.contacts.look_up("alice").number == number
    assert alice.device.contacts.trust("bob", number).verified
    assert alice.device.contacts.list_news() == []
    alice.device.close()
    alice = world.device("alice", fresh=False)
    assert alice.device.contacts.look_up("bob").verified
    alice.device.send_text("bob", "hello")
    assert [one.text for one in bob.device.receive()] == ["hello"]


@pytest.mark.parametrize("said", ["", "12345", "1" * 60])
def test_a_number_that_is_none_or_another_changes_nothing(world: World, said: str) -> None:
    alice, _ = pair(world)
    with pytest.raises(DeviceError, match="safety number"):
        alice.device.contacts.trust("bob", said)
    assert all(not one.verified for one in alice.device.contacts.list_all() if one.peer == "bob")


# the centre's notices


def notice(sender: Account, to: Owned, text: str, world: World, sequence: int) -> None:
    keys = world.relay.keys["alice"]
    sealed = sender.encrypt("alice", _said(text), bundle_of(keys))
    world.relay.queues["alice"].append(pb.Delivery(sequence=sequence, sender=NOTICES.name, sealed=sealed))


def test_a_forged_notice_is_refused_and_suppresses_no_real_one(world: World) -> None:
    alice = world.device("alice")
    notice(Account.create(NOTICES.name, 1), alice, "you are free to go", world, 1)
    notice(Account.load(NOTICES.dump()), alice, "a report was unfounded", world, 2)
    forged, real = alice.device.receive()
    assert (forged.text, real.text) == ("", "a report was unfounded")
    assert "identity key is not the one known so far" in forged.problem
    contact = alice.device.contacts.look_up(NOTICES.name)
    assert contact.verified and contact.offered
    assert (forged.from_centre, real.from_centre) == (False, True), "the inbox marks what is the centre's"
    with pytest.raises(DeviceError, match="comes with the configuration"):
        alice.device.contacts.trust(NOTICES.name, contact.offered)


def test_the_padding_of_a_notice_is_not_kept_so_that_no_row_is_known_by_its_length(world: World) -> None:
    alice = world.device("alice")
    centre = Account.load(NOTICES.dump())
    notice(centre, alice, "you can complain".ljust(9216), world, 1)
    notice(centre, alice, "you can complain", world, 2)
    assert [one.text for one in alice.device.receive()] == ["you can complain"] * 2
    rows = alice.device._base.store.all("SELECT DISTINCT length(body) FROM incoming")
    assert len(rows) == 1


@pytest.mark.parametrize("name", ["centre-notice", "centre_notices", "\u0441entre-notices", "Centre-notices"])
def test_a_sender_that_no_account_can_be_called_is_not_shown_as_one(world: World, name: str) -> None:
    """The relay can say any name, and at first contact seal under any key."""
    alice = world.device("alice")
    notice(Account.create(name, 1), alice, "you are free to go", world, 1)
    world.relay.queues["alice"][-1].sender = name
    (shown,) = alice.device.receive()
    assert (shown.text, shown.from_centre, "name of an account" in shown.problem) == ("", False, True)
    assert shown.sender.isascii() and NOTICES.name not in shown.sender


def test_without_the_configuration_a_forged_notice_suppresses_the_real_one(
    world: World,
) -> None:
    """Why the key is configured: this is what the device did before."""
    alice = world.device("alice", centre=None)
    notice(Account.create(NOTICES.name, 1), alice, "you are free to go", world, 1)
    notice(Account.load(NOTICES.dump()), alice, "a report was unfounded", world, 2)
    assert [one.text for one in alice.device.receive()] == ["you are free to go", ""]


def _own(owned: Owned) -> bytes:
    return owned.device._keeper.account.identity


def _said(text: str) -> Any:
    return compose(text, (), 1, system_randomness())


def bundle_of(keys: pb.RegisterRequest) -> PreKeys:
    return PreKeys(
        keys.identity_key,
        keys.signed_pre_key,
        keys.signed_pre_key_signature,
        tuple(keys.one_time_pre_keys[:1]),
    )


def test_a_new_account_can_be_made_from_an_identity_that_others_know() -> None:
    secret = bytes(range(7, 39))
    made = Account.create("centre-notices", 1, 1, secret)
    assert made.identity == X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    alice = Account.create("alice", 1, 1)
    sealed = made.encrypt("alice", _said("x"), alice.get_published_keys())
    assert alice.decrypt("centre-notices", sealed).text == "x"
