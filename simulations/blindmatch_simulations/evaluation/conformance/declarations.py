"""Facts that follow from what is sent, and so must be declared to whoever gets it; what it may cost; and the
egress audit of recorded sessions: every byte of a body is explained by facts or by the tape.

    query_time    a request for every picture says that, and when, an account sent one
    enrolment     what a role holds of an account says which one a picture is of
    epoch         a field that is the epoch of the device's set-up, in two epochs, says which one it holds
    large bodies  a body or reply that is longer than an envelope

A fact counts by its name or by the last part of it (``my.epoch``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from blindmatch_protocol.contract import UNBOUND, Adversary, Party, Voucher
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.contract.driver import MOST_ROUNDS
from blindmatch_protocol.messages.parts import MOST_SMALL_BYTES
from blindmatch_server.centre.service import CentreLimits

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, lowered
from blindmatch_simulations.evaluation.conformance.leakage.play import names_of
from blindmatch_simulations.testbed.audit import Counterpart
from blindmatch_simulations.testbed.audit.audit import audit_sessions
from blindmatch_simulations.testbed.audit.counterpart import Comparison
from blindmatch_simulations.testbed.inprocess.deployed import (
    VOUCHER,
    Ran,
    opened,
    run_session,
    seen_by,
    seers,
)
from blindmatch_simulations.testbed.inprocess.steps import fields_of, limits
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotComparableError, Passed

QUERY_TIME: Final = "query_time"
ENROLMENT: Final = "enrolment"
EPOCH: Final = "epoch"
EPOCHS: Final = (11, 300_007)
"""Epochs that no other field is likely to be."""


def check_declarations(fixtures: Fixtures) -> Passed:
    """`query_time`, `enrolment` and `epoch` are declared to every party whose requests or state say so."""
    fixtures.sends()
    follows = {party: _follows(fixtures, party) for party in sorted(seers(fixtures.design))}
    for party, facts in follows.items():
        for adversary in Adversary:
            names = names_of(told(fixtures.design, frozenset({party}), adversary))
            for fact in facts:
                if fact not in names:
                    rule = f"{fact} is not declared to a {adversary} {party}: {SAYS[fact]}"
                    raise BrokenError("leakage", rule)
    words = "; ".join(f"{party}: {', '.join(facts)}" for party, facts in follows.items())
    return Passed(f"what follows from a request is declared ({words})")


SAYS: Final = {
    QUERY_TIME: "it gets a request for a picture",
    ENROLMENT: "it holds what the account enrolled with",
    EPOCH: "a field of its requests is the epoch of the device's set-up",
}


def _follows(fixtures: Fixtures, party: Party) -> list[str]:
    bodies = [_numbers(fixtures, party, epoch) for epoch in EPOCHS]
    if not all(bodies):
        return []
    told = all(any(value == epoch for _, value in found) for epoch, found in zip(EPOCHS, bodies, strict=True))
    holds = any(fixtures.design.info.roles[role] == party for role in fixtures.design.enrolments)
    return [QUERY_TIME, *([EPOCH] if told else []), *([ENROLMENT] if holds else [])]


def _numbers(fixtures: Fixtures, party: Party, epoch: int) -> set[tuple[str, int]]:
    """Fields, as numbers, of what the party gets for a picture of an epoch; and one that says it got it."""
    build = fixtures.publish(fixtures.pool.entries, "declarations", epoch, lowered(fixtures))
    deployed, roles = opened(build), seen_by(fixtures.design, party)
    ran = run_session(deployed, fixtures.pool.of("other")[0].item, fixtures.rng(f"declarations/{epoch}"))
    found: set[tuple[str, int]] = set()
    bodies = [asked.body for asked in ran.asked if asked.role in roles]
    bodies += [ran.outcome.body] if VOUCHER in roles and isinstance(ran.outcome, Voucher) else []
    for body in bodies:
        found.add(("", -1))
        for path, value in fields_of(body):
            found |= {(path, number) for number in _read(value)}
    return found


def _read(value: object) -> list[int]:
    if isinstance(value, bytes):
        return [int.from_bytes(value, "big"), int.from_bytes(value, "little")]
    return [value] if isinstance(value, int) else []


MOST_STATE_BYTES: Final = 1 << 20
"""An account's device state is written before every send."""


