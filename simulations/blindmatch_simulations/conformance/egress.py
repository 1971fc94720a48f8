"""The egress audit of recorded sessions: every byte of a body is explained by facts or by the tape."""

from __future__ import annotations

from collections.abc import Sequence

from blindmatch_client.trace import Round, SessionTrace

from blindmatch_simulations.audit.replay import Counterpart, explain, replay
from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.deployed import Asked, Ran
from blindmatch_simulations.conformance.verdict import BrokenError, NotApplicableError, Passed

AUDITED = ("listed/0", "near-30/0", "other/0", "poor/0")


def check_egress(bench: Bench) -> Passed:
    """See `audit.replay`; the decoys are the pool's pictures."""
    if not bench.design.info.roles:
        raise NotApplicableError("nothing leaves the device")
    deployed = bench.deployed
    counterpart = Counterpart(
        bench.design, deployed.setup, deployed.states, bench.pool.entries, bench.rng("egress")
    )
    pool = [one.item for one in bench.pool.pictures]
    for number, name in enumerate(AUDITED):
        item = next(one.item for one in bench.pool.pictures if one.name == name)
        trace = _trace(number, bench.honest[name])
        for finding in (*replay(counterpart, trace, item), *explain(counterpart, trace, item, pool)):
            words = f"{finding.size} undeclared bytes to {finding.party}: {finding.rule}"
            raise BrokenError("egress", words, item=name)
    return Passed(f"every byte of {len(AUDITED)} sessions is explained by declared facts or by the tape")


def _trace(number: int, ran: Ran) -> SessionTrace:
    return SessionTrace(
        number, ran.state_before.encode(), ran.tape, tuple(map(_round, ran.rounds)), ran.outcome
    )


def _round(asked: Sequence[Asked]) -> Round:
    bodies = {one.role: one.body.encode() for one in asked}
    return Round(bodies, {one.role: one.reply.encode() for one in asked})
