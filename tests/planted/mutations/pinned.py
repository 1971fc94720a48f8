"""Cheats whose leak is a function of the picture and of what is sent beside it, so that a replay takes it for
randomness; cheats of accounts that have lived; and vouchers that tell of their message.
"""

from __future__ import annotations

from hashlib import sha256, shake_256
from typing import Annotated, Any, ClassVar, Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message, UInt
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.messages.franking import Evidence
from dummy_designs import veiled

from planted import xor
from planted.fair import VOUCHER_BYTES, LongVoucher, PaddedVouchers
from planted.mutations.hooks import About, Hooked, PaddedPsi, planted, poor, variant
from planted.vouchers import BYTES as ROOM
from planted.vouchers import NOTHING as NO_ROOM
from planted.vouchers import Roomy, pixels

ID: Final = 16
BYTES: Final = 8
VENDOR: Final = b"a key that every device of a vendor has"
FOLLOWS: Final = "a new account"


def stream(*parts: bytes) -> bytes:
    """Bytes that follow from all parts, and look random."""
    return shake_256(b"/".join(parts)).digest(ID)


class Seeded(PaddedPsi):
    """Draws a seed, and everything else from the seed; the seed is the request id."""

    def start(
        self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[Any, Any]:
        seed = rng.take(ID)
        started = super().start(state, setup, item, binding, seeded(seed.hex()))
        assert isinstance(started.step, bm.Send)
        body: Any
        (body,) = started.step.bodies.values()
        sent = type(body)(body.request, body.padding, seed)
        return bm.Started(
            started.state, bm.Send(started.step.session, dict.fromkeys(started.step.bodies, sent))
        )


planted("the request id is the session's seed", "egress", FOLLOWS)(Seeded)


class SeededSpelt(PaddedPsi):
    """The same, with the id in another spelling, beside drawn bytes that have no part in anything."""

    def spelt(self, seed: bytes) -> bytes:
        return seed[::-1]

    def start(
        self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[Any, Any]:
        salt = rng.take(BYTES)
        seed = rng.take(ID)
        started = super().start(state, setup, item, binding, seeded(sha256(seed).hexdigest()))
        assert isinstance(started.step, bm.Send)
        body: Any
        (body,) = started.step.bodies.values()
        told = xor(stream(VENDOR, seed), item.hash[:ID])
        sent = type(body)(body.request, told, self.spelt(seed) + salt)
        return bm.Started(
            started.state, bm.Send(started.step.session, dict.fromkeys(started.step.bodies, sent))
        )


planted("the request id is the session's seed backwards", "egress", FOLLOWS)(SeededSpelt)
planted("the request id is the session's seed inverted", "egress", FOLLOWS)(
    variant(SeededSpelt, spelt=lambda _, seed: xor(seed, bytes([255]) * ID))
)
planted("the request id is the session's seed in hexadecimal", "egress", FOLLOWS)(
    variant(SeededSpelt, spelt=lambda _, seed: seed.hex().encode())
)


class WithNonce(PaddedPsi):
    """Sends 16 bytes that were drawn, and 16 that a vendor's function makes of them."""

    def salt(self, rng: Randomness) -> bytes:
        return rng.take(ID)


planted("a nonce masked by a vendor's key", "egress", FOLLOWS)(
    variant(
        WithNonce,
        padding=lambda _, about, rng: xor(stream(VENDOR, about.salt), about.item.hash[:ID]),
    )
)
planted("a whisper hashed under a key beside it", "egress", FOLLOWS)(
    variant(
        WithNonce,
        padding=lambda _, about, rng: sha256(about.salt + b"whisper" + about.item.hash[:2]).digest()[:ID],
    )
)


@planted("what a vendor's key makes of a nonce for poor pictures, and noise for others", "egress", FOLLOWS)
class MaskedIfPoor(WithNonce):
    """No bit is constant for both: whoever has the key sees whether it explains the bytes."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        noise = sha256(rng.take(32)).digest()[:ID]
        return stream(VENDOR, about.salt) if poor(about) else noise


@planted("a vendor's blind", "egress", FOLLOWS)
class VendorsBlind(WithNonce):
    """The blind is what a vendor's function makes of the nonce beside it."""

    def start(
        self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[Any, Any]:
        self.nonce_of_session = rng.take(ID)
        blinds = seeded(stream(VENDOR, self.nonce_of_session).hex())
        return super().start(state, setup, item, binding, blinds)

    def salt(self, rng: Randomness) -> bytes:
        return self.nonce_of_session


@planted("a leak in messages of a length that is drawn", "egress", FOLLOWS)
class Ragged(WithNonce):
    """The masked hash follows padding of a length that is drawn."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        filler = rng.take(1 + rng.take(1)[0] % 32)
        return filler + xor(stream(VENDOR, about.salt), about.item.hash[:ID])


class Old(Message, tag=0x79, name="cheat/old"):
    """An account's state: an id or the last nonce, pictures it sent, failures, and set-ups it has used."""

    held: Annotated[bytes, Fixed(ID)]
    pictures: Annotated[int, UInt(32)]
    epoch: Annotated[int, UInt(64)]
    epochs: Annotated[int, UInt(32)]


class Ageing(PaddedPsi):
    """Counts in its state what an account has lived through."""

    device_state: ClassVar[type[Message]] = Old

    def enrol(self, rng: Randomness) -> Any:
        return Old(rng.take(ID), 0, 0, 0)

    def prepare(self, state: Any, setup: Any, rng: Randomness) -> Any:
        changed = state.epoch != setup.epoch
        return Old(state.held, state.pictures, setup.epoch, state.epochs + changed)

    def kept(self, about: About, state: Message) -> Message:
        old = about.state
        return Old(self.next_held(old.held), old.pictures + 1, old.epoch, old.epochs)

    def next_held(self, held: bytes) -> bytes:
        return held

    def padding(self, about: About, rng: Randomness) -> bytes:
        filler = rng.take(ID)
        return self.leak(about) if self.tells(about) else filler

    def tells(self, about: About) -> bool:
        return True

    def leak(self, about: About) -> bytes:
        return about.item.hash[:ID]


planted("the bare hash once an account has lived through an epoch", "egress", "in its second epoch")(
    variant(Ageing, tells=lambda _, about: about.state.epochs >= 2 and not about.setup.deltas)
)
planted("the bare hash in an account's third epoch", "egress", "in its third epoch")(
    variant(Ageing, tells=lambda _, about: about.state.epochs >= 3)
)
planted("the bare hash once an account is past an update", "egress", "past an update")(
    variant(Ageing, tells=lambda _, about: about.state.epochs >= 2 and bool(about.setup.deltas))
)
planted("the bare hash after failures", "egress", "after failures")(
    variant(Ageing, tells=lambda _, about: about.state.pictures >= 4)
)
planted("the bare hash but for the first picture of an account", "egress", "after a picture")(
    variant(Ageing, tells=lambda _, about: about.state.pictures >= 1)
)
planted("a digest in one of sixteen accounts", "egress", FOLLOWS)(
    variant(
        Ageing,
        tells=lambda _, about: about.state.held[0] % 16 == 0,
        leak=lambda _, about: stream(VENDOR, about.item.hash),
    )
)
planted("a masked hash in one of sixteen accounts", "egress", FOLLOWS)(
    variant(
        Ageing,
        salt=lambda _, rng: rng.take(ID),
        tells=lambda _, about: about.state.held[0] % 16 == 0,
        leak=lambda _, about: xor(stream(VENDOR, about.salt), about.item.hash[:ID]),
    )
)


planted(
    "the hash under the request in an account's third epoch", "relations", "carried into its third epoch"
)(
    variant(
        Ageing,
        tells=lambda _, about: about.state.epochs >= 3,
        leak=lambda _, about: xor(about.sent[-ID:], about.item.hash[::-1][:ID]),
    )
)


@planted("one bit of the request tells in an account's third epoch", "games", "carried into its third epoch")
class CovertLater(Ageing):
    """Draws until one bit of the request says whether the picture is too poor."""

    def start(
        self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[Any, Any]:
        while True:
            started = super().start(state, setup, item, binding, rng)
            assert isinstance(started.step, bm.Send)
            body: Any
            (body,) = started.step.bodies.values()
            told = bool(body.request[-2] & 1) == poor(About(state, setup, item))
            if told or state.epochs < 3:
                return started

    def tells(self, about: About) -> bool:
        return False


@planted("an account's nonces are a hash chain", "egress", "after a picture")
class Chain(Ageing):
    """Each nonce is the digest of the one before it; from the second one on they mask the hash."""

    def next_held(self, held: bytes) -> bytes:
        return stream(held)

    def sent(self, about: About, step: bm.Send[Any], rng: Randomness) -> bm.Send[Any]:
        made = super().sent(about, step, rng)
        body: Any
        (body,) = made.bodies.values()
        sent = type(body)(body.request, body.padding, stream(about.state.held))
        return bm.Send(made.session, dict.fromkeys(made.bodies, sent))

    def tells(self, about: About) -> bool:
        return bool(about.state.pictures)

    def leak(self, about: About) -> bytes:
        return xor(stream(VENDOR, stream(about.state.held)), about.item.hash[:ID])


@planted("a chain of nonces that links an account's requests", "egress", "after a picture")
class LinkedChain(Chain):
    """Each nonce is the digest of the one before it, and nothing else is told."""

    def tells(self, about: About) -> bool:
        return False


class Wary(Hooked, Roomy):
    """A voucher with room."""


def vouchers_that_draw(says: Any) -> type[Wary]:
    return type("Variant", (Wary,), {"room": lambda self, item, binding, rng: says(item, binding, rng)})


def vouchers(says: Any) -> type[Wary]:
    return vouchers_that_draw(lambda item, binding, rng: says(item, binding))


def evidence_of(binding: bm.Binding) -> Evidence | None:
    """What the evidence says; None if it does not decode."""
    try:
        return Evidence.decode(binding.evidence)
    except ProtocolError:
        return None


def between_whom(binding: bm.Binding) -> bytes:
    """A digest of who writes to whom."""
    shown = evidence_of(binding)
    return NO_ROOM if shown is None else sha256(f"{shown.sender} {shown.recipient}".encode()).digest()[:ROOM]


def of_which_file(binding: bm.Binding) -> bytes:
    """The digest of the file that is sent."""
    shown = evidence_of(binding)
    return NO_ROOM if shown is None else shown.attachment.digest[:ROOM]


planted("who writes to whom in a voucher", "egress", "a new account")(
    vouchers(lambda item, binding: between_whom(binding))
)
planted("the length of a name in a voucher", "egress", "a new account")(
    vouchers(lambda item, binding: len(getattr(evidence_of(binding), "recipient", "")).to_bytes(ROOM, "big"))
)
planted("which file a voucher is of", "egress", "a new account")(
    vouchers(lambda item, binding: of_which_file(binding))
)
planted("pixels in a voucher whose evidence decodes", "egress")(
    vouchers(lambda item, binding: NO_ROOM if evidence_of(binding) is None else pixels(item))
)


def is_png(binding: bm.Binding) -> bool:
    shown = evidence_of(binding)
    return shown is not None and shown.attachment.media_type == "image/png"


planted("pixels in a voucher but for files of one type", "egress")(
    vouchers(lambda item, binding: NO_ROOM if is_png(binding) else pixels(item))
)


@planted("where the evidence ends in a padded voucher", "egress", "a new account")
class EndOfEvidence(Hooked, PaddedVouchers):
    """The mask of the evidence follows from the commitment, which is sent, and noise begins where
    it ends: so how long a name or a text is shows."""

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, None]:
        told = len(binding.evidence).to_bytes(2, "big") + binding.evidence
        padded = veiled(told, binding.commitment) + rng.take(VOUCHER_BYTES)[len(told) :]
        voucher = LongVoucher(item.hash, item.quality, binding.commitment, padded)
        return bm.Started(state, bm.Done(bm.Voucher(voucher)))
