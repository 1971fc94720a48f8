"""Plays a sequence of pictures with honest or cheating roles; who sees what of it.

    session fails because a role cheated,   the device distrusts it: message held, nothing else is asked
    or ends in a match without its label
    session gets no answer                  message held, then asked again
    a confirmed match                       a report goes to the centre
    a voucher                               goes to the centre

This is the device's policy in the failure mode ``hold``, so a coalition with the provider sees which messages
are late, and one with the centre which pictures are reported. Reports are taken to leave on a cover schedule;
otherwise `match_time` tells the provider, by the messenger's own declaration.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from blindmatch_client.matching.detector import is_confirmed
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Flag, Match, Outcome, Party, Role, Session, Verdict, Voucher
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.leakage.facts import Move, Moves
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, enrolled
from blindmatch_simulations.testbed.inprocess.steps import below, byte_fields, fields_of

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
    """

    party: Party
    kind: str
    move: int
    data: bytes = b""
    leaves: tuple[bytes, ...] = ()
    shape: tuple[Any, ...] = ()


class LostError(BlindmatchError):
    """A reply did not arrive."""


class Table(Redacted, Struct, frozen=True):
    """The roles that are played with: honest ones, and ones with another key for the same list."""

    deployed: Deployed
    other: Deployed


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
        self._states: dict[int, Message] = {}
        self._distrusting: set[int] = set()
        self.events: list[Event] = []
        self.ends: list[tuple[str, bytes]] = []

    def run(self, moves: Moves) -> list[Event]:
        """Play all moves; what everybody saw."""
        for number, move in enumerate(moves):
            if move.account not in self._states:
                self._states[move.account] = enrolled(self._deployed.of(move.account), self._rng)
                self._enrol(number, self._deployed.of(move.account))
            self._move(number, move)
        return self.events

    def _enrol(self, number: int, who: Deployed) -> None:
        """Roles see what an account enrolled with; of large fields the beginning is looked at."""
        for role, body in who.held.items():
            leaves = tuple(leaf[:ENDS] for leaf in byte_fields(body))
            self.events.append(Event(who.design.info.roles[role], "enrolment", number, b"", leaves))

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
            except ProtocolError:
                self._distrusting.add(move.account)
                self._see(Party.PROVIDER, "held", number)
                return
            self._finish(number, move, outcome)
            return

    def _session(self, number: int, move: Move, silent: bool) -> Outcome:
        design = self._deployed.design
        session = Session(design, self._deployed.setup, self._states[move.account], self._rng)
        step = session.start(move.one.item)
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
        party, seers = info.roles[role], [one for one in info.parties if role in info.seen_by(one)]
        self.events += [event_of(one, "request", number, body) for one in seers]
        reply, verdict = self._deployed.of(account).answer(role, body, self._rng)
        self.events += [event_of(one, "reply", number, reply) for one in seers]
        if verdict is not None:
            self._see(party, "verdict", number, _label(verdict))
        return reply if silent else self._sent(account, role, body, reply)

    def _sent(self, account: int, role: Role, body: Message, reply: Message) -> Message:
        """What the role sends instead of its honest reply."""
        match self._behaviour:
            case Behaviour.OTHER_KEY:
                return self._other.of(account).answer(role, body, self._rng)[0]
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
    """A message as a party sees it."""
    leaves: list[bytes] = []
    numbers: list[Any] = []
    rows: dict[str, list[bytes]] = {}
    for path, value in fields_of(body):
        if isinstance(value, bytes):
            leaves.append(value)
            rows.setdefault(path, []).append(value)
        else:
            numbers.append((path, value))
    ordered = tuple(ordering(found) for found in rows.values() if len(found) > 1)
    return Event(party, kind, move, body.encode(), tuple(leaves), (body.NAME, tuple(numbers), ordered))


def ordering(rows: list[bytes]) -> str:
    """Whether rows ascend, descend or neither."""
    if rows == sorted(rows):
        return "ascending"
    return "descending" if rows == sorted(rows, reverse=True) else "mixed"


def _label(verdict: Verdict) -> bytes:
    return b"" if verdict.label is None else verdict.label.encode()
