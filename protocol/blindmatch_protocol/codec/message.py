"""Messages and their canonical encoding (docs/wire.md, "Canonical encoding").

A message is a frozen struct whose fields are annotated with their encoding::

    class Request(Message, tag=0x21, name="oprf-psi/request"):
        epoch: Annotated[int, UInt(64)]
        blinded: Annotated[Rows, Matrix(32, most=4096)]

The encoding is one tag byte, then the fields in order; integers are big-endian and of fixed width. A
value has exactly one encoding, and `decode` accepts nothing else: left-over bytes, a wrong tag, a count
over its bound and a non-canonical form each end in `ProtocolError`.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias, TypeVar

from msgspec import Struct, StructMeta

from blindmatch_protocol.codec.encodings import (
    Bool,
    Buffer,
    Encoding,
    Fixed,
    Matrix,
    Reader,
    Sequence,
    Text,
    UInt,
    Variable,
)
from blindmatch_protocol.codec.errors import ProtocolError

UNBOUNDED: Final = 1 << 62
"""More bytes than any message has."""
_K = TypeVar("_K", bound="_Kind")
_M = TypeVar("_M")
_Write: TypeAlias = Callable[[Any, str, str], bytes]
_Read: TypeAlias = Callable[[Reader, str], Any]
_Steps: TypeAlias = tuple[bytes, tuple[tuple[str, _Write], ...], tuple[tuple[str, _Read], ...]]


def message(kind: type[_M]) -> type[_M]:
    """`kind` as it is: a subclass of `Message` is complete, and plug-ins that say more still load."""
    return kind


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
        step, (tag, writes, _) = self.NAME, _steps(type(self))
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
    """A message's tag, and how each of its fields is written and read."""
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
