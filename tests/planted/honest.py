"""Designs that older checks took for cheats, or that checks might take for some: a role's ticket, lengths and
order that the tape decides, filler, keys of an account, and evidence that is read."""

from __future__ import annotations

from hashlib import shake_256
from typing import Annotated, Any, ClassVar

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.designs.facts import EVERY_HASH, QUALITY, QUERY_TIME, leaks
from blindmatch_protocol.messages.franking import Evidence, opened_commitment
from dummy_designs import MATCHER, NO_LABEL, Dummy, Found, declared, ended, find

from planted import xor
from planted.mutations.hooks import About, PaddedPsi, poor
from planted.mutations.rounds import TicketFirst
from planted.vouchers import NOTHING, Roomy

TICKET = 16


class Knock(Message, tag=0xC6, name="ticket/knock"):
    """Asks for a ticket."""

    nonce: Annotated[bytes, Fixed(TICKET)]


class Ticket(Message, tag=0xC8, name="ticket/ticket"):
    """What the role drew."""

    ticket: Annotated[bytes, Fixed(TICKET)]


class AskWith(Message, tag=0xC7, name="ticket/ask"):
    """The hash, and the ticket that the role gave."""

    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, bm.UInt(8)]
    ticket: Annotated[bytes, Fixed(TICKET)]


class Tickets(Dummy[Any]):
    """The second round carries a ticket that the role drew."""

    info = declared("dummy-tickets", "Gets a ticket, then uploads the hash with it.")
    requests: ClassVar[Any] = {MATCHER: (Knock, AskWith)}
    replies: ClassVar[Any] = {MATCHER: (Ticket, Found)}

    def start(self, state: Any, setup: int, item: bm.Item, binding: bm.Binding, rng: Randomness) -> Any:
        return bm.Started(state, bm.Send((item.hash, item.quality), {MATCHER: Knock(rng.take(TICKET))}))

    def receive(self, session: Any, setup: int, replies: Any, rng: Randomness) -> Any:
        reply = replies[MATCHER]
        if isinstance(reply, Found):
            if session is not None:
                raise bm.ProtocolError("echo/found", "must come after the hash, not before")
            return ended(reply.label)
        if session is None:
            raise bm.ProtocolError("echo/echoed", "must come before the hash, not after")
        return bm.Send(None, {MATCHER: AskWith(*session, reply.ticket)})

    def answer(self, role: Any, state: Any, requests: Any, rng: Randomness, executor: Any) -> bm.Answer:
        found = [self.one(state, request.body, rng.take(TICKET)) for request in requests]
        return bm.Answer([reply for reply, _ in found], [verdict for _, verdict in found])

    def one(self, state: Any, body: Any, ticket: bytes) -> tuple[Message, bm.Verdict | None]:
        if isinstance(body, Knock):
            return Ticket(ticket), None
        label = find(state, body.hash, body.quality)
        return Found(label or NO_LABEL), bm.Verdict(label)


class TicketsInMessages(Tickets):
    """Is told of the message, since it has vouchers."""

    vouchers: ClassVar[Any] = (Ticket,)

    def leakage(self) -> tuple[bm.Leak, ...]:
        return (*super().leakage(), *leaks({bm.Party.CENTRE}, QUERY_TIME, EVERY_HASH, QUALITY))


class Lengths(PaddedPsi):
    """Padding of a length that is drawn."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return rng.take(64)[: rng.take(1)[0] % 60]


class Zeros(PaddedPsi):
    """Zeros of a number that is drawn."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return bytes(16 + rng.take(1)[0] % 40)


class Order(PaddedPsi):
    """Four texts in an order that is drawn."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        drawn = dict(enumerate(rng.take(4)))
        return b"".join(b"abcd"[at : at + 1] * 8 for at in sorted(drawn, key=drawn.__getitem__))


class Coin(PaddedPsi):
    """A byte that is one thing or the other."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return b"ab" if rng.take(1)[0] & 1 else b"ba"


def under(key: bytes, nonce: bytes, plain: bytes) -> bytes:
    """A stream cipher."""
    return xor(plain, shake_256(key + nonce).digest(len(plain)))


