"""What the checks of a report do not show, in words for whoever reads of one.

Messages bear no stamp of the relay yet: a device can make commitment and opening of any message that it says
it sent, to anybody. It is held to its own name and to one picture; the rest is its word. Where a provider
reads pictures itself there is no commitment at all.
"""

from __future__ import annotations

from typing import Final

from blindmatch_server.authority import IdentityError, Kind, identity_of

BY_DEVICE: Final = (
    "that this message was sent, when, that no other report is about it, too, or that the recipient it names "
    "received it: the sender's own device says so, and messages bear no stamp of the relay yet"
)
BY_SERVICE: Final = (
    "who sent the picture, when, or whether anybody did: a service that sees pictures in the clear says so, "
    "and nothing binds it to that"
)
IN_STATISTICS: Final = (
    "recipients: the checks do not show that a recipient whom a sender's device names received "
    "anything, and recipients of what a service reports are not known"
)


def not_shown(submitter: str) -> str:
    """What the checks do not show of a report that the account `submitter` handed in."""
    return BY_DEVICE if is_device(submitter) else BY_SERVICE


def is_device(submitter: str) -> bool:
    """Whether the account is a device's."""
    try:
        return identity_of(submitter).kind is Kind.DEVICE
    except IdentityError:
        return False
