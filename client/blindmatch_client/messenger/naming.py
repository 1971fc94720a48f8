"""Names of accounts in what is authenticated."""

from __future__ import annotations

from blindmatch_protocol.codec import Text
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.content import NAME_MOST

from blindmatch_client.messenger.errors import MalformedError


def framed(name: str) -> bytes:
    """A name behind its length, for the associated data of X3DH (X3DH, section 3.3).

    Raises:
        MalformedError: if the name is too long.
    """
    try:
        return Text(NAME_MOST).write(name, "messenger/account", "name")
    except ProtocolError as error:
        raise MalformedError(error) from None
