"""What the law asks of the centre, as data with its source: `statute.json`."""

from __future__ import annotations

import json
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class NoticePeriods:
    """When a user is told of a report, in months after it was received.

    Attributes:
        delay_months: unless an authority asks for more.
        most_months: even then.
        source: where it says so.
    """

    delay_months: int
    most_months: int
    source: str

    def usual_ms(self, received_at_ms: int) -> int:
        """When the notice is due if nobody asks for a delay; Unix time in milliseconds."""
        return months_after(received_at_ms, self.delay_months)

    def latest_ms(self, received_at_ms: int) -> int:
        """When it is due at the latest; Unix time in milliseconds."""
        return months_after(received_at_ms, self.most_months)


@dataclass(frozen=True, slots=True)
class StatisticsForm:
    """How error is to be published.

    Attributes:
        error_rate: the definition of the published rate, and of A, B and C.
        caution: what must stand beside it.
        source: where it says so.
    """

    error_rate: str
    caution: str
    source: str


@cache
def notice_periods() -> NoticePeriods:
    """The periods of COM(2022) 209, Articles 12 and 48(7)."""
    held = _statute()["notice_to_user"]
    return NoticePeriods(held["delay_months"], held["most_months"], held["source"])


@cache
def statistics_form() -> StatisticsForm:
    """The form of Regulation (EU) 2021/1232 and Implementing Regulation (EU) 2024/2916."""
    held = _statute()["statistics_form"]
    return StatisticsForm(held["error_rate"], held["caution"], held["source"])


def months_after(at_ms: int, months: int) -> int:
    """The same day and time of day (UTC) so many calendar months later, or the month's last day."""
    start = datetime.fromtimestamp(at_ms / 1000, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    moved = start.replace(year=year, month=month + 1, day=day)
    return at_ms + round((moved - start).total_seconds() * 1000)


def _statute() -> dict[str, Any]:
    text = files("blindmatch_server.centre").joinpath("statute.json").read_text("utf-8")
    held: dict[str, Any] = json.loads(text)
    return held
