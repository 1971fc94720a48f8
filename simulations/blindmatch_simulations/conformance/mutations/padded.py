"""oprf-psi with a field of its own in every request: what can be hidden there."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Annotated, Any, ClassVar

from blindmatch_protocol import contract
from blindmatch_protocol.codec import Fixed, Message, Variable, message
from blindmatch_protocol.contract import Answer, Binding, Item, Match, Outcome, Role, Send, Started
from blindmatch_protocol.designs.oprf_psi import Request
from blindmatch_protocol.designs.oprf_psi.design import MATCHER, OprfPsi
from blindmatch_protocol.randomness import Randomness


@message
class Padded(Message):
    """A request with room for something that does not belong there."""

    TAG: ClassVar[int] = 0x70
    NAME: ClassVar[str] = "cheat/request"
    request: Annotated[bytes, Variable(4096)]
    padding: Annotated[bytes, Variable(64)]


@dataclass(frozen=True, slots=True, repr=False)
class About:
    """What a device knows that fills the padding: its state, the set-up, the picture, and what it sends."""

    state: Any
    setup: Any
    item: Item
    sent: bytes


class PaddedPsi(OprfPsi):
    """Subclasses fill `padding`."""

    info = replace(OprfPsi.info, name="cheat")
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Padded,)}

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        started = super().start(state, setup, item, binding, rng)
        assert isinstance(started.step, Send)
        inner = started.step.bodies[MATCHER].encode()
        body = Padded(inner, self.padding(About(state, setup, item, inner), rng))
        return Started(started.state, Send(started.step.session, {MATCHER: body}))

    def padding(self, about: About, rng: Randomness) -> bytes:
        """What the request bears beside what it must."""
        return b""

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        inner = [contract.Request(Request.decode(asked.body.request)) for asked in requests]  # type: ignore[attr-defined]
        return super().answer(role, state, inner, rng, executor)


class HashInPadding(PaddedPsi):
    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:8]


class LengthTells(PaddedPsi):
    def padding(self, about: About, rng: Randomness) -> bytes:
        return rng.take(16 + (about.item.quality < 50))


class ConstantSalt(PaddedPsi):
    def padding(self, about: About, rng: Randomness) -> bytes:
        return sha256(b"salt of all devices" + about.item.hash).digest()


@message
class Salted(Message):
    """A request with a nonce and a tag."""

    TAG: ClassVar[int] = 0x71
    NAME: ClassVar[str] = "cheat/salted"
    request: Annotated[bytes, Variable(4096)]
    salt: Annotated[bytes, Fixed(16)]
    tag: Annotated[bytes, Fixed(16)]


class SaltedPsi(OprfPsi):
    """A tag over the hash under a fresh salt: new bytes each time, and yet a dictionary opens them."""

    info = replace(OprfPsi.info, name="cheat")
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Salted,)}

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        started = super().start(state, setup, item, binding, rng)
        assert isinstance(started.step, Send)
        salt = rng.take(16)
        body = Salted(started.step.bodies[MATCHER].encode(), salt, self.tag(salt, item.hash))
        return Started(started.state, Send(started.step.session, {MATCHER: body}))

    def tag(self, salt: bytes, own: bytes) -> bytes:
        """What goes with the salt."""
        return hmac.digest(salt, own, "sha256")[:16]

    def answer(
        self, role: Role, state: Any, requests: Sequence[contract.Request], rng: Randomness, executor: Any
    ) -> Answer:
        inner = [contract.Request(Request.decode(asked.body.request)) for asked in requests]  # type: ignore[attr-defined]
        return super().answer(role, state, inner, rng, executor)


class MaskedPsi(SaltedPsi):
    """The hash under a one-time pad that is sent beside it."""

    def tag(self, salt: bytes, own: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(salt, own, strict=False))


class OutcomeInNext(PaddedPsi):
    """Remembers, outside of any state, how the last picture ended, and says so in the next request."""

    def __init__(self) -> None:
        self.last = False

    def padding(self, about: About, rng: Randomness) -> bytes:
        return bytes([self.last]) + bytes(7)

    def conclude(self, session: Any, setup: Any) -> Outcome:
        outcome = super().conclude(session, setup)
        self.last = isinstance(outcome, Match)
        return outcome


@message
class Numbered(Message):
    """An account's state: its number."""

    TAG: ClassVar[int] = 0x72
    NAME: ClassVar[str] = "cheat/state"
    number: Annotated[bytes, Fixed(8)]


class LinkedAccounts(PaddedPsi):
    """Every account has a number, and every request bears it."""

    device_state: ClassVar[type[Message]] = Numbered

    def enrol(self, rng: Randomness) -> Any:
        return Numbered(rng.take(8))

    def padding(self, about: About, rng: Randomness) -> bytes:
        assert isinstance(about.state, Numbered)
        return about.state.number


@message
class Poor(Message):
    """An account's state: was the last picture too poor?"""

    TAG: ClassVar[int] = 0x73
    NAME: ClassVar[str] = "cheat/poor"
    poor: Annotated[bytes, Fixed(1)]


class StateTells(PaddedPsi):
    """The state keeps what the last picture was like, and the next request bears it."""

    device_state: ClassVar[type[Message]] = Poor

    def enrol(self, rng: Randomness) -> Any:
        return Poor(b"\0")

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        started = super().start(state, setup, item, binding, rng)
        return Started(Poor(item.hash[:1]), started.step)

    def padding(self, about: About, rng: Randomness) -> bytes:
        assert isinstance(about.state, Poor)
        return about.state.poor * 8
