"""The base class of all designs.

curator    publish(entries) ----> set-up (same bytes for every device), one state per role
device     enrol --> prepare --> start(item) --+--> Send({role: body}) ... receive({role: reply}) --+
                                  ^            |                                                     |
                                  |            +--> Done(NoMatch | Match | Flag | ...)               |
                                  |            +--> Ready: message handed over --> conclude          |
                                  |                                                                  |
                                  +------------------ next item <---------- any number of rounds ----+
each role  answer(state, requests) -> replies, and verdicts where the server learns
centre     Opener.take(account, device, period, voucher), Opener.open(account, period, rows)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Described, Redacted
from blindmatch_protocol.contract.declaration import Adversary, Fact, Info, KeyLimits, Leak, Party, Role
from blindmatch_protocol.contract.publishing import (
    Buffers,
    EntrySource,
    Executor,
    Progress,
    Published,
    SetParameters,
    Stated,
    Workspace,
    no_progress,
)
from blindmatch_protocol.contract.relation import Category, Item
from blindmatch_protocol.contract.steps import (
    Answer,
    Binding,
    D,
    Enrolment,
    Label,
    NoState,
    Opener,
    Outcome,
    Request,
    Started,
    Step,
    X,
)


class ListKnowledge(StrEnum):
    """What the stored files and states of a coalition show of the listed pictures, offline: each value
    includes those before it, and they compare in this order."""

    NOTHING = "nothing"
    SIZE = "size"
    TESTABLE = "testable"
    HASHES = "hashes"

    @classmethod
    def joined(cls, parties: frozenset[Party], alone: Mapping[Party, ListKnowledge]) -> ListKnowledge:
        """What a coalition has if no two of its members know more together than one of them `alone`."""
        return max((alone.get(party, cls.NOTHING) for party in parties), default=cls.NOTHING)

    @property
    def says(self) -> str:
        """The value in a few words, for a table."""
        return _SAYS[self]

    def __lt__(self, other: str) -> bool:
        return _rank(self) < _rank(other)

    def __le__(self, other: str) -> bool:
        return _rank(self) <= _rank(other)

    def __gt__(self, other: str) -> bool:
        return _rank(self) > _rank(other)

    def __ge__(self, other: str) -> bool:
        return _rank(self) >= _rank(other)


_SAYS: Final = {
    ListKnowledge.NOTHING: "nothing",
    ListKnowledge.SIZE: "how many entries there are",
    ListKnowledge.TESTABLE: "whether a guess is listed, for any number of guesses",
    ListKnowledge.HASHES: "every hash",
}
_ORDER: Final = tuple(ListKnowledge)


def _rank(value: str) -> int:
    return _ORDER.index(ListKnowledge(value))


class Extraction(Described, Struct, frozen=True):
    """What a modified client opens of the list by asking for what it likes.

    Attributes:
        unit: what it spends, such as ``tokens``.
        share: the expected share of a list of uniform hashes that is open after so many of them, under one
            key; 1 for 0 where the device has the list.
        a_picture: how many of the unit one picture may spend, where no key's limits say (`KeyLimits.cost`).
        places: where a unit guesses some bits of a hash: the numbers of the bits of each part, int (parts,
            width). What opens of real lists then depends on how likely their bits are. None: what opens does
            not depend on the hashes.
        needed: parts of an entry that must have been guessed under one key before it opens.
        hidden: bits that a guessed part reads, where these do not show whether it is listed: the same for all
            parts of an entry, uniform for others. Parts that read alike are then a guess of an entry. A
            picture tests one such guess, and three parts or more that read alike may need no test. 0: a
            guessed part shows.
    """

    SHOWN: ClassVar = ("unit",)

    unit: str
    share: Callable[[int], float]
    a_picture: int = 1
    places: npt.NDArray[np.int_] | None = None
    needed: int = 1
    hidden: int = 0


class Parts(Redacted, Struct, frozen=True, eq=False):
    """The parts of a hash by which a design looks entries up: an entry that agrees in too few is not found.

    Attributes:
        places: numbers of the bits of each part, the most significant first, int (parts, width).
        asked: the values that a picture asks for in each part, the likeliest first, uint32 (parts, n).
    """

    places: npt.NDArray[np.int_]
    asked: npt.NDArray[np.uint32]


class WorkedOut(Redacted, Struct, frozen=True, eq=False):
    """What a device can compute from verified replies beside the outcome: where a lone hit would show.

    Attributes:
        keys: what it derives, rows of bytes; none may stand in the set-up.
        reads: for each layer of the set-up, the words that lie where it looks, uint64 (elements, ...).
        values: words that follow from those, unmasked.
        met: counts of what it meets there, such as labels.
    """

    keys: tuple[Rows, ...]
    reads: tuple[npt.NDArray[np.uint64], ...]
    values: tuple[npt.NDArray[np.uint64], ...] = ()
    met: tuple[int, ...] = ()


S = TypeVar("S")  # set-up, opened
R = TypeVar("R")  # a role's state, opened


class Design(ABC, Generic[S, D, X, R]):
    """A design; its methods are pure, its object holds no state.

    Attributes:
        info: the declaration.
        requests: for each role, the messages it accepts; others are refused before the design sees them.
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

    def reduced(self) -> AnyDesign | None:
        """The same steps, by the same functions, with sizes that are fast and not secure, under another name,
        for checks that need thousands of sessions; None, the default: checks need no other design."""
        return None

    @abstractmethod
    def list_knowledge(self, parties: frozenset[Party]) -> ListKnowledge:
        """What the stored files and states of a coalition show of the listed pictures, offline, with the
        design's default parameters. ``{DEVICE}`` is a stolen device, which has the set-up; a party with a
        role, a stolen server, which has the set-up and the role's files. Curator and centre hold the list in
        every design, and are not asked about."""

    @property
    def alone(self) -> bool:
        """Can a device test guesses without anybody's help, and so without limit? Of a list, or of what a
        category is that it recognises by itself."""
        if isinstance(self.info.relation, Category) and not self.info.roles:
            return True
        return self.list_knowledge(frozenset({Party.DEVICE})) >= ListKnowledge.TESTABLE

    def extraction(self, setup: S) -> Extraction | None:
        """What a modified device opens of the list by asking. None: nothing but by guessing whole hashes, of
        which each right one opens one entry."""
        return None

    def unconfirmed(self, setup: S) -> bool:
        """Does a filter alone say with this set-up that an entry is there? Its matches open no label and bear
        `UNCONFIRMED_ID`; with any other set-up no label may."""
        return False

    def is_signed(self, setup: S, label: Label) -> bool:
        """Are the signatures in a label those that it was published with? By default there are none: all that
        is in their place is zeros. Whoever opens labels, and whatever is written there, sees a design's own
        signatures or nothing; a design that makes some verifies them here."""
        return not any(label.signatures)

    def parts(self, setup: S, item: Item) -> Parts | None:
        """By which parts of its hash the design looks for `item`; None if by the whole hash."""
        return None

    def worked_out(self, session: Any, setup: S) -> WorkedOut | None:
        """What a device can compute of a session that is `Ready`, beside its outcome; None if nothing."""
        return None

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
        """Build one epoch's files into `out`: a set-up that is the same for every device, and each role's.

        A file is made by ``out.create(name)``; progress is reported at least once a batch. Raises
        `DesignError` if the list or the parameters cannot be served.
        """

    @abstractmethod
    def open_setup(self, files: Buffers, epoch: int | None = None) -> S:
        """Open the set-up on a device; `epoch` is the one expected, if one is. Raises `SetFileError` if a
        file is truncated, altered, of another version, design or epoch."""

    def check_setup(self, setup: S, progress: Progress = no_progress) -> None:
        """Open, hash and validate every section of an opened set-up, without holding much of it in memory.

        A device calls it once, before a set-up's first picture: what it has accepted makes no step on a
        verified reply fail, whatever the picture. The default checks nothing. `progress` is called with the
        bytes checked and all bytes, section by section. Raises `SetFileError` if a section was altered, or is
        not what its kind must be.
        """

    def epoch_of(self, setup: S) -> int:
        """The epoch of an opened set-up; by default its `epoch`."""
        return int(cast("Any", setup).epoch)

    def stated(self, setup: S) -> Stated:
        """What the files of an opened set-up say of themselves; by default nothing. The signed manifest has
        it, and a device refuses files that say otherwise."""
        return Stated()

    @abstractmethod
    def open_role(self, role: Role, files: Buffers) -> R:
        """Open a role's state (set-up files are among `files` too). Raises `SetFileError` if a file is
        truncated, altered, of another version, design or epoch."""

    def open_opener(self, files: Buffers) -> Opener:
        """Open the centre's state of a design with vouchers. Raises `DesignError` if the design has none."""
        raise DesignError(f"design {self.info.name} has no vouchers")

    def period(self, setup: S) -> bytes:
        """What of a set-up vouchers add up by, at most 64 bytes: a key's life, the same for all epochs that
        share the key. The default is the epoch.

        What devices are told holds for all of a period belongs to it, such as its end (`KEY_EXPIRES`): else
        the same key can be published with another. A device keeps its state of a design with vouchers for as
        long (`state_scope`), so steps take a state that another epoch of the period has used."""
        return self.epoch_of(setup).to_bytes(8, "big")

    def threshold(self, setup: S) -> int:
        """Matches of one device and period below which none of its vouchers opens; by default 1."""
        return 1

    def made_up(self, state: D, setup: S, item: Item) -> bool:
        """Is the voucher that this device gives for `item` made up, so that it never opens, whatever the
        picture matches? Only who has the device's state can tell. The default makes none up."""
        return False

    def expires(self, setup: S) -> int | None:
        """Unix time in seconds from which on nothing is asked with this set-up; the default has no end. A
        parameter that says it is called `KEY_EXPIRES`."""
        return None

    def with_executor(self, setup: S, executor: Executor) -> S:
        """The set-up, with which a device's steps may spread their work over `executor`; they give the same
        with and without. The default does not."""
        return setup

    def key_limits(self, role: Role, state: R) -> KeyLimits | None:
        """How much the key in a role's state may be used; its host counts and refuses. The default has no
        limits."""
        return None

    def carrier_limits(self, role: Role, setup: S) -> KeyLimits | None:
        """How often whoever carries bodies to `role` lets each account ask; the role's host never learns the
        account, and limits the carrier. The default has no limits."""
        return None

    def carrier_slot(self, setup: S) -> float:
        """Seconds of a time slot: whoever carries bodies sends all that came in one on at its end, in an
        order of their own. The default, 0, sends each on at once."""
        return 0.0

    @abstractmethod
    def enrol(self, rng: Randomness) -> D:
        """A new account's device state."""

    def enrolment(self, state: D, setup: S, rng: Randomness) -> Enrolment[D]:
        """What each of the roles in `enrolments` is to hold of an account.

        It is sent before the account's first picture, once for each `enrolment_key`, 64 MiB at most; the host
        keeps it on disk and hands it to `answer` with each of the account's requests.
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
        """The next epoch from the previous one's files, under the same key; the rest as in `publish`. Raises
        `DesignError` if the design can only be published whole."""
        raise DesignError(f"design {self.info.name} cannot be updated: publish a whole set")

    @abstractmethod
    def start(self, state: D, setup: S, item: Item, binding: Binding, rng: Randomness) -> Started[D, X]:
        """Begin to match `item`, which is sent in the message that `binding` is of. A voucher may be bound to
        it and hold its evidence; nothing else that leaves the device may depend on it. The state that is
        given back is on disk before anything is sent.

        A design without `vouchers` gets `UNBOUND`. With `CERTIFYING`, of a proof of absence, a design whose
        replies bear proofs asks for such as stay sound without a deadline."""

    @abstractmethod
    def receive(self, session: X, setup: S, replies: Mapping[Role, Message], rng: Randomness) -> Step[X]:
        """Go on with the replies of the roles that the last step sent to; `Ready` once all are verified.
        Raises `ProtocolError` if a reply breaks the protocol; nothing was learnt, and the role is asked no
        more."""

    def conclude(self, session: Any, setup: S) -> Outcome:
        """The outcome of a session that is `Ready`: local, deterministic, without randomness, and without
        failure on a set-up that was checked. Needed only by designs that answer with `Ready`. Raises
        `DesignError` if the design has no such sessions."""
        raise DesignError(f"design {self.info.name} concludes nothing")

    @abstractmethod
    def answer(
        self, role: Role, state: R, requests: Sequence[Request], rng: Randomness, executor: Executor | None
    ) -> Answer:
        """A role's replies to a batch of requests, each from any account, in their order: a message, or the
        `ProtocolError` that its sender gets. Verdicts only if the server learns."""

    def unsealed(self, role: Role, state: R, body: Message) -> Message:
        """What a role reads in a body that was sealed to it; by default the body itself. Checks look there
        for what is declared to the role's party. Raises `ProtocolError` if the body was not sealed to it."""
        return body

    def inside(self) -> AnyDesign | None:
        """The design as its roles read it, without the seals that another party carries: under the same
        declarations, so that checks look inside as well. None, the default: there is nothing to open."""
        return None

    def simulate(
        self, role: Role, facts: Mapping[str, Hashable], output: Outcome | None, rng: Randomness
    ) -> tuple[Message, ...] | None:
        """A role's view from declared facts and output alone: the security proof's simulator as code.
        None: the design has no simulator."""
        return None


