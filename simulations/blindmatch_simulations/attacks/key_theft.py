"""Somebody recorded what left devices, and steals keys afterwards: a server's, a device's, or both.

    recorded-requests  requests for listed pictures; later every role's state, not a device's: which of two
                       pictures was it? What the role can open is opened; anything else is answered with the
                       stolen key, and the answer read in sessions of the thief's about either picture
    recorded-sealed    the same, where that is declared to succeed
    recorded-messages  sealed messages; later the recipient's account, as it is then

The thief holds what there is after the last of them was sent, not what was there before.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from blindmatch_client.messenger import Account, MessengerError
from blindmatch_client.messenger.pre_keys import FetchedBundle
from blindmatch_protocol.content import compose
from blindmatch_protocol.contract import Item, Match, Party
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.picture import distance
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.over_days import ASKED, UNBLINDED
from blindmatch_simulations.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.inprocess.steps import stops
from blindmatch_simulations.pictures.pool import picture

RECORDED: Final = 40
QUICK: Final = 3
MESSAGES: Final = 6
NOW: Final = 1_700_000_000_000
ALICE, BOB = "alice", "bob"


def requests(arena: Arena) -> Figure:
    """Count the recorded requests of which the thief tells which of two pictures they are of."""
    arena, count = arena.reduced(), RECORDED if arena.thorough else QUICK
    pair = [picture(1000 * arena.seed + number) for number in range(2)]
    listed, rng, told = distance.rows([one.hash for one in pair]), arena.rng("recorded"), 0
    deployed = arena.deployed(listed, "set", **ASKED)
    arena.spending.list_share = 1.0
    for number in arena.each(range(count)):
        recorded = dict(stops(deployed, pair[number % 2], rng)[-1].bodies)
        read = [_is_of(deployed, recorded, one, rng) for one in pair]
        told += read == [number % 2 == 0, number % 2 == 1]
    return counted("recordings told", {"of two listed pictures": (told, count)})


def _is_of(deployed: Deployed, recorded: dict[Any, Any], item: Item, rng: Randomness) -> bool:
    """Does the thief find that these requests are of this picture?"""
    design: Any = deployed.design
    ((role, body), *_), states = recorded.items(), deployed.states
    if hasattr(opened := design.unsealed(role, states[role], body), "hash"):
        return bool(opened.hash == item.hash)
    if hasattr(states[role], "open"):
        return bool(states[role].open(body.sealed).pixels == item.pixels.tobytes())
    answers = {role: deployed.answer(role, body, rng) for role, body in recorded.items()}
    with suppress(ProtocolError):
        ran = run_session(deployed, item, rng, answering=lambda role, _: answers[role])
        return isinstance(ran.outcome, Match)
    return False


def messages(arena: Arena) -> Figure:
    """Count the recorded messages that open with the account as it is after they were received."""
    alice, bob = (Account.create(name, NOW, 1) for name in (ALICE, BOB))
    keys = bob.published()
    bundle = FetchedBundle(keys.identity, keys.signed_pre_key, keys.signature, tuple(keys.one_time))
    recorded = []
    for number in arena.each(range(MESSAGES)):
        content = compose(f"message {number}", (), NOW, arena.rng(f"message/{number}"))
        recorded.append(alice.encrypt(BOB, content, bundle))
        bob.decrypt(ALICE, recorded[-1])
    ways = {"as it is": False, "sessions reset": True}
    opened = {name: sum(_opens(bob, one, reset) for one in recorded) for name, reset in ways.items()}
    return counted("messages opened", {name: (count, MESSAGES) for name, count in opened.items()})


def _opens(stolen: Account, sealed: bytes, reset: bool) -> bool:
    thief = Account.load(stolen.dump())
    if reset:
        thief.reset_sessions(ALICE)
    with suppress(MessengerError):
        return bool(thief.decrypt(ALICE, sealed).text)
    return False


_decrypt = Account.decrypt


def _keeping(account: Account, sender: str, sealed: bytes) -> Any:
    """Decrypts, and keeps every key."""
    return _decrypt(Account.load(account.dump()), sender, sealed)


RECORDED_REQUESTS: Final = Adversary(
    name="recorded-requests",
    means=Means(frozenset({Party.PROVIDER}), has="recorded requests; later the states of all roles"),
    claim=Claim("requests that were recorded stay closed to whoever gets every role's state later"),
    budget=f"{RECORDED} requests, each of one of two listed pictures",
    move=requests,
    weakness=UNBLINDED,
    against=frozenset({"oprf-psi", "token-psi", "split-psi", "split-token-psi"}),
)
RECORDED_SEALED: Final = replace(
    RECORDED_REQUESTS,
    name="recorded-sealed",
    claim=Claim("open with a key that is stolen later"),
    weakness=AS_BUILT,
    against=frozenset({"third-party", "enclave", "he-hamming"}),
)
RECORDED_MESSAGES: Final = replace(
    RECORDED_REQUESTS,
    name="recorded-messages",
    means=Means(frozenset({Party.PROVIDER}), has="recorded messages; later a device's keys"),
    claim=Claim("messages that were recorded and received do not open with a device's keys of later"),
    budget=f"{MESSAGES} messages of one conversation",
    move=messages,
    weakness=replacing((Account, "decrypt", _keeping)),
    against=frozenset(),
)
