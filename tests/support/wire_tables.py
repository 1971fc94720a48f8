"""Parts of docs/reference/wire.md that follow from code: methods, limits, statuses, encodings, messages."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from errno import ENOSPC
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import blindmatch_proofs
import blindmatch_protocol
from blindmatch_protocol import codec
from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.codec.errors import EpochMismatchError, ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.sealed_message import Curve25519Key, Version
from blindmatch_server.centre.retention import Retention
from blindmatch_server.centre.service import Centre, CentreConfig, CentreLimits
from blindmatch_server.hosting.authority import Kind
from blindmatch_server.hosting.calls import refusal_of
from blindmatch_server.hosting.endpoint import EVERYONE, NOT_DEVICES, Service
from blindmatch_server.hosting.limits import Rate
from blindmatch_server.hosting.metrics import Audit
from blindmatch_server.hosting.serving import Health, Reflection
from blindmatch_server.log.service import Log
from blindmatch_server.log.witness import Witness
from blindmatch_server.matching.answering import MatchingLimits
from blindmatch_server.matching.service import MatchingConfig, MatchingService
from blindmatch_server.relay.service import Relay, RelayConfig
from blindmatch_server.relay.store import RelayLimits
from blindmatch_server.storage.errors import RefusedError
from blindmatch_simulations.testbed.deployment.registry import all_designs
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from support.page_tables import table

ROOMS: Final = (blindmatch_protocol, blindmatch_proofs)
PROTO: Final = Path(blindmatch_protocol.__path__[0]) / "rpc" / "blindmatch_v1.proto"
CALLERS: Final = {
    Kind.DEVICE: "devices",
    Kind.OPERATOR: "operators",
    Kind.RELAY: "the relay",
    Kind.CENTRE: "the centre",
    Kind.HOST: "the design's servers",
}
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_TIMES: Final = ((86_400, "days"), (3_600, "h"))
LIMITS: Final[dict[str, type[Struct]]] = {
    "Matching": MatchingLimits,
    "Relay": RelayLimits,
    "Centre": CentreLimits,
}
WORDS: Final[dict[type, tuple[str, Callable[[Any], str]]]] = {
    codec.UInt: ("u8, u16, u32, u64", lambda e: f"u{e.bits}"),
    codec.Bool: ("flag", lambda e: "flag"),
    codec.Fixed: ("`length` bytes", lambda e: f"{e.length} bytes"),
    codec.Variable: ("`least` to `most` bytes", lambda e: f"{e.least} to {e.most} bytes"),
    codec.Text: ("text to `most`", lambda e: f"text to {e.most}"),
    codec.Matrix: ("`least` to `most` rows of `width`", lambda e: f"{e.least} to {e.most} rows of {e.width}"),
    codec.Sequence: ("`least` to `most` of X", lambda e: f"{e.least} to {e.most} of {words(e.element)}"),
    codec.Nested: ("0xNN", lambda e: f"0x{e.kind.TAG:02x}"),
    Version: ("constant n", lambda e: f"constant {e.value}"),
    Curve25519Key: ("curve25519", lambda e: "curve25519"),
}
"""How the page writes an encoding: in general, and of a field."""


# --- messages


def words(encoding: object) -> str:
    """The page's words for an encoding; KeyError if it has none."""
    return WORDS[type(encoding)][1](encoding)


def encodings() -> str:
    """How each encoding is written, and what it is."""
    rows = [(form, inspect.cleandoc(kind.__doc__ or "")) for kind, (form, _) in WORDS.items()]
    return table(("written", "encoding"), rows)


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


