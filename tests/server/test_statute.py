from __future__ import annotations

from datetime import UTC, datetime

import pytest
from blindmatch_server.centre.notices import months_after, statute


def test_what_the_law_says_is_read_with_its_source() -> None:
    periods = statute().notice_to_user
    assert (periods.delay_months, periods.most_months) == (3, 18)
    assert "Articles 12 and 48(7)" in periods.source
    assert "B/C" in statute().statistics_form.caution
    assert "2021/1232, lapsed on 3 April 2026" in statute().statistics_form.source


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2026-01-15T10:00:00.250", 3, "2026-04-15T10:00:00.250"),
        ("2026-11-30T23:59:59", 3, "2027-02-28T23:59:59"),
        ("2027-11-30T00:00:00", 3, "2028-02-29T00:00:00"),
        ("2026-12-01T00:00:00", 18, "2028-06-01T00:00:00"),
        ("2026-12-31T00:00:00", 0, "2026-12-31T00:00:00"),
    ],
)
def test_months_are_those_of_the_calendar(start: str, months: int, end: str) -> None:
    def ms(text: str) -> int:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)

    assert months_after(ms(start), months) == ms(end)
