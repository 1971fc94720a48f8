"""The egress audit of recorded sessions: every byte of a body is explained by facts or by the tape."""

from __future__ import annotations

from collections.abc import Sequence

from blindmatch_client.trace import Round, SessionTrace

from blindmatch_simulations.audit import Counterpart
from blindmatch_simulations.audit.decoys import Comparison, DecoyFinder
from blindmatch_simulations.audit.dictionary import dictionary_for
from blindmatch_simulations.audit.replay import explain, replay
from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.deployed import Asked, Ran
from blindmatch_simulations.inprocess.enrolled import held_by_roles
from blindmatch_simulations.inprocess.taped import limits
from blindmatch_simulations.inprocess.verdict import (
    BrokenError,
    NotApplicableError,
    NotComparableError,
    Passed,
)

AUDITED = ("listed/0", "near-30/0", "other/0", "poor/0")


def check_egress(bench: Bench) -> Passed:
    """See `audit.replay`; the decoys are the pool's pictures."""
    if not bench.design.info.roles:
        raise NotApplicableError("nothing leaves the device")
    deployed = bench.deployed
    counterpart = Counterpart(
        bench.design,
        deployed.setup,
        deployed.states,
        bench.pool.entries,
        bench.rng("egress"),
        enrolments=held_by_roles(bench.design, deployed.setup),
    )
    finder = DecoyFinder(counterpart, [one.item for one in bench.pool.pictures])
    compared: list[Comparison] = []
    for number, name in enumerate(AUDITED):
        item = next(one.item for one in bench.pool.pictures if one.name == name)
        trace = _trace(number, bench.honest[name])
        found, of_it = explain(finder, trace, item)
        compared += of_it
        for finding in (*replay(counterpart, trace, item), *found):
            words = f"{finding.size} undeclared bytes to {finding.party}: {finding.rule}"
            raise BrokenError("egress", words, item=name)
    _look_through(bench, counterpart)
    return _passed(bench, compared)


def _look_through(bench: Bench, counterpart: Counterpart) -> None:
    """No body of an honest session holds a piece of a picture that is not declared to whoever gets it."""
    items = {number: one.item for number, one in enumerate(bench.pool.pictures)}
    info = bench.design.info
    for party, role in ((one, role) for one in info.parties for role in info.seen_by(one)):
        dictionary = dictionary_for(counterpart, party, items, {})
        for name, ran in bench.honest.items():
            if any(dictionary.in_opaque(body) for to, body in ran.bodies() if to == role):
                raise BrokenError("egress", f"a body to {party} holds a piece of a picture", item=name)


def _passed(bench: Bench, compared: Sequence[Comparison]) -> Passed:
    """What was compared, and with how many pictures.

    Raises:
        NotComparableError: if that was nothing.
    """
    good = [one for one in compared if one.comparable]
    left = dict.fromkeys(one.reason for one in compared if one.reason)
    if not good:
        raise NotComparableError(f"the tape gives every byte again, but {', '.join(left)}")
    least = min(one.decoys for one in good)
    words = f"{len(good)} of {len(compared)} sessions compared with {least} pictures or more that agree"
    words += "".join(f"; else {reason}" for reason in left) + limits(bench.design)
    figures = {"sessions": len(compared), "compared": len(good), "decoys": least}
    return Passed(f"facts and tape explain every byte: {words}", figures)


def _trace(number: int, ran: Ran) -> SessionTrace:
    return SessionTrace(
        number, ran.state_before.encode(), ran.tape, tuple(map(_round, ran.rounds)), ran.outcome
    )


def _round(asked: Sequence[Asked]) -> Round:
    bodies = {one.role: one.body.encode() for one in asked}
    return Round(bodies, {one.role: one.reply.encode() for one in asked})
