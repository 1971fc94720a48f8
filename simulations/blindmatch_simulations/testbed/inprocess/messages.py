"""Messages that pictures are sent in, drawn for checks: a design with vouchers is told of them (`Binding`).

Each is a whole message, committed to as a device does it (`franking.commit`), so that its evidence decodes
and opens, and nothing about it says that a check runs. Names have the lengths that names have, since a field
that is not padded tells of a name by its length.
"""

from __future__ import annotations

from typing import Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages import franking
from blindmatch_protocol.messages.content import FRANKING_KEY_LENGTH, ID_LENGTH, AttachmentRef, Content
from msgspec import Struct
from msgspec.structs import replace

FRONTS: Final = (
    "al", "an", "bo", "ca", "chris", "da", "el", "em", "fa", "jo", "ka", "lee", "li", "ma", "mo", "no", "ro",
    "sa", "ste", "to", "vik", "yu",
)  # fmt: skip
ENDS: Final = (
    "", "a", "b", "bert", "ce", "ia", "ice", "in", "ina", "ko", "ll", "lena", "ma", "na", "ra", "sha", "tor",
)  # fmt: skip
"""What account names are put together from: such as "alice", "bob" and "marina1984"."""
NUMBERED: Final = 3
"""One name in so many ends in a number below 10,000."""
MEDIA_TYPES: Final = ("image/jpeg", "image/jpeg", "image/jpeg", "image/png", "image/webp")
"""Most pictures that are sent are JPEG."""
EARLIEST_MS: Final = 1_735_689_600_000
"""2025-01-01, in milliseconds since 1970."""
SPAN_MS: Final = 4 * 365 * 86_400_000
"""Messages are of the four years from then on."""
TEXTS: Final = ("", "", "look", "is this yours?", "from yesterday")
UNNAMED: Final = 4
"""The evidence of one message in so many does not name its recipient."""


class DrawnMessage(Redacted, Struct, frozen=True):
    """A picture's message, and whether its evidence names the recipient."""

    sender: str
    recipient: str
    content: Content
    named: bool = True

    @property
    def binding(self) -> bm.Binding:
        """What the device gives a design of it."""
        shown = franking.disclose(self.content, self.sender, self.recipient, 0, self.named)
        return bm.Binding(shown.opening.commitment, shown.encode())

    def sealed_again(self, rng: Randomness) -> DrawnMessage:
        """The same message under another franking key, which is all that a commitment hides it with."""
        return replace(self, content=replace(self.content, franking_key=rng.take(FRANKING_KEY_LENGTH)))

    def to_somebody_else(self, rng: Randomness) -> DrawnMessage:
        """What the same account might have sent at the same time instead: to another recipient, and with
        another id and another file."""
        other = drawn_message(rng)
        recipient = other.recipient
        while recipient == self.recipient or len(recipient) == len(self.recipient):
            recipient = drawn_name(rng)
        content = replace(other.content, sent_at=self.content.sent_at)
        return replace(other, sender=self.sender, recipient=recipient, content=content, named=self.named)

    def of_another_file(self, rng: Randomness) -> DrawnMessage:
        """The same message with another picture's file."""
        return replace(
            self, content=replace(self.content, attachments=drawn_message(rng).content.attachments)
        )


def drawn_name(rng: Randomness) -> str:
    """A name that an account might have."""
    front, end, numbered, high, low = rng.take(5)
    number = str((high << 8 | low) % 10_000) if numbered % NUMBERED == 0 else ""
    return FRONTS[front % len(FRONTS)] + ENDS[end % len(ENDS)] + number


def drawn_message(rng: Randomness) -> DrawnMessage:
    """A message with one picture between two accounts."""
    sender = drawn_name(rng)
    recipient = drawn_name(rng)
    while recipient == sender:
        recipient = drawn_name(rng)
    media, text, named = rng.take(3)
    picture = AttachmentRef(
        blob_id=rng.take(16),
        key=rng.take(32),
        digest=rng.take(32),
        padded_size=(1 << 18) + (int.from_bytes(rng.take(2), "big") << 6),
        media_type=MEDIA_TYPES[media % len(MEDIA_TYPES)],
    )
    content = Content(
        id=rng.take(ID_LENGTH),
        sent_at=EARLIEST_MS + int.from_bytes(rng.take(8), "big") % SPAN_MS,
        text=TEXTS[text % len(TEXTS)],
        attachments=(picture,),
        franking_key=rng.take(FRANKING_KEY_LENGTH),
    )
    return DrawnMessage(sender, recipient, content, named % UNNAMED != 0)
