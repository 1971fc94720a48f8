"""Whose identity key is whose: safety numbers, and what the user is told of keys.

    first seen, from a bundle or a first message --> pinned, not compared: told once, with the number
    number compared (`trust`)                    --> verified: another key is refused from now on, whoever
                                                     hands it out
    another key than the pinned one              --> refused, kept as offered: told once, with its number
    the offered key's number compared            --> pinned in place of the other, whose sessions end; what
                                                     waits, sealed in them, is sealed again

Keys that come with the configuration are verified from the beginning, and no number changes them.

    half   = 30 digits of 5,200 times SHA-512, beginning with tag, name and key
    number = both halves, the smaller first: the same on both sides

The number is Signal's numeric fingerprint of version 2 (libsignal, `NumericFingerprintGenerator`; "Safety
number updates", signal.org, 2016) but for what is hashed first: tag, account's name and key in place of its
version, typed key and identifier (`half` is held against libsignal's numbers). A half has 99.7 bits, and
each guess at one costs 5,200 hashes.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha512
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from blindmatch_client.errors import DeviceError
from blindmatch_client.messages.relay import RelayClient
from blindmatch_client.messenger.state import AccountKeeper, framed

if TYPE_CHECKING:
    from blindmatch_client.messenger.peers import Peer


TAG: Final = b"blindmatch/messenger/safety-number/v1"
ITERATIONS: Final = 5200
GROUPS: Final = 6
"""Of five digits, in a half."""
DIGITS: Final = 60


def safety_number(mine: bytes, my_key: bytes, theirs: bytes, their_key: bytes) -> str:
    """The number of two accounts, 60 digits, the same whichever is `mine`: of their names, framed as in
    account.py, and identity keys, Curve25519, 32 bytes."""
    return "".join(sorted(half(TAG + name + key, key) for name, key in ((mine, my_key), (theirs, their_key))))


def grouped(number: str) -> str:
    return " ".join(number[at : at + 5] for at in range(0, len(number), 5))


def digits(said: str) -> str | None:
    """The number that somebody typed, with blanks and hyphens anywhere; None if it is none."""
    number = said.translate({ord(one): None for one in " \t\n-"})
    return number if len(number) == DIGITS and number.isascii() and number.isdigit() else None


def half(begun: bytes, key: bytes) -> str:
    """The 30 digits of one party: `begun`, then again and again its key."""
    value = begun
    for _ in range(ITERATIONS):
        value = sha512(value + key).digest()
    parts = (int.from_bytes(value[5 * at : 5 * at + 5], "big") % 100_000 for at in range(GROUPS))
    return "".join(f"{part:05d}" for part in parts)


class Contact(Struct, frozen=True):
    """What is known of a peer's key.

    Attributes:
        number: the safety number with the key that is in use, 60 digits.
        verified: whether it was compared, or came with the configuration.
        offered: the number with another key that somebody has shown as the peer's; empty if nobody has.
    """

    peer: str
    number: str
    verified: bool
    offered: str = ""


class Contacts:
    """The keys of one account's peers, of which `configured` ones, by account, are pinned now; `requeue`
    queues again what is sealed for a peer, with the account in one transaction."""

    def __init__(
        self,
        keeper: AccountKeeper,
        relay: RelayClient,
        configured: Mapping[str, bytes],
        requeue: Callable[[str], None],
    ) -> None:
        self._keeper = keeper
        self._relay = relay
        self._requeue = requeue
        self._configured = {name: key for name, key in configured.items() if name != keeper.name}
        for name, key in self._configured.items():
            if not keeper.was_trusted(name, key):
                self._pin(name, key)

    def all(self) -> list[Contact]:
        return [self._contact(name, peer) for name, peer in sorted(self._keeper.account.peers().items())]

    def contact(self, peer: str) -> Contact:
        """A peer. One that is not known is asked for at the relay, which uses one of its pre-keys up, and its
        key is pinned, as with a first message; `ServiceError` if it is not known, and the relay cannot be
        reached or knows it neither; `MessengerError` if what the relay hands out for it is not in order."""
        if peer not in self._keeper.account.peers():
            bundle = self._relay.fetch_bundle(peer)
            bundle.checked()
            with self._keeper.saving() as account:
                account.note_identity(peer, bundle.identity)
        return self._contact(peer, self._keeper.account.peers()[peer])

    def identity(self, peer: str) -> bytes | None:
        """The identity key that is pinned for a peer, public, 32 bytes; None if none was seen."""
        return self._keeper.account.peer_identity(peer)

    def trust(self, peer: str, number: str) -> Contact:
        """Take the key whose safety number the user has compared with the peer by other means; `DeviceError`
        if it is not the number of a key of this peer, or the key is configured; `ServiceError`,
        `MessengerError` as `contact`."""
        said = digits(number)
        if said is None:
            raise DeviceError("a safety number is 60 digits")
        if peer in self._configured:
            raise DeviceError(f"the key of {peer} comes with the configuration")
        known = self.contact(peer)
        held = self._keeper.account.peers()[peer]
        numbers = zip((held.identity, *held.offered), (known.number, known.offered), strict=False)
        for key, mine in numbers:
            if hmac.compare_digest(mine.encode(), said.encode()):
                self._pin(peer, key)
                return self.contact(peer)
        raise DeviceError(
            f"this is not the safety number with {peer}: somebody may have put another key in between. "
            "Nothing was changed; do not send what nobody else may read"
        )

    def _pin(self, peer: str, key: bytes) -> None:
        with self._keeper.saving() as account:
            if account.peer_identity(peer) != key:
                self._requeue(peer)
            account.trust(peer, key)

    def news(self) -> list[str]:
        """Return what the user must be told of keys, until `mark_news_shown`."""
        peers = sorted(self._keeper.account.peers().items())
        return [words for name, peer in peers for words in self._words(name, peer)]

    def mark_news_shown(self) -> None:
        """Forget the news of now. Call it once they were shown: before that a crash must find them here."""
        for name, peer in self._keeper.account.peers().items():
            if self._words(name, peer):
                with self._keeper.saving() as account:
                    account.note_told(name)

    def _words(self, name: str, peer: Peer) -> list[str]:
        words: list[str] = []
        if peer.identity not in peer.told and not peer.verified:
            words.append(
                f"First contact with {name}. The relay handed out the key; whether it is {name}'s, only you "
                f"two can tell. Compare this safety number with {name} by other means: "
                f"{grouped(self._number(name, peer.identity))}"
            )
        was = "the one you compared" if peer.verified else "the one seen first"
        words += [
            f"Somebody has shown another key as that of {name} than {was}; it was refused. If {name} has a "
            "new device, compare the safety number with it by other means, then trust it: "
            f"{grouped(self._number(name, key))}"
            for key in peer.offered
            if key not in peer.told
        ]
        return words

    def _contact(self, name: str, peer: Peer) -> Contact:
        offered = "".join(self._number(name, key) for key in peer.offered)
        return Contact(name, self._number(name, peer.identity), peer.verified, offered)

    def _number(self, name: str, key: bytes) -> str:
        account = self._keeper.account
        return safety_number(framed(account.name), account.identity, framed(name), key)
