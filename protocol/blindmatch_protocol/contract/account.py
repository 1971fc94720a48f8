"""An account's device state: at first, after it enrolled, and after an item was started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.declaration import Role
from blindmatch_protocol.contract.outcome import Step, X

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
