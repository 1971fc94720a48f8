"""Messages, their canonical encoding, and how each field is encoded (docs/wire.md, "Canonical encoding").

A message is a frozen struct whose fields are annotated with their encoding::

    class Request(Message, tag=0x21, name="oprf-psi/request"):
        epoch: Annotated[int, UInt(64)]
        blinded: Annotated[Rows, Matrix(32, most=4096)]
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Struct, StructMeta

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
        head = self.head(len(value), step, field)
        write = self.element.write
        return head + b"".join([write(one, step, field) for one in value])

    def read(self, reader: Reader, field: str) -> tuple[Any, ...]:
        count = self.count(reader, field)
        return tuple([self.element.read(reader, field) for _ in range(count)]) if count else ()


UNBOUNDED: Final = 1 << 62
"""More bytes than any message has."""
_K = TypeVar("_K", bound="_Kind")
_Write: TypeAlias = Callable[[Any, str, str], bytes]
_Read: TypeAlias = Callable[[Reader, str], Any]
_Steps: TypeAlias = tuple[bytes, tuple[tuple[str, _Write], ...], tuple[tuple[str, _Read], ...]]


class Nested(Struct, frozen=True):
    """A message inside a message, with its tag."""

    kind: type[Message]

    def write(self, value: Message, step: str, field: str) -> bytes:
        if type(value) is not self.kind:
            raise ProtocolError(step, f"must be a {self.kind.NAME}", field)
        return value.encode()

    def read(self, reader: Reader, field: str) -> Message:
        return self.kind.read(reader)


@typing.dataclass_transform(frozen_default=True, eq_default=False)
class _Kind(StructMeta):
    """Makes frozen structs, and class constants of the tag and name in a class's line."""

    def __new__(
        mcls: type[_K],
        title: str,
        bases: tuple[type, ...],
        space: dict[str, Any],
        /,
        tag: int | None = None,
        name: str = "",
    ) -> _K:
        if tag is not None:
            space |= {"TAG": tag, "NAME": name}
        for constant in ("TAG", "NAME"):  # no fields, whatever the text of an annotation calls `ClassVar`
            space.get("__annotations__", {}).pop(constant, None)
        for field, value in space.items():
            if type(value).__module__ == "dataclasses":  # a struct would take it for the field's default
                raise TypeError(f"{title}.{field}: write the default alone, or none, for dataclasses.field")
        return super().__new__(mcls, title, bases, space, frozen=True, eq=False)


class Message(Struct, metaclass=_Kind):
    """Base of all messages: frozen structs, each field with its encoding.

    Tag and name stand in the line of the class, or in it as `TAG` and `NAME`. Two messages are equal if they
    are of one class and have one encoding. `repr` names the message alone, since fields may be secret.
    """

    TAG: ClassVar[int]
    NAME: ClassVar[str]

    def encode(self) -> bytes:
        """The canonical encoding; `ProtocolError` if a field breaks its own rule."""
        step = self.NAME
        tag, writes, _ = _steps(type(self))
        return b"".join([tag, *[write(getattr(self, name), step, name) for name, write in writes]])

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        """The message whose canonical encoding is `data`; `ProtocolError` for anything else."""
        reader = Reader(data, cls.NAME)
        message = cls.read(reader)
        reader.finish()
        return message

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read one message from where `reader` stands."""
        (tag,) = reader.take(1, "tag")
        if tag != cls.TAG:
            raise ProtocolError(reader.step, f"must be {cls.TAG:#04x}, not {tag:#04x}", "tag")
        _, _, reads = _steps(cls)
        message = cls(*[read(reader, name) for name, read in reads])
        message.check()
        return message

    def check(self) -> None:
        """Rules between fields; subclasses raise `ProtocolError`. Called after decoding."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Message) and other.encode() == self.encode()

    def __ne__(self, other: object) -> bool:
        return not self == other  # a struct's own would compare identities

    def __hash__(self) -> int:
        return hash(self.encode())

    def __rich_repr__(self, /) -> list[tuple[str, Any]]:
        return []  # a struct's own would show the fields

    def __repr__(self) -> str:
        return f"<{self.NAME}>"


@cache
def layout(kind: type[Message]) -> tuple[tuple[str, Encoding], ...]:
    """Names and encodings of a message's fields, in order; `TypeError` if one has no encoding."""
    hints = typing.get_type_hints(kind, include_extras=True)
    names = kind.__struct_fields__
    bare = [name for name in names if typing.get_origin(hints[name]) is not Annotated]
    if bare:
        raise TypeError(f"{kind.__name__}.{bare[0]} needs Annotated[type, encoding]")
    return tuple((name, typing.get_args(hints[name])[1]) for name in names)


def most_bytes(*kinds: type[Message]) -> int:
    """How long an encoding of one of `kinds` can be; at least `UNBOUNDED` if one of a field does not say."""
    return max((1 + sum(_most(one) for _, one in layout(kind)) for kind in kinds), default=0)


def _most(encoding: Encoding) -> int:
    match encoding:
        case UInt():
            return encoding.bits // 8
        case Bool():
            return 1
        case Fixed():
            return encoding.length
        case Variable() | Text():
            return 4 + encoding.most
        case Matrix():
            return 4 + encoding.most * encoding.width
        case Sequence():
            return 4 + encoding.most * _most(encoding.element)
        case Nested():
            return most_bytes(encoding.kind)
        case _:
            return UNBOUNDED


@cache
def _steps(kind: type[Message]) -> _Steps:
    fields = layout(kind)
    writes = tuple((name, encoding.write) for name, encoding in fields)
    return kind.TAG.to_bytes(1, "big"), writes, tuple((name, encoding.read) for name, encoding in fields)


def decode_any(kinds: tuple[type[Message], ...], data: Buffer, step: str) -> Message:
    """`data` as the one of `kinds` with its tag; `ProtocolError` if none has it, or a rule is broken."""
    tag = Reader(data[:1], step).uint(1, "tag")
    for kind in kinds:
        if tag == kind.TAG:
            return kind.decode(data)
    raise ProtocolError(step, f"no message of this step has tag {tag:#04x}", "tag")
