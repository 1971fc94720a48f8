"""Facts that follow from what is sent, and so must be declared to whoever gets it; what it may cost; and the
egress audit of recorded sessions: every byte of a body is explained by facts or by the tape.

    query_time    a request for every picture says that, and when, an account sent one
    enrolment     what a role holds of an account says which one a picture is of
    epoch         a field that is the epoch of the device's set-up, in two epochs, says which one it holds
    large bodies  a body or reply that is longer than an envelope

A fact counts by its name or by the last part of it (``my.epoch``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, Final

from blindmatch_client.matching.detector import is_confirmed
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    UNBOUND,
    Adversary,
    Binding,
    Content,
    Fact,
    Flag,
    Match,
    NoMatch,
    Party,
    Voucher,
)
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.contract.driver import MOST_ROUNDS
from blindmatch_protocol.designs.facts import ENROLMENT, EPOCH, QUERY_TIME
from blindmatch_protocol.messages.parts import MOST_SMALL_BYTES
from blindmatch_server.centre.service import CentreLimits
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, lowered, rows_of
from blindmatch_simulations.evaluation.conformance.leakage.game import in_shares
from blindmatch_simulations.evaluation.conformance.leakage.lives import has_state
from blindmatch_simulations.evaluation.conformance.leakage.pinning import check_pinning
from blindmatch_simulations.evaluation.conformance.leakage.play import names_of
from blindmatch_simulations.testbed.audit import Counterpart, Finding
from blindmatch_simulations.testbed.audit.audit import audit_sessions
from blindmatch_simulations.testbed.inprocess.deployed import (
    VOUCHER,
    Deployed,
    Ran,
    drawn_binding,
    enrolled,
    opened,
    run_session,
    seen_by,
    seers,
)
from blindmatch_simulations.testbed.inprocess.leaves import fields_of
from blindmatch_simulations.testbed.inprocess.steps import limits, silent, stands_in
from blindmatch_simulations.testbed.inprocess.verdict import (
    BrokenError,
    NotApplicableError,
    NotComparableError,
    Passed,
)
from blindmatch_simulations.testbed.pictures.pool import Pooled

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
    QUERY_TIME.name: "it gets a request for a picture",
    ENROLMENT.name: "it holds what the account enrolled with",
    EPOCH.name: "a field of its requests is the epoch of the device's set-up",
}


def _follows(fixtures: Fixtures, party: Party) -> list[str]:
    bodies = [_numbers(fixtures, party, epoch) for epoch in EPOCHS]
    if not all(bodies):
        return []
    told = all(any(value == epoch for _, value in found) for epoch, found in zip(EPOCHS, bodies, strict=True))
    holds = any(fixtures.design.info.roles[role] == party for role in fixtures.design.enrolments)
    return [QUERY_TIME.name, *([EPOCH.name] if told else []), *([ENROLMENT.name] if holds else [])]


def _numbers(fixtures: Fixtures, party: Party, epoch: int) -> set[tuple[str, int]]:
    """Fields, as numbers, of what the party gets for a picture of an epoch; and one that says it got it."""
    build = fixtures.publish(fixtures.pool.entries, "declarations", epoch, lowered(fixtures))
    deployed = opened(build)
    roles = seen_by(fixtures.design, party)
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
    """Every byte is the same for all pictures that agree on the facts, or changes with what is drawn and not
    sent; no undeclared 8 bytes of a hash or digest are sent; a voucher tells nothing of its message.

    See `audit.replay` for a new account, and `leakage.pinning` for accounts that have lived; the decoys are
    the pool's pictures, and composed ones.
    """
    fixtures.sends()
    bindings = {
        one.name: drawn_binding(fixtures.design, fixtures.rng(f"egress/message/{number}"))
        for number, one in enumerate(fixtures.pool.pictures)
    }
    left: NotComparableError | None = None
    try:
        passed = audited(fixtures, _in_messages(fixtures, bindings), bindings)
    except NotComparableError as reason:
        left = reason
    pinned = check_pinning(fixtures)
    if left is not None:
        raise NotComparableError(f"{left}; {pinned.words}") from left
    figures = {**passed.figures, "pinned": to_builtins(pinned)}
    return Passed(f"{passed.reason}; {pinned.words}", figures)


def _in_messages(fixtures: Fixtures, bindings: Mapping[str, Binding]) -> Mapping[str, Ran]:
    """Honest sessions of all pictures, in messages if the design is told of them."""
    if not fixtures.design.vouchers:
        return fixtures.honest
    return {
        one.name: run_session(
            fixtures.deployed, one.item, fixtures.rng(f"egress/{one.name}"), binding=bindings[one.name]
        )
        for one in fixtures.pool.pictures
    }


def audited(
    fixtures: Fixtures, sessions: Mapping[str, Ran], bindings: Mapping[str, Binding] | None = None
) -> Passed:
    """The audit of some honest sessions, by the names of their pictures, and of the messages these are in."""
    counterpart = replace(
        Counterpart.of(fixtures.deployed, fixtures.rng("egress")), another=_accounts(fixtures)
    )
    pool = {one.name: number for number, one in enumerate(fixtures.pool.pictures)}
    items = [one.item for one in fixtures.pool.pictures]
    told = bindings or {}
    ran = {
        pool[name]: (items[pool[name]], of_it, told.get(name, UNBOUND)) for name, of_it in sessions.items()
    }
    kinds = [[pool[one.name] for one in fixtures.pool.of(kind) if one.name in sessions] for kind in AUDITED]
    findings, compared = audit_sessions(counterpart, ran, items, [numbers[0] for numbers in kinds])
    names = {number: one.name for number, one in enumerate(fixtures.pool.pictures)}
    for finding in findings:
        raise _undeclared(finding, names)
    good = [one for one in compared if one.comparable]
    left = dict.fromkeys(one.reason for one in compared if one.reason)
    if not good:
        raise NotComparableError(f"the tape gives every byte again, but {', '.join(left)}")
    least = min(one.decoys for one in good)
    words = f"{len(good)} of {len(compared)} sessions compared with {least} pictures or more that agree"
    words += "".join(f"; else {reason}" for reason in left) + limits(fixtures.design)
    figures = {"sessions": len(compared), "compared": len(good), "decoys": least}
    return Passed(f"facts and tape explain every byte: {words}", figures)


def _undeclared(finding: Finding, names: Mapping[int, str]) -> BrokenError:
    """The failure that a finding is, with the field, both pictures and the party."""
    words = f"{finding.size} undeclared bytes to {finding.party}: {finding.rule}"
    mine = names[finding.item or 0]
    seen: dict[str, object] = {"party": finding.party, "item": mine}
    if finding.told is not None:
        other = finding.other_name(names)
        seen |= {"other": other, "field": finding.told.words(mine, other)}
    return BrokenError("egress", words, **seen)


def _accounts(fixtures: Fixtures) -> Callable[[], Message] | None:
    """Gives the state of a new account each time; None where accounts have none, or roles must know them."""
    if fixtures.design.enrolments or not has_state(fixtures):
        return None
    return partial(enrolled, fixtures.deployed, fixtures.rng("egress/accounts"))


LEAST_TELLING: Final = 2
PICTURES: Final = ("listed/0", "twin/listed/0", "other/0", "twin/other/0", "far-32/0", "poor/0", "poor/1")


class Case(Redacted, Struct, frozen=True):
    """A fact declared to some parties, its value for each picture, and what those parties see of it."""

    fixtures: Fixtures
    parties: frozenset[Party]
    fact: Fact
    values: Mapping[str, Hashable]

    @property
    def telling(self) -> dict[str, Hashable]:
        """The values that say something: not None, nor nothing but zeros."""
        return {name: value for name, value in self.values.items() if not silent(value)}

    @property
    def constant(self) -> bool:
        """Is the value the same for every picture?"""
        return len(set(self.values.values())) == 1

    def seen(self, name: str) -> list[Any]:
        """All field values, counts and lengths that the parties see of a picture's session."""
        design = self.fixtures.design
        ran = self.fixtures.honest[name]
        roles = {role for party in self.parties for role in design.info.seen_by(party)}
        found: list[Any] = []
        for asked in (part for part in ran.asked if part.role in roles):
            body = asked.body
            if design.info.roles[asked.role] in self.parties:
                body = design.unsealed(asked.role, self.fixtures.deployed.states[asked.role], body)
            found += [value for _, value in fields_of(body)]
            found.append(len(asked.body.encode()))
        if Party.CENTRE in self.parties and isinstance(ran.outcome, Voucher):
            found += [value for _, value in fields_of(ran.outcome.body)]
        return found


