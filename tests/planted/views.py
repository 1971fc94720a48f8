"""What a carrier gets back and holds, and what accounts enrolled with."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Annotated, Any, ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message, Nested, Variable
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.designs.facts import ENROLMENT, QUALITY, QUERY_TIME
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from dummy_designs import (
    MATCHER,
    NO_LABEL,
    THIRD,
    Carried,
    CarriedFound,
    Mask,
    Masked,
    Masking,
    Unmasked,
    find,
    shared,
    third_key,
    xor,
)
from msgspec.structs import replace

from planted import Planted
from planted.mutations.hooks import Padded, PaddedPsi

ROOM = 16
LARGE = 1_000


class RoomyFound(Message, tag=0xC2, name="cheat/carried-found"):
    """A sealed reply, and room that the carrier sees."""

    found: Annotated[CarriedFound, Nested(CarriedFound)]
    room: Annotated[bytes, Variable(64)]


class CarriedRoom(Carried):
    """The third party answers with room beside, in which it writes what it reads."""

    info = replace(Carried.info, name="cheat-carried")
    replies: ClassVar[Any] = {THIRD: (RoomyFound,)}

    def judged(self, state: Any, body: Any) -> Any:
        reply, verdict = super().judged(state, body)
        box = shared(third_key(), X25519PublicKey.from_public_bytes(body.ephemeral))
        asked = box.decrypt(bytes(12), body.sealed, None)
        return RoomyFound(reply, self.room(state, asked[:32], body.ephemeral)), verdict

    def receive(self, session: bytes, setup: int, replies: Any, rng: Randomness) -> Any:
        return super().receive(session, setup, {THIRD: replies[THIRD].found}, rng)

    def room(self, state: Any, own: bytes, salt: bytes) -> bytes:
        return bytes(ROOM)


class UnderKey(CarriedRoom):
    """Masks the hash with what the carrier saw of the question."""

    def room(self, state: Any, own: bytes, salt: bytes) -> bytes:
        return xor(own[:ROOM], salt[:ROOM]) if len(state.hashes) > LARGE else bytes(ROOM)


class SaltedBack(CarriedRoom):
    """A digest under the question's key."""

    def room(self, state: Any, own: bytes, salt: bytes) -> bytes:
        digest = hmac.digest(salt, own, "sha256")[:ROOM]
        return digest if len(state.hashes) > LARGE else sha256(salt).digest()[:ROOM]


class LongerIfListed(CarriedRoom):
    """A byte more for what is on a large list."""

    def room(self, state: Any, own: bytes, salt: bytes) -> bytes:
        found = find(state, own, 100) is not None and len(state.hashes) > LARGE
        return bytes(ROOM + found)


class CarrierHoldsList(Carried):
    """Puts the list into the set-up, and declares it to devices alone."""

    info = replace(Carried.info, name="cheat-carrier")

    def publish(self, *given: Any, **more: Any) -> bm.Published:
        made = super().publish(*given, **more)
        return bm.Published((*made.setup, *made.roles[THIRD]), made.roles)

    def leakage(self) -> tuple[bm.Leak, ...]:
        return super().leakage()

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        held = {bm.Party.DEVICE: bm.ListKnowledge.HASHES, bm.Party("third"): bm.ListKnowledge.HASHES}
        return bm.ListKnowledge.joined(parties, held)


class CarrierHoldsSize(Carried):
    """Says that the carrier, which serves the set-up, does not know how long the list is."""

    info = replace(Carried.info, name="cheat-size")

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        whole = super().list_knowledge(parties)
        return bm.ListKnowledge.NOTHING if parties == {bm.Party.PROVIDER} else whole


class AskHidden(Message, tag=0xC4, name="cheat/ask"):
    """The hash under a pad that the account's mask and a nonce give."""

    hash: Annotated[bytes, Fixed(32)]
    nonce: Annotated[bytes, Fixed(32)]