class Fills(PaddedPsi):
    """Sends what was drawn for a poor picture, and the hash under a key that was drawn, too, for others."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        filler = rng.take(TICKET)
        key = rng.take(TICKET)
        return filler if poor(about) else under(key, b"", about.item.hash[:TICKET])


class Selects(PaddedPsi):
    """Asks for one of 128 rows by drawn bits with one flipped, as private retrieval from two servers does."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        row = about.item.hash[0] % (8 * TICKET)
        return xor(rng.take(TICKET), (1 << row).to_bytes(TICKET, "big"))


class Chain(Message, tag=0x7A, name="honest/chain"):
    """An account's state: the key of its next picture."""

    key: Annotated[bytes, Fixed(TICKET)]


class AccountKey(PaddedPsi):
    """Every request bears a nonce, and the hash under it and a key of the account that nobody else has."""

    device_state: ClassVar[type[Message]] = Chain

    def enrol(self, rng: Randomness) -> Any:
        return Chain(rng.take(TICKET))

    def salt(self, rng: Randomness) -> bytes:
        return rng.take(TICKET)

    def padding(self, about: About, rng: Randomness) -> bytes:
        return under(about.state.key, about.salt, about.item.hash[:TICKET])


class NonceBefore(AccountKey):
    """The nonce and the hash under it and the account's key, in one field."""

    def salt(self, rng: Randomness) -> bytes:
        return b""

    def padding(self, about: About, rng: Randomness) -> bytes:
        nonce = rng.take(TICKET)
        return nonce + under(about.state.key, nonce, about.item.hash[:TICKET])


class Ratchet(AccountKey):
    """The key moves on with each picture, and no nonce is sent."""

    def salt(self, rng: Randomness) -> bytes:
        return b""

    def kept(self, about: About, state: Message) -> Message:
        return Chain(shake_256(about.state.key).digest(TICKET))


class ShortField(PaddedPsi):
    """Eight bytes of the hash under a pad that is drawn."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return under(rng.take(TICKET), b"", about.item.hash[:8])


class FixedSlots(PaddedPsi):
    """The hash under a pad in one of three slots, as is drawn; the others have fixed filler."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        slots = [b"a" * TICKET, b"b" * TICKET]
        slots.insert(rng.take(1)[0] % 3, under(rng.take(TICKET), b"", about.item.hash[:TICKET]))
        return b"".join(slots)


class UnevenBytes(PaddedPsi):
    """48 bits of the hash, each under its own drawn bit and below a drawn count that is 0 in half the cases:
    bytes are independent, and some values of a byte far likelier than others."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        masks = rng.take(48)
        counts = rng.take(48)
        zeros = rng.take(48)
        bits = np.unpackbits(np.frombuffer(about.item.hash[:6], np.uint8))
        found = bytearray()
        for bit, mask, count, zero in zip(bits, masks, counts, zeros, strict=True):
            above = 1 + count % 127 if zero & 1 else 0
            found.append(2 * above + (int(bit) ^ (mask & 1)))
        return bytes(found)


class ReadsEvidence(Roomy):
    """Reads the evidence, holds it against the commitment, and seals names under a key that it draws."""

    def room(self, item: Any, binding: bm.Binding, rng: Randomness) -> bytes:
        key = rng.take(TICKET)
        if not binding.evidence:
            return under(key, b"", NOTHING)
        shown = Evidence.decode(binding.evidence)
        if opened_commitment(shown) != binding.commitment:
            raise bm.ProtocolError("honest/evidence", "must open the commitment", "evidence")
        names = f"{shown.sender} {shown.recipient}".encode()[: len(NOTHING)].ljust(len(NOTHING))
        return under(key, b"", names)


HONEST = (
    Tickets,
    TicketsInMessages,
    Lengths,
    Zeros,
    Order,
    Coin,
    Fills,
    Selects,
    AccountKey,
    NonceBefore,
    Ratchet,
    ShortField,
    FixedSlots,
    UnevenBytes,
    ReadsEvidence,
    TicketFirst,
)
CHECKS = (
    "outcomes",
    "tape",
    "egress",
    "relations",
    "repetition",
    "executor",
    "surroundings",
    "growth",
    "draws",
)
