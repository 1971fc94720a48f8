"""Cheats of what is drawn after the first round, and of what hides a picture in one round alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256, shake_256
from typing import Annotated, Any, ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message, Variable, decode_any
from blindmatch_protocol.codec.randomness import Randomness, replayed, seeded
from blindmatch_protocol.designs import oprf_psi
from blindmatch_protocol.designs.facts import ENROLMENT, leaks
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.designs.voprf.round import CertifyRequest
from msgspec import Struct

from planted import xor
from planted.mutations.hooks import About, PaddedPsi, Psi, planted, variant

FILLER = 32
"""Bytes that `start` of oprf-psi draws for a picture that is too poor."""
UNIFORM = 64
"""Bytes that it draws for the blind."""


class Knock(Message, tag=0x71, name="cheat/knock"):
    """The first request, which no picture has a part in."""

    ticket: Annotated[bytes, Fixed(16)]


class Opened(Message, tag=0x72, name="cheat/opened"):
    """The reply to it."""


class Waits(Struct, frozen=True):
    """A session after the first request, with what it sends in the second round."""

    then: bm.Started[Any, Any]


class TicketFirst(Psi):
    """Honest: draws a ticket of 16 bytes, sends it alone, and oprf-psi's request in the second round."""

    requests: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {
        MATCHER: (Knock, oprf_psi.Request, CertifyRequest)
    }
    replies: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {
        MATCHER: (Opened, *Psi.replies[MATCHER])
    }

    def ticket(self, rng: Randomness) -> bytes:
        """What is sent first."""
        return rng.take(16)

    def start(self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness) -> Any:
        ticket = self.ticket(rng)
        started = super().start(state, setup, item, binding, rng)
        return bm.Started(started.state, bm.Send(Waits(started), {MATCHER: Knock(ticket)}))

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        if isinstance(session, Waits):
            return session.then.step
        return super().receive(session, setup, replies, rng)

    def answer(
        self, role: bm.Role, state: Any, requests: Sequence[bm.Request], rng: Randomness, executor: Any
    ) -> bm.Answer:
        found: list[Any] = []
        for one in requests:
            if isinstance(one.body, Knock):
                found.append(Opened())
            else:
                found += super().answer(role, state, [one], rng, executor).replies
        return bm.Answer(found)


def short_randomness(rng: Randomness, count: int) -> Randomness:
    """Randomness of which a blind is made that so many bytes decide."""
    return replayed(rng.take(FILLER + UNIFORM)[: FILLER + count] + bytes(UNIFORM - count))


planted("a blind of 32 bits beside a long salt", "draws", "start")(
    variant(
        PaddedPsi,
        salt=lambda _, rng: rng.take(16),
        drawn=lambda _, about, rng: seeded(rng.take(FILLER + UNIFORM)[:4].hex()),
    )
)


@planted("a blind of 16 bits after a long ticket", "draws", "session")
class ShortAfterTicket(TicketFirst):
    """The ticket's 16 bytes hide nothing of the second round, in which the picture is."""

    def drawn(self, about: Any, rng: Randomness) -> Randomness:
        return short_randomness(rng, 2)


@planted("a blind of 16 bits beside long tickets, drawn later", "draws", "session")
class DrawnLater(TicketFirst):
    """Draws the blind in `receive`, of which no start says anything."""

    def start(self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness) -> Any:
        later = (state, item, binding)
        return bm.Started(state, bm.Send(Later(*later), {MATCHER: Knock(self.ticket(rng))}))

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        if isinstance(session, Later):
            drawn = short_randomness(rng, 2)
            return Psi.start(self, session.state, setup, session.item, session.binding, drawn).step
        return super().receive(session, setup, replies, rng)


class Later(Struct, frozen=True):
    """A session that has not looked at its picture."""

    state: Any
    item: bm.Item
    binding: bm.Binding


class Nonced(Message, tag=0x73, name="cheat/nonced"):
    """A request, and a nonce beside it."""

    request: Annotated[bytes, Variable(4096)]
    nonce: Annotated[bytes, Fixed(16)]


