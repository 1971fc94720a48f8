"""Errors of the device and of its messenger.

A text says which party it is about, what happened and what can be done; it never holds content, a hash of a
picture or a secret. The messenger's texts are fixed: no key, name or content is part of one, and none is
chained to a library's exception, whose arguments and frames may hold secrets.
"""

from __future__ import annotations

from typing import ClassVar, Final

from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import Party


class DeviceError(BlindmatchError):
    """Root of what the device raises on purpose."""


class StoreError(DeviceError):
    """The device's folder holds no device, one already, or one of another version."""


class WrongKeyError(StoreError):
    """The device's store was locked with another passphrase or key file."""


class ReportRefusedError(DeviceError):
    """A report was asked for without a confirmed match; nothing was written or sent."""


class EpochRefusedError(DeviceError):
    """A set that is offered must not be adopted, or an adopted one failed; nothing is asked with it."""


class ServiceError(DeviceError):
    """A call to another party failed; `words` say what happened and what to do, without the party's name."""

    def __init__(self, party: Party, words: str) -> None:
        self.party = party
        super().__init__(f"the {party.server} {words}")


class ServiceUnavailableError(ServiceError):
    """The party could not be reached, was too slow or failed inside: the call may be made again."""


class UnreachedError(ServiceUnavailableError):
    """There was no connection to the party: nothing of the call has got there."""


class RefusedError(ServiceError):
    """The party answered with a refusal.

    Args:
        status: the gRPC status, e.g. ``"RESOURCE_EXHAUSTED"``.
        detail: the party's own words, cut and made printable.
        retry_after_ms: after which the party, asked too often, would answer; None if it did not say.
    """

    def __init__(
        self, party: Party, status: str, detail: str, advice: str, retry_after_ms: int | None = None
    ) -> None:
        self.status = status
        self.detail = detail
        self.retry_after_ms = retry_after_ms
        super().__init__(party, f"refused ({status}): {detail or 'no reason given'}; {advice}")


class MisbehavedError(ServiceError):
    """The party's answer breaks the wire interface; what it said is not used."""

    def __init__(self, party: Party, rule: str) -> None:
        self.rule = rule
        super().__init__(party, f"broke the wire interface: {rule}; its answer is not used")


class MessengerError(BlindmatchError):
    """Root of what the messenger raises. Whichever it is, the account is as it was before the call."""

    TEXT: ClassVar[str] = "the messenger could not do this"

    def __init__(self) -> None:
        super().__init__(self.TEXT)


class MalformedError(MessengerError):
    """Bytes from another party, or a content to be sent, break a rule of the encoding, as `broken` says."""

    TEXT = "malformed"

    def __init__(self, broken: ProtocolError) -> None:
        super().__init__()
        self.args = (str(broken),)


class BundleNeededError(MessengerError):
    TEXT = "there is no session with this recipient: fetch a pre-key bundle and pass it"


class BundleRefusedError(MessengerError):
    TEXT = "the pre-key bundle is refused: wrong signature, bad key or more than one one-time pre-key"


class IdentityChangedError(MessengerError):
    """`identity` is the public key that the peer shows, which is not the one seen first; not in the text."""

    TEXT = "the peer's identity key is not the one known so far: compare the safety number, then trust it"

    def __init__(self, identity: bytes) -> None:
        super().__init__()
        self.identity = identity


class TooManyFirstsError(MessengerError):
    """A peer has started as many sessions without a one-time pre-key as are taken while one signed pre-key
    serves. To forget an older one would let it be repeated."""

    TEXT = "the peer started too many sessions without a one-time pre-key; wait until the pre-key is replaced"


class PreKeyUnavailableError(MessengerError):
    TEXT = "the first message uses a pre-key that is not available, or was used before"


class NotFrankedError(MessengerError):
    TEXT = "the message is authentic, but not franked by its sender as all messages must be here"


class NoSessionError(MessengerError):
    TEXT = "the message belongs to no known session and does not start one"


class NotAuthenticError(MessengerError):
    TEXT = "not authentic: altered, misdirected or of another session"


class ReplayedMessageError(MessengerError):
    """A message was decrypted before, or came so late that its key is gone; it can be acknowledged."""

    TEXT = "the message was decrypted before, or its key is no longer kept"


class TooManySkippedError(MessengerError):
    TEXT = "the message claims too many lost ones before it"


UNOPENED: Final = (
    NoSessionError,
    NotAuthenticError,
    PreKeyUnavailableError,
    ReplayedMessageError,
    TooManyFirstsError,
    TooManySkippedError,
)
"""Of what came: its sender can send it again, in another session."""


class CommitmentError(MessengerError):
    TEXT = "the message's commitment does not bind its content"


class StateError(MessengerError):
    TEXT = "the account's dump cannot be loaded"
