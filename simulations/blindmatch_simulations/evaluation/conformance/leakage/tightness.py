"""Is every declared fact really disclosed? An extractor recovers it from the party's view, or it is called
over-declared. That is no failure: who declares too much makes no false promise, but says less than could be.
A fact that says something of fewer than two of the pictures is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from blindmatch_client.matching.detector import is_confirmed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Adversary, Content, Fact, Flag, Match, NoMatch, Party, Voucher
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, rows_of
from blindmatch_simulations.evaluation.conformance.leakage.game import in_shares
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, Ran, opened, run_session
from blindmatch_simulations.testbed.inprocess.steps import fields_of, silent, stands_in
from blindmatch_simulations.testbed.inprocess.verdict import NotApplicableError, Passed
from blindmatch_simulations.testbed.pictures.pool import Pooled

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
        return _seen(self.fixtures, self.parties, self.fixtures.honest[name])

    def picture(self, name: str) -> Pooled:
        return next(one for one in self.fixtures.pool.pictures if one.name == name)


def check_tightness(fixtures: Fixtures) -> Passed:
    """An extractor recovers every declared fact; one that none recovers is called over-declared, which is no
    failure."""
    cases = _cases(fixtures)
    if not cases:
        raise NotApplicableError("nothing is declared")
    named = {f"{'+'.join(sorted(c.parties))}: {c.fact.name}": c for c in cases}
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


def _cases(fixtures: Fixtures) -> list[Case]:
    cases: dict[tuple[frozenset[Party], str], Case] = {}
    items = {one.name: one.item for one in fixtures.pool.pictures if one.name in PICTURES}
    for adversary in (Adversary.SEMI_HONEST, Adversary.MALICIOUS):
        for leak in (leak for leak in fixtures.design.leakage() if leak.adversary is adversary):
            for fact in leak.facts:
                values = {name: fact.project(item, fixtures.deployed.setup) for name, item in items.items()}
                cases.setdefault((leak.parties, fact.name), Case(fixtures, leak.parties, fact, values))
    return list(cases.values())


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
    for name, value in case.values.items():
        seen = {one for one in case.seen(name) if isinstance(one, bytes)}
        fitting = [
            other
            for other, one in ((other, case.picture(other).item) for other in case.values)
            if one.hash in seen or one.pixels.tobytes() in seen
        ]
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
    fixtures, party = case.fixtures, set(case.fixtures.design.info.roles.values())
    if Party.CENTRE not in case.parties or not party & case.parties or case.constant:
        return False
    chosen = [
        one
        for one in fixtures.pool.of("other")
        if not fixtures.pool.matches(fixtures.design.info.relation, one)
    ]
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


def _seen(fixtures: Fixtures, parties: frozenset[Party], ran: Ran) -> list[Any]:
    info = fixtures.design.info
    roles = {role for party in parties for role in info.seen_by(party)}
    found: list[Any] = []
    for asked in (part for part in ran.asked if part.role in roles):
        body = asked.body
        if info.roles[asked.role] in parties:
            body = fixtures.design.unsealed(asked.role, fixtures.deployed.states[asked.role], body)
        found += [value for _, value in fields_of(body)]
        found.append(len(asked.body.encode()))
    if Party.CENTRE in parties and isinstance(ran.outcome, Voucher):
        found += [value for _, value in fields_of(ran.outcome.body)]
    return found


def _public(held: Any) -> list[Any]:
    """Values of public attributes and properties, and the object itself."""
    names = [name for name in dir(held) if not name.startswith("_")]
    return [held, *(getattr(held, name, None) for name in names)]
