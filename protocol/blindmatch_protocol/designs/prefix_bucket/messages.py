"""The two messages of prefix-bucket that oprf-psi does not have; docs/wire.md."""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol.codec import Message, UInt, Variable

MOST_BUCKET_BYTES: Final = 950 << 10
"""A reply with it fits one call."""


class Fetch(Message, tag=0x48, name="prefix-bucket/fetch"):
    """Device to the role that has the buckets: which one."""

    epoch: Annotated[int, UInt(64)]
    """Of the set-up in use."""
    bucket: Annotated[int, UInt(32)]
    """Its number, below 2^`bits`."""


class Bucket(Message, tag=0x49, name="prefix-bucket/bucket"):
    """That bucket; all are of one length."""

    epoch: Annotated[int, UInt(64)]
    """Of the buckets."""
    content: Annotated[bytes, Variable(MOST_BUCKET_BYTES)]
    """The bucket's rows."""
