"""A relay hands out keys of its own: as somebody's, between two people, and in the centre's name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from blindmatch_client.device import Device
from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import FETCH_BUNDLE, RECEIVE, REGISTER, SEND
from blindmatch_client.errors import MessengerError, ServiceUnavailableError
from blindmatch_client.messages.contacts import Contacts
from blindmatch_client.messages.receiving import Receiver
from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.state import PreKeys
from blindmatch_client.store.outbox import Outbox
from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.content import ClearMessage, Content, compose
from blindmatch_protocol.messages.sealed_message import Franked
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.evaluation.attacks.loopback import loopback
from blindmatch_simulations.testbed.deployment.devices import now_ms

ALICE = "alice"
BOB = "bob"
TEXTS: Final = ("meet me at six", "the other entrance")
FORGED: Final = "Nothing was reported about you."
WAIT_MS: Final = 200


class _Relay:
    """A relay that answers for `victim` with an account of its own, once it is told to, and reads along."""

    def __init__(self, victim: str) -> None:
        self.own = Account.create(victim, now_ms(), 10)
        self.active = self.stalls = self.reads = False
        self.read: list[str] = []

    def __call__(self, call: Call[Any, Any], request: Any, reply: Any) -> Any:
        if self.active and call.method is FETCH_BUNDLE and request.account == self.own.name:
            return bundle_of(self.own)
        if self.stalls and call.method is SEND:
            raise ServiceUnavailableError(Party.PROVIDER, "stalled")
        if (self.active or self.reads) and call.method is SEND and request.recipient == self.own.name:
            with suppress(MessengerError):
                self.read.append(self.own.decrypt(ALICE, request.sealed).text)
        return reply


def bundle_of(account: Account) -> pb.Bundle:
    """An account's keys as a relay hands them out."""
    keys = account.get_published_keys()
    return pb.Bundle(
        identity_key=keys.identity,
        signed_pre_key=keys.signed_pre_key,
        signed_pre_key_signature=keys.signature,
        one_time_pre_keys=keys.one_time[:1],
    )


def _fetched(keys: Any, one_time: tuple[bytes, ...]) -> PreKeys:
    return PreKeys(keys.identity_key, keys.signed_pre_key, keys.signed_pre_key_signature, one_time)


_RELAY: Final = Means(frozenset({Party.PROVIDER}), has="the relay, and keys of its own")


@attack(
    "first-contact",
    _RELAY,
    Claim("A malicious relay can hand out keys of its own at first contact"),
    budget="one conversation",
    needs=(needs.ENCRYPTED, needs.ANY_ONE),
    exposes="texts of a new conversation",
    left=Left.COMPARED,
)
def first_contact(arena: Arena) -> Figure:
    """Count the texts that the relay reads of a conversation that begins under its eyes."""
    relay = _Relay(BOB)
    with loopback(arena) as held:
        held.device(BOB)
        alice = held.device(ALICE, relay)
        relay.active = True
        for text in arena.each(TEXTS):
            alice.device.send_text(BOB, text)
    return counted("texts read", {"before any comparison": (len(relay.read), len(TEXTS))})


UNCOMPARED: Final = replacing(
    (Account, "_check_bundle", lambda *_: None),
    (Contacts, "trust", lambda *_: None),
    (Outbox, "requeue", lambda *_: None),
)
"""Numbers agree whatever they are, keys that are handed out are not compared, what is sealed stays sealed."""


@attack(
    "substituted-key",
    _RELAY,
    Claim(
        "once a key was compared, or came with the configuration, another one is refused",
        "docs/explanation/messenger.md",
    ),
    budget="four conversations",
    weakness=UNCOMPARED,
    needs=(needs.ENCRYPTED, needs.ANY_ONE),
    exposes="texts of a known contact",
    left=Left.REFUSED,
)
def substituted_key(arena: Arena) -> Figure:
    """Count the texts that the relay reads once Alice and Bob have compared their number, by what it does."""
    cases = {}
    ways = {
        "after the comparison": _compared,
        "before it": _substituted,
        "after a reset": _reset,
        "of what waited for the relay": _stalled,
    }
    for name, way in arena.each(ways.items()):
        relay = _Relay(BOB)
        with loopback(arena) as held, suppress(BlindmatchError):
            bob = held.device(BOB).device
            alice = held.device(ALICE, relay).device
            way(relay, alice, bob)
            for text in TEXTS:
                alice.send_text(BOB, text)
        cases[name] = (len(set(relay.read)), len(TEXTS))
    return counted("texts read", cases)


