"""What a role is asked, what it answers, and what a server learns by that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec

from msgspec import Struct

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import EpochMismatchError, ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.outcome import Label

P = ParamSpec("P")


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
    """Make sure that a message is for the epoch in force.

    Raises:
        EpochMismatchError: if it is not.
    """
    if theirs != mine:
        raise EpochMismatchError(step, f"epoch {mine} is in force here, not {theirs}", "epoch")


def tried(step: Callable[P, Message], *given: P.args, **more: P.kwargs) -> Message | ProtocolError:
    """A role's reply to one body, or what the body broke."""
    try:
        return step(*given, **more)
    except ProtocolError as error:
        return error
