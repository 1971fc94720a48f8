"""What checks take apart: sessions at each step, messages in fields, set files.

A library that draws from its own source (`Info.native_randomness`) gives other bytes each time. What can be
held against a second run then are numbers, texts, lengths and shapes; bytes are held against fresh runs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterator, Mapping
from io import BytesIO
from typing import Any, Final

import numpy as np
from blindmatch_protocol import codec
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError, UnopenedError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import UNBOUND, AnyDesign, Binding, Done, Item, Role, Send, concluded
from blindmatch_protocol.contract.driver import MOST_ROUNDS
from blindmatch_protocol.setfile import SetFile, SetFileWriter, layout
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.testbed.inprocess.deployed import Deployed, OpenDesign, enrolled
from blindmatch_simulations.testbed.inprocess.leaves import fields_of
from blindmatch_simulations.testbed.inprocess.telling import shown_value
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError


def below(rng: Randomness, bound: int) -> int:
    """A number from 0 to `bound` - 1; the bias is below 2^-32 for bounds under 2^32."""
    return int.from_bytes(rng.take(8), "big") % bound


def flag(rng: Randomness) -> bool:
    return bool(rng.take(1)[0] & 1)


def set_file(raw: bytes) -> SetFile | None:
    """A set file of the design that its header names; None if it is no set file."""
    try:
        identity = layout.unpack_header(raw[: layout.HEADER.size])
        return SetFile(raw, "a file", identity.design, identity.design_version)
    except (SetFileError, struct.error):
        return None


def resealed(file: SetFile, content: Callable[[tuple[int, int], bytes], bytes], **identity: Any) -> bytes:
    """`file` with the content that `content` gives of each section's key (kind and index) and what it was,
    and other fields of its identity; all digests are right."""
    out = BytesIO()
    writer = SetFileWriter(out, replace(file.identity, **identity))
    for key, section in file.sections.items():
        writer.section(section.kind, [content(key, bytes(file.section(*key)))], section.items)
    writer.finish(file.entries)
    return out.getvalue()


SMALL = 40
"""Bytes and elements that a made-up field has at most, beyond its least."""


LEAST_PART: Final = 4
"""Bytes that a value must have to be looked for inside a field: shorter ones meet by chance."""


def stands_in(value: Hashable, seen: list[Any]) -> bool:
    """Does a value stand in fields, in whatever way it is written?"""
    if isinstance(value, tuple):
        return all(silent(part) or stands_in(part, seen) for part in value)
    if any(type(one) is type(value) and one == value for one in seen):
        return True
    written = _written(value)
    return any(
        len(raw) >= LEAST_PART and raw in one for one in seen if isinstance(one, bytes) for raw in written
    )


def _written(value: Hashable) -> list[bytes]:
    """A value as bytes: as it is, a number in both orders, text also read as hexadecimal."""
    match value:
        case bytes():
            return [value]
        case int() if value >= 0:
            length = -(-value.bit_length() // 8)
            return [value.to_bytes(length, "big"), value.to_bytes(length, "little")]
        case str():
            digits = value if len(value) % 2 == 0 and set(value) <= set("0123456789abcdefABCDEF") else ""
            return [value.encode(), bytes.fromhex(digits)]
        case _:
            return []


def silent(value: Hashable) -> bool:
    """Does a value say nothing: is it None, or bytes without a one?"""
    return value is None or (isinstance(value, bytes) and not any(value))


def byte_fields(message: codec.Message) -> list[bytes]:
    return [value for _, value in fields_of(message) if isinstance(value, bytes)]


def made_up(kind: type[codec.Message], rng: Randomness, tries: int = 8) -> list[codec.Message]:
    """Random messages of `kind` that its own rules accept; maybe none."""
    found: list[codec.Message] = []
    for _ in range(tries):
        try:
            message = kind(**{name: _value(encoding, rng) for name, encoding in codec.layout(kind)})
            found.append(kind.decode(message.encode()))
        except ProtocolError:
            continue
    return found


def _value(encoding: Any, rng: Randomness) -> Any:
    match encoding:
        case codec.UInt(bits):
            return int.from_bytes(rng.take(bits // 8), "big")
        case codec.Bool():
            return flag(rng)
        case codec.Fixed(length):
            return rng.take(length)
        case codec.Variable():
            return rng.take(_count(encoding, rng))
        case codec.Text(most):
            return rng.take(min(most, SMALL)).hex()[: min(most, SMALL)]
        case codec.Matrix():
            rows = _count(encoding, rng)
            return np.frombuffer(rng.take(rows * encoding.width), np.uint8).reshape(rows, encoding.width)
        case codec.Sequence():
            return tuple(_value(encoding.element, rng) for _ in range(_count(encoding, rng)))
        case codec.Nested(kind):
            return kind(**{name: _value(inner, rng) for name, inner in codec.layout(kind)})
        case _:
            raise ProtocolError("conformance", f"no values are made up for {type(encoding).__name__}")


def _count(encoding: Any, rng: Randomness) -> int:
    spread = min(SMALL, encoding.most - encoding.least)
    return int(encoding.least) + below(rng, spread + 1)


def decided(design: AnyDesign, value: Any) -> Any:
    """`value`, or its form if the design declares native randomness. To be compared with another of them."""
    return _form(value) if design.info.native_randomness else value


def _form(value: Any) -> Any:
    match value:
        case bytes() | bytearray() | memoryview():
            return len(value)
        case np.ndarray():
            return value.shape
        case codec.Message():
            return type(value), [(path, _form(part)) for path, part in fields_of(value)]
        case Mapping():
            return {key: _form(part) for key, part in value.items()}
        case list() | tuple():
            return [_form(part) for part in value]
    return value


def limits(design: AnyDesign) -> str:
    native = design.info.native_randomness
    return f"; native randomness ({native}): forms, lengths and outcomes, not bytes" if native else ""


class Stop(Redacted, Struct, frozen=True):
    """One round: the session that waits, what it sent, and the honest replies."""

    number: int
    session: Any
    bodies: Mapping[Role, Message]
    replies: Mapping[Role, Message]

    @property
    def name(self) -> str:
        return f"receive, round {self.number}"


def sent(
    deployed: OpenDesign, item: Item, rng: Randomness, binding: Binding = UNBOUND
) -> Mapping[Role, Message]:
    """What a new account's device sends first, by role; empty if that is nothing."""
    return first_bodies(deployed, item, enrolled(deployed, rng), rng, binding)