@planted("a nonce of the second round comes again", "draws", "session")
class NonceAgain(TicketFirst):
    """Bears beside its second request a nonce of 16 bytes that follows from four drawn bits."""

    requests: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Knock, Nonced)}

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        step = super().receive(session, setup, replies, rng)
        if not isinstance(session, Waits):
            return step
        nonce = bytes([rng.take(1)[0] & 15]) * 16
        return bm.Send(step.session, {MATCHER: Nonced(step.bodies[MATCHER].encode(), nonce)})

    def handed(self, state: Any, requests: Sequence[bm.Request]) -> Sequence[bm.Request]:
        bodies: list[Any] = [asked.body for asked in requests]
        kinds = (oprf_psi.Request, CertifyRequest)
        return [bm.Request(decode_any(kinds, body.request, "cheat")) for body in bodies]


def masked(key: bytes, plain: bytes) -> bytes:
    return xor(plain, shake_256(key).digest(len(plain)))


@planted("a blind of 16 bits with a zero behind", "draws", "start")
class ZeroBehind(PaddedPsi):
    def salt(self, rng: Randomness) -> bytes:
        return rng.take(16)

    def padding(self, about: About, rng: Randomness) -> bytes:
        few = sha256(rng.take(32)).digest()[:2]
        return masked(few, about.item.hash[:8] + bytes(7)) + b"\0"


class Counted(Message, tag=0x7B, name="cheat/counted"):
    """An account's key, and how many pictures it has asked about."""

    key: Annotated[bytes, Fixed(32)]
    pictures: Annotated[int, bm.UInt(32)]


class OfAccount(PaddedPsi):
    """What it sends hangs on a key that the account drew, and on how many pictures it had."""

    device_state: ClassVar[type[Message]] = Counted

    def enrol(self, rng: Randomness) -> Any:
        return Counted(rng.take(32), 0)

    def kept(self, about: About, state: Message) -> Message:
        return Counted(about.state.key, about.state.pictures + 1)


@planted("pads of an account that come again every eighth picture", "draws", "start")
class PadsAgain(OfAccount):
    def padding(self, about: About, rng: Randomness) -> bytes:
        return masked(about.state.key + bytes([about.state.pictures % 8]), about.item.hash[:16])


@planted("pads of 16 bits that follow from an account's long key", "draws", "start")
class ShortPads(OfAccount):
    def salt(self, rng: Randomness) -> bytes:
        return rng.take(16)

    def padding(self, about: About, rng: Randomness) -> bytes:
        few = sha256(about.state.key + about.state.pictures.to_bytes(4, "big")).digest()[:2]
        return masked(few, about.item.hash[:8] + bytes(8))


def stretched(few: bytes, count: int) -> bytes:
    """So many bytes that a few decide."""
    return shake_256(b"few" + few).digest(count)


class Salted(PaddedPsi):
    """Sends 16 drawn bytes beside what it hides."""

    def salt(self, rng: Randomness) -> bytes:
        return rng.take(16)


planted("a field of 15 bytes under a blind of 16 bits", "draws", "start")(
    variant(
        Salted,
        padding=lambda _, about, rng: xor(
            stretched(sha256(rng.take(32)).digest()[:2], 15), about.item.hash[:8] + bytes(7)
        ),
    )
)
planted("a field of six bytes under a blind of 16 bits", "draws", "start")(
    variant(
        Salted,
        padding=lambda _, about, rng: xor(
            stretched(sha256(rng.take(32)).digest()[:2], 6), about.item.hash[:6]
        ),
    )
)


@planted("a blind of 12 bits, every other byte noise", "draws", "start")
class ShortBlindWovenWithNoise(Salted):
    def padding(self, about: About, rng: Randomness) -> bytes:
        few = int.from_bytes(sha256(rng.take(16)).digest()[:2], "big") >> 4
        hidden = xor(stretched(few.to_bytes(2, "big"), 16), about.item.hash[:8] + bytes(8))
        noise = shake_256(rng.take(32)).digest(16)
        return bytes(byte for pair in zip(hidden, noise, strict=True) for byte in pair)


