"""The audit of sessions that were run in this process, of bundled or generated pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from blindmatch_client.trace import Round, SessionTrace
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign, Binding, Item, Party
from blindmatch_protocol.picture.item import Picture
from msgspec.structs import replace

from blindmatch_simulations.testbed.audit.audit import Audit
from blindmatch_simulations.testbed.audit.counterpart import Comparison, Counterpart, DecoyFinder
from blindmatch_simulations.testbed.audit.dictionary import dictionary_for
from blindmatch_simulations.testbed.audit.evidence import Finding
from blindmatch_simulations.testbed.audit.replay import explain, replay
from blindmatch_simulations.testbed.inprocess.deployed import (
    Asked,
    Ran,
    carried_by,
    drawn_binding,
    run_session,
    seen_by,
    seers,
)
from blindmatch_simulations.testbed.inprocess.opened import OpenDesign
from blindmatch_simulations.testbed.pictures.crops import crops

BUNDLED: Final = (12, 3)
"""Number and seed of the bundled pictures that are audited beside a user's own."""
FEW: Final = 2
"""Of these, that a design is asked about whose sessions are dear."""


def audit_bundled(counterpart: Counterpart, opened: OpenDesign, rng: Randomness) -> Audit:
    """Ask about bundled pictures, which may be compared with others, and audit that."""
    items = [Picture.from_bytes(one.data) for one in crops(*BUNDLED)]
    asked = items[:FEW] if opened.design.reduced() is not None else items
    bindings = [drawn_binding(opened.design, rng) for _ in asked]
    sessions = {
        number: (item, run_session(opened, item, rng, binding=binding), binding)
        for number, (item, binding) in enumerate(zip(asked, bindings, strict=True))
    }
    findings, comparisons = audit_sessions(replace(counterpart, enrolments=opened.held), sessions, items)
    return Audit(tuple(findings), pictures=len(asked), sessions=len(asked), comparisons=tuple(comparisons))


def audit_sessions(
    counterpart: Counterpart,
    sessions: Mapping[int, tuple[Item, Ran, Binding]],
    pool: Sequence[Item],
    compared: Collection[int] | None = None,
) -> tuple[list[Finding], list[Comparison]]:
    """Findings, and what was compared.

    Args:
        sessions: pictures with their sessions, and the message that each is in.
        pool: pictures to compare with.
        compared: the sessions that are run again; None: all.
    """
    finder, findings, comparisons = DecoyFinder(counterpart, pool), list[Finding](), list[Comparison]()
    for number, (item, ran, binding) in sessions.items():
        if compared is None or number in compared:
            trace = _trace(number, ran, binding)
            found, of_it = explain(finder, trace, item)
            findings += [*replay(counterpart, trace, item), *found]
            comparisons += of_it
    return [*findings, *_pieces(counterpart, sessions)], comparisons


def _pieces(counterpart: Counterpart, sessions: Mapping[int, tuple[Item, Ran, Binding]]) -> Iterator[Finding]:
    """No body, and no reply that is carried, holds a piece of a picture that is not declared to whoever gets
    it."""
    design, items = counterpart.design, {number: item for number, (item, *_) in sessions.items()}
    for party in seers(design):
        dictionary = dictionary_for(counterpart, party, items, {})
        for number, (_, ran, _) in sessions.items():
            for body in _seen(design, party, ran):
                if dictionary.in_opaque(body):
                    yield Finding(party, number, "a body holds a piece of a picture", len(body))


def _seen(design: AnyDesign, party: Party, ran: Ran) -> list[bytes]:
    bodies = [body for to, body in ran.bodies() if to in seen_by(design, party)]
    carried = carried_by(design, {party})
    return bodies + [asked.reply.encode() for asked in ran.asked if asked.role in carried]


def _trace(number: int, ran: Ran, binding: Binding) -> SessionTrace:
    rounds = tuple(map(_round, ran.rounds))
    return SessionTrace(number, ran.state_before.encode(), ran.tape, rounds, ran.outcome, binding)


def _round(asked: Sequence[Asked]) -> Round:
    bodies = {one.role: one.body.encode() for one in asked}
    return Round(bodies, {one.role: one.reply.encode() for one in asked})
