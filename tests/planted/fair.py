"""Honest designs of unusual but fair construction, none of which a check may fail.

SecondRound       every session has a second round, of fresh elements
CoverAtTimes      half of the sessions have one, as the tape decides
Ratchet           an account's tags come from a chain of digests that nobody can follow
Slots             four slots of one length in a drawn order, one of them in use
PaddedVouchers    vouchers of one length, filled with what is drawn
ReadsEvidence     looks into the message that a picture is in
CarriedRoom       the provider carries it, sealed
Stateful          an account counts its pictures and matches, and sends neither
Lengths           filler of a drawn length
TurnedShares      three parties get shares, in a drawn order
EnrolledKey       a note under a key that an account drew when it enrolled and alone has
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256, shake_256
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message, Variable
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.designs.carried import carried
from blindmatch_protocol.designs.facts import ENROLMENT, leaks
from blindmatch_protocol.designs.oprf_psi import Request
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.group import hash_to_group
from blindmatch_protocol.messages import franking
from dummy_designs import (
    PARTY_A,
    PARTY_B,
    PARTY_C,
    Share,
    Shares,
    ThresholdOpener,
    Vouchers,
    find,
)

from planted import xor
from planted.mutations.hooks import About, Again, Psi
from planted.unseen import Room

UNIFORM: Final = 64
TAG: Final = 16


class SecondRound(Psi):
    """Every session has a second round, of fresh elements, whatever came of the first."""

    def simulate(self, role: bm.Role, facts: Mapping[str, Any], output: Any, rng: Randomness) -> None:
        """There is no simulator of two rounds: that of oprf-psi has one."""

    def received(self, step: Any, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        return bm.Send(Again(step), {MATCHER: self.cover(setup, rng)})

    def cover(self, setup: Any, rng: Randomness) -> Message:
        uniform = np.frombuffer(rng.take(UNIFORM), np.uint8).reshape(1, UNIFORM)
        return Request(setup.epoch, hash_to_group(uniform))


class CoverAtTimes(SecondRound):
    """Half of the sessions have one: cover traffic by the tape."""

    def received(self, step: Any, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        if rng.take(1)[0] & 1:
            return super().received(step, session, setup, replies, rng)
        return step


class Chain(Message, tag=0x76, name="fair/chain"):
    """The end of an account's chain of digests."""

    end: Annotated[bytes, Fixed(32)]


class Ratchet(Room):
    """Each request bears a tag from an account's chain, and the chain moves on: nobody who has one tag can
    tell the next (SHA-256 as a one-way function)."""

    device_state: ClassVar[type[Message]] = Chain

    def enrol(self, rng: Randomness) -> Any:
        return Chain(rng.take(32))

    def kept(self, about: About, state: Message) -> Message:
        return Chain(sha256(b"next" + about.state.end).digest())

    def padding(self, about: About, rng: Randomness) -> bytes:
        return sha256(b"tag" + about.state.end).digest()[:TAG]