@planted("a blind of 16 bits amid long noise", "draws", "start")
class ShortAmidNoise(PaddedPsi):
    def padding(self, about: About, rng: Randomness) -> bytes:
        noise = shake_256(rng.take(32)).digest(40)
        few = sha256(rng.take(32)).digest()[:2]
        return noise[:20] + masked(few, about.item.hash[:8]) + noise[20:]


@planted("a blind of 16 bits behind noise of a drawn length", "draws", "start")
class ShortBehindNoise(PaddedPsi):
    def padding(self, about: About, rng: Randomness) -> bytes:
        drawn = rng.take(32)
        noise = shake_256(drawn).digest(1 + drawn[0] % 24)
        few = sha256(rng.take(32)).digest()[:2]
        return noise + masked(few, about.item.hash[:16])


planted("a key of 16 bits under a fresh nonce", "draws", "start")(
    variant(
        Salted,
        padding=lambda _, about, rng: sha256(rng.take(2) + about.salt + about.item.hash).digest()[:16],
    )
)


def one_bit(at: int) -> Any:
    """A bit of the hash under a pad of 40 drawn bits."""

    def padding(_: Any, about: About, rng: Randomness) -> bytes:
        bit = about.item.hash[at // 8] >> (7 - at % 8) & 1
        return masked(rng.take(5), bytes([bit]) * 16)

    return padding


for _at in (1, 3, 8):
    planted(f"bit {_at} of the hash under a pad of 40 bits", "draws", "start")(
        variant(Salted, padding=one_bit(_at))
    )


@planted("an account's key of 16 bits under a fresh nonce", "draws", "start")
class ShortAccountKey(OfAccount):
    def salt(self, rng: Randomness) -> bytes:
        return rng.take(16)

    def padding(self, about: About, rng: Randomness) -> bytes:
        few = sha256(about.state.key).digest()[:2]
        return sha256(few + about.salt + about.item.hash).digest()[:16]


@planted("pads of an account that ten drawn bits pick", "draws", "start")
class PickedPads(OfAccount):
    def padding(self, about: About, rng: Randomness) -> bytes:
        drawn = rng.take(2)
        picked = bytes([drawn[0], drawn[1] & 3])
        noise = sha256(rng.take(16)).digest()[:8]
        return masked(about.state.key + picked, about.item.hash[:16]) + noise


@planted("pads that come again every eighth picture before noise", "draws", "start")
class PadsAgainBeforeNoise(OfAccount):
    def padding(self, about: About, rng: Randomness) -> bytes:
        pad = masked(about.state.key + bytes([about.state.pictures % 8]), about.item.hash[:16])
        return pad + sha256(rng.take(16)).digest()[:8]


class EnrolledMark(Message, tag=0x7D, name="cheat/mark"):
    """What the matcher holds of an account."""

    mark: Annotated[bytes, Fixed(16)]


class Enrolling(OfAccount):
    """Accounts enrol with the matcher, which is declared."""

    enrolments: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (EnrolledMark,)}

    def leakage(self) -> tuple[bm.Leak, ...]:
        return (*super().leakage(), *leaks({bm.Party.MATCHER}, ENROLMENT))

    def enrolment_key(self, setup: Any) -> bytes:
        return b"one"

    def enrolment(self, state: Any, setup: Any, rng: Randomness) -> Any:
        return bm.Enrolment(Counted(rng.take(32), 0), {MATCHER: EnrolledMark(rng.take(16))})


@planted("pads of an enrolment that come again every eighth picture", "draws", "start")
class EnrolledPadsAgain(Enrolling):
    def padding(self, about: About, rng: Randomness) -> bytes:
        return masked(about.state.key + bytes([about.state.pictures % 8]), about.item.hash[:16])


@planted("pads of 16 bits of an enrolment under a fresh nonce", "draws", "start")
class ShortEnrolledPads(Enrolling):
    def salt(self, rng: Randomness) -> bytes:
        return rng.take(16)

    def padding(self, about: About, rng: Randomness) -> bytes:
        return masked(about.state.key[:2] + about.salt, about.item.hash[:16])
