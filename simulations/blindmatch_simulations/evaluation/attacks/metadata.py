"""What the parties on a message's way see beside its content: who calls, when, how long after what.

Judged are the order of events (no step that looks at the outcome before the message is handed over) and, in a
thorough run, whether the times tell no match, one and a family of 64 apart. Other traces of time are not
looked at.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import numpy as np
from blindmatch_client.device import Consequence, OutcomeKind
from blindmatch_client.egress import Call, Egress
from blindmatch_client.egress.calls import EXCHANGE, SEND, UPLOAD
from blindmatch_client.reports import reporting
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.contract.driver import concluded
from blindmatch_protocol.picture.decode import Picture
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Means, replacing, replacing_of
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, Played, advantages, won
from blindmatch_simulations.evaluation.attacks.loopback import drawn, loopback
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, Advantage, at_least
from blindmatch_simulations.testbed.deployment.devices import Options
from blindmatch_simulations.testbed.deployment.operators import centre_list
from blindmatch_simulations.testbed.inprocess.steps import flag

SENDERS: Final = ("alice", "carol")
MESSAGES: Final = 24
QUICK_MESSAGES: Final = 12


class _Call(NamedTuple):
    """A logged call, and what the logs lack: the message it was made for."""

    account: str
    method: str
    message: int


@attack(
    "joined-logs",
    Means(frozenset({Party.PROVIDER, Party.MATCHER}), Conduct.SEMI_HONEST, "their logs of calls"),
    Claim("which message a query belongs to, by account and time; so who sent whom a picture"),
    budget=f"{MESSAGES} messages of {len(SENDERS)} accounts",
    needs=(needs.ENCRYPTED, needs.BY_ACCOUNT, needs.SMALL),
    exposes="who sent whom a picture",
)
def joined_logs(arena: Arena) -> Figure:
    """Count the requests linked to their message, against links to messages drawn at random."""
    count = MESSAGES if arena.thorough else QUICK_MESSAGES
    rng = arena.rng("order")
    calls = list[_Call]()
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
    linked = _linked(calls)
    count = len(pictures)
    right = sum(asked == sent for asked, sent in linked)
    told = sum((number in {sent for _, sent in linked}) == picture for number, picture in enumerate(pictures))
    parts = {"linked at random": len(linked) / count, f"pictures and texts told, of {count}": float(told)}
    chance = at_least(right, len(linked), 1 / count)
    return Figure("requests linked", float(right), chance < 1 - GAME_CONFIDENCE, len(linked), None, parts)


def _linked(calls: list[_Call]) -> list[tuple[int, int | None]]:
    """The message of each request, and the one that it is taken to belong to: the account's next."""
    linked = []
    for at, one in enumerate(calls):
        if one.method == EXCHANGE.path:
            sent = (each for each in calls[at:] if (each.account, each.method) == (one.account, SEND.path))
            linked.append((one.message, next((each.message for each in sent), None)))
    return linked


KINDS: Final = {"no match": 1, "a match": 2, "a family": 3}
FAMILY: Final = 64
ROUNDS: Final = 40
QUICK_ROUNDS: Final = 2
BUCKETS: Final = 8


class _Watch(Struct):
    """What happened to one picture after another, in its order, and when."""

    events: list[tuple[str, int]] = field(default_factory=list)
    gaps: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    too_early: int = 0

    def note(self, what: str) -> None:
        self.events.append((what, time.perf_counter_ns()))

    def tamper(self, call: Call[Any, Any], request: Any, reply: Any) -> Any:
        """A `Tamper` that changes nothing and notes the matcher's reply, and the relay's when it has all."""
        if call.method in (EXCHANGE, SEND):
            self.note("reply" if call.method is EXCHANGE else "send")
        return reply

    def sent(self, kind: str) -> None:
        names = [name for name, _ in self.events]
        when = dict(reversed(self.events))
        self.too_early += "outcome" in names[: names.index("send")]
        self.gaps[kind].append(when["upload"] - when["reply"])
        self.events.clear()


def _at_once(owner: type[AnyDesign]) -> tuple[Any, str, Any]:
    """A design whose device looks at the outcome as soon as the reply is verified."""
    receive = owner.receive

    def receiving(self: AnyDesign, session: Any, setup: Any, *arguments: Any) -> Any:
        return concluded(self, receive(self, session, setup, *arguments), setup)

    return owner, "receive", receiving


@attack(
    "relay-timing",
    Means(frozenset({Party.PROVIDER}), Conduct.SEMI_HONEST, "a clock"),
    Claim(
        "the relay has a message before the device looks at what came of its picture",
        "docs/explanation/messenger.md",
    ),
    budget=f"{ROUNDS} pictures of each of three kinds",
    weakness=replacing_of(lambda design: [_at_once(type(design))]),
    needs=(needs.ASKS, needs.TOLD, needs.LATER, needs.SMALL),
    exposes="whether a picture matched",
)
def relay_timing(arena: Arena) -> Figure:
    """Count the pictures whose outcome was looked at too early; in a thorough run, the advantage by time."""
    rounds = ROUNDS if arena.thorough else QUICK_ROUNDS
    watch = _Watch()
    listed = [drawn(KINDS["a match"]), drawn(KINDS["a family"])]
    with _noting(arena, watch), loopback(arena, listed, _family()) as held:
        held.device("bob")
        alice = held.device("alice", watch.tamper)
        # each kind once a round, so that what a picture leaves behind meets all of them
        rng = arena.rng("order")
        order = [kind for _ in range(rounds) for kind in sorted(KINDS, key=lambda kind: rng.take(8))]
        for kind in arena.each(order):
            alice.device.send_picture("bob", drawn(KINDS[kind]))
            watch.sent(kind)
    early = watch.too_early
    if early or rounds <= QUICK_ROUNDS:
        return Figure("outcomes looked at too early", float(early), early > 0, len(order))
    found = advantages({kind: _by_time(watch, kind) for kind in KINDS if kind != "no match"})
    return replace(found, measure="advantage by time")


