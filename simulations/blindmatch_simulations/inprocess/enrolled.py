"""The account that in-process runs of a design that enrols are of: one for each design and key.

An enrolment may be tens of megabytes and take a second to make, and its role knows an account by it anyway;
so whatever is run in one process belongs to the same account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import AnyDesign, Enrolment, Request, Role
from blindmatch_protocol.randomness import Randomness, seeded

_MADE: Final[WeakKeyDictionary[AnyDesign, dict[bytes, Enrolment[Any]]]] = WeakKeyDictionary()


def new_state(design: AnyDesign, setup: Any, rng: Randomness) -> Message:
    """A new account's device state, or that of the one that is enrolled, after its offline phase."""
    prepared: Message = design.prepare(unprepared_state(design, setup, rng), setup, rng)
    return prepared


def unprepared_state(design: AnyDesign, setup: Any, rng: Randomness) -> Message:
    """The same before the offline phase."""
    state: Message = _enrolment(design, setup).state if design.enrolments else design.enrol(rng)
    return state


def request_of(design: AnyDesign, setup: Any, role: Role, body: Message) -> Request:
    """`body`, with what its account enrolled with."""
    return Request(body, held_by_roles(design, setup).get(role))


def held_by_roles(design: AnyDesign, setup: Any) -> Mapping[Role, Message]:
    """What the account enrolled with at each role."""
    return _enrolment(design, setup).bodies if design.enrolments else {}


def _enrolment(design: AnyDesign, setup: Any) -> Enrolment[Any]:
    made, key = _MADE.setdefault(design, {}), design.enrolment_key(setup)
    if key not in made:
        rng = seeded("the account that is enrolled")
        made[key] = design.enrolment(design.enrol(rng), setup, rng)
    return made[key]
