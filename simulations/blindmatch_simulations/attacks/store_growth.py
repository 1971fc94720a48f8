"""A sender fills a victim's store with first messages that use no one-time pre-key.

X3DH lets a first message go without a one-time pre-key, and whoever gets one must remember it, or its repeat
would be a message again. A sender starts as many sessions as it likes; what the victim keeps must not grow
with them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from blindmatch_client.messenger import Account, MessengerError, account
from blindmatch_client.messenger.pre_keys import FetchedBundle
from blindmatch_protocol.content import compose
from blindmatch_protocol.contract import Party

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure

LOOKS: Final = (70, 120)
"""First messages after which the store is looked at: more than are taken, fewer than it could hold."""
NOW: Final = 1_700_000_000_000


def run(arena: Arena) -> Figure:
    """Bytes that each further first message leaves with the victim for good."""
    victim, sender = Account.create("victim", NOW, 1), Account.create("mallory", NOW, 1)
    sizes = {}
    for number in arena.each(range(1, LOOKS[-1] + 1)):
        _first_message(arena, victim, sender, number)
        sizes[number] = len(victim.dump())
    more = LOOKS[1] - LOOKS[0]
    grown = (sizes[LOOKS[1]] - sizes[LOOKS[0]]) / more
    return Figure("bytes for good a message", round(grown, 2), grown >= 1, more)


def _first_message(arena: Arena, victim: Account, sender: Account, number: int) -> None:
    keys = victim.published()
    bundle = FetchedBundle(keys.identity, keys.signed_pre_key, keys.signature, ())
    sender.reset_sessions("victim")
    sealed = sender.encrypt("victim", compose("", (), NOW, arena.rng(f"message/{number}")), bundle)
    with suppress(MessengerError):
        victim.decrypt("mallory", sealed)


ATTACK: Final = Adversary(
    name="store-growth",
    means=Means(frozenset({Party.DEVICE}), has="the victim's pre-keys, no one-time one among them"),
    claim=Claim("takes 64 of one peer for one signed pre-key", "docs/messenger.md"),
    budget=f"{LOOKS[-1]} first messages by one account",
    move=run,
    weakness=replacing((account, "ACCEPTED_MOST", LOOKS[-1])),
)