class Slots(Room):
    """Three slots with nothing but noise, and one with a ticket, in a drawn order."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        ticket = sha256(b"ticket" + rng.take(TAG)).digest()[:TAG]
        noise = rng.take(3 * TAG)
        place = rng.take(1)[0] % 4
        return noise[: TAG * place] + ticket + noise[TAG * place :]


class LongVoucher(Message, tag=0x77, name="fair/voucher"):
    """A voucher of one length."""

    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, bm.UInt(8)]
    commitment: Annotated[bytes, Fixed(32)]
    padded: Annotated[bytes, Variable(4096)]


VOUCHER_BYTES: Final = 2_048


class LongOpener(ThresholdOpener, frozen=True):
    """Opens them as those of the dummy."""

    def take(self, account: str, device: str, period: bytes, voucher: Message) -> bm.Taken:
        if not isinstance(voucher, LongVoucher):
            raise bm.ProtocolError("fair/open", "must be a voucher", "voucher")
        label = find(self.known, voucher.hash, voucher.quality)
        return bm.Hidden() if label is None else bm.Visible(label.encode())


class PaddedVouchers(Vouchers):
    """The evidence with its length before it and zeros after it, all under a mask that is drawn: that of a
    cipher to the centre, of which a voucher shows no more than that."""

    vouchers: ClassVar[tuple[type[Message], ...]] = (LongVoucher,)

    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        opener = super().open_opener(files)
        assert isinstance(opener, ThresholdOpener)
        return LongOpener(opener.known)

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, None]:
        told = len(binding.evidence).to_bytes(2, "big") + binding.evidence
        mask = shake_256(rng.take(32)).digest(VOUCHER_BYTES)
        padded = xor(told.ljust(VOUCHER_BYTES, b"\0"), mask)
        voucher = LongVoucher(item.hash, item.quality, binding.commitment, padded)
        return bm.Started(state, bm.Done(bm.Voucher(voucher)))


class ReadsEvidence(Vouchers):
    """Refuses a message whose evidence does not decode; what it says is not sent beyond the voucher."""

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, None]:
        if binding.evidence:
            franking.Evidence.decode(binding.evidence)
        return super().start(state, setup, item, binding, rng)


CARRIED_ROOM: Final = carried(Room(), __name__)


class Counts(Message, tag=0x78, name="fair/counts"):
    """How many pictures an account has asked about."""

    pictures: Annotated[int, bm.UInt(32)]


class Stateful(Room):
    """Counts an account's pictures, for the account alone."""

    device_state: ClassVar[type[Message]] = Counts

    def enrol(self, rng: Randomness) -> Any:
        return Counts(0)

    def kept(self, about: About, state: Message) -> Message:
        return Counts(about.state.pictures + 1)

    def padding(self, about: About, rng: Randomness) -> bytes:
        return rng.take(TAG)


class Lengths(Room):
    """Filler of a length that is drawn, of which half is zeros."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        drawn = rng.take(64)
        return drawn[: drawn[0] % 24] + bytes(drawn[1] % 24)


class TurnedShares(Shares):
    """Which of the three parties gets which share is drawn."""

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, Any]:
        begun = super().start(state, setup, item, binding, rng)
        assert isinstance(begun.step, bm.Send)
        shares = begun.step.session.shares
        turn = rng.take(1)[0] % 3
        roles = (PARTY_A, PARTY_B, PARTY_C)
        turned = {role: shares[roles[(at + turn) % 3]] for at, role in enumerate(roles)}
        session = type(begun.step.session)(begun.step.session.hash, turned)
        return bm.Started(begun.state, bm.Send(session, {role: Share(one) for role, one in turned.items()}))


class Enrolled(Message, tag=0x79, name="fair/enrolled"):
    """What the matcher holds of an account: a name that it drew."""

    name: Annotated[bytes, Fixed(TAG)]


class EnrolledKey(Room):
    """Each request bears a nonce, and the hash under the stream that it and the account's key give: a note
    for the account itself. The key is drawn when the account enrols, and nothing that follows from it is
    ever sent."""

    device_state: ClassVar[type[Message]] = Chain
    enrolments: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Enrolled,)}

    def leakage(self) -> tuple[bm.Leak, ...]:
        return (*super().leakage(), *leaks({bm.Party.MATCHER}, ENROLMENT))

    def enrol(self, rng: Randomness) -> Any:
        return Chain(bytes(32))

    def enrolment(self, state: Any, setup: Any, rng: Randomness) -> bm.Enrolment[Any]:
        key = rng.take(32)
        return bm.Enrolment(Chain(key), {MATCHER: Enrolled(rng.take(TAG))})

    def salt(self, rng: Randomness) -> bytes:
        return rng.take(TAG)

    def padding(self, about: About, rng: Randomness) -> bytes:
        return xor(about.item.hash, shake_256(about.state.end + about.salt).digest(32))


FAIR: Final[Mapping[str, Any]] = {
    "second round": SecondRound,
    "cover at times": CoverAtTimes,
    "ratchet": Ratchet,
    "slots": Slots,
    "padded vouchers": PaddedVouchers,
    "evidence read": ReadsEvidence,
    "carried": lambda: CARRIED_ROOM,
    "stateful": Stateful,
    "lengths": Lengths,
    "turned shares": TurnedShares,
    "enrolled key": EnrolledKey,
}
"""By what is unusual about it."""
