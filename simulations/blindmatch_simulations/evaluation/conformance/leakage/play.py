"""Who is told what, and what is played: coalitions, what is declared to them, pairs of sequences of pictures
that agree on every declared fact, the worst cases first; and one sequence with honest or cheating roles.

The device acts as in the failure mode ``hold``, so a coalition with the provider sees which messages are
late, and one with the centre which pictures are reported, on a cover schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import product
from typing import Any, Final, TypeAlias

from blindmatch_client.matching.detector import is_confirmed
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError, UnopenedError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    Adversary,
    AnyDesign,
    Fact,
    Flag,
    Item,
    Learner,
    Match,
    Outcome,
    Party,
    Relation,
    Request,
    Role,
    Session,
    Verdict,
    Voucher,
    answered,
)
from blindmatch_protocol.contract.design import coalitions, told
from blindmatch_protocol.designs.facts import ENROLMENT
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.leakage.lives import Account, Life
from blindmatch_simulations.evaluation.conformance.leakage.places import places_of
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, drawn_binding, enrolled
from blindmatch_simulations.testbed.inprocess.leaves import fields_of
from blindmatch_simulations.testbed.inprocess.steps import below, byte_fields
from blindmatch_simulations.testbed.pictures.pool import Pool, Pooled

ACCOUNT_FACT: Final = "account"
"""A design that declares it (or ``my.account``) says that sessions of one account can be linked."""


def names_of(facts: Iterable[Fact]) -> frozenset[str]:
    """Names of facts, without what stands before a dot: ``my.account`` counts as ``account``."""
    return frozenset(fact.name.rpartition(".")[2] for fact in facts)


class Opponent(Struct, frozen=True):
    """A coalition, what it does, what is declared to it, and whether the outcome is its output."""

    parties: frozenset[Party]
    adversary: Adversary
    facts: tuple[Fact, ...]
    learns_outcome: bool

    @property
    def name(self) -> str:
        return f"{self.adversary} {' with '.join(sorted(self.parties))}"

    @property
    def has_device(self) -> bool:
        """Does it have a device of its own, beside the one it watches?"""
        return Party.DEVICE in self.parties

    def project(self, item: Item, setup: Any) -> tuple[Hashable, ...]:
        return tuple(fact.project(item, setup) for fact in self.facts)


def opponents(design: AnyDesign, adversary: Adversary) -> list[Opponent]:
    """Every coalition that is played against: each party with a role alone, with the provider, with the
    centre, with a device of its own, all parties with roles together, and those that the design names."""
    servers = coalitions(design)
    with_device = (one | {Party.DEVICE} for one in servers if len(one) == 1)
    ordered = sorted({*servers, *with_device}, key=lambda parties: (len(parties), sorted(parties)))
    return [_opponent(design, parties, adversary) for parties in ordered]


def _opponent(design: AnyDesign, parties: frozenset[Party], adversary: Adversary) -> Opponent:
    """A device of its own is told of its own pictures, so it adds only what the coalition is named with."""
    info = design.info
    server = Learner.SERVER in info.learns and bool(parties & set(info.roles.values()))
    centre = Party.CENTRE in parties and info.learns != {Learner.NOBODY}
    named = any(leak.parties == parties and leak.adversary is adversary for leak in design.leakage())
    facts = told(design, parties if named else parties - {Party.DEVICE}, adversary)
    return Opponent(parties, adversary, facts, server or centre)


class Move(Struct, frozen=True):
    """A picture, the account that sends it, and whether its first attempt gets no answer."""

    one: Pooled
    account: int = 0
    lost: bool = False


Moves: TypeAlias = tuple[Move, ...]


class Pair(Struct, frozen=True):
    """Two sequences an opponent is to tell apart."""

    left: Moves
    right: Moves

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(move.one.name for move in moves) for moves in (self.left, self.right))


class Scenario(Struct, frozen=True):
    """A class of pairs.

    Attributes:
        pairs: all candidates, before those are dropped that differ in a declared fact.
        links: whether telling them apart means linking an account's sessions.
    """

    name: str
    pairs: Callable[[Pool, Relation], Iterator[Pair]]
    links: bool = False


def playable(
    scenario: Scenario, pool: Pool, deployed: Deployed, opponent: Opponent, outputs: Mapping[str, object]
) -> list[Pair]:
    """The pairs of a scenario that agree on what is declared to `opponent`, and on its output; `outputs` are,
    by picture, what honest sessions give whoever learns the outcome."""
    relation = deployed.design.info.relation
    if scenario.links and names_of(opponent.facts) & {ACCOUNT_FACT, ENROLMENT.name}:
        return []  # it is declared that sessions of one account can be linked
    known: dict[str, object] = {}

    def sees(moves: Moves) -> list[object]:
        for move in moves:
            if move.one.name not in known:
                facts = opponent.project(move.one.item, deployed.setup)
                known[move.one.name] = (facts, opponent.learns_outcome and outputs[move.one.name])
        return [known[move.one.name] for move in moves]

    return [pair for pair in scenario.pairs(pool, relation) if sees(pair.left) == sees(pair.right)]


def _split(pool: Pool, relation: Relation) -> tuple[list[Pooled], list[Pooled]]:
    """Pictures of good quality that match, and ones that do not; but for those whose label does not open."""
    good = [one for one in pool.pictures if one.kind not in ("poor", "unopened")]
    matching = [one for one in good if pool.matches(relation, one)]
    return matching, [one for one in good if one not in matching]


def _singles(
    left: Sequence[Pooled], right: Sequence[Pooled] | None = None, lost: bool = False
) -> Iterator[Pair]:
    """Each of some pictures against each of others, or of their own."""
    for a, b in product(left, left if right is None else right):
        if a is not b:
            yield Pair((Move(a, lost=lost),), (Move(b, lost=lost),))


def _followed(left: Sequence[Pooled], right: Sequence[Pooled], pool: Pool) -> Iterator[Pair]:
    """Another picture follows, so that a device which distrusts a role afterwards is seen."""
    last = pool.of("other")[-1]
    for a, b in product(left, right):
        yield Pair((Move(a), Move(last)), (Move(b), Move(last)))


def _day(pool: Pool, relation: Relation) -> Iterator[Pair]:
    """What an account sends in a day: much that could be told of it on one side, nothing on the other."""
    lone = pool.of("lone")[:1]
    near = pool.of("near-30", "far-32")
    poor = pool.of("poor")
    for other in pool.of("far-33", "other"):
        plain = [one for one in pool.of("other", "twin-other") if one is not other]
        for full in ((*pool.of("listed"), *lone, *near[:1], *poor[:1]), (*lone * 2, *near[2:], *poor[1:])):
            yield Pair(tuple(map(Move, full)), tuple(map(Move, [other, *plain][: len(full)])))


def _twins(pool: Pool, relation: Relation) -> Iterator[Pair]:
    twins = {f"twin/{one.name}": one for one in pool.pictures}
    for twin in pool.of("twin-listed", "twin-other"):
        yield Pair((Move(twins[twin.name]),), (Move(twin),))


def _twice(pool: Pool, relation: Relation) -> Iterator[Pair]:
    for one, other in product(pool.of("listed", "other"), pool.pictures):
        if other is not one:
            yield Pair((Move(one), Move(one)), (Move(one), Move(other)))


def _order(pool: Pool, relation: Relation) -> Iterator[Pair]:
    matching, others = _split(pool, relation)
    for a, b in product(matching, others):
        yield Pair((Move(a), Move(b)), (Move(b), Move(a)))


def _accounts(pool: Pool, relation: Relation) -> Iterator[Pair]:
    for a, b in product(pool.of("listed", "other"), pool.of("other", "far-32")):
        yield Pair((Move(a), Move(b)), (Move(a), Move(b, 1)))


SCENARIOS: Final = (
    Scenario(
        "a lone band hit or none", lambda pool, _: _singles(pool.of("lone"), pool.of("other", "far-33"))
    ),
    Scenario("a match or none", lambda pool, relation: _singles(*_split(pool, relation))),
    Scenario(
        "distance 30 or 32",
        lambda pool, _: _singles(pool.of("near-30", "near-31"), pool.of("far-32", "far-33")),
    ),
    Scenario(
        "a label that does not open, or a miss",
        lambda pool, _: _followed(pool.of("unopened"), pool.of("other")[:-1], pool),
    ),
    Scenario("quality 0 or not", lambda pool, relation: _singles(pool.of("poor"), _split(pool, relation)[1])),
    Scenario("the same picture twice or another", _twice),
    Scenario(
        "a retry",
        lambda pool, _: _singles(
            [one for one in pool.pictures if not one.kind.startswith("twin")], lost=True
        ),
    ),
    Scenario("after a match or after none", lambda pool, relation: _followed(*_split(pool, relation), pool)),
    Scenario("match first or last", _order),
    Scenario("two that match", lambda pool, relation: _singles(_split(pool, relation)[0])),
    Scenario("two that do not match", lambda pool, relation: _singles(_split(pool, relation)[1])),
    Scenario("quality 0, listed or not", lambda pool, _: _singles(pool.of("poor")[:1], pool.of("poor")[1:])),
    Scenario("twins", _twins),
    Scenario("a day of pictures", _day),
    Scenario("one account or two", _accounts, links=True),
)
"""All classes of pairs."""


MOST_MATRICES: Final = 4
"""Matrices and sequences of a message in which places are looked at."""
ENDS: Final = 64
"""Bytes of a field of an enrolment that are looked at."""


class Behaviour(StrEnum):
    """What the roles do."""

    HONEST = "honest"
    OTHER_KEY = "answers with another key"
    ALTERED = "alters its replies"
    SILENT = "does not answer"


class Event(Struct, frozen=True):
    """Something a party sees.

    Attributes:
        kind: enrolment, request, reply, verdict, report, voucher, message, held, outcome or state.
        move: number of the picture in the sequence.
        shape: what its other fields say: numbers, counts, whether rows are in order.
        places: of its first matrices and sequences, where extremes stand and values ascend (`places`).
    """

    party: Party
    kind: str
    move: int
    data: bytes = b""
    leaves: tuple[bytes, ...] = ()
    shape: tuple[Any, ...] = ()
    places: bytes = b""


class LostError(BlindmatchError):
    """A reply did not arrive."""


class Table(Redacted, Struct, frozen=True):
    """The roles that are played with: honest ones, and ones with another key for the same list; and what
    accounts have lived through before, if they are not new."""

    deployed: Deployed
    other: Deployed
    life: Life | None = None


class Play:
    """One sequence on its way.

    Attributes:
        events: what everybody saw.
        ends: how each session ended on its device, and the account's state then: kind and bytes.
    """

    def __init__(self, table: Table, behaviour: Behaviour, rng: Randomness) -> None:
        self._deployed = table.deployed
        self._other = table.other
        self._behaviour = behaviour
        self._rng = rng
        self._life = table.life
        self._states: dict[int, Message] = {}
        self._held: dict[int, Mapping[Role, Message]] = {}
        self._distrusting: set[int] = set()
        self.events: list[Event] = []
        self.ends: list[tuple[str, bytes]] = []

    def run(self, moves: Moves) -> list[Event]:
        """Play all moves; what everybody saw."""
        for number, move in enumerate(moves):
            if move.account not in self._states:
                who = self._deployed.of(move.account)
                begun = self._begun(move.account)
                self._states[move.account] = begun.state
                self._held[move.account] = begun.held
                for role, body in begun.held.items():
                    leaves = tuple(leaf[:ENDS] for leaf in byte_fields(body))  # some are large
                    party = who.design.info.roles[role]
                    self.events.append(Event(party, "enrolment", number, b"", leaves))
            self._move(number, move)
        return self.events

    def _begun(self, number: int) -> Account:
        if self._life is not None:
            return self._life.account(self._rng, number)
        who = self._deployed.of(number)
        return Account(enrolled(who, self._rng), who.held)

    def _move(self, number: int, move: Move) -> None:
        if move.account in self._distrusting:
            self._see(Party.PROVIDER, "held", number)
            return
        for attempt in range(2):
            silent = attempt == 0 and (move.lost or self._behaviour is Behaviour.SILENT)
            try:
                outcome = self._session(number, move, silent)
            except LostError:
                self._see(Party.PROVIDER, "held", number)
                continue
            except ProtocolError as error:
                self._see(Party.PROVIDER, "held", number)
                if isinstance(error, UnopenedError) or not self._deployed.design.info.distrusts:
                    continue
                self._distrusting.add(move.account)
                return
            self._finish(number, move, outcome)
            return

    def _session(self, number: int, move: Move, silent: bool) -> Outcome:
        design = self._deployed.design
        session = Session(design, self._deployed.setup, self._states[move.account], self._rng)
        step = session.start(move.one.item, drawn_binding(design, self._rng))
        self._states[move.account] = session.state
        while isinstance(step, Mapping):
            replies = {
                role: self._ask(number, move.account, role, step[role], silent) for role in sorted(step)
            }
            if silent:
                raise LostError("no reply")
            step = session.receive(replies)
        return session.conclude()

    def _ask(self, number: int, account: int, role: Role, body: Message, silent: bool) -> Message:
        info = self._deployed.design.info
        party = info.roles[role]
        seers = [one for one in info.parties if role in info.seen_by(one)]
        self.events += [event_of(one, "request", number, body) for one in seers]
        reply, verdict = self._answer(self._deployed, account, role, body)
        self.events += [event_of(one, "reply", number, reply) for one in seers]
        if verdict is not None:
            self._see(party, "verdict", number, b"" if verdict.label is None else verdict.label.encode())
        return reply if silent else self._sent(account, role, body, reply)

    def _answer(
        self, deployed: Deployed, account: int, role: Role, body: Message
    ) -> tuple[Message, Verdict | None]:
        if self._life is None:
            return deployed.of(account).answer(role, body, self._rng)
        request = Request(body, self._held[account].get(role))
        return answered(deployed.design, role, deployed.states[role], request, self._rng)

    def _sent(self, account: int, role: Role, body: Message, reply: Message) -> Message:
        """What the role sends instead of its honest reply."""
        match self._behaviour:
            case Behaviour.OTHER_KEY:
                return self._answer(self._other, account, role, body)[0]
            case Behaviour.ALTERED:
                raw = bytearray(reply.encode())
                raw[below(self._rng, len(raw))] ^= 1 << below(self._rng, 8)
                design = self._deployed.design
                return decode_any(design.replies[role], bytes(raw), design.info.name)
            case _:
                return reply

    def _finish(self, number: int, move: Move, outcome: Outcome) -> None:
        relation = self._deployed.design.info.relation
        label = outcome.label.encode() if isinstance(outcome, Match) else b""
        self.ends.append(("outcome", type(outcome).__name__.encode() + label))
        self.ends.append(("state", self._states[move.account].encode()))
        if isinstance(outcome, Match | Flag):
            if not is_confirmed(relation, move.one.item, outcome):
                self._distrusting.add(move.account)
                self._see(Party.PROVIDER, "held", number)
                return
            self._see(Party.CENTRE, "report", number)
        if isinstance(outcome, Voucher):
            self.events.append(event_of(Party.CENTRE, "voucher", number, outcome.body))
        self._see(Party.PROVIDER, "message", number)

    def _see(self, party: Party, kind: str, number: int, data: bytes = b"") -> None:
        self.events.append(Event(party, kind, number, data))


def event_of(party: Party, kind: str, move: int, body: Message) -> Event:
    leaves: list[bytes] = []
    numbers: list[Any] = []
    rows: dict[str, list[bytes]] = {}
    counted: dict[str, list[bytes]] = {}
    for path, value in fields_of(body):
        if isinstance(value, bytes):
            leaves.append(value)
            rows.setdefault(path, []).append(value)
        else:
            numbers.append((path, value))
            if isinstance(value, int) and 0 <= value < 1 << 64:
                counted.setdefault(path, []).append(value.to_bytes(8, "big"))
    matrices = [found for found in rows.values() if len(found) > 1]
    sequences = [found for found in counted.values() if len(found) > 1]
    shape = (body.NAME, tuple(numbers), tuple(map(ordering, matrices)))
    places = b"".join(map(places_of, [*matrices, *sequences][:MOST_MATRICES]))
    return Event(party, kind, move, body.encode(), tuple(leaves), shape, places)


def ordering(rows: list[bytes]) -> str:
    """Whether rows ascend, descend or neither."""
    if rows == sorted(rows):
        return "ascending"
    return "descending" if rows == sorted(rows, reverse=True) else "mixed"
