"""The base class of all designs.

curator    publish(entries) ----> set-up (same bytes for every device), one state per role
device     enrol --> prepare --> start(item) --+--> Send({role: body}) ... receive({role: reply}) --+
                                  ^            |                                                     |
                                  |            +--> Done(NoMatch | Match | Flag | ...)               |
                                  |            +--> Ready: message handed over --> conclude          |
                                  |                                                                  |
                                  +------------------ next item <---------- any number of rounds ----+
each role  answer(state, requests) -> replies, and verdicts where the server learns
centre     Opener.take(voucher), Opener.open(rows)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from blindmatch_protocol.codec import Message, message
from blindmatch_protocol.contract.binding import Binding
from blindmatch_protocol.contract.declaration import Info, KeyLimits, Leak, Role
from blindmatch_protocol.contract.entries import EntrySource
from blindmatch_protocol.contract.files import Buffers, Progress, Workspace, no_progress
from blindmatch_protocol.contract.item import Item
from blindmatch_protocol.contract.opener import Opener
from blindmatch_protocol.contract.outcome import Done, Label, Outcome, Ready, Send, Step
from blindmatch_protocol.errors import DesignError, ProtocolError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.randomness import Randomness

S = TypeVar("S")  # set-up, opened
D = TypeVar("D", bound=Message)  # an account's device state
X = TypeVar("X")  # a session between two steps
R = TypeVar("R")  # a role's state, opened


@message
class NoState(Message):
    """The device state of a design that keeps none."""

    TAG: ClassVar[int] = 0x02
    NAME: ClassVar[str] = "no-state"


@dataclass(frozen=True, slots=True)
class SetParameters:
    """What a set is built for.

    Attributes:
        epoch: number of the epoch, from 1 on.
        values: the design's parameters by name; a missing one takes its default.
    """

    epoch: int
    values: Mapping[str, int]

    def value(self, info: Info, name: str) -> int:
        """The value of parameter `name` of `info`.

        Raises:
            DesignError: if the design has no such parameter, or the value is out of its range.
        """
        declared = next((p for p in info.parameters if p.name == name), None)
        if declared is None:
            raise DesignError(f"design {info.name} has no parameter {name}")
        value = self.values.get(name, declared.default)
        if not declared.least <= value <= declared.most:
            raise DesignError(f"parameter {name}: must be {declared.least} to {declared.most}, not {value}")
        return value


@dataclass(frozen=True, slots=True)
class Published:
    """Names of the files a `publish` wrote: the set-up's, each role's, and the opener's."""

    setup: tuple[str, ...]
    roles: Mapping[Role, tuple[str, ...]]
    opener: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stated:
    """What the files of a set-up say of themselves; the epoch's manifest must say the same.

    Attributes:
        parameters: those of the design's parameters that stand in the files.
        role_keys: the public key that each role answers under, for designs whose roles have one.
    """

    parameters: Mapping[str, int] = field(default_factory=dict)
    role_keys: Mapping[Role, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class Enrolment(Generic[D]):
    """The device state after an account was enrolled, and what each role is to hold of it."""

    state: D
    bodies: Mapping[Role, Message]


@dataclass(frozen=True, slots=True)
class Started(Generic[D, X]):
    """The device state after an item was started, and the session's first step."""

    state: D
    step: Step[X]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a server learnt of one item.

    Attributes:
        label: the entry it matched, or None.
        content: the picture as (height, width, RGB bytes), where the server has it and reports it itself.
    """

    label: Label | None
    content: tuple[int, int, bytes] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """What a role is asked.

    Attributes:
        body: what the device sent.
        enrolment: what its account enrolled with at this role; None if it did not.
    """

    body: Message
    enrolment: Message | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Replies to a batch, in its order.

    Attributes:
        replies: a reply, or the error that the sender of that request gets.
        verdicts: for a role that learns the outcome, one for each request, else empty.
    """

    replies: Sequence[Message | ProtocolError]
    verdicts: Sequence[Verdict | None] = ()


class Design(ABC, Generic[S, D, X, R]):
    """A design; its methods are pure, its object holds no state.

    Attributes:
        info: the declaration.
        requests: for each role, the messages it accepts.
        replies: for each role, the messages it answers with.
        enrolments: for each role that holds something of every account, the messages that can be that.
        vouchers: the messages the design hands in as vouchers.
        device_state: the class of an account's device state.
    """

    info: ClassVar[Info]
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]]
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]]
    enrolments: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {}
    vouchers: ClassVar[tuple[type[Message], ...]] = ()
    device_state: ClassVar[type[Message]] = NoState

    @abstractmethod
    def leakage(self) -> tuple[Leak, ...]:
        """Facts beyond the output, by coalition and adversary. A coalition that is not named learns the
        union of what its members learn."""

    @abstractmethod
    def publish(
        self,
        entries: EntrySource,
        parameters: SetParameters,
        rng: Randomness,
        executor: Executor | None,
        out: Workspace,
        progress: Progress = no_progress,
    ) -> Published:
        """Build one epoch's files into `out`.

        Raises:
            DesignError: if the list or the parameters cannot be served.
        """

    @abstractmethod
    def open_setup(self, files: Buffers, epoch: int | None = None) -> S:
        """Open the set-up on a device; `epoch` is the one expected, if one is.

        Raises:
            SetFileError: if a file is truncated, altered, of another version, design or epoch.
        """

    def check_setup(self, setup: S, progress: Progress = no_progress) -> None:
        """Open, hash and validate every section of an opened set-up, without holding much of it in memory.

        A device calls it once, before a set-up's first picture: what it has accepted makes no step on a
        verified reply fail, whatever the picture. The default checks nothing.

        Args:
            setup: what `open_setup` gave.
            progress: called with the bytes checked and all bytes, section by section.

        Raises:
            SetFileError: if a section was altered, or is not what its kind must be.
        """

    @abstractmethod
    def epoch_of(self, setup: S) -> int:
        """The epoch of an opened set-up."""

    def stated(self, setup: S) -> Stated:
        """What the files of an opened set-up say of themselves; by default nothing."""
        return Stated()

    @abstractmethod
    def open_role(self, role: Role, files: Buffers) -> R:
        """Open a role's state (set-up files are among `files` too).

        Raises:
            SetFileError: if a file is truncated, altered, of another version, design or epoch.
        """

    def open_opener(self, files: Buffers) -> Opener:
        """Open the centre's state of a design with vouchers.

        Raises:
            DesignError: if the design has none.
        """
        raise DesignError(f"design {self.info.name} has no vouchers")

    def expires(self, setup: S) -> int | None:
        """Unix time in seconds from which on nothing is asked with this set-up; the default has no end."""
        return None

    def with_executor(self, setup: S, executor: Executor) -> S:
        """The set-up, with which a device's steps may spread their work over `executor`; they give the same
        with and without. The default does not."""
        return setup

    def key_limits(self, role: Role, state: R) -> KeyLimits | None:
        """How much the key in a role's state may be used; the default has no limits."""
        return None

    @abstractmethod
    def enrol(self, rng: Randomness) -> D:
        """A new account's device state."""

    def enrolment(self, state: D, setup: S, rng: Randomness) -> Enrolment[D]:
        """What each of the roles in `enrolments` is to hold of an account.

        It is sent before the account's first picture, once for each `enrolment_key`, and handed to `answer`
        with each of the account's requests.
        """
        return Enrolment(state, {})

    def enrolment_key(self, setup: S) -> bytes:
        """What an enrolment belongs to, at most 64 bytes: the account enrols again when it changes, and roles
        forget what they held. The default is for the life of the account."""
        return b""

    def prepare(self, state: D, setup: S, rng: Randomness) -> D:
        """The offline phase: work done before an item is there. The default has none."""
        return state

    def update(
        self,
        previous: Buffers,
        adds: EntrySource,
        removes: Sequence[int],
        out: Workspace,
        rng: Randomness,
        executor: Executor | None = None,
        progress: Progress = no_progress,
    ) -> Published:
        """The next epoch from the previous one's files; `executor`, `out` and `progress` as in `publish`.

        Raises:
            DesignError: if the design can only be published whole.
        """
        raise DesignError(f"design {self.info.name} cannot be updated: publish a whole set")

    @abstractmethod
    def start(self, state: D, setup: S, item: Item, binding: Binding, rng: Randomness) -> Started[D, X]:
        """Begin to match `item`, which is sent in the message that `binding` is of. A voucher may be bound to
        it and hold its evidence; nothing else that leaves the device may depend on it."""

    @abstractmethod
    def receive(self, session: X, setup: S, replies: Mapping[Role, Message], rng: Randomness) -> Step[X]:
        """Go on with the replies of the roles that the last step sent to.

        Raises:
            ProtocolError: if a reply breaks the protocol; nothing was learnt then.
        """

    def conclude(self, session: Any, setup: S) -> Outcome:
        """The outcome of a session that is `Ready`: local, deterministic, without randomness, and without
        failure on a set-up that was checked. Needed only by designs that answer with `Ready`.

        Raises:
            DesignError: if the design has no such sessions.
        """
        raise DesignError(f"design {self.info.name} concludes nothing")

    @abstractmethod
    def answer(
        self, role: Role, state: R, requests: Sequence[Request], rng: Randomness, executor: Executor | None
    ) -> Answer:
        """A role's replies to a batch of requests, each from any account."""

    def simulate(
        self, role: Role, facts: Mapping[str, Hashable], output: Outcome | None, rng: Randomness
    ) -> tuple[Message, ...] | None:
        """A role's view from declared facts and output alone: the security proof's simulator as code.
        None: the design has no simulator."""
        return None


AnyDesign: TypeAlias = Design[Any, Any, Any, Any]

__all__ = [
    "Answer",
    "AnyDesign",
    "Design",
    "Done",
    "Enrolment",
    "NoState",
    "Published",
    "Ready",
    "Request",
    "Send",
    "SetParameters",
    "Started",
    "Stated",
    "Verdict",
]