def meanings(kind: type[Message]) -> dict[str, str]:
    """The docstrings below a message's fields, those of its bases included."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, Message) and one is not Message:
            found |= _documented(ast.parse(textwrap.dedent(inspect.getsource(one))).body[0])
    return found


def _documented(node: ast.stmt) -> dict[str, str]:
    body = cast(ast.ClassDef, node).body
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }


def messages() -> str:
    """Every message by its tag: what it is, its fields, their encodings and meanings."""
    return "\n".join(_message(kind) for kind in sorted(kinds(), key=lambda kind: kind.TAG))


def _message(kind: type[Message]) -> str:
    meaning = meanings(kind)
    text = inspect.cleandoc(kind.__doc__ or "")
    rows = [(name, words(encoding), meaning.get(name, "")) for name, encoding in layout(kind)]
    told = table(("field", "encoding", "meaning"), rows) if rows else "No fields.\n"
    return f"### `0x{kind.TAG:02x}` {kind.NAME}\n\n{text}\n\n{told}"


# --- methods and limits


def services() -> list[Service]:
    """Every service of a server, for its methods alone: what it works with is missing."""
    nothing: Any = None
    design = all_designs()["oprf-psi"].design
    matching = MatchingConfig(design, nothing, Path())
    retention = Retention(nothing, 0, nothing, nothing, nothing, nothing)
    centre: list[Any] = [nothing] * 6 + [retention, nothing, CentreConfig(Path(), Path()), nothing]
    return [
        MatchingService(matching, *([nothing] * 7)),
        Relay(nothing, nothing, RelayConfig(Path()), nothing),
        Centre(*centre),
        Log(nothing, nothing, nothing, nothing),
        Witness(Path(), nothing, nothing, Party.MATCHER, nothing),
        Audit(),
        Health([], nothing),
        Reflection([]),
    ]


def methods() -> str:
    """Every method: who may call it, when it is cut off, and its comment in the .proto."""
    told = _comments()
    lines = [
        f"`{name}`: {_callers(method.callers)}; {_time(method.most_seconds)}. {told.get(name, '')}".rstrip()
        for name, method in (
            (f"{service.descriptor.full_name}.{name}".removeprefix("blindmatch.v1."), method)
            for service in services()
            for name, method in service.methods().items()
        )
    ]
    return "".join(map(_item, lines))


def _item(text: str) -> str:
    """An item of a list, wrapped."""
    return "\n".join(textwrap.wrap(f"- {text}", 118, subsequent_indent="  ", break_on_hyphens=False)) + "\n"


def _comments() -> dict[str, str]:
    """The comments above the methods of the .proto."""
    found: dict[str, str] = {}
    services = re.compile(r"^service (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
    for service, body in services.findall(PROTO.read_text()):
        for comment, name in re.findall(r"((?:^  //.*\n)+)  rpc (\w+)", body, re.MULTILINE):
            found[f"{service}.{name}"] = " ".join(comment.replace("//", "").split())
    return found


def _callers(those: frozenset[Kind]) -> str:
    named = {EVERYONE: "everyone", NOT_DEVICES: "all but devices"}
    return named.get(those) or ", ".join(sorted(CALLERS[kind] for kind in those))


def _time(seconds: float) -> str:
    whole = next(((size, unit) for size, unit in _TIMES if not seconds % size), (1, "s"))
    return f"{seconds / whole[0]:g} {whole[1]}"


def statuses() -> str:
    """Every status that our servers answer with, and when."""
    when: dict[str, list[str]] = {}
    for kind in _refusals(RefusedError):
        if kind.status is not RefusedError.status:
            when.setdefault(kind.status, []).append(_first(kind))
    for error in (EpochMismatchError("", ""), ProtocolError("", ""), TimeoutError(), OSError(ENOSPC, "")):
        refusal = refusal_of(error)
        text = _first(type(error)) if isinstance(error, ProtocolError) else f"{refusal.text}."
        when.setdefault(refusal.code.name, []).append(text[0].upper() + text[1:])
    return "".join(_item(f"`{name}`: {' '.join(texts)}") for name, texts in sorted(when.items()))


def _first(kind: type) -> str:
    """The first paragraph of its docstring, in one line."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def _refusals(kind: type[RefusedError]) -> Iterator[type[RefusedError]]:
    for own in sorted(kind.__subclasses__(), key=lambda one: one.__name__):
        yield own
        yield from _refusals(own)


def limits() -> str:
    """The bounds of the services, by the names that the code gives them, and their defaults."""
    rows = [
        (service, f"`{name}`", value, text)
        for service, kind in LIMITS.items()
        for name, value, text in _limits_of(kind)
    ]
    return table(("service", "limit", "value", "of what"), rows)


def _limits_of(kind: type[Struct]) -> Iterator[tuple[str, str, str]]:
    values = {one.name: one.default for one in fields(kind)}
    section = inspect.cleandoc(kind.__doc__ or "").split("Attributes:\n")[1]
    for names, text in re.findall(r"^    ([\w, ]+): (.*(?:\n     .*)*)", section, re.MULTILINE):
        for name in names.split(", "):
            yield name, _value(name, values.pop(name)), " ".join(text.split()).rstrip(".")
    assert not values, f"{kind.__name__} says nothing of {sorted(values)}"


def _value(name: str, value: object) -> str:
    if isinstance(value, Rate):
        every = (
            f"{value.per_second:,g} a second"
            if value.per_second >= 1
            else f"1 every {1 / value.per_second:g} s"
        )
        return f"{every}, {value.burst:,} at once"
    if value is NODEFAULT:
        return "one a core"
    number = cast(float, value)
    if name.endswith("_bytes"):
        return next(f"{number / size:g} {unit}" for size, unit in _SIZES if number >= size)
    return _time(number) if name.endswith("_seconds") else f"{number:,}{' ms' * name.endswith('_ms')}"


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "the methods of the services: make pages": methods,
    "the limits of the services: make pages": limits,
    "the statuses: make pages": statuses,
    "the encodings: make pages": encodings,
    "the messages: make pages": messages,
}
"""What writes each block, by its name."""