def check_tightness(fixtures: Fixtures) -> Passed:
    """An extractor recovers every declared fact; one that none recovers is called over-declared, which is no
    failure."""
    named: dict[str, Case] = {}
    items = {one.name: one.item for one in fixtures.pool.pictures if one.name in PICTURES}
    for adversary in (Adversary.SEMI_HONEST, Adversary.MALICIOUS):
        for leak in (leak for leak in fixtures.design.leakage() if leak.adversary is adversary):
            for fact in leak.facts:
                values = {name: fact.project(item, fixtures.deployed.setup) for name, item in items.items()}
                name = f"{'+'.join(sorted(leak.parties))}: {fact.name}"
                named.setdefault(name, Case(fixtures, leak.parties, fact, values))
    if not named:
        raise NotApplicableError("nothing is declared")
    few = {name: len(c.telling) for name, c in named.items() if len(c.telling) < LEAST_TELLING}
    found = {name: recovered_by(c) for name, c in named.items() if name not in few}
    over = [name for name, extractor in found.items() if extractor is None]
    words = f"{len(found) - len(over)} of {len(named)} declared facts recovered"
    if over:
        words += f"; over-declared, no extractor in this suite recovers {', '.join(over)}"
    words += "".join(f"; {name} not measured ({count} pictures)" for name, count in few.items())
    return Passed(words, {"recovered_by": found, "over_declared": over, "not_measured": few})


