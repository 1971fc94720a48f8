"""What an account's history says: in its first hundred pictures, after its offline phase, or of the past."""

from __future__ import annotations

from hashlib import shake_256
from typing import Annotated, Any, ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message, UInt
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.designs.facts import ENROLMENT, leaks
from blindmatch_protocol.designs.voprf import MATCHER

from planted import Planted, xor
from planted.mutations.hooks import About, PaddedPsi, variant

BYTES = 8
NOTHING = bytes(BYTES)


class Past(Message, tag=0x77, name="cheat/past"):
    """An account's state: pictures, offline phases, and bytes that a cheat remembers."""

    pictures: Annotated[int, UInt(32)]
    prepared: Annotated[int, UInt(32)]
    held: Annotated[bytes, Fixed(BYTES)]


class Stateful(PaddedPsi):
    """Every account has a state, and every request room for what it says."""

    device_state: ClassVar[type[Message]] = Past

    def enrol(self, rng: Randomness) -> Any:
        return Past(0, 0, NOTHING)

    def prepare(self, state: Any, setup: Any, rng: Randomness) -> Any:
        return Past(state.pictures, state.prepared + 1, state.held)

    def kept(self, about: About, state: Message) -> Message:
        past = about.state
        return Past(past.pictures + 1, past.prepared, self.remembered(about))

    def remembered(self, about: About) -> bytes:
        """What is kept of a picture."""
        held: bytes = about.state.held
        return held


def stream(about: About, rng: Randomness) -> bytes:
    """Bytes that the picture decides under each tape, and that say nothing."""
    return shake_256(rng.take(BYTES) + about.item.hash).digest(BYTES)


def twentieth(self: Any, about: About, rng: Randomness) -> bytes:
    filler = rng.take(BYTES)
    return filler if about.state.pictures != 20 else about.item.hash[:BYTES]


def second_phase(self: Any, about: About, rng: Randomness) -> bytes:
    return about.item.hash[:BYTES] if about.state.prepared >= 2 else NOTHING


def later_under_request(self: Any, about: About, rng: Randomness) -> bytes:
    drawn = stream(about, rng)
    return xor(about.sent[-16:], about.item.hash[::-1])[:BYTES] if about.state.pictures >= 17 else drawn


def first_in_later(self: Any, about: About, rng: Randomness) -> bytes:
    drawn = stream(about, rng)
    return xor(about.sent[-16:], about.state.held)[:BYTES] if about.state.pictures >= 10 else drawn


class Another:
    """A picture, with another hash."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self.hash = shake_256(item.hash).digest(32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.item, name)


class FindsNoneLater(Stateful):
    """Asks about another hash from an account's eleventh picture on."""

    def start(self, state: Any, setup: Any, item: Any, *more: Any) -> Any:
        return super().start(state, setup, Another(item) if state.pictures >= 10 else item, *more)


class Enrolled(Message, tag=0x78, name="cheat/enrolment"):
    """What a role holds of an account, and room."""

    held: Annotated[bytes, Fixed(BYTES)]


class EnrolsWithPicture(Stateful):
    """Enrols anew every ten epochs, and tells the last picture."""

    enrolments: ClassVar[Any] = {MATCHER: (Enrolled,)}

    def leakage(self) -> tuple[bm.Leak, ...]:
        return (*super().leakage(), *leaks({bm.Party.MATCHER}, ENROLMENT))

    def enrolment_key(self, setup: Any) -> bytes:
        return bytes([setup.epoch // 10 % 256])

    def enrolment(self, state: Any, setup: Any, rng: Randomness) -> Any:
        filler = rng.take(BYTES)
        return bm.Enrolment(state, {MATCHER: Enrolled(state.held if state.pictures else filler)})

    def remembered(self, about: About) -> bytes:
        return about.item.hash[:BYTES]


CHEATS = (
    Planted("the last picture, under the next key", EnrolsWithPicture, "repetition", "enrolment"),
    Planted("nothing is found from the eleventh picture on", FindsNoneLater, "growth", "session"),
    Planted("the twentieth picture", variant(Stateful, padding=twentieth), "repetition", "start"),
    Planted("after the second offline phase", variant(Stateful, padding=second_phase), "repetition", "start"),
    Planted("under the request", variant(Stateful, padding=later_under_request), "repetition", "start"),
    Planted(
        "a picture in later requests",
        variant(
            Stateful,
            padding=first_in_later,
            remembered=lambda _, about: (
                about.item.hash[:BYTES] if not about.state.pictures else about.state.held
            ),
        ),
        "repetition",
        "start",
    ),
)
