"""The part of a received message that a device keeps."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from blindmatch_protocol.codec import Message, Nested, Text, Variable
from blindmatch_protocol.codec import Sequence as Several
from blindmatch_protocol.messages.content import NAME_MOST, Content
from blindmatch_protocol.messages.franking import MESSAGE_ID_LENGTH, Stamp


class Asked(IntEnum):
    """How far the request is that a message which could not be opened is sent again; the column `asked`.

    Rows of `EARLIER` are by a program that noted no more than that it queued a request; what it said of that
    is in their problem.
    """

    NO = 0
    EARLIER = 1
    QUEUED = 2
    SENT = 3


class Came(Message, tag=0xE2, name="device/incoming"):
    """The sealed part of a message's row; without content it could not be opened."""

    sender: Annotated[str, Text(NAME_MOST)]
    content: Annotated[tuple[Content, ...], Several(Nested(Content), 1)]
    problem: Annotated[str, Text(1 << 16)]
    stamp: Annotated[tuple[Stamp, ...], Several(Nested(Stamp), 1)]
    message_id: Annotated[bytes, Variable(MESSAGE_ID_LENGTH)]
