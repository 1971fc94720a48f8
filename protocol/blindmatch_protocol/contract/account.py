"""An account's device state: at first, after it enrolled, and after an item was started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from blindmatch_protocol.codec import Message, message
from blindmatch_protocol.contract.declaration import Role
from blindmatch_protocol.contract.outcome import Step

D = TypeVar("D", bound=Message)  # an account's device state
X = TypeVar("X")  # a session between two steps


@message
class NoState(Message, tag=0x02, name="no-state"):
    """The device state of a design that keeps none."""


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
