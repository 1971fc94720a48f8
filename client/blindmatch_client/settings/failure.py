"""What the device does while the matcher is unreachable, refuses or cheats, and what each choice leaks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from blindmatch_protocol.contract import Fact, Info, Party, Severity


class FailureMode(StrEnum):
    """A parameter of the device.

    HOLD: the picture waits on the device until it was matched. The user cannot send while the matcher is
        down, and the relay sees from late messages how long it was.
    SEND_AND_MATCH_LATER: the picture is delivered and waits on the device to be matched. The matcher gets
        queries apart from the messages; a match is reported after the recipient has the picture.
    SEND_UNMATCHED: the picture is delivered and never matched. Whoever can block the matcher switches
        detection off; nobody but the sender's device knows which pictures that concerns.
    """

    HOLD = "hold"
    SEND_AND_MATCH_LATER = "send_and_match_later"
    SEND_UNMATCHED = "send_unmatched"


_RETRIED: Final = Fact(
    "retry_time",
    "that a query that was asked before, or was missed, is asked again, and when",
    Severity.TIMES,
)
_HELD: Final = Fact(
    "outage_delay",
    "that messages with pictures come late, and so how long nobody could be asked",
    Severity.TIMES,
)
_LATE: Final = Fact("late_query_time", "when a picture that was delivered before is matched", Severity.TIMES)


def failure_facts(mode: FailureMode, info: Info) -> Mapping[Party, tuple[Fact, ...]]:
    """What a mode discloses beyond the design and the messenger once a failure happens: to whoever devices of
    the design `info` ask, and to the provider.

    In every mode a device that stops between handing a message over and looking at the outcome asks again.
    """
    if not info.callees:
        return {}
    asked = (_RETRIED, _LATE) if mode is FailureMode.SEND_AND_MATCH_LATER else (_RETRIED,)
    told = dict.fromkeys(info.callees, asked)
    if mode is FailureMode.HOLD:
        told[Party.PROVIDER] = (*told.get(Party.PROVIDER, ()), _HELD)
    return told