def recovered_by(case: Case) -> str | None:
    """The first extractor that recovers the fact, or None."""
    return next((name for name, extract in EXTRACTORS.items() if extract(case)), None)


def _presence(case: Case) -> bool:
    """The value says no more than that something was sent."""
    return set(case.values.values()) == {True} and all(case.seen(name) for name in case.values)


def _setup(case: Case) -> bool:
    """A party with a role has the set-up too, and its own state."""
    if not case.constant:
        return False
    deployed = case.fixtures.deployed
    roles = [role for role, party in case.fixtures.design.info.roles.items() if party in case.parties]
    info = case.fixtures.design.info
    having = {Party.DEVICE, info.setup_host, *info.forwarded.values()}
    opened_setup = [deployed.setup, getattr(deployed.setup, "inner", None)]
    held = opened_setup if roles or having & case.parties else []
    known = [value for one in (*held, *(deployed.states[role] for role in roles)) for value in _public(one)]
    (value,) = set(case.values.values())
    return any(type(one) is type(value) and one == value for one in known)


def _field(case: Case) -> bool:
    return all(stands_in(value, case.seen(name)) for name, value in case.telling.items())


def _shares(case: Case) -> bool:
    return all(
        isinstance(value, bytes)
        and in_shares(
            value, [one for one in case.seen(name) if isinstance(one, bytes) and len(one) == len(value)]
        )
        for name, value in case.values.items()
    )


def _candidates(case: Case) -> bool:
    items = {one.name: one.item for one in case.fixtures.pool.pictures if one.name in case.values}
    for name, value in case.values.items():
        seen = {one for one in case.seen(name) if isinstance(one, bytes)}
        fitting = [other for other, one in items.items() if one.hash in seen or one.pixels.tobytes() in seen]
        if not fitting or {case.values[other] for other in fitting} != {value}:
            return False
    return True


def _asking(case: Case) -> bool:
    info = case.fixtures.design.info
    hosts = info.roles.values() if info.sends_content is Content.SEALED else ()
    asks = {Party.DEVICE, *info.forwarded.values(), *hosts}
    if not asks & case.parties or case.constant:
        return False
    outcomes = {type(case.fixtures.honest[name].outcome) for name in case.values}
    return {Match, NoMatch} <= outcomes or {Flag, NoMatch} <= outcomes


def _forcing(case: Case) -> bool:
    """What a report says of a picture is everything, so every fact of it follows."""
    fixtures = case.fixtures
    party = set(case.fixtures.design.info.roles.values())
    if Party.CENTRE not in case.parties or not party & case.parties or case.constant:
        return False
    pool = fixtures.pool
    relation = fixtures.design.info.relation
    chosen = [one for one in pool.of("other") if not pool.matches(relation, one)]
    forged = opened(fixtures.publish(rows_of(*chosen), "own-list"))
    crossed = replace(fixtures.deployed, states=forged.states)
    return all(_reported(crossed, one, fixtures.rng(f"forced/{one.name}")) for one in chosen)


def _reported(deployed: Deployed, one: Pooled, rng: Randomness) -> bool:
    try:
        outcome = run_session(deployed, one.item, rng).outcome
    except ProtocolError:
        return False
    return isinstance(outcome, Match) and is_confirmed(deployed.design.info.relation, one.item, outcome)


EXTRACTORS: Final[Mapping[str, Callable[[Case], bool]]] = {
    "presence": _presence,
    "set-up": _setup,
    "field": _field,
    "shares": _shares,
    "candidates": _candidates,
    "asking": _asking,
    "forcing": _forcing,
}


def _public(held: Any) -> list[Any]:
    """Values of public attributes and properties, and the object itself."""
    names = [name for name in dir(held) if not name.startswith("_")]
    return [held, *(getattr(held, name, None) for name in names)]
