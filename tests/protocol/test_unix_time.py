"""Moments in errors: a date in UTC, or the number where no date can be read."""

from __future__ import annotations

import pytest
from blindmatch_protocol.unix_time import format_unix_time


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "1970-01-01 00:00:00 UTC"),
        (1_000_000_000, "2001-09-09 01:46:40 UTC"),
        (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        (253_402_300_800, "Unix time 253402300800"),
        (2**64 - 1, "Unix time 18446744073709551615"),
        (-1, "Unix time -1"),
    ],
)
def test_a_unix_time_is_written_as_a_date_in_utc(seconds: int, written: str) -> None:
    assert format_unix_time(seconds) == written
