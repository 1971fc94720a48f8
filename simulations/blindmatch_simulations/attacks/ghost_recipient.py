"""A ghost in a conversation: the provider puts keys of its own between two people, reads, and passes on.

alice --sealed to "bob", the ghost--> relay: reads --sealed again as "alice", the ghost--> bob

ghost-recipient   nobody compares: both write and read as ever, and the ghost reads along
compared-ghost    they compare their safety number first
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from blindmatch_client.egress import Call
from blindmatch_client.egress.methods import FETCH_BUNDLE, RECEIVE, SEND
from blindmatch_client.messenger import Account
from blindmatch_client.messenger.pre_keys import FetchedBundle
from blindmatch_protocol.content import Content
from blindmatch_protocol.contract import Party
from blindmatch_protocol.errors import BlindmatchError

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.first_contact import ALICE, BOB, TEXTS, UNCOMPARED, WAIT_MS, bundle_of
from blindmatch_simulations.attacks.loopback import loopback
from blindmatch_simulations.deployment.devices import now_ms

PAGE: Final = "docs/designs/targeted-access.md"


class _Ghost:
    """Alice's "bob" and Bob's "alice"; alters what the relay gives to each of them."""

    def __init__(self) -> None:
        self.bob, self.alice = (Account.create(name, now_ms(), 10) for name in (BOB, ALICE))
        self.keys_of_bob: FetchedBundle | None = None
        self.read: list[Content] = []
        self.passed = 0

    def before_alice(self, call: Call[Any, Any], request: Any, reply: Any) -> Any:
        """See `Tamper`: another bundle, and a copy of what she sends."""
        if call.method is FETCH_BUNDLE and request.account == BOB:
            self.keys_of_bob = FetchedBundle(
                reply.identity_key,
                reply.signed_pre_key,
                reply.signed_pre_key_signature,
                tuple(reply.one_time_pre_keys),
            )
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


def read_along(arena: Arena) -> Figure:
    """Count the texts that the ghost reads and Bob gets all the same."""
    return _conversation(arena, compare=False)


def read_along_after_comparison(arena: Arena) -> Figure:
    """The same where Alice and Bob compare their number before she writes."""
    return _conversation(arena, compare=True)


def _conversation(arena: Arena, compare: bool) -> Figure:
    ghost, got = _Ghost(), list[str]()
    with loopback(arena) as held, suppress(BlindmatchError):
        bob, alice = held.device(BOB, ghost.before_bob).device, held.device(ALICE, ghost.before_alice).device
        if compare:
            alice.contacts.trust(BOB, bob.contacts.contact(ALICE).number)
        for text in arena.each(TEXTS):
            alice.send_text(BOB, text)
            got += [one.text for one in bob.receive(WAIT_MS)]
    read = sum(one.text in got for one in ghost.read)
    return counted(
        "texts read and delivered", {"compared" if compare else "not compared": (read, len(TEXTS))}
    )


_PROVIDER: Final = Means(frozenset({Party.PROVIDER}), has="the relay, and keys of its own for either side")

GHOST_RECIPIENT: Final = Adversary(
    name="ghost-recipient",
    means=_PROVIDER,
    claim=Claim("a ghost reads every text of two people who have not compared their safety number", PAGE),
    budget="one conversation",
    move=read_along,
    weakness=AS_BUILT,
)
COMPARED_GHOST: Final = Adversary(
    name="compared-ghost",
    means=_PROVIDER,
    claim=Claim("once they have compared it, no text leaves for a ghost", PAGE),
    budget="one conversation",
    move=read_along_after_comparison,
    weakness=UNCOMPARED,
)
