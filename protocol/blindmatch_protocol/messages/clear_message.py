"""A message without end-to-end encryption: its content as it is, for whoever carries it.

Only a deployment whose design declares that there is none (`Info.end_to_end`) sends and takes this. It is
another message than `sealed_message.SealedMessage`, in another field of the wire interface, so that neither
is taken for the other.
"""

from __future__ import annotations

from typing import Annotated

from blindmatch_protocol.codec import Message, Nested
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract.declaration import Info
from blindmatch_protocol.messages.content import Content


class ClearMessage(Message, tag=0x6B, name="messenger/clear-message"):
    """What the provider of a design without end-to-end encryption reads, stores and hands out."""

    content: Annotated[Content, Nested(Content)]


def clear_message(content: Content, info: Info) -> bytes:
    """The encoding of a message in the clear.

    Raises:
        DesignError: if the design declares end-to-end encryption.
    """
    if info.end_to_end:
        raise DesignError(f"design {info.name}: end-to-end encrypted, so no message is sent in the clear")
    return ClearMessage(content).encode()
