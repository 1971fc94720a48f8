"""docs/wire.md names every message of the two rooms with its tag, fields and their encodings."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import blindmatch_proofs
import blindmatch_protocol
from blindmatch_protocol import codec
from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.sealed_message import Curve25519Key, Version

ROOMS = (blindmatch_protocol, blindmatch_proofs)
PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
HEADING = re.compile(r"^#### `(0x[0-9a-f]{2})` (\S+)\n(.*?)(?=^#)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (\w+) \| ([^|]+) \|", re.MULTILINE)


WORDS: dict[type, Callable[[Any], str]] = {
    codec.UInt: lambda e: f"u{e.bits}",
    codec.Bool: lambda e: "flag",
    codec.Fixed: lambda e: f"{e.length} bytes",
    codec.Variable: lambda e: f"{e.least} to {e.most} bytes",
    codec.Text: lambda e: f"text to {e.most}",
    codec.Matrix: lambda e: f"{e.least} to {e.most} rows of {e.width}",
    codec.Sequence: lambda e: f"{e.least} to {e.most} of {words(e.element)}",
    codec.Nested: lambda e: f"0x{e.kind.TAG:02x}",
    Version: lambda e: f"constant {e.value}",
    Curve25519Key: lambda e: "curve25519",
}
"""How the page writes an encoding."""


def words(encoding: object) -> str:
    """The page's words for an encoding; KeyError if it has none."""
    return WORDS[type(encoding)](encoding)


def kinds() -> Iterator[type[Message]]:
    """Every message class of the two rooms that has a tag."""
    for room in ROOMS:
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    for kind in _below(Message):
        # a slotted dataclass is a second class; the first one has no slots of its own
        ours = kind.__module__.startswith(tuple(room.__name__ for room in ROOMS))
        if ours and hasattr(kind, "TAG") and "__slots__" in vars(kind):
            yield kind


def _below(kind: type[Message]) -> Iterator[type[Message]]:
    for own in kind.__subclasses__():
        yield own
        yield from _below(own)


def described() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Tag and name of each message on the page, with its fields and their encodings."""
    sections = HEADING.findall(PAGE + "\n#")
    rows = {(tag, name): ROW.findall(body) for tag, name, body in sections}
    assert len(rows) == len(sections), "a message is described twice"
    return {key: [row for row in found if row[0] != "field"] for key, found in rows.items()}


def test_the_page_describes_every_message_as_it_is_encoded() -> None:
    coded = {
        (f"0x{kind.TAG:02x}", kind.NAME): [(name, words(encoding)) for name, encoding in layout(kind)]
        for kind in kinds()
    }
    assert described() == coded


def test_no_two_messages_have_one_tag() -> None:
    tags = [kind.TAG for kind in kinds()]
    assert sorted(tags) == sorted(set(tags))