def _by_time(watch: _Watch, kind: str) -> Advantage:
    """The advantage in telling a kind from no match by the eighth of all times that a picture's lies in."""
    pairs = [*zip(watch.gaps["no match"], watch.gaps[kind], strict=True)]
    edges = np.quantile(np.array(pairs), np.arange(1, BUCKETS) / BUCKETS)
    played = [Played((int(np.searchsorted(edges, pair[at])),), bool(at)) for pair in pairs for at in (0, 1)]
    return won(played, len(KINDS) - 1)


def _family() -> Rows:
    own = np.frombuffer(Picture.from_bytes(drawn(KINDS["a family"])).hash, np.uint8)
    made = np.repeat(own[None, :], FAMILY - 1, axis=0)
    at = np.arange(FAMILY - 1)
    made[at, at // 8] ^= np.uint8(1) << (at % 8).astype(np.uint8)
    return made


def _noting(arena: Arena, watch: _Watch) -> AbstractContextManager[Any]:
    """Have `watch` note when an outcome is looked at, and when an upload begins."""
    owner = type(arena.design)
    conclude = owner.conclude
    upload = Egress.upload

    def looking(self: Any, *arguments: Any) -> Any:
        watch.note("outcome")
        return conclude(self, *arguments)

    def uploading(self: Any, call: Call[Any, Any], *arguments: Any) -> Any:
        if call.method is UPLOAD:
            watch.note("upload")
        return upload(self, call, *arguments)

    return replacing((owner, "conclude", looking), (Egress, "upload", uploading))()


PREVENTED: Final = 4
TOLD_BY_CALLS: Final = "listed pictures told by other calls"
WAIT_MS: Final = 500
_ALL: Final = frozenset({Party.PROVIDER, Party.MATCHER, Party.CENTRE})


@attack(
    "warned",
    Means(_ALL, Conduct.SEMI_HONEST, "which calls devices make, to whom and in which order"),
    Claim("where the user is told and nothing else leaves"),
    budget=f"{PREVENTED} listed pictures, and as many others",
    weakness=replacing((reporting, "Consequence", SimpleNamespace(REPORT=Consequence.WARN))),
    needs=(needs.ENCRYPTED, needs.A_LIST, needs.TOLD, needs.SMALL),
    exposes="whether a picture matched, where devices warn",
)
def warned(arena: Arena) -> Figure:
    """Count the listed pictures for which other calls leave a device that warns than for other pictures."""
    return _prevented(arena, Consequence.WARN)


@attack(
    "refused",
    Means(frozenset({Party.PROVIDER, Party.MATCHER}), Conduct.SEMI_HONEST, "which calls devices make"),
    Claim("whoever sees a query without a message learns outcome"),
    budget=warned.budget,
    needs=(needs.ENCRYPTED, needs.A_LIST, needs.ASKS, needs.TOLD, needs.SMALL),
    exposes="whether a picture matched, where devices refuse",
)
def refused(arena: Arena) -> Figure:
    """The same of a device that refuses: the query is there and the message is not."""
    return _prevented(arena, Consequence.REFUSE)


def _prevented(arena: Arena, consequence: Consequence) -> Figure:
    pictures = [drawn(number) for number in range(2 * PREVENTED)]
    calls = []
    sent = []
    with loopback(arena, pictures[:PREVENTED]) as held:
        bob = held.device("bob")
        alice = held.device("alice", options=Options(consequence=consequence))
        alice.device.send_text("bob", "hello")  # its session, so that no picture begins one
        alice.device.flush()  # asks the relay what expired, which a device does by its clock
        for picture in arena.each(pictures):
            before = len(alice.recorder.records())
            sent.append(alice.device.send_picture("bob", picture))
            alice.device.flush()
            calls.append([(one.party, one.method) for one in alice.recorder.records()[before:]])
        arrived = [one for message in bob.device.receive(WAIT_MS) for one in message.pictures]
        reports = len(centre_list(held.deployment).reports)
    listed = sent[:PREVENTED]
    others = calls[PREVENTED:]
    if not all(one.outcome is OutcomeKind.MATCH for one in listed) or any(one != others[0] for one in others):
        raise AttackError("a listed picture did not match, or other pictures are not asked about alike")
    counts = {
        TOLD_BY_CALLS: sum(one != others[0] for one in calls[:PREVENTED]),
        "listed pictures of which the sender is told": sum(bool(one.notice) for one in listed),
        "listed pictures that arrive": sum(one in arrived for one in pictures[:PREVENTED]),
        "other pictures that arrive": sum(one in arrived for one in pictures[PREVENTED:]),
        "reports at the centre": reports,
    }
    through = counts[TOLD_BY_CALLS]
    parts = {name: float(count) for name, count in counts.items()}
    return Figure(TOLD_BY_CALLS, float(through), through > 0, PREVENTED, None, parts)
