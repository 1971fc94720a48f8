"""Moments as the errors of devices and servers write them."""

from __future__ import annotations

from typing import Final

import numpy as np

_YEAR_10000: Final = 253_402_300_800
"""The first second of the year 10000, from which on a date is no longer read at a glance."""


def format_unix_time(seconds: int) -> str:
    """Format a Unix time as a date and a time in UTC, or as a number outside the years 1970 to 9999."""
    if not 0 <= seconds < _YEAR_10000:
        return f"Unix time {seconds}"
    date, time = str(np.datetime64(seconds, "s")).split("T")
    return f"{date} {time} UTC"
