"""Byte strings too large for one message: how their parts are joined and made.

The first part says the whole size, so that one that is too large is refused before it is read; a stream that
ends early or goes on too long is refused too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

PART_BYTES: Final = 256 << 10
"""Bytes of data in a part that a server sends."""


class Joiner:
    """Checks the lengths of parts as they come."""

    __slots__ = ("_left", "size", "step")

    def __init__(self, size: int, most: int, step: str) -> None:
        """
        Args:
            size: as the first part says.
            most: bytes that are accepted.

        Raises:
            ProtocolError: if `size` is 0 or more than `most`.
        """
        if not 1 <= size <= most:
            raise ProtocolError(step, f"must be 1 to {most} bytes, not {size}", "size")
        self.size = size
        self.step = step
        self._left = size

    def take(self, data: bytes) -> bytes:
        """`data`, if it is not empty and not more than is left.

        Raises:
            ProtocolError: otherwise.
        """
        if not data:
            raise ProtocolError(self.step, "a part must not be empty", "data")
        if len(data) > self._left:
            raise ProtocolError(self.step, f"more than the {self.size} bytes announced", "data")
        self._left -= len(data)
        return data

    def finish(self) -> None:
        """Check that all announced bytes came.

        Raises:
            ProtocolError: otherwise.
        """
        if self._left:
            raise ProtocolError(self.step, f"truncated: {self._left} of {self.size} bytes missing", "data")


async def opened(parts: AsyncIterator[wire.Part], most: int, step: str) -> tuple[int, AsyncIterator[bytes]]:
    """The announced size of what `parts` bear, and its data, checked as it comes.

    Raises:
        ProtocolError: for an empty stream or a size of 0 or over `most`; the data's iterator, for a size that
            is repeated and for bytes that are missing or left over.
    """
    async for first in parts:
        joiner = Joiner(first.size, most, step)
        return joiner.size, _data(joiner, joiner.take(first.data), parts)
    raise ProtocolError(step, "no part was sent")


async def joined(parts: AsyncIterator[wire.Part], most: int, step: str) -> bytes:
    """What `parts` bear, in memory. Raises what `opened` raises."""
    _, data = await opened(parts, most, step)
    return b"".join([piece async for piece in data])


async def _data(joiner: Joiner, first: bytes, rest: AsyncIterator[wire.Part]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        if part.size:
            raise ProtocolError(joiner.step, "must stand in the first part only", "size")
        yield joiner.take(part.data)
    joiner.finish()


def cut(data: Buffer, offset: int = 0, size: int | None = None) -> Iterator[wire.Part]:
    """Parts of `data` from `offset` on; the first bears `size`, or the whole length of `data`."""
    view = memoryview(data)
    announced = len(view) if size is None else size
    for at in range(offset, max(len(view), offset + 1), PART_BYTES):
        yield wire.Part(size=announced, data=bytes(view[at : at + PART_BYTES]))
        announced = 0
