"""What every message is: frozen, compared by its encoding, and shown by its name alone."""

from typing import Annotated, ClassVar

import pytest
from blindmatch_protocol.codec import Fixed, Message, UInt, message
from blindmatch_protocol.redacted import Redacted
from msgspec import Struct
from msgspec.structs import replace
from rich.pretty import pretty_repr

SECRET = bytes(range(16))


class Ask(Message, tag=0xF1, name="test/ask"):
    epoch: Annotated[int, UInt(64)]
    body: Annotated[bytes, Fixed(16)]


@message
class Told(Message):
    TAG: ClassVar[int] = 0xF2
    NAME: ClassVar[str] = "test/told"
    epoch: Annotated[int, UInt(64)]
    body: Annotated[bytes, Fixed(16)]


class Key(Redacted, Struct, frozen=True):
    SHOWN: ClassVar = ("ident",)
    ident: int
    secret: bytes


def test_messages_are_equal_if_class_and_encoding_are() -> None:
    one, same, other = Ask(7, SECRET), Ask.decode(Ask(7, SECRET).encode()), Ask(8, SECRET)
    assert one == same and hash(one) == hash(same) and (one != same) is False
    assert one != other and (one == other) is False
    assert one != Told(7, SECRET) and one != one.encode()
    assert replace(one, epoch=8) == other


def test_what_the_classs_line_says_is_what_its_body_could_say() -> None:
    assert (Ask.TAG, Ask.NAME, Told.TAG, Told.NAME) == (0xF1, "test/ask", 0xF2, "test/told")


def test_messages_and_values_cannot_be_changed() -> None:
    for held in (Ask(7, SECRET), Key(7, SECRET)):
        with pytest.raises(AttributeError):
            setattr(held, held.__struct_fields__[0], 8)


def test_only_what_is_named_is_shown() -> None:
    assert repr(Ask(7, SECRET)) == "<test/ask>"
    assert repr(Key(7, SECRET)) == "Key(ident=7)"
    assert (pretty_repr(Ask(7, SECRET)), pretty_repr(Key(7, SECRET))) == ("Ask()", "Key(ident=7)")
    assert str(SECRET) not in f"{Ask(7, SECRET)} {Key(7, SECRET)!r} {Key(7, SECRET)}"
