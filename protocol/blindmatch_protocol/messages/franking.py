"""The commitment in every message, which opens part by part, and what a report opens of it.

::

    sender                                     relay            recipient           centre
      salt_p = HMAC(Kf, tag || p)
      leaf_p = HMAC(salt_p, tag || kind || value), or salt_p if the place is empty
      C = SHA-256(tag || all leaves)
      C outside, Kf inside the ciphertext ---> sees C only ---> derives C again
      report: 4 values, their salts, the other leaves -------------------------> derives C again

The parts are sender, recipient, time, id, text, and 32 places for attachments. The leaves of places stand in
ascending order, so that where one of them stands says nothing.

It *binds*: C has one list of leaves (SHA-256 of inputs of one length), and a leaf one kind and value, since
two openings of it are a collision of HMAC-SHA-256 under keys of one fixed length; this is the committing part
of message franking (Grubbs, Lu and Ristenpart 2017, "Message Franking via Committing Authenticated
Encryption", section 3). It *hides* what is not opened: the salts of closed leaves are outputs of HMAC under a
key that is used once and never reported (opening only what is abusive: Leontiadis and Vaudenay 2023, "Private
Message Franking with After Opening Privacy").

The relay's stamp on a message is the facebook tag of Grubbs, Lu and Ristenpart 2017, section 1: which
commitment it took, from whom, for whom, under which id, and when.

    stamp = HMAC-SHA-256(key of relay and centre, tag || C, both accounts, message id, accepted_at)

How a message is bound to its sender's key, beside commitment and stamp:
docs/decisions/0014-franking-modes.md.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import IntEnum, StrEnum
from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.crypto.symmetric import keyed
from blindmatch_protocol.messages.content import (
    ATTACHMENTS_MOST,
    FRANKING_KEY_LENGTH,
    ID_LENGTH,
    MEDIA_TYPE_MOST,
    NAME_MOST,
    TEXT_MOST,
    Content,
)

SALT_TAG: Final = b"blindmatch/franking/salt/v2"
LEAF_TAG: Final = b"blindmatch/franking/leaf/v2"
COMMITMENT_TAG: Final = b"blindmatch/franking/commitment/v2"
COMMITMENT_LENGTH: Final = 32
LEAF_LENGTH: Final = 32

_STEP: Final = "franking/commit"
_KEY = Fixed(FRANKING_KEY_LENGTH)
_ID = Fixed(ID_LENGTH)
_NAME = Text(NAME_MOST)
_TEXT = Text(TEXT_MOST)
_TIME = UInt(64)


class Kind(IntEnum):
    """What a leaf is of."""

    SENDER = 0
    RECIPIENT = 1
    TIME = 2
    ID = 3
    TEXT = 4
    ATTACHMENT = 5


OPENED: Final = 4
"""Parts that a report opens: sender, recipient, time and one attachment."""

CLOSED: Final = Kind.ATTACHMENT + ATTACHMENTS_MOST - OPENED
"""Leaves that it does not open: id, text and 31 places."""

_PLACES: Final = tuple(SALT_TAG + bytes([place]) for place in range(Kind.ATTACHMENT + ATTACHMENTS_MOST))


class AttachmentDigest(Message, tag=0x62, name="franking/attachment"):
    """An attachment as a commitment sees it."""

    digest: Annotated[bytes, Fixed(32)]
    """SHA-256 of the attachment itself."""
    media_type: Annotated[str, Text(MEDIA_TYPE_MOST)]


class CommitmentOpening(Message, tag=0x69, name="franking/opening"):
    """What opens four leaves of a commitment; 1,225 bytes, whatever the message held."""

    commitment: Annotated[bytes, Fixed(COMMITMENT_LENGTH)]
    salts: Annotated[tuple[bytes, ...], Sequence(Fixed(32), OPENED, OPENED)]
    """Of sender, recipient, time and the attachment; of a recipient who is not named, the leaf."""
    closed: Annotated[tuple[bytes, ...], Sequence(Fixed(LEAF_LENGTH), CLOSED, CLOSED)]
    """The leaves of id and text, then those of the other places in ascending order."""

    def check(self) -> None:
        """One order of the places: another one would tell something."""
        if list(self.closed[2:]) != sorted(self.closed[2:]):
            raise ProtocolError(self.NAME, "places stand in ascending order", "closed")


class Evidence(Message, tag=0x6A, name="franking/evidence"):
    """All that a report tells of a message beside the picture, for a design to seal for the centre."""

    sender: Annotated[str, Text(NAME_MOST)]
    recipient: Annotated[str, Text(NAME_MOST)]
    """Empty if it names none."""
    sent_at: Annotated[int, UInt(64)]
    """Milliseconds since 1970, by the sender's clock."""
    attachment: Annotated[AttachmentDigest, Nested(AttachmentDigest)]
    opening: Annotated[CommitmentOpening, Nested(CommitmentOpening)]


