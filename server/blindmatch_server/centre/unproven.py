"""What the checks of a report do not show, in words for whoever reads of one.

A device hands in what the relay stamped when it took the message: that it was sent, by whom, to whom, when.
A relay cannot tell whether what it takes can be opened, and makes its stamps with a key that the centre has,
too. Where a provider reads pictures itself there is no commitment at all.
"""

from __future__ import annotations

from typing import Final

from blindmatch_server.hosting.authority import IdentityError, Kind, identity_of

BY_DEVICE: Final = (
    "that the recipient received the message, or could open it: the relay's stamp says that it took it then, "
    "for that account; and that relay and centre, who share the stamp's key, did not make the stamp together"
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
