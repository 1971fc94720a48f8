"""Batches: a role's answer to one body does not depend on the bodies it happens to arrive with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.contract import Answer, Role, Send, concluded
from blindmatch_protocol.errors import ProtocolError

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.hostility import attacked
from blindmatch_simulations.inprocess.enrolled import request_of
from blindmatch_simulations.inprocess.steps import Stop, hostile
from blindmatch_simulations.inprocess.verdict import BrokenError, Passed

TRIED = 64
"""Hostile bytes tried to find a body that decodes and is refused."""


def check_batches(bench: Bench) -> Passed:
    """Good bodies beside others, and beside a bad one, get the replies they get alone."""
    sessions = [found for _, found in attacked(bench)]
    bad_ones = 0
    for number, stop in enumerate(sessions[0]):
        for role in stop.bodies:
            peers = [
                found[number] for found in sessions if number < len(found) and role in found[number].bodies
            ]
            _one_each(bench, role, peers)
            _same_beside_others(bench, role, peers)
            _same_after_others(bench, role, peers)
            bad = _bad(bench, role, stop.bodies[role])
            bad_ones += bad is not None
            if bad is not None:
                _same_beside_bad(bench, role, peers, bad)
    words = "replies do not depend on the rest of the batch, nor on what was asked before"
    return Passed(
        words if bad_ones else words + "; no body that decodes is refused", {"bad_bodies": bad_ones}
    )


def _answer(bench: Bench, role: Role, bodies: Sequence[Message]) -> Answer:
    step = f"answer of {role}"
    try:
        setup = bench.deployed.setup
        requests = [request_of(bench.design, setup, role, body) for body in bodies]
        answer = bench.design.answer(role, bench.deployed.states[role], requests, bench.rng("batch"), None)
    except Exception as error:
        words = f"a batch of {len(bodies)} ends in {type(error).__name__} for all of it"
        raise BrokenError(step, words) from error
    if len(answer.replies) != len(bodies) or len(answer.verdicts) not in (0, len(bodies)):
        raise BrokenError(step, "there is not one reply, and one verdict or none, for each body")
    return answer


def _one_each(bench: Bench, role: Role, peers: Sequence[Stop]) -> None:
    """Every session goes on with its reply from the batch as with the one it gets alone."""
    answer = _answer(bench, role, [peer.bodies[role] for peer in peers])
    for at, peer in enumerate(peers):
        if not _equivalent(bench, role, peer, answer, at):
            raise BrokenError(f"answer of {role}", "a body gets another reply in a batch than alone")


def _same_beside_others(bench: Bench, role: Role, peers: Sequence[Stop]) -> None:
    """With the same randomness, another body between two changes neither one's reply."""
    first, last = peers[0].bodies[role], peers[-1].bodies[role]
    between = [_answer(bench, role, [first, peer.bodies[role], last]) for peer in peers]
    for answer in between[1:]:
        if any(answer.replies[at] != between[0].replies[at] for at in (0, 2)):
            raise BrokenError(f"answer of {role}", "a reply depends on another body of its batch")
        if answer.verdicts and (answer.verdicts[0], answer.verdicts[2]) != (
            between[0].verdicts[0],
            between[0].verdicts[2],
        ):
            raise BrokenError(f"answer of {role}", "a verdict depends on another body of its batch")


def _same_after_others(bench: Bench, role: Role, peers: Sequence[Stop]) -> None:
    """With the same randomness, what was asked before changes no byte of a reply: nobody learns of it."""
    replies = []
    for peer in peers:
        _answer(bench, role, [peer.bodies[role]])
        replies.append(_answer(bench, role, [peers[0].bodies[role]]).replies[0])
    if any(reply != replies[0] for reply in replies):
        raise BrokenError(f"answer of {role}", "a reply depends on what was asked before it")


def _same_beside_bad(bench: Bench, role: Role, peers: Sequence[Stop], bad: Message) -> None:
    for peer in peers:
        answer = _answer(bench, role, [peer.bodies[role], bad, peer.bodies[role]])
        if not isinstance(answer.replies[1], ProtocolError):
            raise BrokenError(f"answer of {role}", "a body that is refused alone is answered in a batch")
        if not all(_equivalent(bench, role, peer, answer, at) for at in (0, 2)):
            raise BrokenError(f"answer of {role}", "one bad body disturbs the others of its batch")


def _equivalent(bench: Bench, role: Role, peer: Stop, answer: Answer, at: int) -> bool:
    """Does the reply at `at` lead the session where the honest one does?"""
    reply = answer.replies[at]
    if not isinstance(reply, Message):
        return False
    return bool(_next(bench, peer, {**peer.replies, role: reply}) == _next(bench, peer, peer.replies))


def _next(bench: Bench, peer: Stop, replies: Any) -> Any:
    setup = bench.deployed.setup
    try:
        step = bench.design.receive(peer.session, setup, replies, bench.rng("next"))
    except ProtocolError as error:
        return error.rule
    end = concluded(bench.design, step, setup)
    return sorted(end.bodies) if isinstance(end, Send) else end.outcome


def _bad(bench: Bench, role: Role, good: Message) -> Message | None:
    """A body that decodes and is refused alone."""
    for raw in hostile(bench.design.requests[role], good.encode(), bench.rng("bad"), TRIED):
        try:
            body = decode_any(bench.design.requests[role], raw, "bad")
        except ProtocolError:
            continue
        if isinstance(_answer(bench, role, [body]).replies[0], ProtocolError):
            return body
    return None
