"""What a design says ties a role to the epoch's list (`Info.tie`), held against another key and another list.

another key      of the same list and epoch: refused where there is a tie, else no other outcome
another list     under the same randomness, and so the same keys
another request  the right reply, to another picture
one field of these, or its first or last row, in the right reply; to an account's second picture
nobody's         a made-up reply of each type; the right one with a number or mark altered, or without rows
a proof's maker  other device states and tapes: a session ends as it did
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any, Final

import numpy as np
from blindmatch_protocol import codec
from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.contract import CERTIFYING, Learner, Role, Tie, Verdict
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.determinism import bound
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published, lowered
from blindmatch_simulations.evaluation.conformance.leakage.facts import names_of
from blindmatch_simulations.testbed.inprocess.deployed import (
    Asked,
    Deployed,
    Ran,
    opened,
    run_again,
    run_session,
)
from blindmatch_simulations.testbed.inprocess.steps import made_up
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.testbed.pictures.pool import Pooled

UNVERIFIED: Final = "unverified_reply"
"""A design that declares it (or ``my.unverified_reply``) says that a role can switch matching off unseen."""
TAPE_BYTES: Final = 1 << 16


def check_other_key(fixtures: Fixtures) -> Passed:
    """A reply under another key is refused or changes no outcome; with `Tie.KEY` or `Tie.QUOTE` it is
    refused, and no wrong reply changes an outcome."""
    tie = fixtures.design.info.tie
    _applies(fixtures)
    other = opened(fixtures.publish(fixtures.pool.entries, "other-key"))
    crossed = replace(fixtures.deployed, states=other.states)
    chosen = fixtures.pool.of("listed", "other", "poor")
    times = sum(_refused_or_same(fixtures, crossed, one) for one in chosen)
    words, figures = (
        f"{times} of {len(chosen)} sessions with a role that has another key refused",
        {"refused": times},
    )
    if tie is Tie.NONE:
        return Passed(words, figures)
    if times < len(chosen):
        raise BrokenError("receive", f"{words}: a tie by {tie} means all")
    forged = _tied(fixtures)
    steered = f"{forged} with replies, or a state and a tape, of somebody's choice refused or alike"
    return Passed(f"{words}; {steered}", {**figures, "forged": forged})


def _applies(fixtures: Fixtures) -> None:
    """Make sure that replies are said to be verified; a tie says it whatever else the design does."""
    design = fixtures.design
    fixtures.asks()
    if design.info.tie is not Tie.NONE:
        return
    if Learner.SERVER in design.info.learns:
        raise NotApplicableError("roles learn the outcome, so they can say what they like")
    if UNVERIFIED in names_of(fact for leak in design.leakage() for fact in leak.facts):
        raise NotApplicableError(f"the design declares {UNVERIFIED}: replies are not verified")


def _refused_or_same(fixtures: Fixtures, crossed: Deployed, one: Pooled) -> bool:
    try:
        ran = run_session(crossed, one.item, fixtures.rng(f"other-key/{one.name}"))
    except ProtocolError:
        return True
    if type(ran.outcome) is not type(fixtures.honest[one.name].outcome):
        raise BrokenError("receive", "a reply made with another key is taken for an answer", item=one.name)
    return False


def _tied(fixtures: Fixtures) -> int:
    """Forge replies to a listed picture, to one that is not, and to a poor one, and choose what the device
    draws and has; in how many sessions, of which some are alike and some have the right reply after all."""
    deployed, values = as_published(fixtures).deployed, lowered(fixtures)
    lists = {"other-key": fixtures.pool.entries, "publish": fixtures.pool.others}
    others = [opened(fixtures.publish(rows, name, values=values)) for name, rows in lists.items()]
    chosen = [fixtures.pool.of(kind)[0] for kind in ("listed", "other", "poor")]
    held = {one.name: _second(fixtures, deployed, one) for one in chosen}
    tried = sum(_steered(fixtures, deployed, one, held[one.name]) for one in chosen)
    for one in chosen:
        foreign = [part for name, them in held.items() if name != one.name for part in them.asked]
        for put in _puts(fixtures, held[one.name], deployed, others, foreign):
            _alike(fixtures, one, held[one.name], put)
            tried += 1
    return tried


class _Put(Struct, frozen=True):
    """A reply in place of the right one, at a place counted over all rounds, and who answers after it."""

    at: int
    reply: Message | None
    after: Deployed


def _second(fixtures: Fixtures, deployed: Deployed, one: Pooled) -> Ran:
    """An account's second session of a picture, as it is in a message."""
    rng = fixtures.rng(f"tie/{one.name}")
    state = run_session(deployed, one.item, rng).state
    return run_session(
        deployed, one.item, rng, fixtures.design.prepare(state, deployed.setup, rng), binding=bound(fixtures)
    )


