"""Errors of the device.

A text says which party it is about, what happened and what can be done; it never holds content, a hash of
a picture or a secret.
"""

from __future__ import annotations

from blindmatch_protocol.codec.errors import BlindmatchError
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
    """A call to another party failed.

    Args:
        words: what happened and what to do, without the party's name.
    """

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
        advice: what can be done.
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
