"""Ask for messages again that cannot be opened, as after a device was restored from a backup.

    Bob cannot open a message of Alice's: he is shown a problem, and asks her for it in a new session, at
    once or, if he asked a short time before, later; the problem says whether the relay has the request
      Bob   -- new session: the ids of what he could not open --> Alice
      Alice -- the same contents, in that session, under other ids --> Bob

    the relay has another message in a message's place (session, ratchet key, number), or under its id:
      this store is an old copy, which was put back; all sessions end, and what waits is sealed again

How a relay could abuse this, and what bounds that: docs/messenger.md.
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
"""Times that one message is sent again, at most."""

ASKS_MOST: Final = 16
"""Requests to one peer in a day, at most."""

PEERS_MOST: Final = 256
"""Peers whose requests are counted, at most; the one asked longest ago is forgotten first."""

_ASKS: Final = "asks"
_SET_ASKED: Final = "UPDATE incoming SET asked = ? WHERE sequence = ?"
_RESTARTED: Final = "restarted_at"


class Unopened(Struct, frozen=True):
    """A message that could not be opened, by the relay's number of it."""

    sequence: int
    sender: str
    message_id: bytes


class Expired(Struct, frozen=True):
    """A message that expired at the relay.

    Attributes:
        by_user: False if the device itself wrote it, only to ask for others.
    """

    recipient: str
    by_user: bool


class _Handed(Message, tag=0xED, name="device/handed-over"):
    """The sealed part of a message that was handed over."""

    recipient: Annotated[str, Text(NAME_MOST)]
    content: Annotated[Content, Nested(Content)]
    unopened: Annotated[tuple[bytes, ...], Several(Fixed(MESSAGE_ID_LENGTH), UNOPENED_MOST)]
    resent: Annotated[int, UInt(8)]


class _Ask(Message, tag=0xEE, name="device/ask"):
    """The requests to one peer: when the first of a day was, how many, and if the peer was heard since."""

    peer: Annotated[str, Text(NAME_MOST)]
    began_at_ms: Annotated[int, UInt(64)]
    count: Annotated[int, UInt(8)]
    heard: Annotated[bool, Bool()]


class _Asks(Message, tag=0xEF, name="device/asks"):
    """The requests to all peers; the peer asked last is at the end."""

    asks: Annotated[tuple[_Ask, ...], Several(Nested(_Ask), PEERS_MOST)]