AnyDesign: TypeAlias = Design[Any, Any, Any, Any]

_OF_PERIOD: Final = b"period/"
_OF_EPOCH: Final = b"epoch/"


def state_scope(design: AnyDesign, setup: Any) -> bytes:
    """Return what an account's device state belongs to: each scope has a state of its own.

    Vouchers of a period add up only if one state made them all, since their shares follow from it. So a
    design with vouchers has one state for a period; any other design has one for an epoch. Whoever keeps
    device states goes by this function alone.

    Args:
        setup: an opened set-up of `design`.
    """
    if design.vouchers:
        return _OF_PERIOD + design.period(setup)
    return epoch_scope(design.epoch_of(setup))


def epoch_scope(epoch: int) -> bytes:
    """Return the scope of a state that belongs to one epoch alone."""
    return _OF_EPOCH + epoch.to_bytes(8, "big")


def is_epoch_scope(scope: bytes) -> bool:
    """Is it the scope of one epoch alone?"""
    return scope.startswith(_OF_EPOCH)


def told(design: AnyDesign, parties: frozenset[Party], adversary: Adversary) -> tuple[Fact, ...]:
    """Facts of a coalition: those it is named with, or the union of what its parts are named with."""
    leaks = [leak for leak in design.leakage() if leak.adversary is adversary]
    named = [leak for leak in leaks if leak.parties == parties]
    parts = named or [leak for leak in leaks if leak.parties <= parties]
    return tuple({fact.name: fact for leak in parts for fact in leak.facts}.values())


def coalitions(design: AnyDesign) -> tuple[frozenset[Party], ...]:
    """The coalitions of servers that tables show and games play against, the small ones first.

    Each party with a role alone (and the centre, if there are vouchers), each of them with the provider and
    with the centre, all parties with roles together, and those that the design names.
    """
    alone = {frozenset({party}) for party in design.info.parties}
    if design.vouchers:
        alone.add(frozenset({Party.CENTRE}))
    if not alone:
        return ()
    joined = {coalition | {more} for coalition in alone for more in (Party.PROVIDER, Party.CENTRE)}
    named = {leak.parties for leak in design.leakage() if not leak.parties & {Party.DEVICE, Party.CURATOR}}
    found = alone | joined | named | {frozenset[Party]().union(*alone)}
    return tuple(sorted(found, key=lambda parties: (len(parties), sorted(parties))))
