"""Cover for reports: messages of one size at fixed times, whether there is anything to report or not.

    device  --slot 1--> centre     a fragment of a sealed report, or nothing, in a sealed slot of fixed size
    device  --slot 2--> centre     ...

A slot is sealed to the centre as a report is, under an info of its own, and submitted in the same call. Its
size is a power of two, which no sealed report has (padding.py), so the centre knows it by its size; nobody
else learns more than that a device keeps a schedule. What the fragments of a submission are put together to
is a sealed report under the submission's id.
"""

from __future__ import annotations

from typing import Annotated, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from blindmatch_protocol.codec import Fixed, Message, UInt, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.messages.report import opened_with, sealed_to

SLOT_INFO: Final = b"blindmatch/cover-slot/1"
SLOT_SIZES: Final = (16 << 10, 64 << 10, 256 << 10)
"""Bytes of a sealed slot: the size classes of a schedule."""

SEAL_BYTES: Final = 48
"""Encapsulated key and tag."""

MOST_FRAGMENTS: Final = 4096
KEPT_MS: Final = 7 * 24 * 60 * 60 * 1000
"""A centre keeps fragments that wait for so long after the last one of their submission came. A device that
has let more time pass between two begins again with the first."""
_HEAD_BYTES: Final = 1 + 16 + 4 + 4 + 4 + 4


class Slot(Message, tag=0x11, name="cover/slot"):
    """What is in a slot of a cover schedule. `count` is 0 in one that bears nothing."""

    submission: Annotated[bytes, Fixed(16)]
    """Id of the report that this is a fragment of; random in a slot that bears nothing."""
    position: Annotated[int, UInt(32)]
    """The fragment's, from 0 on."""
    count: Annotated[int, UInt(32)]
    """Fragments of the report, up to 4,096; 0 in a slot that bears nothing."""
    data: Annotated[bytes, Variable(SLOT_SIZES[-1])]
    """The fragment; empty in a slot that bears nothing, and in no other."""
    padding: Annotated[bytes, Variable(SLOT_SIZES[-1])]
    """Zeros, up to the slot's size."""

    def check(self) -> None:
        """A fragment is one of its submission's, and not empty; padding is zeros."""
        if self.count > MOST_FRAGMENTS or (self.count and self.position >= self.count):
            raise ProtocolError(self.NAME, "must be below count, and count at most 4096", "position")
        if bool(self.count) != bool(self.data):
            raise ProtocolError(self.NAME, "must be there in a fragment, and in nothing else", "data")
        if self.padding.strip(b"\x00"):
            raise ProtocolError(self.NAME, "must be zeros", "padding")


def capacity(size: int) -> int:
    """Bytes of a sealed report that fit a slot of `size` bytes."""
    return size - SEAL_BYTES - _HEAD_BYTES


def fragments_of(length: int, size: int) -> int:
    """How many slots of `size` bytes a sealed report of `length` bytes takes."""
    return -(-length // capacity(size))


def cover(randomness: Randomness, size: int) -> Slot:
    """A slot that bears nothing; `randomness` gives 16 bytes."""
    return Slot(randomness.take(16), 0, 0, b"", bytes(capacity(size)))


def fragment(sealed_report: bytes, submission: bytes, position: int, size: int) -> Slot:
    """The fragment at `position` of a sealed report that is to be handed in under the id `submission`."""
    room = capacity(size)
    data = sealed_report[position * room : (position + 1) * room]
    count = fragments_of(len(sealed_report), size)
    return Slot(submission, position, count, data, bytes(room - len(data)))


def seal_slot(slot: Slot, slot_id: bytes, centre_key: bytes) -> bytes:
    """`slot` sealed to the centre's X25519 public key (32 bytes), bound to the id it is submitted under."""
    return sealed_to(centre_key, SLOT_INFO + slot_id, slot.encode())


def is_slot(length: int) -> bool:
    """Is a sealed value of this length a slot, rather than a report?"""
    return length in SLOT_SIZES


def open_slot(sealed: bytes, slot_id: bytes, private_key: X25519PrivateKey) -> Slot:
    """Open a slot at the centre.

    Raises:
        ProtocolError: if it is not sealed to this key under this id, or is not a canonical slot.
    """
    encoded = opened_with(private_key, SLOT_INFO + slot_id, sealed)
    if encoded is None:
        raise ProtocolError(Slot.NAME, "must be sealed to this centre under its id")
    return Slot.decode(encoded)
