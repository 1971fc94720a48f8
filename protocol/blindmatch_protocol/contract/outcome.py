"""How a session goes on or ends: two closed unions.

Step    = Send | Ready | Done  after each `start` and `receive`
Outcome = NoMatch | Match | Voucher | Undisclosed      inside Done, or what a Ready session concludes to
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeAlias, TypeVar

from blindmatch_protocol.codec import Fixed, Message, UInt, message
from blindmatch_protocol.contract.declaration import Role

X = TypeVar("X")


@message
class Label(Message):
    """What is known of an entry by whoever opened it: its hash, id and salt."""

    TAG: ClassVar[int] = 0x01
    NAME: ClassVar[str] = "label"

    entry_hash: Annotated[bytes, Fixed(32)]
    entry_id: Annotated[int, UInt(64)]
    salt: Annotated[bytes, Fixed(16)]


@dataclass(frozen=True, slots=True)
class NoMatch:
    """The device learnt that the item is not on the list."""


@dataclass(frozen=True, slots=True)
class Match:
    """The device learnt that the item is on the list, and holds the entry's label as evidence."""

    label: Label


@dataclass(frozen=True, slots=True)
class Voucher:
    """The device learnt nothing; `body` goes to the centre, which may open it later."""

    body: Message


@dataclass(frozen=True, slots=True)
class Undisclosed:
    """The device learnt nothing and owes nothing (a server learnt, or nobody)."""


Outcome: TypeAlias = NoMatch | Match | Voucher | Undisclosed


@dataclass(frozen=True, slots=True)
class Send(Generic[X]):
    """Another round: these bodies to these roles, then `receive` with `session`."""

    session: X
    bodies: Mapping[Role, Message]


@dataclass(frozen=True, slots=True)
class Ready:
    """Nothing is left to send and every reply was verified; `Design.conclude` gives the outcome of `session`.

    The device hands the message over before it concludes, so that the time the outcome takes shows to nobody.
    """

    session: Any


@dataclass(frozen=True, slots=True)
class Done:
    """The session is over."""

    outcome: Outcome


Step: TypeAlias = Send[X] | Ready | Done
