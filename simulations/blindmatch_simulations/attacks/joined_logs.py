"""Provider and matcher join what each of them logs of calls: account, time, method, size; no content.

    relay    who sent whom how much, when       matcher    who asked, when
    joined   a request belongs to the next message of its account: so who sent whom a picture

Two accounts send pictures and texts in a random order, one after the other: their calls never overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from blindmatch_client.egress.methods import EXCHANGE, SEND
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.attacks.loopback import drawn, loopback
from blindmatch_simulations.inprocess.seeded import flag
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, at_least

SENDERS: Final = ("alice", "carol")
MESSAGES: Final = 24
QUICK_MESSAGES: Final = 12


class _Call(NamedTuple):
    """A logged call, and what the logs lack: the message it was made for."""

    account: str
    method: str
    message: int


def run(arena: Arena) -> Figure:
    """Count the requests linked to their message, against links to messages drawn at random."""
    count, rng, calls = MESSAGES if arena.thorough else QUICK_MESSAGES, arena.rng("order"), list[_Call]()
    pictures = [flag(rng) for _ in range(count)]
    with loopback(arena) as held:
        held.device("bob")
        devices = [held.device(name) for name in SENDERS]
        for number, picture in enumerate(pictures):
            at = flag(rng)
            before = len(devices[at].recorder.records())
            if picture:
                devices[at].device.send_picture("bob", drawn(number))
            else:
                devices[at].device.send_text("bob", f"text {number}")
            made = devices[at].recorder.records()[before:]
            calls += [_Call(SENDERS[at], one.method, number) for one in made]
            arena.progress(number + 1, count)
    return _figure(calls, pictures)


def _figure(calls: list[_Call], pictures: Sequence[bool]) -> Figure:
    """What the logs tell; success is more links than chance has, which kinds that are told are no part of."""
    linked, count = _linked(calls), len(pictures)
    right = sum(asked == sent for asked, sent in linked)
    told = sum((number in {sent for _, sent in linked}) == picture for number, picture in enumerate(pictures))
    parts = {"linked at random": len(linked) / count, f"pictures and texts told, of {count}": float(told)}
    chance = at_least(right, len(linked), 1 / count)
    return Figure("requests linked", float(right), chance < 1 - GAME_CONFIDENCE, len(linked), None, parts)


def _linked(calls: list[_Call]) -> list[tuple[int, int | None]]:
    """The message of each request, and the one that it is taken to belong to."""
    return [
        (one.message, _next(calls[at:], one.account))
        for at, one in enumerate(calls)
        if one.method == EXCHANGE.path
    ]


def _next(calls: list[_Call], account: str) -> int | None:
    """The message that an account hands over next."""
    return next((one.message for one in calls if (one.account, one.method) == (account, SEND.path)), None)


ATTACK: Final = Adversary(
    name="joined-logs",
    means=Means(frozenset({Party.PROVIDER, Party.MATCHER}), Conduct.SEMI_HONEST, "their logs of calls"),
    claim=Claim("which message a query belongs to, by account and time; so who sent whom a picture"),
    budget=f"{MESSAGES} messages of {len(SENDERS)} accounts",
    move=run,
    weakness=AS_BUILT,
    against=frozenset({"oprf-psi", "token-psi", "hash-upload"}),
)
