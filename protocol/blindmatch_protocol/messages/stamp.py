"""The relay's stamp on a message: which commitment it took, from whom, for whom, under which id, and when.

::

    sender ---- Send(message id, message with C) ----> relay ---- Deliver ----> recipient
           <--- accepted_at, stamp ------------------        accepted_at, id, stamp
    stamp = HMAC-SHA-256(key of relay and centre, tag || C, both accounts, message id, accepted_at)
    report: message id, accepted_at, stamp ----------------------------------------------> centre

The relay gives it out once the message is on disk, the same whenever it is asked again. It is the facebook
tag of Grubbs, Lu and Ristenpart 2017 ("Message Franking via Committing Authenticated Encryption", section 1):
whoever has the key can make one for anything, so it convinces relay and centre and nobody else.
"""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Text, UInt
from blindmatch_protocol.crypto.hmac_sha256 import hmac_sha256
from blindmatch_protocol.messages.content import NAME_MOST
from blindmatch_protocol.messages.franking import COMMITMENT_LENGTH

STAMP_TAG: Final = b"blindmatch/franking/stamp/v1"
KEY_LENGTH: Final = 32
MAC_LENGTH: Final = 32
MESSAGE_ID_LENGTH: Final = 16


class Stamp(Message, tag=0xA0, name="franking/stamp"):
    """A stamp as a report carries it; what it is about stands beside it."""

    message_id: Annotated[bytes, Fixed(MESSAGE_ID_LENGTH)]
    """As the relay knows the message."""
    accepted_at_ms: Annotated[int, UInt(64)]
    """Milliseconds since 1970, by the relay's clock."""
    mac: Annotated[bytes, Fixed(MAC_LENGTH)]


class Stamped(Message, tag=0xA1, name="franking/stamped"):
    """What a stamp binds."""

    commitment: Annotated[bytes, Fixed(COMMITMENT_LENGTH)]
    sender: Annotated[str, Text(NAME_MOST)]
    recipient: Annotated[str, Text(NAME_MOST)]
    message_id: Annotated[bytes, Fixed(MESSAGE_ID_LENGTH)]
    accepted_at_ms: Annotated[int, UInt(64)]

    def mac(self, key: bytes) -> bytes:
        """The stamp's 32 bytes under the key of relay and centre, of 32 bytes.

        Raises:
            ProtocolError: if a field breaks its rule, or the key has another length (HMAC would fill it up).
        """
        Fixed(KEY_LENGTH).write(key, self.NAME, "key")
        return hmac_sha256(key, STAMP_TAG + self.encode())
