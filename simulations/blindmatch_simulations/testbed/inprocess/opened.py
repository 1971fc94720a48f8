"""A design opened for all its parties: a device's set-up, and the state of each role.

In-process runs of a design that enrols are of an account that goes by a name, for each design and key: an
enrolment may be tens of megabytes and take a second to make, and its role knows an account by it anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Enrolment, Request, Role, Verdict, answered
from blindmatch_protocol.contract.executor import Executor
from blindmatch_server.epochs.published import Publication
from msgspec import Struct

_MADE: Final[WeakKeyDictionary[AnyDesign, dict[tuple[str, bytes], Enrolment[Any]]]] = WeakKeyDictionary()


def new_state(design: AnyDesign, setup: Any, rng: Randomness, account: str = "") -> Message:
    """A new account's device state, or that of the one that is enrolled, after its offline phase."""
    prepared: Message = design.prepare(unprepared_state(design, setup, rng, account), setup, rng)
    return prepared


def unprepared_state(design: AnyDesign, setup: Any, rng: Randomness, account: str = "") -> Message:
    """The same before the offline phase."""
    state: Message = _enrolment(design, setup, account).state if design.enrolments else design.enrol(rng)
    return state


def held_by_roles(design: AnyDesign, setup: Any, account: str = "") -> Mapping[Role, Message]:
    """What the account enrolled with at each role."""
    return _enrolment(design, setup, account).bodies if design.enrolments else {}


def _enrolment(design: AnyDesign, setup: Any, account: str) -> Enrolment[Any]:
    made, key = _MADE.setdefault(design, {}), (account, design.enrolment_key(setup))
    if key not in made:
        rng = seeded("the account that is enrolled" + account)
        made[key] = design.enrolment(design.enrol(rng), setup, rng)
    return made[key]


class OpenDesign(Redacted, Struct, frozen=True):
    """A design with one epoch of it, open.

    Attributes:
        design: the design.
        setup: the set-up that every device has.
        states: what each role holds.
    """

    design: AnyDesign
    setup: Any
    states: Mapping[Role, Any]

    @property
    def account(self) -> str:
        """The one that is enrolled, where accounts enrol."""
        return ""

    @property
    def held(self) -> Mapping[Role, Message]:
        """What the account enrolled with at each role."""
        return held_by_roles(self.design, self.setup, self.account)

    def request(self, role: Role, body: Message) -> Request:
        """`body`, with what its account enrolled with."""
        return Request(body, self.held.get(role))

    def answer(
        self, role: Role, body: Message, rng: Randomness, executor: Executor | None = None
    ) -> tuple[Message, Verdict | None]:
        """The role's reply to one body, and what it learnt; raises the `ProtocolError` it answers with."""
        return answered(self.design, role, self.states[role], self.request(role, body), rng, executor)


def open_published(design: AnyDesign, publication: Publication) -> OpenDesign:
    """Open an epoch for a device and for every role.

    Raises:
        SetFileError: if a file is not what it must be.
    """
    setup = design.open_setup(publication.setup(), publication.manifest.epoch)
    states = {role: design.open_role(role, publication.role(role)) for role in design.info.roles}
    return OpenDesign(design, setup, states)