def _puts(
    fixtures: Fixtures, ran: Ran, deployed: Deployed, others: list[Deployed], foreign: list[Asked]
) -> Iterator[_Put]:
    """Other roles for a whole session; at each place wrong replies, and the right one altered, and with parts
    of those."""
    crossed = [replace(deployed, states=other.states) for other in others]
    yield from (_Put(-1, None, one) for one in crossed)
    for at, asked in enumerate(ran.asked):
        wrong = [part.reply for part in foreign if part.role == asked.role]
        for other in others:
            try:
                wrong.append(other.answer(asked.role, asked.body, fixtures.rng("forged"))[0])
            except ProtocolError:
                continue  # it refuses what it is asked
        for kind in fixtures.design.replies[asked.role]:
            wrong += made_up(kind, fixtures.rng("made-up"))
        put = [*wrong, *_altered(asked.reply)]
        for reply in (one for one in wrong if type(one) is type(asked.reply)):
            put += _mixed(asked.reply, reply)
        yield from (_Put(at, one, deployed) for one in put)


def _mixed(right: Message, wrong: Message) -> Iterator[Message]:
    for name, _ in layout(type(right)):
        ours, theirs = getattr(right, name), getattr(wrong, name)
        values = [theirs]
        if isinstance(ours, np.ndarray) and ours.shape == theirs.shape:
            values += [
                np.concatenate([ours[:at], theirs[at : at + 1], ours[at + 1 :]]) for at in {0, len(ours) - 1}
            ]
        for value in values:
            try:
                yield replace(right, **{name: value})
            except ProtocolError:
                continue  # no message


def _altered(right: Message) -> Iterator[Message]:
    """The right reply with another number or mark in it, or without rows: all, the first, the last."""
    for name, encoding in layout(type(right)):
        value = getattr(right, name)
        for other in _others(encoding, value):
            with suppress(ProtocolError):  # no message
                yield type(right).decode(replace(right, **{name: other}).encode())


def _others(encoding: Any, value: Any) -> Iterator[Any]:
    match encoding:
        case codec.Bool():
            yield not value
        case codec.UInt(bits):
            yield from {0, (1 << bits) - 1} - {value}
        case codec.Sequence() | codec.Matrix():
            yield from (value[:0], value[1:], value[:-1])
        case codec.Variable():
            yield value[:0]
        case codec.Nested():
            yield from _altered(value)


def _alike(fixtures: Fixtures, one: Pooled, ran: Ran, put: _Put) -> None:
    """The session again, with what is put into it: it is refused, or ends as it did."""
    places, rng = count(), fixtures.rng("after")

    def answering(role: Role, body: Message) -> tuple[Message, Verdict | None]:
        place = next(places)
        if place > put.at or put.reply is None:
            return put.after.answer(role, body, rng)
        return (put.reply if place == put.at else ran.asked[place].reply), None

    try:
        ended = run_again(put.after, one.item, ran, answering, bound(fixtures))
    except BlindmatchError:
        return
    if type(ended.outcome) is not type(ran.outcome):
        words = f"a forged reply is taken for an answer: there is no tie by {fixtures.design.info.tie}"
        reply = put.reply.encode()[:4096] if put.reply else b""
        raise BrokenError("receive", words, item=one.name, at=put.at, reply=reply)


def _steered(fixtures: Fixtures, deployed: Deployed, one: Pooled, ran: Ran) -> int:
    """Sessions on device states and tapes of somebody's choice, as a proof of absence may have them."""
    rng, tried = fixtures.rng(f"steered/{one.name}"), 0
    for state in (ran.state_before, *made_up(fixtures.design.device_state, rng)):
        for tape in (bytes(TAPE_BYTES), b"\xff" * TAPE_BYTES, rng.take(TAPE_BYTES)):
            tried += 1
            try:
                ended = run_session(
                    deployed,
                    one.item,
                    replayed(tape),
                    state,
                    lambda role, body: deployed.answer(role, body, rng),
                    CERTIFYING,
                )
            except BlindmatchError:
                continue
            if type(ended.outcome) is not type(ran.outcome):
                words = "device state or randomness decides how a session ends"
                raise BrokenError("start", words, item=one.name, state=state.encode())
    return tried
