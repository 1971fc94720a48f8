"""What device and enclave say to each other, and what of it only the two can read."""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.crypto.hpke import OVERHEAD, TAG_BYTES
from blindmatch_protocol.messages.padding import padded_attachment_length

MOST_PIXEL_BYTES: Final = 3 * 50_000_000
_MOST_PADDED: Final = padded_attachment_length(MOST_PIXEL_BYTES + 64)


class Attest(bm.Message, tag=0x74, name="enclave/attest"):
    """Asks for a quote that is fresh."""

    nonce: Annotated[bytes, bm.Fixed(32)]


class Quote(bm.Message, tag=0x75, name="enclave/quote"):
    """What runs there, said by the platform."""

    measurement: Annotated[bytes, bm.Fixed(32)]
    """Of code and configuration."""
    epoch: Annotated[int, bm.UInt(64)]
    """Of the list inside."""
    key: Annotated[bytes, bm.Fixed(32)]
    """X25519; its private half is in the enclave alone."""
    nonce: Annotated[bytes, bm.Fixed(32)]
    """That of the 0x74."""
    signature: Annotated[bytes, bm.Fixed(64)]
    """The platform's, Ed25519, over a tag and all that stands before."""


class SealedPicture(bm.Message, tag=0x76, name="enclave/picture"):
    """A 0x77, padded and sealed to the enclave by HPKE."""

    sealed: Annotated[bytes, bm.Variable(_MOST_PADDED + OVERHEAD, least=OVERHEAD)]


class Picture(bm.Message, tag=0x77, name="enclave/inner-picture"):
    """A picture, and the key that its reply is sealed under, used once."""

    reply_key: Annotated[bytes, bm.Fixed(32)]
    height: Annotated[int, bm.UInt(32)]
    width: Annotated[int, bm.UInt(32)]
    pixels: Annotated[bytes, bm.Variable(MOST_PIXEL_BYTES, least=1)]
    """RGB, row by row: height x width x 3."""

    def check(self) -> None:
        """The pixels are height x width x 3 bytes."""
        if len(self.pixels) != self.height * self.width * 3:
            raise bm.ProtocolError(self.NAME, "must be height x width x 3 bytes", "pixels")


class Found(bm.Message, tag=0x78, name="enclave/inner-reply"):
    """Whether an entry matches."""

    matched: Annotated[bool, bm.Bool()]
    label: Annotated[bm.Label, bm.Nested(bm.Label)]
    """Of the nearest entry; all zeros without a match."""

    def check(self) -> None:
        """Without a match there is no label; the same steps are taken with one."""
        if not self.matched | (self.label == bm.NO_LABEL):
            raise bm.ProtocolError(self.NAME, "must be all zeros without a match", "label")


class SealedReply(bm.Message, tag=0x79, name="enclave/reply"):
    """A 0x78, sealed under the picture's reply key: the same length for every picture."""

    sealed: Annotated[bytes, bm.Fixed(len(Found(False, bm.NO_LABEL).encode()) + TAG_BYTES)]
