"""Cheats of what a request bears beside itself, always or under a condition; and of what is remembered."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final

from blindmatch_protocol.codec import Fixed, Message
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Binding, Item, Label, Match, Outcome, Request, Send, Started
from blindmatch_protocol.designs.voprf import MATCHER

from planted import xor
from planted.mutations.hooks import About, Padded, PaddedPsi, Psi, planted, poor, variant

BYTES: Final = 8
NOTHING: Final = bytes(BYTES)
ELEMENT: Final = 32
SPARE: Final = 0x80
COVERED: Final = 4
PERIOD: Final = 1_000


def telling(when: Callable[[About], bool]) -> type[PaddedPsi]:
    """Tells of the picture, under a condition."""
    return variant(
        PaddedPsi, padding=lambda _, about, rng: about.item.hash[:BYTES] if when(about) else NOTHING
    )


def salted(tag: Callable[[About], bytes]) -> type[PaddedPsi]:
    """A fresh salt, and what goes with it."""
    return variant(PaddedPsi, salt=lambda _, rng: rng.take(16), padding=lambda _, about, rng: tag(about)[:16])


planted("the hash in the padding", "games")(telling(lambda about: True))
planted("a leak once there is a delta", "relations", "after an update")(
    telling(lambda about: bool(about.setup.deltas))
)
planted("a leak in large sets", "relations", "a large set")(
    telling(lambda about: about.setup.entries > 1_000)
)
planted("a leak of large pictures", "relations", "as published")(
    telling(lambda about: about.item.pixels.size > 1_000_000)
)
planted("a leak of pictures of middling quality", "relations", "a large set")(
    telling(lambda about: 50 <= about.item.quality < 100)
)
planted("the length tells", "games")(
    variant(PaddedPsi, padding=lambda _, about, rng: rng.take(16 + poor(about)))
)
planted("a digest with a constant salt", "egress")(
    variant(
        PaddedPsi, padding=lambda _, about, rng: sha256(b"salt of all devices" + about.item.hash).digest()
    )
)
planted("a digest with a fresh salt beside it", "games")(
    salted(lambda about: hmac.digest(about.salt, about.item.hash, "sha256"))
)
planted("the hash under a pad beside it", "games")(salted(lambda about: xor(about.salt, about.item.hash)))
planted("the hash under a field that everybody sees", "relations", "as published")(
    variant(
        PaddedPsi,
        padding=lambda _, about, rng: xor(about.sent[-ELEMENT:][:16], about.item.hash[:16][::-1]),
    )
)


@planted("a bit in the spare bit of an element", "relations", "as published")
class SpareBit(PaddedPsi):
    """One bit of the picture in the bit of a group element's encoding that is always zero."""

    def sent(self, about: About, step: Send[Any], rng: Randomness) -> Send[Any]:
        made = super().sent(about, step, rng)
        bit = SPARE if about.item.hash[0] & 1 else 0
        return Send(made.session, {role: _with_spare(body, bit) for role, body in made.bodies.items()})

    def handed(self, state: Any, requests: Sequence[Request]) -> Sequence[Request]:
        return super().handed(state, [Request(_with_spare(asked.body, 0)) for asked in requests])


def _with_spare(body: Any, bit: int) -> Padded:
    raw: bytes = body.request
    return Padded(raw[:-1] + bytes([raw[-1] & ~SPARE | bit]), body.padding, body.salt)


@planted("one bit of the request tells", "games")
class CovertBit(Psi):
    """Draws blinds until one bit of the request says whether the picture is too poor."""

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        while True:
            started = super().start(state, setup, item, binding, rng)
            assert isinstance(started.step, Send)
            last = started.step.bodies[MATCHER].encode()[-2]
            if bool(last & 1) == poor(About(state, setup, item)):
                return started


@planted("memory of all matches", "growth")
class RemembersMatches(Psi):
    def __init__(self) -> None:
        self.seen: list[Label] = []

    def ended(self, outcome: Outcome, session: Any) -> Outcome:
        if isinstance(outcome, Match):
            self.seen.append(outcome.label)
        return outcome


@planted("the last outcome in the next request", "games")
class OutcomeInNext(PaddedPsi):
    """Remembers it outside of any state."""

    def __init__(self) -> None:
        self.last = False

    def padding(self, about: About, rng: Randomness) -> bytes:
        return bytes([self.last]) + bytes(7)

    def ended(self, outcome: Outcome, session: Any) -> Outcome:
        self.last = isinstance(outcome, Match)
        return outcome


@planted("a leak of every thousandth picture", "repetition", "start")
class EveryThousandth(PaddedPsi):
    """Of those that the process starts."""

    def __init__(self) -> None:
        self.started = 0

    def padding(self, about: About, rng: Randomness) -> bytes:
        self.started += 1
        return NOTHING if self.started % PERIOD else about.item.hash[:BYTES]


class Held(Message, tag=0x72, name="cheat/state"):
    """An account's state."""

    held: Annotated[bytes, Fixed(BYTES)]

    @property
    def number(self) -> int:
        return int.from_bytes(self.held, "big")

    @property
    def next(self) -> Held:
        return Held((self.number + 1).to_bytes(BYTES, "big"))


class Remembering(PaddedPsi):
    """Every account has a state, at first of zeros, and every request bears it."""

    device_state: ClassVar[type[Message]] = Held

    def enrol(self, rng: Randomness) -> Any:
        return Held(NOTHING)

    def padding(self, about: About, rng: Randomness) -> bytes:
        held: bytes = about.state.held
        return held


planted("a state that links an account's requests", "games")(
    variant(Remembering, enrol=lambda _, rng: Held(rng.take(BYTES)))
)
planted("the last picture in the next request, by the state", "games")(
    variant(Remembering, kept=lambda _, about, state: Held(about.item.hash[:1] * BYTES))
)
planted("a leak of an account's thousandth picture", "repetition", "start")(
    variant(
        Remembering,
        kept=lambda _, about, state: Held(NOTHING) if about.state.number == PERIOD - 1 else about.state.next,
        padding=lambda _, about, rng: (
            about.item.hash[:BYTES] if about.state.number == PERIOD - 1 else NOTHING
        ),
    )
)
planted("cover for the first pictures of a day alone", "games", "a day of pictures")(
    variant(
        Remembering,
        asks=lambda _, about: not poor(about) or about.state.number < COVERED,
        kept=lambda _, about, state: about.state.next,
        padding=lambda _, about, rng: NOTHING,
    )
)


@planted("the hash under a digest beside filler that seldom grows", "relations")
class SeldomGrows(PaddedPsi):
    """One bit of 384 of the filler is set in 7 of 256 sessions: the space of what is sent grows for ever."""

    def salt(self, rng: Randomness) -> bytes:
        return sha256(rng.take(32)).digest()[:16]

    def padding(self, about: About, rng: Randomness) -> bytes:
        drawn = rng.take(3)
        filler = bytearray(48)
        if drawn[0] < 7:
            filler[drawn[1] % 48] = 1 << drawn[2] % 8
        return xor(about.salt, about.item.hash[::-1][:16]) + bytes(filler)  # in no dictionary
