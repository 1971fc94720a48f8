"""What a session's steps take and give: binding, account, requests, answers, outcomes, vouchers.

Step    = Send | Ready | Done  after each `start` and `receive`
Outcome = NoMatch | Match | Flag | Voucher | Undisclosed   inside Done, or what a Ready session concludes to

centre  take(account, device, period, voucher) --+--> Hidden         its digest is kept, no body
                                                 +--> Visible(row)   the row is kept
        open(account, period, rows) --> labels of those that can be opened now
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Annotated, Any, ClassVar, Final, Generic, ParamSpec, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from blindmatch_protocol.codec import Fixed, Message, UInt, Variable
from blindmatch_protocol.codec.errors import EpochMismatchError, ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.declaration import Role


class Binding(Redacted, Struct, frozen=True):
    """Of one message; nobody but the device has it before the message is sent.

    Attributes:
        commitment: the message's franking commitment, 32 bytes; the provider sees it with the message.
        evidence: what a report would tell of the message beside the picture, an encoded
            `franking.Evidence`; empty where there is none. It is for the centre alone, under seal.
        certify: whether the replies are for others to verify later, who set no deadline: a design that has
            more than one form of proof asks for the one that stays sound then.
    """

    SHOWN: ClassVar = ("commitment",)

    commitment: bytes
    evidence: bytes
    certify: bool = False


UNBOUND: Final = Binding(bytes(32), b"")
"""The binding of a picture that is in no message: in harnesses, benches and vectors."""
CERTIFYING: Final = Binding(bytes(32), b"", certify=True)
"""That of a session whose replies are shown to others: a proof of absence."""


X = TypeVar("X")


OPEN_END: Final = 2**64 - 1
"""Last epoch of a label that holds until its entry is removed."""
UNCONFIRMED_ID: Final = 2**64 - 1
"""Entry id of a match that a filter says: there is no label behind it, and its salt is zero."""
NO_ENTRY_ID: Final = 0
"""Entry id of `NO_LABEL`."""
RESERVED_IDS: Final = (NO_ENTRY_ID, UNCONFIRMED_ID)
"""Ids that no entry may have: labels that stand for something else bear them."""
RESERVED: Final = "an id of 0 or 2^64 - 1, or a salt of zeros, is reserved: no entry may have it"
"""The rule for the ids and salts of entries, in words."""
SIGNATURE_BYTES: Final = 64
MOST_SIGNATURES: Final = 8


class Label(Message, tag=0x01, name="label"):
    """What is known of an entry by whoever opened it."""

    entry_hash: Annotated[bytes, Fixed(32)]
    """The entry's PDQ hash."""
    entry_id: Annotated[int, UInt(64)]
    """Its number in the list."""
    salt: Annotated[bytes, Fixed(16)]
    """Random bytes that nobody else knows but those who hold the list."""
    first_epoch: Annotated[int, UInt(64)] = 0
    """The first epoch of whose files the label may be; 0 where there is no sealed label."""
    last_epoch: Annotated[int, UInt(64)] = OPEN_END
    """The last one, not before the first; 2^64 - 1 for no end."""
    signatures: Annotated[bytes, Variable(SIGNATURE_BYTES * MOST_SIGNATURES)] = b""
    """0 to 8 signatures of 64 bytes; one that is not used is zeros."""

    def check(self) -> None:
        """The range is one, and the signatures are whole."""
        if self.first_epoch > self.last_epoch:
            raise ProtocolError(self.NAME, "must not be before the first", "last_epoch")
        if len(self.signatures) % SIGNATURE_BYTES:
            raise ProtocolError(self.NAME, f"must be {SIGNATURE_BYTES} bytes each", "signatures")

    @property
    def unconfirmed(self) -> bool:
        """Does a filter alone say that the entry is there? Such a match never leads to a report."""
        return self.entry_id == UNCONFIRMED_ID and not any(self.salt)

    @property
    def is_reserved(self) -> bool:
        """Does it bear an id or a salt that no entry may have (`RESERVED`)?"""
        return self.entry_id in RESERVED_IDS or not any(self.salt)


NO_LABEL: Final = Label(bytes(32), NO_ENTRY_ID, bytes(16))
"""Where there must be a label and there is none."""
_SCORE: Final = struct.Struct(">d")


class NoMatch(Struct, frozen=True):
    """The device learnt that the item is not on the list."""


class Match(Struct, frozen=True):
    """The device learnt that the item is on the list, and holds the entry's label as evidence."""

    label: Label


class Flag(Struct, frozen=True):
    """The device learnt that the item is of the relation's `Category`; there is no entry, and so no label."""

    score: float

    def encode(self) -> bytes:
        """The score: 8 bytes, IEEE 754, big-endian."""
        return _SCORE.pack(self.score)

    @classmethod
    def decode(cls, raw: bytes, step: str) -> Flag:
        """Read a score back; `ProtocolError` if it is none, or not a finite number."""
        if len(raw) != _SCORE.size or not isfinite(_SCORE.unpack(raw)[0]):
            raise ProtocolError(step, "must be a finite number of 8 bytes", "score")
        return cls(*_SCORE.unpack(raw))