def _compared(relay: _Relay, alice: Device, bob: Device) -> None:
    """Bob's keys when he and Alice compare numbers, the relay's when she writes."""
    alice.contacts.trust(BOB, bob.contacts.look_up(ALICE).number)
    relay.active = True


def _substituted(relay: _Relay, alice: Device, bob: Device) -> None:
    """The relay's keys from the beginning; Alice writes if the numbers agree."""
    relay.active = True
    alice.contacts.trust(BOB, bob.contacts.look_up(ALICE).number)


def _reset(relay: _Relay, alice: Device, bob: Device) -> None:
    """The relay's keys when Alice begins a new session with Bob."""
    alice.send_text(BOB, "hello")
    alice.contacts.trust(BOB, bob.contacts.look_up(ALICE).number)
    alice.reset_session(BOB)
    relay.active = True


def _stalled(relay: _Relay, alice: Device, bob: Device) -> None:
    """The keys are the relay's when Alice writes, and what she wrote is not taken until she trusts Bob's."""
    relay.active = relay.stalls = True
    for text in TEXTS:
        alice.send_text(BOB, text)
    relay.active = False
    alice.reset_session(BOB)
    with suppress(BlindmatchError):
        alice.send_text(BOB, "whose key is it?")
    alice.contacts.trust(BOB, bob.contacts.look_up(ALICE).number)
    relay.stalls = False
    relay.reads = True
    alice.flush()


_make_contacts: Final = Contacts.__init__


def _unpinned(contacts: Contacts, keeper: Any, relay: Any, pinned: Any, requeue: Any) -> None:
    """A device that does not pin the centre's key."""
    _make_contacts(contacts, keeper, relay, {}, requeue)


@attack(
    "forged-notice",
    _RELAY,
    Claim("a notice under another key is shown as a problem", "docs/explanation/messenger.md"),
    budget="one notice",
    weakness=replacing((Contacts, "__init__", _unpinned)),
    needs=(needs.ENCRYPTED, needs.ANY_ONE),
    exposes="that a notice is the centre's",
    left=Left.REFUSED,
)
def forged_notice(arena: Arena) -> Figure:
    """Count the notices of the centre that the relay makes up and a device shows as such."""
    centre = Account.create(NOTICES, now_ms(), 0)
    bundles: list[PreKeys] = []

    def relay(call: Call[Any, Any], request: Any, reply: Any) -> Any:
        if call.method is REGISTER:
            bundles.append(_fetched(request, ()))
        if call.method is RECEIVE:
            notice = compose(FORGED, (), now_ms(), arena.rng("notice"))
            reply.sender = NOTICES
            reply.sealed = centre.encrypt(ALICE, notice, bundles[-1])
        return reply

    with loopback(arena) as held:
        alice = held.device(ALICE, relay)
        bob = held.device(BOB)
        bob.device.send_text(ALICE, "hello")
        shown = [one for one in alice.device.receive(WAIT_MS) if (one.sender, one.text) == (NOTICES, FORGED)]
    arena.progress(1, 1)
    return counted("notices forged", {"to whoever never had one": (len(shown), 1)})


IN_CLEAR: Final = "never written by alice"