def first_bodies(
    deployed: OpenDesign, item: Item, state: Message, rng: Randomness, binding: Binding = UNBOUND
) -> Mapping[Role, Message]:
    """What the device of an account in this state sends first, by role; empty if that is nothing."""
    step = deployed.design.start(state, deployed.setup, item, binding, rng).step
    return step.bodies if isinstance(step, Send) else {}


def stops(deployed: Deployed, item: Item, rng: Randomness) -> list[Stop]:
    """All rounds of an honest session."""
    design = deployed.design
    found = list[Stop]()
    step = design.start(enrolled(deployed, rng), deployed.setup, item, UNBOUND, rng).step
    while isinstance(step, Send) and len(found) < MOST_ROUNDS:
        replies = {role: deployed.answer(role, body, rng)[0] for role, body in step.bodies.items()}
        found.append(Stop(len(found) + 1, step.session, step.bodies, replies))
        step = design.receive(step.session, deployed.setup, replies, rng)
    return found


def deliver(
    deployed: Deployed, stop: Stop, role: Role, raw: bytes, rng: Randomness, altered: bool = False
) -> Done | Send[Any] | None:
    """Deliver `raw` as the reply of `role`, concluded where that ends the session; None if it is refused, as
    bytes or as a reply; `BrokenError` if it ends in anything but a step or a `ProtocolError`; where it was
    `altered` on its way from a forwarded role, in anything but a step or an `UnopenedError`."""
    design = deployed.design
    reply = None
    try:
        reply = decode_any(design.replies[role], raw, design.info.name)
        step = design.receive(stop.session, deployed.setup, {**stop.replies, role: reply}, rng)
        return concluded(design, step, deployed.setup)
    except ProtocolError as error:
        if altered and reply and role in design.info.forwarded and not isinstance(error, UnopenedError):
            rule = "a reply that its carrier altered must end in UnopenedError: the role is not to blame"
            raise BrokenError(stop.name, rule, role=role, reply=raw[:4096]) from error
        return None
    except Exception as error:
        raise BrokenError(stop.name, raised(error), role=role, reply=raw[:4096]) from error


def ask(deployed: Deployed, role: Role, raw: bytes, rng: Randomness) -> Message | None:
    """Deliver `raw` to `role`; None if it is refused; `BrokenError` if it ends in anything but a declared
    reply or a `ProtocolError`."""
    design = deployed.design
    step = f"answer of {role}"
    try:
        body = decode_any(design.requests[role], raw, design.info.name)
        reply, _ = deployed.answer(role, body, rng)
    except ProtocolError:
        return None
    except Exception as error:
        raise BrokenError(step, raised(error), body=raw[:4096]) from error
    if type(reply) not in design.replies[role]:
        raise BrokenError(step, f"answers with {shown_value(reply)}, which is not declared", body=raw[:4096])
    return reply


def raised(error: Exception) -> str:
    """The rule that an error broke."""
    return f"hostile bytes end in {type(error).__name__}, not in ProtocolError: {error}"


def hostile(kinds: tuple[type[Message], ...], raw: bytes, rng: Randomness, count: int) -> Iterator[bytes]:
    """Bytes that a hostile party may send where `raw` is right, extremes first: nothing, zeros, ones, other
    lengths, rows that are no group elements; then flipped bytes, made-up messages of every kind that is
    accepted there, and noise."""
    yield from (b"", raw[:1], raw[:-1], raw + b"\0", bytes(len(raw)), b"\xff" * len(raw))
    yield from (raw[:1] + fill * (len(raw) - 1) for fill in (b"\0", b"\xff"))
    for at in range(0, min(len(raw), 16 * 32), 32):
        for fill in (b"\0", b"\xff"):
            tail = min(32, len(raw) - 1)
            place = max(1, len(raw) - at - tail)
            yield raw[:place] + fill * tail + raw[place + tail :]
    for kind in kinds:
        yield from (made.encode() for made in made_up(kind, rng, 4))
    for _ in range(count):
        altered = bytearray(raw)
        altered[below(rng, len(raw))] ^= 1 << below(rng, 8)
        yield bytes(altered)
    for _ in range(count // 8):
        yield raw[:1] + rng.take(len(raw) - 1)
