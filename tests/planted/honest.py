"""Designs that older checks took for cheats: a role's ticket, lengths and order that the tape decides."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.designs.facts import EVERY_HASH, QUALITY, QUERY_TIME, leaks
from dummy_designs import MATCHER, NO_LABEL, Dummy, Found, declared, ended, find

from planted.mutations.hooks import About, PaddedPsi
from planted.mutations.rounds import TicketFirst

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


HONEST = (Tickets, TicketsInMessages, Lengths, Zeros, Order, Coin, TicketFirst)
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
