"""How a field is encoded, and the reader of what came (docs/wire.md, "Canonical encoding")."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec.errors import ProtocolError

Rows: TypeAlias = npt.NDArray[np.uint8]
"""A read-only matrix of bytes, shape (n, width)."""

Buffer: TypeAlias = bytes | bytearray | memoryview

_NONE: Final = bytes(4)
"""The count of no elements."""


class Reader:
    """Walks over a buffer and never past its end."""

    __slots__ = ("_at", "_data", "step")

    def __init__(self, data: Buffer, step: str) -> None:
        self._data = bytes(data)  # slices of bytes are cheaper than those of a view, and are what is kept
        self._at = 0
        self.step = step

    def take(self, count: int, field: str) -> bytes:
        """The next `count` bytes; `ProtocolError` if fewer are left."""
        start = self._at
        self._at = end = start + count
        if end > len(self._data):
            raise ProtocolError(self.step, f"truncated: {count} bytes expected", field)
        return self._data[start:end]

    def uint(self, width: int, field: str) -> int:
        """An unsigned big-endian integer of `width` bytes."""
        return int.from_bytes(self.take(width, field), "big")

    def finish(self) -> None:
        """`ProtocolError` unless everything was read."""
        if self._at != len(self._data):
            raise ProtocolError(self.step, f"{len(self._data) - self._at} bytes left over")


class Encoding(Protocol):
    """How one field is written and read."""

    def write(self, value: Any, step: str, field: str) -> bytes:
        """Bytes of `value`; `ProtocolError` if it breaks the field's rule."""

    def read(self, reader: Reader, field: str) -> Any:
        """The value; `ProtocolError` if the bytes break the field's rule."""


class UInt(Struct, frozen=True):
    """An unsigned integer of 8, 16, 32 or 64 bits, big-endian."""

    bits: int

    def write(self, value: int, step: str, field: str) -> bytes:
        if not 0 <= value < 1 << self.bits:
            raise ProtocolError(step, f"must be an unsigned integer of {self.bits} bits", field)
        return value.to_bytes(self.bits // 8, "big")

    def read(self, reader: Reader, field: str) -> int:
        return int.from_bytes(reader.take(self.bits // 8, field), "big")


class Bool(Struct, frozen=True):
    """A boolean: one byte, 0 or 1."""

    def write(self, value: bool, step: str, field: str) -> bytes:
        return b"\x01" if value else b"\x00"

    def read(self, reader: Reader, field: str) -> bool:
        byte = reader.uint(1, field)
        if byte > 1:
            raise ProtocolError(reader.step, "a flag is 0 or 1", field)
        return byte == 1


class Fixed(Struct, frozen=True):
    """Exactly `length` bytes."""

    length: int

    def write(self, value: bytes, step: str, field: str) -> bytes:
        if len(value) != self.length:
            raise ProtocolError(step, f"must be {self.length} bytes, not {len(value)}", field)
        return bytes(value)

    def read(self, reader: Reader, field: str) -> bytes:
        return reader.take(self.length, field)


class Counted:
    """What stands behind a 32-bit count of it, which is `least` to `most`."""

    __slots__ = ()
    UNIT: ClassVar[str] = "bytes"
    least: int
    most: int

    def head(self, count: int, step: str, field: str) -> bytes:
        """The count; `ProtocolError` if it is out of bounds."""
        if not self.least <= count <= self.most:
            raise ProtocolError(step, f"must be {self.least} to {self.most} {self.UNIT}, not {count}", field)
        return count.to_bytes(4, "big")

    def count(self, reader: Reader, field: str) -> int:
        """The count that `reader` stands before; `ProtocolError` if it is out of bounds."""
        count = int.from_bytes(reader.take(4, field), "big")
        if not self.least <= count <= self.most:
            self.head(count, reader.step, field)
        return count


class Variable(Counted, Struct, frozen=True):
    """`least` to `most` bytes behind a 32-bit length."""

    most: int
    least: int = 0

    def write(self, value: bytes, step: str, field: str) -> bytes:
        return self.head(len(value), step, field) + value

    def read(self, reader: Reader, field: str) -> bytes:
        return reader.take(self.count(reader, field), field)


class Text(Counted, Struct, frozen=True):
    """UTF-8, up to `most` bytes behind a 32-bit length."""

    most: int
    least: int = 0

    def write(self, value: str, step: str, field: str) -> bytes:
        try:
            raw = value.encode()
        except UnicodeEncodeError as error:
            raise ProtocolError(step, "must be encodable as UTF-8", field) from error
        return self.head(len(raw), step, field) + raw

    def read(self, reader: Reader, field: str) -> str:
        try:
            return reader.take(self.count(reader, field), field).decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(reader.step, "must be valid UTF-8", field) from error


class Matrix(Counted, Struct, frozen=True):
    """`least` to `most` rows of `width` bytes behind a 32-bit count; decodes to a read-only (n, width)."""

    UNIT: ClassVar[str] = "rows"
    width: int
    most: int
    least: int = 0

    def write(self, value: Rows, step: str, field: str) -> bytes:
        if value.ndim != 2 or value.shape[1] != self.width or value.dtype != np.uint8:
            raise ProtocolError(step, f"must be a uint8 matrix of {self.width} columns", field)
        return self.head(len(value), step, field) + np.ascontiguousarray(value).tobytes()

    def read(self, reader: Reader, field: str) -> Rows:
        raw = reader.take(self.count(reader, field) * self.width, field)
        return np.frombuffer(raw, np.uint8).reshape(-1, self.width)


class Sequence(Counted, Struct, frozen=True):
    """A tuple of `least` to `most` elements of one encoding behind a 32-bit count."""

    UNIT: ClassVar[str] = "elements"
    element: Encoding
    most: int
    least: int = 0

    def write(self, value: tuple[Any, ...], step: str, field: str) -> bytes:
        if not self.least and not len(value):
            return _NONE
        head, write = self.head(len(value), step, field), self.element.write
        return head + b"".join([write(one, step, field) for one in value])

    def read(self, reader: Reader, field: str) -> tuple[Any, ...]:
        count = self.count(reader, field)
        return tuple([self.element.read(reader, field) for _ in range(count)]) if count else ()