def check_resources(fixtures: Fixtures) -> Passed:
    """Bodies and replies have at most 960 KiB unless `large_bodies` is declared, sessions 64 rounds, an
    account's state 1 MiB."""
    info = fixtures.design.info
    asked = [part for ran in fixtures.honest.values() for part in ran.asked]
    requests = [len(part.body.encode()) for part in asked]
    replies = [len(part.reply.encode()) for part in asked]
    largest = max([*requests, *replies], default=0)
    if largest > MOST_SMALL_BYTES and not info.large_bodies:
        raise BrokenError("start", f"a body of {largest} bytes, and large bodies are not declared")
    bodies = [body for ran in fixtures.honest.values() for body in ran.bodies()]
    vouchers = [len(raw) for role, raw in bodies if role == VOUCHER]
    if max(vouchers, default=0) > CentreLimits().most_voucher_bytes:
        raise BrokenError("start", f"a voucher of {max(vouchers)} bytes, which the centre does not take")
    state = max(len(ran.state.encode()) for ran in fixtures.honest.values())
    if state > MOST_STATE_BYTES:
        raise BrokenError("enrol", f"an account's state has {state} bytes, more than {MOST_STATE_BYTES}")
    rounds = max(len(ran.rounds) for ran in fixtures.honest.values())
    words = f"{rounds} rounds of at most {MOST_ROUNDS}; bodies up to {max(requests, default=0)} bytes, "
    figures = {
        "rounds": rounds,
        "request_bytes": max(requests, default=0),
        "reply_bytes": max(replies, default=0),
        "state_bytes": state,
    }
    return Passed(words + f"replies up to {max(replies, default=0)}", figures)


AUDITED = ("listed", "near-30", "other", "poor")
"""Kinds of pictures, of each of which one is."""


def check_egress(fixtures: Fixtures) -> Passed:
    """Every byte is the same for all pictures that agree on the facts, or changes with the tape; no
    undeclared 8 bytes of a hash or digest are sent.

    See `audit.replay`; the decoys are the pool's pictures.
    """
    fixtures.sends()
    return audited(fixtures, fixtures.honest)


def audited(fixtures: Fixtures, sessions: Mapping[str, Ran]) -> Passed:
    """The same of some honest sessions, by the names of their pictures."""
    counterpart = Counterpart.of(fixtures.deployed, fixtures.rng("egress"))
    pool = {one.name: number for number, one in enumerate(fixtures.pool.pictures)}
    items = [one.item for one in fixtures.pool.pictures]
    ran = {pool[name]: (items[pool[name]], of_it, UNBOUND) for name, of_it in sessions.items()}
    kinds = [[pool[one.name] for one in fixtures.pool.of(kind) if one.name in sessions] for kind in AUDITED]
    findings, compared = audit_sessions(counterpart, ran, items, [numbers[0] for numbers in kinds])
    for finding in findings:
        words = f"{finding.size} undeclared bytes to {finding.party}: {finding.rule}"
        raise BrokenError("egress", words, item=fixtures.pool.pictures[finding.item or 0].name)
    return _passed(fixtures, compared)


def _passed(fixtures: Fixtures, compared: Sequence[Comparison]) -> Passed:
    good = [one for one in compared if one.comparable]
    left = dict.fromkeys(one.reason for one in compared if one.reason)
    if not good:
        raise NotComparableError(f"the tape gives every byte again, but {', '.join(left)}")
    least = min(one.decoys for one in good)
    words = f"{len(good)} of {len(compared)} sessions compared with {least} pictures or more that agree"
    words += "".join(f"; else {reason}" for reason in left) + limits(fixtures.design)
    figures = {"sessions": len(compared), "compared": len(good), "decoys": least}
    return Passed(f"facts and tape explain every byte: {words}", figures)
