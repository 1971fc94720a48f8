"""Pin the identity keys of peers, compare safety numbers, and tell the user of new keys.

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
from blindmatch_client.messenger.state import AccountKeeper, frame_name

if TYPE_CHECKING:
    from blindmatch_client.messenger.peers import Peer


TAG: Final = b"blindmatch/messenger/safety-number/v1"
ITERATIONS: Final = 5200
GROUPS: Final = 6
"""Of five digits, in a half."""
DIGITS: Final = 60


def safety_number(mine: bytes, my_key: bytes, theirs: bytes, their_key: bytes) -> str:
    """Compute the safety number of two accounts, 60 digits; the same whichever is `mine`.

    Args:
        mine: The one account's name, framed as in account.py.
        my_key: Its identity key, Curve25519, 32 bytes.
        theirs: The other account's name, framed likewise.
        their_key: Its identity key.
    """
    parties = ((mine, my_key), (theirs, their_key))
    return "".join(sorted(compute_half(TAG + name + key, key) for name, key in parties))


def group_digits(number: str) -> str:
    """Write a safety number in groups of five digits, for people."""
    return " ".join(number[at : at + 5] for at in range(0, len(number), 5))


def parse_number(typed: str) -> str | None:
    """Read a safety number that somebody typed, with blanks and hyphens anywhere; None if it is none."""
    number = typed.translate({ord(character): None for character in " \t\n-"})
    return number if len(number) == DIGITS and number.isascii() and number.isdigit() else None


def compute_half(first: bytes, key: bytes) -> str:
    """Compute the 30 digits of one party.

    The hash is iterated, v_0 = `first` and v_i = SHA-512(v_(i-1) || key), so that each guess at a key with
    the same digits costs 5,200 hashes.
    """
    value = first
    for _ in range(ITERATIONS):
        value = sha512(value + key).digest()
    parts = (int.from_bytes(value[5 * at : 5 * at + 5], "big") % 100_000 for at in range(GROUPS))
    return "".join(f"{part:05d}" for part in parts)


class Contact(Struct, frozen=True):
    """What is known of a peer's key.

    Attributes:
        number: the safety number with the key that is in use, 60 digits.
        verified: True if it was compared, or came with the configuration.
        offered: the number with another key that somebody has shown as the peer's; empty if nobody has.
    """

    peer: str
    number: str
    verified: bool
    offered: str = ""


class Contacts:
    """The keys of one account's peers."""

    def __init__(
        self,
        keeper: AccountKeeper,
        relay: RelayClient,
        configured: Mapping[str, bytes],
        requeue: Callable[[str], None],
    ) -> None:
        """Pin the configured keys.

        Args:
            configured: Keys that come with the configuration, by account.
            requeue: Queues again what is sealed for a peer, in the transaction that saves the account.
        """
        self._keeper = keeper
        self._relay = relay
        self._requeue = requeue
        self._configured = {name: key for name, key in configured.items() if name != keeper.name}
        for name, key in self._configured.items():
            if not keeper.was_trusted(name, key):
                self._pin(name, key)

    def list_all(self) -> list[Contact]:
        return [self._describe(name, peer) for name, peer in sorted(self._keeper.account.peers().items())]

    def look_up(self, peer: str) -> Contact:
        """Return what is known of a peer's key; fetch it from the relay if nothing is.

        Fetching uses up one of the peer's pre-keys and pins its key, as a first message does.

        Raises:
            ServiceError: The peer is not known here, and the relay cannot be reached or does not know it.
            MessengerError: What the relay hands out for the peer is malformed.
        """
        if peer not in self._keeper.account.peers():
            bundle = self._relay.fetch_bundle(peer)
            bundle.check()
            with self._keeper.saving() as account:
                account.note_identity(peer, bundle.identity)
        return self._describe(peer, self._keeper.account.peers()[peer])

    def get_identity(self, peer: str) -> bytes | None:
        """Return the public identity key that is pinned for a peer, 32 bytes; None if none was seen."""
        return self._keeper.account.peer_identity(peer)

    def trust(self, peer: str, number: str) -> Contact:
        """Pin the key whose safety number the user has compared with the peer by other means.

        Raises:
            DeviceError: It is not the number of a key of this peer, or the key is configured.
            ServiceError, MessengerError: As `look_up`.
        """
        compared = parse_number(number)
        if compared is None:
            raise DeviceError("a safety number is 60 digits")
        if peer in self._configured:
            raise DeviceError(f"the key of {peer} comes with the configuration")
        known = self.look_up(peer)
        held = self._keeper.account.peers()[peer]
        numbers = zip((held.identity, *held.offered), (known.number, known.offered), strict=False)
        for key, shown_number in numbers:
            if hmac.compare_digest(shown_number.encode(), compared.encode()):
                self._pin(peer, key)
                return self.look_up(peer)
        raise DeviceError(
            f"this is not the safety number with {peer}: somebody may have put another key in between. "
            "Nothing was changed; do not send what nobody else may read"
        )

    def _pin(self, peer: str, key: bytes) -> None:
        with self._keeper.saving() as account:
            if account.peer_identity(peer) != key:
                self._requeue(peer)
            account.trust(peer, key)

    def list_news(self) -> list[str]:
        """List what the user must be told of keys, until `mark_news_shown`."""
        peers = sorted(self._keeper.account.peers().items())
        return [words for name, peer in peers for words in self._describe_news(name, peer)]

    def mark_news_shown(self) -> None:
        """Forget the present news. Call it after showing them: a crash before that must not lose them."""
        for name, peer in self._keeper.account.peers().items():
            if self._describe_news(name, peer):
                with self._keeper.saving() as account:
                    account.note_told(name)

    def _describe_news(self, name: str, peer: Peer) -> list[str]:
        words: list[str] = []
        if peer.identity not in peer.told and not peer.verified:
            words.append(
                f"First contact with {name}. The relay handed out the key; whether it is {name}'s, only you "
                f"two can tell. Compare this safety number with {name} by other means: "
                f"{group_digits(self._compute_number(name, peer.identity))}"
            )
        pinned = "the one you compared" if peer.verified else "the one seen first"
        words += [
            f"Somebody has shown another key as that of {name} than {pinned}; it was refused. If {name} has "
            "a new device, compare the safety number with it by other means, then trust it: "
            f"{group_digits(self._compute_number(name, key))}"
            for key in peer.offered
            if key not in peer.told
        ]
        return words

    def _describe(self, name: str, peer: Peer) -> Contact:
        offered = "".join(self._compute_number(name, key) for key in peer.offered)
        return Contact(name, self._compute_number(name, peer.identity), peer.verified, offered)

    def _compute_number(self, name: str, key: bytes) -> str:
        account = self._keeper.account
        return safety_number(frame_name(account.name), account.identity, frame_name(name), key)
