"""A session stopped at each of its steps, so that something else can be delivered there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import ProtocolError, UnopenedError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import UNBOUND, Binding, Done, Item, Role, Send, concluded
from blindmatch_protocol.contract.driver import MOST_ROUNDS
from msgspec import Struct

from blindmatch_simulations.testbed.inprocess.deployed import Deployed, enrolled
from blindmatch_simulations.testbed.inprocess.fields import made_up
from blindmatch_simulations.testbed.inprocess.opened import OpenDesign
from blindmatch_simulations.testbed.inprocess.seeded import below
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError


class Stop(Redacted, Struct, frozen=True):
    """One round: the session that waits, what it sent, and the honest replies."""

    number: int
    session: Any
    bodies: Mapping[Role, Message]
    replies: Mapping[Role, Message]

    @property
    def name(self) -> str:
        """For failures."""
        return f"receive, round {self.number}"


def sent(
    deployed: OpenDesign, item: Item, rng: Randomness, binding: Binding = UNBOUND
) -> Mapping[Role, Message]:
    """What a new account's device sends first, by role; empty if that is nothing."""
    step = deployed.design.start(enrolled(deployed, rng), deployed.setup, item, binding, rng).step
    return step.bodies if isinstance(step, Send) else {}


def stops(deployed: Deployed, item: Item, rng: Randomness) -> list[Stop]:
    """All rounds of an honest session."""
    design, found = deployed.design, list[Stop]()
    step = design.start(enrolled(deployed, rng), deployed.setup, item, UNBOUND, rng).step
    while isinstance(step, Send) and len(found) < MOST_ROUNDS:
        replies = {role: deployed.answer(role, body, rng)[0] for role, body in step.bodies.items()}
        found.append(Stop(len(found) + 1, step.session, step.bodies, replies))
        step = design.receive(step.session, deployed.setup, replies, rng)
    return found


def deliver(
    deployed: Deployed, stop: Stop, role: Role, raw: bytes, rng: Randomness, altered: bool = False
) -> Done | Send[Any] | None:
    """Deliver `raw` as the reply of `role`, concluded where that ends the session; None if it is refused,
    as bytes or as a reply.

    Raises:
        BrokenError: if it ends in anything but a step or a `ProtocolError`; where it was `altered` on its way
            from a forwarded role, in anything but a step or an `UnopenedError`.
    """
    design, reply = deployed.design, None
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
    """Deliver `raw` to `role`; None if it is refused.

    Raises:
        BrokenError: if it ends in anything but a declared reply or a `ProtocolError`.
    """
    design, step = deployed.design, f"answer of {role}"
    try:
        body = decode_any(design.requests[role], raw, design.info.name)
        reply, _ = deployed.answer(role, body, rng)
    except ProtocolError:
        return None
    except Exception as error:
        raise BrokenError(step, raised(error), body=raw[:4096]) from error
    if type(reply) not in design.replies[role]:
        raise BrokenError(step, f"answers with {reply!r}, which is not declared", body=raw[:4096])
    return reply


def raised(error: Exception) -> str:
    """The rule that an error broke."""
    return f"hostile bytes end in {type(error).__name__}, not in ProtocolError: {error}"


def hostile(kinds: tuple[type[Message], ...], raw: bytes, rng: Randomness, count: int) -> Iterator[bytes]:
    """Bytes that a hostile party may send where `raw` is right.

    Extremes first: nothing, zeros, ones, other lengths, rows that are no group elements; then flipped bytes,
    made-up messages of every kind that is accepted there, and noise.
    """
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