@attack(
    "downgrade",
    Means(frozenset({Party.PROVIDER}), has="every delivery"),
    Claim("each side refuses the other kind", "docs/designs/provider-scan.md"),
    budget="one message",
    weakness=replacing(
        (
            Receiver,
            "_read_plain",
            lambda self, _, one: Franked(ClearMessage.decode(one.clear).content, b"", ()),
        )
    ),
    needs=(needs.ENCRYPTED, needs.ANY_ONE),
    exposes="that a message was encrypted",
    left=Left.REFUSED,
)
def downgrade(arena: Arena) -> Figure:
    """Count the messages in the clear that a device shows."""
    body = ClearMessage(compose(IN_CLEAR, (), 1, arena.rng("content"))).encode()

    def in_clear(call: Call[Any, Any], request: Any, reply: Any) -> Any:
        if not isinstance(reply, pb.Delivery):
            return reply
        return pb.Delivery(sequence=reply.sequence, sender=reply.sender, accepted_at_ms=1, clear=body)

    with loopback(arena) as held:
        bob = held.device("bob", in_clear)
        alice = held.device("alice")
        alice.device.send_text("bob", "hello")
        shown = [message.text == IN_CLEAR for message in bob.device.receive(WAIT_MS)]
        arena.progress(1, 1)
    return counted("messages shown", {"in the clear": (sum(shown), len(shown))})


PAGE: Final = "docs/designs/targeted-access.md"


class _Ghost:
    """Alice's "bob" and Bob's "alice"; alters what the relay gives to each of them."""

    def __init__(self) -> None:
        self.bob, self.alice = (Account.create(name, now_ms(), 10) for name in (BOB, ALICE))
        self.keys_of_bob: PreKeys | None = None
        self.read: list[Content] = []
        self.passed = 0

    def before_alice(self, call: Call[Any, Any], request: Any, reply: Any) -> Any:
        """See `Tamper`: another bundle, and a copy of what she sends."""
        if call.method is FETCH_BUNDLE and request.account == BOB:
            self.keys_of_bob = _fetched(reply, tuple(reply.one_time_pre_keys))
            return bundle_of(self.bob)
        if call.method is SEND and request.recipient == BOB:
            self.read.append(self.bob.decrypt(ALICE, request.sealed))
        return reply

    def before_bob(self, call: Call[Any, Any], request: Any, reply: Any) -> Any:
        """See `Tamper`: keys that he takes for hers, and what she wrote under them."""
        if call.method is FETCH_BUNDLE and request.account == ALICE:
            return bundle_of(self.alice)
        if call.method is RECEIVE and reply.sender == ALICE and self.passed < len(self.read):
            assert self.keys_of_bob is not None
            reply.sealed = self.alice.encrypt(BOB, self.read[self.passed], self.keys_of_bob)
            self.passed += 1
        return reply


_PROVIDER: Final = Means(frozenset({Party.PROVIDER}), has="the relay, and keys of its own for either side")


@attack(
    "ghost-recipient",
    _PROVIDER,
    Claim("a ghost reads every text of two people who have not compared their safety number", PAGE),
    budget="one conversation",
    needs=(needs.ENCRYPTED, needs.ANY_ONE),
    exposes="texts of a conversation",
    left=Left.COMPARED,
)
def ghost_recipient(arena: Arena) -> Figure:
    """Count the texts that the ghost reads and Bob gets all the same."""
    return _conversation(arena, compare=False)


@attack(
    "compared-ghost",
    _PROVIDER,
    Claim("once they have compared it, no text leaves for a ghost", PAGE),
    budget="one conversation",
    weakness=UNCOMPARED,
    needs=(needs.ENCRYPTED, needs.ANY_ONE),
    exposes="texts of a conversation",
    left=Left.REFUSED,
)
def compared_ghost(arena: Arena) -> Figure:
    """The same where Alice and Bob compare their number before she writes."""
    return _conversation(arena, compare=True)


def _conversation(arena: Arena, compare: bool) -> Figure:
    ghost = _Ghost()
    got = list[str]()
    with loopback(arena) as held, suppress(BlindmatchError):
        bob = held.device(BOB, ghost.before_bob).device
        alice = held.device(ALICE, ghost.before_alice).device
        if compare:
            alice.contacts.trust(BOB, bob.contacts.look_up(ALICE).number)
        for text in arena.each(TEXTS):
            alice.send_text(BOB, text)
            got += [one.text for one in bob.receive(WAIT_MS)]
    read = sum(one.text in got for one in ghost.read)
    return counted(
        "texts read and delivered", {"compared" if compare else "not compared": (read, len(TEXTS))}
    )
