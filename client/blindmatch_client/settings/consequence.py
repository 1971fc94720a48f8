"""What follows on the device once it has learnt that a picture matches; apart from how it is matched."""

from __future__ import annotations

from enum import StrEnum

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Flag, Info, Learner, Match, Outcome


class Consequence(StrEnum):
    """A parameter of the device.

    REPORT: the message is delivered, and a match or a flag reported to the centre.
    WARN: the message is delivered and the user told; nothing else leaves the device.
    REFUSE: the message is not sent, and the user told. Delivery then depends on the outcome: who sees that a
        picture was asked about and that no message follows knows it (fact `outcome`).
    """

    REPORT = "report"
    WARN = "warn"
    REFUSE = "refuse"


def check_consequence(consequence: Consequence, holds: bool, info: Info) -> None:
    """Whether a device can act so, of which `holds` says whether pictures wait until they are matched.

    Raises:
        DesignError: if it never learns an outcome, or if pictures leave that were not matched.
    """
    if consequence is not Consequence.REPORT and Learner.DEVICE not in info.learns:
        raise DesignError(f"consequence {consequence}: with design {info.name} the device learns nothing")
    if consequence is Consequence.REFUSE and not holds:
        raise DesignError("consequence refuse: pictures would be sent before they are matched")


def refuses(consequence: Consequence, outcome: Outcome) -> bool:
    """Must a message with this outcome not be sent? What a filter alone says has no consequence."""
    return consequence is Consequence.REFUSE and (
        isinstance(outcome, Flag) or (isinstance(outcome, Match) and not outcome.label.unconfirmed)
    )
