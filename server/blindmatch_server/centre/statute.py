"""What the law asks of the centre, as data with its source: `statute.json`."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

import msgspec


class NoticePeriods(msgspec.Struct, frozen=True):
    """When a user is told of a report, in months after it was received: COM(2022) 209, Articles 12 and 48(7).

    Attributes:
        delay_months: unless an authority asks for more.
        most_months: even then.
        source: where it says so.
    """

    delay_months: int
    most_months: int
    source: str


class StatisticsForm(msgspec.Struct, frozen=True):
    """How error is to be published: Regulation (EU) 2021/1232 and Implementing Regulation (EU) 2024/2916.

    Attributes:
        error_rate: the definition of the published rate, and of A, B and C.
        caution: what must stand beside it.
        source: where it says so.
    """

    error_rate: str
    caution: str
    source: str


class Statute(msgspec.Struct, frozen=True):
    """The file, as far as the centre goes by it."""

    notice_to_user: NoticePeriods
    statistics_form: StatisticsForm


@cache
def statute() -> Statute:
    """What the file says."""
    raw = files("blindmatch_server.centre").joinpath("statute.json").read_bytes()
    return msgspec.json.decode(raw, type=Statute)


def months_after(at_ms: int, months: int) -> int:
    """The same day and time of day (UTC) so many calendar months later, or the month's last day."""
    start = datetime.fromtimestamp(at_ms / 1000, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    moved = start.replace(year=year, month=month + 1, day=day)
    return at_ms + round((moved - start).total_seconds() * 1000)
