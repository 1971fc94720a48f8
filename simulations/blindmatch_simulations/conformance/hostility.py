"""Hostile bytes at every step, and steps out of their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blindmatch_client.detector import is_confirmed
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import Match, Role, Send, Session, SessionError
from blindmatch_protocol.contract.outcome import Done
from blindmatch_protocol.errors import ProtocolError

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.deployed import Deployed
from blindmatch_simulations.inprocess.enrolled import unprepared_state
from blindmatch_simulations.inprocess.steps import Stop, ask, deliver, hostile, stops
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.pictures.pool import Pooled

FLIPS = 64
"""Random flips for each message and step, beside the extremes."""
ROUNDS = 4
"""Rounds of a session that are attacked."""


def attacked(bench: Bench, deployed: Deployed | None = None) -> list[tuple[Pooled, list[Stop]]]:
    """Sessions to attack, with other roles if they are given: of a listed picture, of one that is not, and of
    a poor one.

    Raises:
        NotApplicableError: if the design asks nobody.
    """
    if not bench.design.info.roles:
        raise NotApplicableError("the design asks nobody")
    chosen = [bench.pool.of(kind)[0] for kind in ("listed", "other", "poor")]
    return [
        (one, stops(deployed or bench.deployed, one.item, bench.rng(f"stops/{one.name}"))) for one in chosen
    ]


def check_hostile_requests(bench: Bench) -> Passed:
    """Whatever is sent to a role ends in a declared reply or in a `ProtocolError`."""
    tried = refused = 0
    for role, body in _per_role(attacked(bench)).items():
        for raw in hostile(bench.design.requests[role], body.encode(), bench.rng(f"ask/{role}"), FLIPS):
            refused += ask(bench.deployed, role, raw, bench.rng("answer")) is None
            tried += 1
    return Passed(f"{tried} hostile requests, {refused} refused", {"tried": tried, "refused": refused})


def check_hostile_replies(bench: Bench) -> Passed:
    """Whatever a role answers ends in a step or a `ProtocolError`; no label is taken that does not match."""
    tried = refused = 0
    for one, found in attacked(bench):
        for stop in found[:ROUNDS]:
            for role, reply in stop.replies.items():
                rng = bench.rng(f"reply/{one.name}/{stop.number}/{role}")
                for raw in hostile(bench.design.replies[role], reply.encode(), rng, FLIPS // 2):
                    step = deliver(bench.deployed, stop, role, raw, bench.rng("receive"))
                    _not_forged(bench, one, stop, step, raw)
                    refused += step is None
                    tried += 1
    return Passed(f"{tried} hostile replies, {refused} refused", {"tried": tried, "refused": refused})


def _per_role(sessions: list[tuple[Pooled, list[Stop]]]) -> Mapping[Role, Message]:
    """A body for each role, from the latest round in which it is asked."""
    bodies: dict[Role, Message] = {}
    for _, found in sessions[:1]:
        for stop in found:
            bodies.update(stop.bodies)
    return bodies


def _not_forged(bench: Bench, one: Pooled, stop: Stop, step: Done | Send[Any] | None, raw: bytes) -> None:
    """A picture that matches nothing must not be made to match by an altered reply.

    The device takes no label of an entry that its picture does not match, whatever a design says.
    """
    if not isinstance(step, Done) or not isinstance(step.outcome, Match):
        return
    relation = bench.design.info.relation
    if is_confirmed(relation, one.item, step.outcome) and not bench.pool.matches(relation, one):
        words = "an altered reply makes a match of a picture that has none"
        raise BrokenError(stop.name, words, reply=raw[:4096])


def check_order(bench: Bench) -> Passed:
    """Steps out of order: a message of another round or of another session, a role left out, one too many."""
    tried = 0
    sessions = attacked(bench)
    for one, found in sessions:
        _driver(bench, one)
        for stop in found[:ROUNDS]:
            for other_one, other in sessions:
                for foreign in other[:ROUNDS]:
                    tried += _misplaced(bench, one, stop, other_one, foreign)
    tried += _repeated_requests(bench, sessions)
    return Passed(f"{tried} messages out of their order, all taken in stride or refused", {"tried": tried})


def _misplaced(bench: Bench, one: Pooled, stop: Stop, other_one: Pooled, foreign: Stop) -> int:
    """A reply of another round, or of another picture's session."""
    for role, reply in foreign.replies.items():
        if role in stop.replies:
            step = deliver(bench.deployed, stop, role, reply.encode(), bench.rng("order"))
            if other_one.name != one.name:
                _not_forged(bench, one, stop, step, reply.encode())
    return len(foreign.replies)


def _repeated_requests(bench: Bench, sessions: list[tuple[Pooled, list[Stop]]]) -> int:
    """Every request again, last round first: roles keep no session, so they answer or refuse."""
    tried = 0
    for _, found in sessions:
        for stop in reversed(found[:ROUNDS]):
            for role, body in stop.bodies.items():
                ask(bench.deployed, role, body.encode(), bench.rng("again"))
                tried += 1
    return tried


def _driver(bench: Bench, one: Pooled) -> None:
    """The table of legal transitions holds for this design's sessions."""
    rng = bench.rng("driver")
    deployed = bench.deployed
    session = Session(bench.design, deployed.setup, unprepared_state(bench.design, deployed.setup, rng), rng)
    _illegal(lambda: session.receive({}), "receive before start")
    _illegal(session.conclude, "conclude before start")
    step = session.start(one.item)
    _illegal(lambda: session.start(one.item), "a second start")
    if isinstance(step, Mapping):
        _illegal(session.conclude, "conclude before the replies")
        _refused(lambda: session.receive({}), "a round without its replies")


def _illegal(act: Any, what: str) -> None:
    try:
        act()
    except SessionError:
        return
    raise BrokenError("session", f"{what} is not refused")


def _refused(act: Any, what: str) -> None:
    try:
        act()
    except ProtocolError:
        return
    raise BrokenError("session", f"{what} is not refused")
