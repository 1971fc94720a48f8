"""Messages that their recipient cannot open, as after one of both devices was put back from a backup.

    Bob cannot open a message of Alice's: he is shown a problem, and asks her for it in a new session, at
    once or, if he asked a short time before, later; the problem says whether the relay has the request
      Bob   -- new session: the ids of what he could not open --> Alice
      Alice -- the same contents, in that session, under other ids --> Bob

    the relay has another message in a message's place (session, ratchet key, number), or under its id:
      this store is older than what was sent from it; all sessions end, and what waits is sealed again

What the relay can make of that, and its bounds: docs/messenger.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

from blindmatch_protocol.codec import Bool, Fixed, Message, Nested, Text, UInt
from blindmatch_protocol.codec import Sequence as Several
from blindmatch_protocol.messages.content import NAME_MOST, Content, compose
from blindmatch_protocol.messages.franking import MESSAGE_ID_LENGTH
from blindmatch_protocol.messages.sealed_message import UNOPENED_MOST
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_client.messenger.state import AccountKeeper
from blindmatch_client.settings import Base, Consequence
from blindmatch_client.store.incoming import Asked, Came
from blindmatch_client.store.outbox import Outbox, Outgoing, SendState

KEPT_MOST: Final = 1000
"""Messages that are kept to be sent again, at most."""

DAY_MS: Final = 24 * 60 * 60 * 1000
KEPT_MS: Final = 32 * DAY_MS
"""How long they are kept: as long as the relay keeps messages, and two days in which it says what expired."""

RESENT_MOST: Final = 3
ASKS_MOST: Final = 16
"""Asks of one peer in a day."""

PEERS_MOST: Final = 256
"""Peers whose asks are counted; of more, those asked last."""

_ASKS: Final = "asks"
_SET_ASKED: Final = "UPDATE incoming SET asked = ? WHERE sequence = ?"
_RESTARTED: Final = "restarted_at"


class Unopened(Struct, frozen=True):
    """A message that could not be opened, by the relay's number of it."""

    sequence: int
    sender: str
    message_id: bytes


class Expired(Struct, frozen=True):
    """A message that expired at the relay; one that is not `by_user` only asked for others."""

    recipient: str
    by_user: bool


class _Handed(Message, tag=0xED, name="device/handed-over"):
    """The sealed part of a message that was handed over."""

    recipient: Annotated[str, Text(NAME_MOST)]
    content: Annotated[Content, Nested(Content)]
    unopened: Annotated[tuple[bytes, ...], Several(Fixed(MESSAGE_ID_LENGTH), UNOPENED_MOST)]
    resent: Annotated[int, UInt(8)]


class _Ask(Message, tag=0xEE, name="device/ask"):
    """Since when a peer was asked, how often, and whether it was heard after the last time."""

    peer: Annotated[str, Text(NAME_MOST)]
    began_at_ms: Annotated[int, UInt(64)]
    count: Annotated[int, UInt(8)]
    heard: Annotated[bool, Bool()]


class _Asks(Message, tag=0xEF, name="device/asks"):
    """All of them, the last one at the end."""

    asks: Annotated[tuple[_Ask, ...], Several(Nested(_Ask), PEERS_MOST)]