class Voucher(Struct, frozen=True):
    """The device learnt nothing; `body` goes to the centre, which may open it later."""

    body: Message


class Undisclosed(Struct, frozen=True):
    """The device learnt nothing and owes nothing (a server learnt, or nobody)."""


Outcome: TypeAlias = NoMatch | Match | Flag | Voucher | Undisclosed


class Send(Struct, Generic[X], frozen=True):
    """Another round: these bodies to these roles, then `receive` with `session`."""

    session: X
    bodies: Mapping[Role, Message]


class Ready(Struct, frozen=True):
    """Nothing is left to send and every reply was verified; `Design.conclude` gives the outcome of `session`.

    The device hands the message over before it concludes, so that the time the outcome takes shows to nobody.
    """

    session: Any


class Done(Struct, frozen=True):
    """The session is over."""

    outcome: Outcome


Step: TypeAlias = Send[X] | Ready | Done


class Hidden(Struct, frozen=True):
    """This voucher can never be opened; the centre forgets all of it but a digest."""


class Visible(Redacted, Struct, frozen=True):
    """This voucher may be opened, now or later.

    Attributes:
        row: what `Opener.open` needs of it.
        place: visible ones of an account and period with one place tell the opener no more than the first of
            them, which is tried before the others; empty: of none.
    """

    row: bytes
    place: bytes = b""


Taken: TypeAlias = Hidden | Visible


class Opener(Protocol):
    """Has no state: what it must remember of a voucher is in the row. Both steps run in threads."""

    def take(self, account: str, device: str, period: bytes, voucher: Message) -> Taken:
        """What of a voucher is to be kept, of the `account` and `device` that the certificate names, and of
        the period of the set-up that the device used. Called once for each; the receipt leaves after it;
        `ProtocolError` if it breaks the protocol; nothing of it is kept then."""
        ...

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        """Labels of those of an account's rows of a period (by index) that can be opened now.

        Called after the receipt, with the first of each place in the order in which they were taken, then the
        others, whenever there are new ones; several new ones may come together.

        It computes in its own process and waits for no other: the centre gives an attempt up that waits, or
        takes more than its budget of work.
        """
        ...


def open_all(
    opener: Opener, account: str, device: str, period: bytes, vouchers: Sequence[Message]
) -> dict[int, Label]:
    """Take all of `vouchers` of one period and open them, as the centre does; labels by the voucher's index;
    `ProtocolError` if one breaks the protocol."""
    taken = [(index, opener.take(account, device, period, voucher)) for index, voucher in enumerate(vouchers)]
    rows = [(index, one.row) for index, one in taken if isinstance(one, Visible)]
    labels = opener.open(account, period, [row for _, row in rows])
    return {rows[at][0]: label for at, label in labels.items()}


D = TypeVar("D", bound=Message)  # an account's device state


class NoState(Message, tag=0x02, name="no-state"):
    """The device state of a design that keeps none; never sent."""


class Enrolment(Redacted, Struct, Generic[D], frozen=True):
    """The device state after an account was enrolled, and what each role is to hold of it."""

    state: D
    bodies: Mapping[Role, Message]


class Started(Struct, Generic[D, X], frozen=True):
    """The device state after an item was started, and the session's first step."""

    state: D
    step: Step[X]


P = ParamSpec("P")
T = TypeVar("T")


class Verdict(Struct, frozen=True):
    """What a server learnt of one item.

    Attributes:
        label: the entry it matched, or None.
        content: the picture as (height, width, RGB bytes), where the server has it and reports it itself.
    """

    label: Label | None
    content: tuple[int, int, bytes] | None = None


class Request(Redacted, Struct, frozen=True):
    """What a role is asked.

    Attributes:
        body: what the device sent.
        enrolment: what its account enrolled with at this role; None if it did not.
    """

    body: Message
    enrolment: Message | None = None


class Answer(Struct, frozen=True):
    """Replies to a batch, in its order.

    Attributes:
        replies: a reply, or the error that the sender of that request gets.
        verdicts: for a role that learns the outcome, one for each request, else empty.
    """

    replies: Sequence[Message | ProtocolError]
    verdicts: Sequence[Verdict | None] = ()


def check_epoch(theirs: int, mine: int, step: str) -> None:
    """Make sure that a message is for the epoch in force; `EpochMismatchError` if it is not."""
    if theirs != mine:
        raise EpochMismatchError(step, f"epoch {mine} is in force here, not {theirs}", "epoch")


def tried(step: Callable[P, T], *given: P.args, **more: P.kwargs) -> T | ProtocolError:
    """What a role makes of one body, such as a reply, or what the body broke."""
    try:
        return step(*given, **more)
    except ProtocolError as error:
        return error
