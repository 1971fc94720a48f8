"""Accounts that have lived: what an account sent, lost and carried over before its next picture is looked at.

A device may behave until its account is old: the first picture, the first failure, an update or a change of
epochs leaves something in its state, and the next request tells. So each check that looks at what is sent
looks at accounts that have lived:

    a new account             nothing
    after a picture           a session that ended well
    after failures            a retry (no reply), an outage (three in a row), a refused (altered) reply
    past an update            a picture, then the delta's set-up
    in its second epoch       a picture, then a set-up that was published whole, for the same list
    in its third epoch        failures and a picture in each of two epochs before

A design without an account state has nothing to carry, and is looked at as new under each set-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Item, NoState, Request, Role, Session, Verdict, Voucher, answered
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import (
    Fixtures,
    as_published,
    lowered,
    once,
    updated,
)
from blindmatch_simulations.testbed.inprocess.deployed import (
    VOUCHER,
    Deployed,
    drawn_binding,
    enrolled,
    opened,
)
from blindmatch_simulations.testbed.inprocess.steps import below
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError

OUTAGE: Final = 3
"""Requests in a row that nobody answers."""


class Account(Redacted, Struct, frozen=True):
    """An account before its next picture.

    Attributes:
        state: the device state.
        held: what each role that accounts enrol with holds of it.
        past: what it has sent, role by role: bodies, and vouchers.
    """

    state: Message
    held: Mapping[Role, Message]
    past: tuple[tuple[Role, Message], ...] = ()


class Living:
    """An account on its way through a life; each method is something that happens to it."""

    def __init__(self, deployed: Deployed, rng: Randomness, number: int = 0) -> None:
        who = deployed.of(number)
        self._design = deployed.design
        self._deployed = deployed
        self._rng = rng
        self._key = self._design.enrolment_key(deployed.setup)
        self._held = who.held
        self._past = list[tuple[Role, Message]]()
        self._state = enrolled(who, rng)

    @property
    def account(self) -> Account:
        return Account(self._state, self._held, tuple(self._past))

    def adopt(self, deployed: Deployed) -> None:
        """Take another set-up into use, as a device does: enrol under its key if that is another one, then
        prepare."""
        key = self._design.enrolment_key(deployed.setup)
        if self._design.enrolments and key != self._key:
            made = self._design.enrolment(self._state, deployed.setup, self._rng)
            self._held = made.bodies
            self._state = made.state
        self._key = key
        self._deployed = deployed
        self._state = self._design.prepare(self._state, deployed.setup, self._rng)

    def send(self, item: Item) -> None:
        """Send a picture; its session ends well."""
        session, step = self._begin(item)
        while isinstance(step, Mapping):
            step = session.receive({role: self._answer(role, body)[0] for role, body in step.items()})
            self._note(step)
        outcome = session.conclude()
        if isinstance(outcome, Voucher):
            self._past.append((VOUCHER, outcome.body))
        self._state = self._design.prepare(session.state, self._deployed.setup, self._rng)

    def lose(self, item: Item) -> None:
        """Ask about a picture; no reply arrives, or its voucher does not."""
        session, _ = self._begin(item)
        self._state = session.state

    def be_refused(self, item: Item) -> None:
        """Ask about a picture; one bit of a reply is not as it was sent."""
        session, step = self._begin(item)
        self._state = session.state
        if isinstance(step, Mapping):
            try:
                session.receive({role: self._altered(role, body) for role, body in step.items()})
            except ProtocolError:
                return

    def _begin(self, item: Item) -> tuple[Session, object]:
        session = Session(self._design, self._deployed.setup, self._state, self._rng)
        step = session.start(item, drawn_binding(self._design, self._rng))
        self._note(step)
        return session, step

    def _note(self, step: object) -> None:
        if isinstance(step, Mapping):
            self._past += sorted(step.items())

    def _answer(self, role: Role, body: Message) -> tuple[Message, Verdict | None]:
        request = Request(body, self._held.get(role))
        return answered(self._design, role, self._deployed.states[role], request, self._rng)

    def _altered(self, role: Role, body: Message) -> Message:
        raw = bytearray(self._answer(role, body)[0].encode())
        raw[below(self._rng, len(raw))] ^= 1 << below(self._rng, 8)
        return decode_any(self._design.replies[role], bytes(raw), self._design.info.name)


Happening: TypeAlias = Callable[[Living], None]


class Life(Redacted, Struct, frozen=True):
    """What happens to an account.

    Attributes:
        first: the deployment it is enrolled in.
        deployed: the one in which its next picture is sent.
        happens: in order.
    """

    name: str
    first: Deployed
    deployed: Deployed
    happens: tuple[Happening, ...] = ()

    def account(self, rng: Randomness, number: int = 0) -> Account:
        """Return an account that has lived this life; `BrokenError` if that is not possible.

        Args:
            rng: of the account's whole life.
            number: which of the accounts that are enrolled, where accounts enrol.
        """
        try:
            living = Living(self.first, rng, number)
            for happen in self.happens:
                happen(living)
        except BlindmatchError as error:
            rule = f"an account cannot go on: {error}"
            raise BrokenError("session", rule, life=self.name) from error
        return living.account


def has_state(fixtures: Fixtures) -> bool:
    """Does an account carry anything from one picture to the next?"""
    return fixtures.design.device_state is not NoState


@once
def lives(fixtures: Fixtures) -> tuple[Life, ...]:
    """All lives of the table above that the design allows; new ones in each deployment if it has no state."""
    base = as_published(fixtures).deployed
    changed = updated(fixtures)
    second, third = (_published(fixtures, epoch) for epoch in (2, 3))
    listed, other = (fixtures.pool.of(kind)[-1].item for kind in ("listed", "other"))

    def sends(living: Living) -> None:
        living.send(other)

    def finds(living: Living) -> None:
        living.send(listed)

    def fails(living: Living) -> None:
        living.lose(listed)
        living.send(listed)
        for _ in range(OUTAGE):
            living.lose(other)
        living.be_refused(other)

    def into(deployed: Deployed) -> Happening:
        return lambda living: living.adopt(deployed)

    found = [Life("a new account", base, base)]
    if not has_state(fixtures):
        found += [Life("past an update", changed.deployed, changed.deployed)] if changed else []
        found += [Life(f"in epoch {number}", epoch, epoch) for number, epoch in ((2, second), (3, third))]
        return tuple(found)
    found.append(Life("after a picture", base, base, (sends,)))
    found.append(Life("after failures", base, base, (fails,)))
    if changed:
        updates = (sends, into(changed.deployed))
        found.append(Life("past an update", base, changed.deployed, updates))
    found.append(Life("in its second epoch", base, second, (sends, into(second))))
    whole = (fails, into(second), finds, into(third))
    found.append(Life("in its third epoch", base, third, whole))
    return tuple(found)


@once
def carried_over(fixtures: Fixtures, whole: bool) -> Life | None:
    """An account in its third epoch, for checks that need thousands of them; None if the design has no
    account state.

    Args:
        whole: an unanswered picture and its retry, an update if the design has some, a refused picture, then
            another epoch; else the unanswered picture and the epochs alone, for a third of the work.
    """
    if not has_state(fixtures):
        return None
    base = as_published(fixtures).deployed
    changed = updated(fixtures)
    third = _published(fixtures, 3)
    second = changed.deployed if changed else _published(fixtures, 2)
    one = fixtures.pool.of("other")[-1].item

    def before(living: Living) -> None:
        living.lose(one)
        if whole:
            living.send(one)

    def between(living: Living) -> None:
        living.adopt(second)
        if whole:
            living.be_refused(one)

    return Life("carried into its third epoch", base, third, (before, between, lambda it: it.adopt(third)))


def _published(fixtures: Fixtures, epoch: int) -> Deployed:
    """A later epoch of the same list, published whole."""
    purpose = f"publish/lives/{epoch}"
    return opened(fixtures.publish(fixtures.pool.entries, purpose, epoch, lowered(fixtures)))
