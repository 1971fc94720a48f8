"""What every message is: frozen, compared by its encoding, and shown by its name alone."""

from dataclasses import field
from typing import Annotated, Any, ClassVar

import pytest
from blindmatch_protocol.codec import Fixed, Message, Sequence, UInt
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Category, Extraction, Fact, Severity
from msgspec import Struct
from msgspec.structs import replace
from rich.pretty import pretty_repr

SECRET = bytes(range(16))


class Ask(Message, tag=0xF1, name="test/ask"):
    epoch: Annotated[int, UInt(64)]
    body: Annotated[bytes, Fixed(16)]


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
    one = Ask(7, SECRET)
    same = Ask.decode(Ask(7, SECRET).encode())
    other = Ask(8, SECRET)
    assert one == same and hash(one) == hash(same) and (one != same) is False
    assert one != other and (one == other) is False
    assert one != Told(7, SECRET) and one != one.encode()
    assert replace(one, epoch=8) == other


def test_what_the_classs_line_says_is_what_its_body_could_say() -> None:
    assert (Ask.TAG, Ask.NAME, Told.TAG, Told.NAME) == (0xF1, "test/ask", 0xF2, "test/told")


@pytest.mark.parametrize("spelt", ["ClassVar", "typing.ClassVar[{}]", "t.ClassVar[{}]", "Constant[{}]"])
def test_tag_and_name_are_no_fields_whatever_their_annotation_is_called(spelt: str) -> None:
    space = {"TAG": 0xF3, "NAME": "test/spelt", "__module__": __name__}
    noted = {"TAG": spelt.format("int"), "NAME": spelt.format("str"), "epoch": Annotated[int, UInt(64)]}
    kind: Any = type(Message)("Spelt", (Message,), {**space, "__annotations__": noted})
    assert kind.__struct_fields__ == ("epoch",)
    assert kind.decode(kind(7).encode()) == kind(7)


def test_what_dataclasses_call_a_field_is_no_default() -> None:
    said = r"^Late\.epoch: write the default alone, or none, for dataclasses\.field$"
    with pytest.raises(TypeError, match=said):

        class Late(Message, tag=0xF4, name="test/late"):
            epoch: Annotated[int, UInt(64)] = field(default=7)


def test_messages_and_values_cannot_be_changed() -> None:
    for held in (Ask(7, SECRET), Key(7, SECRET)):
        with pytest.raises(AttributeError):
            setattr(held, held.__struct_fields__[0], 8)


def test_only_what_is_named_is_shown() -> None:
    assert repr(Ask(7, SECRET)) == "<test/ask>"
    assert repr(Key(7, SECRET)) == "Key(ident=7)"
    assert (pretty_repr(Ask(7, SECRET)), pretty_repr(Key(7, SECRET))) == ("Ask()", "Key(ident=7)")
    assert str(SECRET) not in f"{Ask(7, SECRET)} {Key(7, SECRET)!r} {Key(7, SECRET)}"


def test_what_is_no_sequence_is_not_written_as_an_empty_one() -> None:
    assert Sequence(UInt(8), 3).write((), "step", "field") == bytes(4)
    for value in (None, 0, False):
        with pytest.raises(TypeError):
            Sequence(UInt(8), 3).write(value, "step", "field")  # type: ignore[arg-type]


def test_functions_of_what_is_declared_do_not_count_in_comparisons() -> None:
    class Model:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, item: object) -> float:
            return 1.0

    for made in (
        lambda: Category("bright", 0.5, Model()),
        lambda: Extraction("tokens", Model()),
        lambda: Fact("my.fact", "what it says", Severity.HASH, Model()),
    ):
        one = made()
        same = made()
        assert one == same and hash(one) == hash(same) and (one != same) is False
    assert Category("bright", 0.5, Model()) != Category("bright", 0.6, Model())
    assert Fact("my.fact", "what it says", Severity.HASH, Model()) != Fact(
        "my.fact", "what else it says", Severity.HASH, Model()
    )
