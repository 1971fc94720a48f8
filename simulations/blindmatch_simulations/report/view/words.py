"""Numbers as people read them. Each function takes evidence and returns what a sentence shows of it."""

from __future__ import annotations

from typing import Final

from blindmatch_simulations.report.view.schema import Evidence

THIN: Final = "\u202f"
_UNITS: Final = ((365 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
_LARGE: Final = ((1e9, "billion"), (1e6, "million"))
_BYTES: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def plain(value: float) -> str:
    """Write a number with three significant digits, thousands apart."""
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 1000:
        return f"{rounded:,.0f}".replace(",", THIN)
    return f"{rounded:.6g}"


def value(evidence: Evidence) -> str:
    """Write the value itself, or that there is none."""
    return str(evidence.state) if evidence.value is None else plain(evidence.value)


def percent(evidence: Evidence) -> str:
    """Write a share in per cent; one that is nearly all or nearly nothing is not rounded to it."""
    return str(evidence.state) if evidence.value is None else _percent(evidence.value)


def _percent(share: float) -> str:
    if 0.9995 <= share < 1:
        return "over 99.9 %"
    if 0 < share < 1e-5:
        return "under 0.001 %"
    return f"{plain(100 * share)} %"


def percent_between(evidence: Evidence) -> str:
    """Write the ends of an interval in per cent."""
    if evidence.low is None or evidence.high is None:
        return "no interval"
    return f"{plain(100 * evidence.low)} to {plain(100 * evidence.high)} %"


def between(evidence: Evidence) -> str:
    """Write the ends of an interval."""
    if evidence.low is None or evidence.high is None:
        return "no interval"
    return f"{plain(evidence.low)} to {plain(evidence.high)}"


def one_in(evidence: Evidence) -> str:
    """Write a rate as one in so many."""
    if evidence.value is None:
        return str(evidence.state)
    return "none" if not evidence.value else f"one in {plain(1 / evidence.value)}"


def one_in_low(evidence: Evidence) -> str:
    """Write the low end of a rate as one in so many."""
    return "no lower end" if not evidence.low else f"one in {_large(1 / evidence.low)}"


def one_in_high(evidence: Evidence) -> str:
    """Write the high end of a rate as one in so many."""
    return "no upper end" if not evidence.high else f"one in {_large(1 / evidence.high)}"


def large(evidence: Evidence) -> str:
    """Write a count, with a word for millions and more."""
    return str(evidence.state) if evidence.value is None else _large(evidence.value)


def _large(value: float) -> str:
    for size, name in _LARGE:
        if value >= size:
            return f"{plain(value / size)} {name}"
    return plain(value)


def of_n(evidence: Evidence) -> str:
    """Write a share as the count that it is: "0 of 602"."""
    if evidence.value is None or evidence.n is None:
        return value(evidence)
    return f"{plain(round(evidence.value * evidence.n))} of {plain(evidence.n)}"


def size(evidence: Evidence) -> str:
    """Write bytes in the unit that fits."""
    if evidence.value is None:
        return str(evidence.state)
    for least, unit in _BYTES:
        if evidence.value >= least:
            return f"{plain(evidence.value / least)} {unit}"
    return f"{plain(evidence.value)} bytes"


def milliseconds(evidence: Evidence) -> str:
    return str(evidence.state) if evidence.value is None else f"{plain(evidence.value)} ms"


def duration(evidence: Evidence) -> str:
    """Write seconds in the largest unit of which there are two or more."""
    if evidence.value is None:
        return str(evidence.state)
    length, unit = next((one for one in _UNITS if evidence.value >= 2 * one[0]), _UNITS[-1])
    return f"{plain(float(f'{evidence.value / length:.2g}'))} {unit}"