def commit(content: Content, sender: str, recipient: str) -> bytes:
    """The commitment of the message that carries `content` from `sender` to `recipient`, 32 bytes;
    `ProtocolError` if a part breaks its rule; a franking key of another length is such a case, and must be,
    since HMAC fills short keys with zeros."""
    leaves = _leaves(_salts(content.franking_key), _parts(content, sender, recipient))
    return _root(leaves[: Kind.ATTACHMENT], leaves[Kind.ATTACHMENT :])


def disclose(content: Content, sender: str, recipient: str, number: int, named: bool = True) -> Evidence:
    """What a report says of the message's attachment `number`, from 0, and what shows it; the recipient's
    leaf stays closed unless it is `named`; `ProtocolError` as `commit`, and if there is no such
    attachment."""
    if not 0 <= number < len(content.attachments):
        raise ProtocolError(_STEP, "the message has no attachment with this number", "attachments")
    salts = _salts(content.franking_key)
    leaves = _leaves(salts, _parts(content, sender, recipient))
    place = Kind.ATTACHMENT + number
    others = sorted(leaves[Kind.ATTACHMENT : place] + leaves[place + 1 :])
    opening = CommitmentOpening(
        _root(leaves[: Kind.ATTACHMENT], leaves[Kind.ATTACHMENT :]),
        (salts[Kind.SENDER], (salts if named else leaves)[Kind.RECIPIENT], salts[Kind.TIME], salts[place]),
        (leaves[Kind.ID], leaves[Kind.TEXT], *others),
    )
    told = recipient if named else ""
    return Evidence(sender, told, content.sent_at, _digest(content, number), opening)


def opened_commitment(shown: Evidence) -> bytes:
    """The commitment that the opening shows the rest in, 32 bytes, which says nothing unless it is the
    message's; `ProtocolError` if a field breaks its rule."""
    opening = shown.opening
    opening.encode()
    opening.check()
    parts = [*_names(shown.sender, shown.recipient), _time(shown.sent_at), _attachment(shown.attachment)]
    sender, recipient, time, attachment = _leaves(opening.salts, parts)
    if not shown.recipient:
        recipient = opening.salts[Kind.RECIPIENT]
    return _root([sender, recipient, time, *opening.closed[:2]], [attachment, *opening.closed[2:]])


def _salts(key: bytes) -> tuple[bytes, ...]:
    """The salt of every place; the key is set up once for all of them."""
    mac = keyed(_KEY.write(key, _STEP, "franking_key"))
    salts = list[bytes]()
    for place in _PLACES:
        one = mac.copy()
        one.update(place)
        salts.append(one.finalize())
    return tuple(salts)


def _parts(content: Content, sender: str, recipient: str) -> list[bytes]:
    """Kind and value of every part that is there, in the order of their places."""
    present = [_attachment(_digest(content, number)) for number in range(len(content.attachments))]
    if len(present) > ATTACHMENTS_MOST:
        raise ProtocolError(_STEP, f"must be at most {ATTACHMENTS_MOST}", "attachments")
    return [
        *_names(sender, recipient),
        _time(content.sent_at),
        bytes([Kind.ID]) + _ID.write(content.id, _STEP, "id"),
        bytes([Kind.TEXT]) + _TEXT.write(content.text, _STEP, "text"),
        *present,
    ]


def _names(sender: str, recipient: str) -> tuple[bytes, bytes]:
    return (
        bytes([Kind.SENDER]) + _NAME.write(sender, _STEP, "sender"),
        bytes([Kind.RECIPIENT]) + _NAME.write(recipient, _STEP, "recipient"),
    )


def _time(sent_at: int) -> bytes:
    return bytes([Kind.TIME]) + _TIME.write(sent_at, _STEP, "sent_at")


def _attachment(digest: AttachmentDigest) -> bytes:
    return bytes([Kind.ATTACHMENT]) + digest.encode()


def _digest(content: Content, number: int) -> AttachmentDigest:
    attachment = content.attachments[number]
    return AttachmentDigest(attachment.digest, attachment.media_type)


def _leaves(salts: tuple[bytes, ...], parts: list[bytes]) -> list[bytes]:
    filled = [hmac.digest(salt, LEAF_TAG + part, "sha256") for salt, part in zip(salts, parts, strict=False)]
    return [*filled, *salts[len(parts) :]]


def _root(fixed: list[bytes], places: list[bytes]) -> bytes:
    return hashlib.sha256(COMMITMENT_TAG + b"".join([*fixed, *sorted(places)])).digest()


class FrankingMode(StrEnum):
    """What a message bears of its sender."""

    STAMP = "stamp"
    DESIGNATED = "designated"
    SIGNATURE = "signature"


DEFAULT_MODE: Final = FrankingMode.STAMP
"""Decision 14."""


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
        """The stamp's 32 bytes under the key of relay and centre, of 32 bytes; `ProtocolError` if a field
        breaks its rule, or the key has another length (HMAC would fill it up)."""
        Fixed(KEY_LENGTH).write(key, self.NAME, "key")
        return hmac.digest(key, STAMP_TAG + self.encode(), "sha256")