class Recovery(Struct):
    """Asks for an account's unopened messages again, and sends its own again when asked.

    Attributes:
        hasten: called when the store turns out to be an old copy; makes publishing the pre-keys due.
    """

    base: Base
    keeper: AccountKeeper
    outbox: Outbox
    hasten: Callable[[], None]
    _asks: dict[str, _Ask] | None = None
    _is_pending: bool = True

    def keep(self, row: Outgoing) -> None:
        """Keep a message that was handed over, with the next transaction.

        A message in the clear, which needs no session, is not kept. Nor is a picture on a device that refuses
        to send what matches: the pictures it sent would tell the outcomes.
        """
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
        """Forget messages that were kept longer than `KEPT_MS`."""
        before = self.base.clock_ms() - KEPT_MS
        self.base.store.run("DELETE FROM handed_over WHERE queued_at_ms < ?", before)

    def forget_expired(self, message_id: bytes) -> Expired | None:
        """Forget a message that the relay has deleted; return what was known of it, or None."""
        kept = self._find_handed_over(message_id)
        if kept is None:
            return None
        self.base.store.run("DELETE FROM handed_over WHERE message_id = ?", message_id)
        content = kept.content
        by_user = bool(content.text or content.attachments) or not kept.unopened
        return Expired(kept.recipient, by_user)

    def _find_handed_over(self, message_id: bytes) -> _Handed | None:
        query = "SELECT opened(body, 'handed_over.body', message_id) FROM handed_over WHERE message_id = ?"
        row = self.base.store.one(query, message_id)
        return None if row is None else _Handed.decode(row[0])

    def ask(self, unopened: Sequence[Unopened]) -> None:
        """Queue a request to each sender for its unopened messages, unless it was asked too recently."""
        by_sender: dict[str, list[Unopened]] = {}
        for message in unopened:
            if self.can_ask(message.sender) and self._is_ask_due(message.sender):
                by_sender.setdefault(message.sender, []).append(message)
        now = self.base.clock_ms()
        for sender, lost in by_sender.items():
            content = compose("", (), now, self.base.rng)
            name = self.base.rng.take(MESSAGE_ID_LENGTH)
            row = Outgoing(0, name, now, SendState.QUEUED, sender, content)
            row.unopened = tuple(dict.fromkeys(message.message_id for message in lost))
            with self.base.store.transaction():
                self._add(row)
                queued = [(Asked.QUEUED, message.sequence) for message in lost]
                self.base.store.run_each(_SET_ASKED, queued)
                ask = self._load_asks().get(sender)
                if ask is None or abs(now - ask.began_at_ms) > DAY_MS:
                    ask = _Ask(sender, now, 0, False)
                self._save_ask(replace(ask, count=ask.count + 1, heard=False))

    def note_request_sent(self, row: Outgoing) -> None:
        """Note, with the next transaction, that the relay has a request, if `row` is one."""
        for sequence in self._list_requested(row):
            self.base.store.later(_SET_ASKED, Asked.SENT, sequence)

    def note_request_failed(self, row: Outgoing) -> None:
        """Note that a request, if `row` is one, will never leave; its messages are asked for again later."""
        failed = [(Asked.NO, sequence) for sequence in self._list_requested(row)]
        self.base.store.run_each(_SET_ASKED, failed)

    def _list_requested(self, row: Outgoing) -> list[int]:
        """List the numbers of the messages that a request asks for; none if `row` is no request."""
        if not row.unopened:
            return []
        query = "SELECT sequence, opened(body, 'incoming.body', sequence) FROM incoming WHERE asked = ?"
        came = [(sequence, Came.decode(body)) for sequence, body in self.base.store.all(query, Asked.QUEUED)]
        return [
            sequence
            for sequence, message in came
            if message.sender == row.recipient and message.message_id in row.unopened
        ]

    def can_ask(self, sender: str) -> bool:
        """Tell if the sender is a peer whose key is pinned, and not the centre, which reads no messages."""
        centre = self.base.config.centre
        return sender in self.keeper.account.peers() and (centre is None or sender != centre.account)

    def hear(self, sender: str, unopened: Sequence[bytes]) -> str:
        """Note that a message of a peer was opened, and queue again the messages that it asks for.

        Call it in the transaction that saves the account.

        Returns:
            What the user is told; empty if nothing.
        """
        ask = self._load_asks().get(sender)
        if ask is not None and not ask.heard:
            self._save_ask(replace(ask, heard=True))
        if not unopened:
            return ""
        waiting = {row.message_id for row in self.outbox.list_waiting() if row.recipient == sender}
        repeated = [self._repeat(sender, message_id, waiting) for message_id in dict.fromkeys(unopened)]
        self.outbox.requeue(sender)
        count = repeated.count(False)
        return f"could not open {count} of your messages that are not kept: send them again" if count else ""

    def take_queued(self) -> list[Outgoing]:
        """Return requests and repeated messages that wait; none if none was queued since the last call."""
        if not self._is_pending:
            return []
        self._is_pending = False
        return [row for row in self.outbox.list_waiting() if row.unopened or row.resent]

    def can_restart(self) -> bool:
        """Tell if sessions may restart on the relay's word, which a lying relay gets at most once a day."""
        restarted_at = self.base.store.get(_RESTARTED)
        since = self.base.clock_ms() - int.from_bytes(restarted_at or b"", "big")
        return self.base.design.info.end_to_end and (restarted_at is None or abs(since) > DAY_MS)

    def restart(self) -> None:
        """End all sessions, and queue again what was sealed in them and waits."""
        with self.keeper.saving() as account:
            for peer in account.peers():
                account.reset_sessions(peer)
                self.outbox.requeue(peer)
            self.base.store.put(_RESTARTED, self.base.clock_ms().to_bytes(8, "big"))
            self.hasten()

    def _repeat(self, to: str, message_id: bytes, waiting: set[bytes]) -> bool:
        """Queue a message again; return False if it is neither kept nor waiting."""
        kept = self._find_handed_over(message_id)
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
        self._is_pending = True

    def _is_ask_due(self, peer: str) -> bool:
        """Tell if a peer may be asked: once a day, and up to `ASKS_MOST` times if it was heard in between."""
        ask = self._load_asks().get(peer)
        now = self.base.clock_ms()
        return ask is None or abs(now - ask.began_at_ms) > DAY_MS or (ask.heard and ask.count < ASKS_MOST)

    def _load_asks(self) -> dict[str, _Ask]:
        if self._asks is None:
            kept = self.base.store.get(_ASKS)
            self._asks = {ask.peer: ask for ask in (() if kept is None else _Asks.decode(kept).asks)}
        return self._asks

    def _save_ask(self, ask: _Ask) -> None:
        asks = self._load_asks()
        asks.pop(ask.peer, None)
        asks[ask.peer] = ask
        self.base.store.put(_ASKS, _Asks(tuple(asks.values())[-PEERS_MOST:]).encode())