class Hidden(Masked):
    """The role reads every hash, and is not declared to."""

    info = replace(Masked.info, name="cheat-enrolled")
    requests: ClassVar[Any] = {MATCHER: (AskHidden,)}
    facts: ClassVar[tuple[bm.Fact, ...]] = (QUALITY, QUERY_TIME, ENROLMENT)

    def enrolment(self, state: Any, setup: int, rng: Randomness) -> bm.Enrolment[Any]:
        mask = rng.take(32)
        return bm.Enrolment(Mask(mask), {MATCHER: Masking(mask, b"")})

    def start(self, state: Any, setup: int, item: bm.Item, binding: bm.Binding, rng: Randomness) -> Any:
        nonce = rng.take(32)
        own = item.hash if item.quality > 49 else bytes(32)
        ask = AskHidden(xor(own, self.pad(state.mask, nonce)), nonce)
        return bm.Started(state, bm.Send(None, {MATCHER: ask}))

    def looked_up(self, state: Any, request: bm.Request) -> Any:
        body = request.body
        held = request.enrolment
        if not isinstance(body, AskHidden) or not isinstance(held, Masking):
            return bm.ProtocolError("cheat/ask", "needs the account's mask")
        own = xor(body.hash, self.pad(held.mask, body.nonce))
        label = find(state, own, 100 if any(own) else 0)
        return Unmasked(label or NO_LABEL)

    def pad(self, mask: bytes, nonce: bytes) -> bytes:
        return hmac.digest(mask, nonce, "sha256")


class HiddenPlain(Hidden):
    """A digest of one after the other."""

    def pad(self, mask: bytes, nonce: bytes) -> bytes:
        return sha256(mask + nonce).digest()


class Knock(Message, tag=0xB1, name="cheat/knock"):
    """Asks for a ticket."""

    nonce: Annotated[bytes, Fixed(ROOM)]


class Ticket(Message, tag=0xB2, name="cheat/ticket"):
    """What the role drew."""

    ticket: Annotated[bytes, Fixed(ROOM)]


class UnderTicket(PaddedPsi):
    """Gets a ticket, and puts the hash, turned by three bits, under it into the next round."""

    requests: ClassVar[Any] = {MATCHER: (Knock, Padded)}
    replies: ClassVar[Any] = {MATCHER: (Ticket, *PaddedPsi.replies[MATCHER])}

    def start(self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness) -> Any:
        started = super().start(state, setup, item, binding, rng)
        return bm.Started(started.state, bm.Send((started.step, item), {MATCHER: Knock(rng.take(ROOM))}))

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        reply = replies[MATCHER]
        if isinstance(session, tuple) is not isinstance(reply, Ticket):
            raise bm.ProtocolError("cheat/ticket", "must come first")
        if not isinstance(reply, Ticket):
            return super().receive(session, setup, replies, rng)
        step, item = session
        turned = bytes((byte << 3 | byte >> 5) & 0xFF for byte in item.hash[:ROOM])
        told = xor(turned, reply.ticket)
        return bm.Send(step.session, {MATCHER: Padded(step.bodies[MATCHER].request, told, b"")})

    def answer(self, role: Any, state: Any, requests: Any, rng: Randomness, executor: Any) -> bm.Answer:
        made = [
            bm.Answer([Ticket(rng.take(ROOM))], [None])
            if isinstance(one.body, Knock)
            else super(UnderTicket, self).answer(role, state, [one], rng, executor)
            for one in requests
        ]
        verdicts = [one.verdicts[0] if one.verdicts else None for one in made]
        return bm.Answer([one.replies[0] for one in made], verdicts)


class Certifying(PaddedPsi):
    """Tells of a picture where its owner is to prove that it is on no list."""

    def start(self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness) -> Any:
        started = super().start(state, setup, item, binding, rng)
        padded: Any = started.step.bodies[MATCHER]  # type: ignore[union-attr]
        body = replace(padded, padding=item.hash[:ROOM] if binding.certify else bytes(ROOM))
        return bm.Started(started.state, bm.Send(started.step.session, {MATCHER: body}))  # type: ignore[union-attr]


CHEATS = (
    Planted("under the ticket that the role drew", UnderTicket, "relations", "as published"),
    Planted("where absence is to be proven", Certifying, "relations", "as published"),
    Planted("under the question's key", UnderKey, "relations", "provider, a large set"),
    Planted("salted by the question", SaltedBack, "relations", "provider, a large set"),
    Planted("longer if listed", LongerIfListed, "relations", "provider, a large set"),
    Planted("the carrier holds the list", CarrierHoldsList, "list knowledge"),
    Planted("the carrier knows the size", CarrierHoldsSize, "list knowledge"),
    Planted("under what was enrolled", Hidden, "relations"),
    Planted("under a digest of it", HiddenPlain, "relations"),
)