class Recovery(Struct):
    """What one account asks for again, and what it sends again; `hasten` is called when the store turns out
    to be an older one."""

    base: Base
    keeper: AccountKeeper
    outbox: Outbox
    hasten: Callable[[], None]
    _asks: dict[str, _Ask] | None = None
    _pending: bool = True

    def keep(self, row: Outgoing) -> None:
        """Keep a message that was handed over, not one in the clear, which needs no session; written with
        what is written next. A device that does not send what matches keeps no picture: which ones it sent
        would tell what came of them."""
        refuses = self.base.config.consequence is Consequence.REFUSE and row.attached is not None
        if row.content is None or refuses or not self.base.design.info.end_to_end:
            return
        kept = _Handed(row.recipient, row.content, row.unopened, row.resent).encode()
        self.base.store.later(
            "INSERT OR IGNORE INTO handed_over (message_id, queued_at_ms, body) VALUES (?, ?, ?)",
            *(row.message_id, self.base.clock_ms()),
            self.base.store.sealed(kept, "handed_over.body", row.message_id),
        )
        query = "DELETE FROM handed_over WHERE number <= (SELECT max(number) FROM handed_over) - ?"
        self.base.store.later(query, KEPT_MOST)

    def forget(self) -> None:
        """Keep nothing longer than `KEPT_MS`."""
        before = self.base.clock_ms() - KEPT_MS
        self.base.store.run("DELETE FROM handed_over WHERE queued_at_ms < ?", before)

    def forget_expired(self, message_id: bytes) -> Expired | None:
        """Forget a message that nobody will ask for, since the relay has deleted it; what is known of it."""
        kept = self._handed_over(message_id)
        if kept is None:
            return None
        self.base.store.run("DELETE FROM handed_over WHERE message_id = ?", message_id)
        said = kept.content
        return Expired(kept.recipient, bool(said.text or said.attachments) or not kept.unopened)

    def _handed_over(self, message_id: bytes) -> _Handed | None:
        query = "SELECT opened(body, 'handed_over.body', message_id) FROM handed_over WHERE message_id = ?"
        found = self.base.store.one(query, message_id)
        return None if found is None else _Handed.decode(found[0])

    def ask(self, unopened: Sequence[Unopened]) -> None:
        """Queue a message to each peer that asks for those of its messages again, unless it is too early."""
        by_sender: dict[str, list[Unopened]] = {}
        for one in unopened:
            if self.can_ask(one.sender) and self._may_ask(one.sender):
                by_sender.setdefault(one.sender, []).append(one)
        now = self.base.clock_ms()
        for sender, lost in by_sender.items():
            content = compose("", (), now, self.base.rng)
            name = self.base.rng.take(MESSAGE_ID_LENGTH)
            row = Outgoing(0, name, now, SendState.QUEUED, sender, content)
            row.unopened = tuple(dict.fromkeys(one.message_id for one in lost))
            with self.base.store.transaction():
                self._add(row)
                self.base.store.run_each(_SET_ASKED, [(Asked.QUEUED, one.sequence) for one in lost])
                ask = self._known_asks().get(sender)
                if ask is None or abs(now - ask.began_at_ms) > DAY_MS:
                    ask = _Ask(sender, now, 0, False)
                self._save_ask(replace(ask, count=ask.count + 1, heard=False))

    def request_sent(self, row: Outgoing) -> None:
        """Note that the relay has a request, if `row` is one; written with what is written next."""
        for sequence in self._asked_for(row):
            self.base.store.later(_SET_ASKED, Asked.SENT, sequence)

    def request_failed(self, row: Outgoing) -> None:
        """Note that a request, if `row` is one, will never leave; its messages are asked for again later."""
        self.base.store.run_each(_SET_ASKED, [(Asked.NO, sequence) for sequence in self._asked_for(row)])

    def _asked_for(self, row: Outgoing) -> list[int]:
        """Return the numbers of the messages that a request asks for."""
        if not row.unopened:
            return []
        query = "SELECT sequence, opened(body, 'incoming.body', sequence) FROM incoming WHERE asked = ?"
        came = [(sequence, Came.decode(body)) for sequence, body in self.base.store.all(query, Asked.QUEUED)]
        return [
            sequence
            for sequence, one in came
            if one.sender == row.recipient and one.message_id in row.unopened
        ]

    def can_ask(self, sender: str) -> bool:
        """Is it a peer, whose key is pinned? The centre's account sends notices alone, and reads nothing."""
        centre = self.base.config.centre
        return sender in self.keeper.account.peers() and (centre is None or sender != centre.account)

    def hear(self, sender: str, unopened: Sequence[bytes]) -> str:
        """Note that a message of a peer was opened, and queue again what it asks for; with the account in one
        transaction. What the user is to be told; empty for nothing."""
        ask = self._known_asks().get(sender)
        if ask is not None and not ask.heard:
            self._save_ask(replace(ask, heard=True))
        if not unopened:
            return ""
        waiting = {row.message_id for row in self.outbox.list_waiting() if row.recipient == sender}
        again = [self._send_again(sender, one, waiting) for one in dict.fromkeys(unopened)]
        self.outbox.requeue(sender)
        count = again.count(False)
        return f"could not open {count} of your messages that are not kept: send them again" if count else ""

    def queued(self) -> list[Outgoing]:
        if not self._pending:
            return []
        self._pending = False
        return [row for row in self.outbox.list_waiting() if row.unopened or row.resent]

    def may_restart(self) -> bool:
        """Is the relay believed that this store is an older one?"""
        at = self.base.store.get(_RESTARTED)
        since = self.base.clock_ms() - int.from_bytes(at or b"", "big")
        return self.base.design.info.end_to_end and (at is None or abs(since) > DAY_MS)

    def restart(self) -> None:
        """End all sessions, and queue again what was sealed in them."""
        with self.keeper.saving() as account:
            for peer in account.peers():
                account.reset_sessions(peer)
                self.outbox.requeue(peer)
            self.base.store.put(_RESTARTED, self.base.clock_ms().to_bytes(8, "big"))
            self.hasten()

    def _send_again(self, to: str, message_id: bytes, waiting: set[bytes]) -> bool:
        kept = self._handed_over(message_id)
        if kept is None or kept.recipient != to or kept.resent >= RESENT_MOST:
            return message_id in waiting
        name = self.base.rng.take(MESSAGE_ID_LENGTH)
        row = Outgoing(0, name, self.base.clock_ms(), SendState.QUEUED, to, kept.content)
        row.unopened = kept.unopened
        row.resent = kept.resent + 1
        self._add(row)
        self.base.store.run("DELETE FROM handed_over WHERE message_id = ?", message_id)
        return True

    def _add(self, row: Outgoing) -> None:
        self.outbox.insert(row)
        self._pending = True

    def _may_ask(self, peer: str) -> bool:
        ask = self._known_asks().get(peer)
        now = self.base.clock_ms()
        return ask is None or abs(now - ask.began_at_ms) > DAY_MS or (ask.heard and ask.count < ASKS_MOST)

    def _known_asks(self) -> dict[str, _Ask]:
        if self._asks is None:
            kept = self.base.store.get(_ASKS)
            self._asks = {ask.peer: ask for ask in (() if kept is None else _Asks.decode(kept).asks)}
        return self._asks

    def _save_ask(self, ask: _Ask) -> None:
        asks = self._known_asks()
        asks.pop(ask.peer, None)
        asks[ask.peer] = ask
        self.base.store.put(_ASKS, _Asks(tuple(asks.values())[-PEERS_MOST:]).encode())
