"""Pre-keys as they go to the relay and come back from it (X3DH, sections 3.1 and 3.2).

The relay gets many one-time pre-keys and hands out *one* with each bundle, or none when they are used up.
X3DH allows none, at a price: until the signed pre-key is replaced for the second time (the one before still
serves), the first message can be decrypted by whoever takes the device, and only `Account`'s memory refuses
its replay (X3DH, section 4.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.sealed_message import Curve25519Key
from blindmatch_protocol.messages.sender_proof import FrankingKey
from msgspec import Struct

from blindmatch_client.messenger.errors import BundleRefusedError

if TYPE_CHECKING:
    import x3dh

SIGNATURE_LENGTH = 64

ONE_TIME_PRE_KEYS: Final = 100
"""One-time pre-keys of a new account."""

ONE_TIME_MOST: Final = 1000
"""One-time pre-keys an account holds at most, with those that are not published any more."""

WITHDRAWN_KEPT_MS: Final = 31 * 24 * 60 * 60 * 1000
"""How long those are kept: a day longer than the relay keeps the messages that may use them."""


class PreKeyPublication(Struct, frozen=True):
    """What an account hands to the relay: public keys of 32 bytes and an XEdDSA signature of 64."""

    identity: bytes
    signed_pre_key: bytes
    signature: bytes
    one_time: tuple[bytes, ...]
    franking_key: FrankingKey


class FetchedBundle(Struct, frozen=True):
    """What the relay hands out for a recipient; not to be trusted before `checked`. `franking_key`: none, or
    the one that is signed by `identity`, as `Frankings` checks."""

    identity: bytes
    signed_pre_key: bytes
    signature: bytes
    one_time: tuple[bytes, ...]
    franking_key: tuple[FrankingKey, ...] = ()

    def checked(self) -> x3dh.Bundle:
        """The bundle for the library, which checks the signature and, given several one-time pre-keys,
        would pick one.

        Raises:
            BundleRefusedError: for lengths, keys that are not canonical, or several one-time pre-keys.
        """
        import x3dh

        try:
            for key in (self.identity, self.signed_pre_key, *self.one_time):
                Curve25519Key().write(key, "messenger/bundle", "key")
        except ProtocolError as error:
            raise BundleRefusedError from error
        if len(self.one_time) > 1 or len(self.signature) != SIGNATURE_LENGTH:
            raise BundleRefusedError
        return x3dh.Bundle(self.identity, self.signed_pre_key, self.signature, frozenset(self.one_time))
