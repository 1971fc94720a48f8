"""Bar charts with intervals as SVG, for notebooks: nothing but the standard library draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from blindmatch_protocol.codec.errors import BlindmatchError
from msgspec import Struct

NOT_MEASURED: Final = "not measured"
_LABEL: Final = 180
_PLOT: Final = 360
_NUMBER: Final = 200
_ROW: Final = 24
_TOP: Final = 30


class ChartError(BlindmatchError):
    """Rows cannot be drawn: there are none, a column is missing, or a value is no number from 0 on."""


class Bar(Struct, frozen=True):
    """A row of a chart; without a value it is drawn as not measured, without bounds it has no interval."""

    label: str
    value: float | None
    low: float | None
    high: float | None


class Chart(Struct, frozen=True):
    """A bar chart that a notebook shows; `_repr_svg_` is the name by which notebooks find the drawing."""

    title: str
    bars: tuple[Bar, ...]
    most: float

    def _repr_svg_(self) -> str:
        width = _LABEL + _PLOT + _NUMBER
        height = _TOP + _ROW * len(self.bars) + 10
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}"'
            f' width="{width}" font-family="sans-serif" font-size="13" fill="currentColor">',
            f"<title>{escape(self.title)}</title>",
            f'<text x="0" y="16" font-weight="bold">{escape(self.title)}</text>',
            *(part for row, bar in enumerate(self.bars) for part in self._drawn(bar, _TOP + _ROW * row)),
            "</svg>",
        ]
        return "\n".join(lines)

    def _drawn(self, bar: Bar, top: int) -> list[str]:
        middle = top + _ROW // 2
        label = f'<text x="0" y="{middle + 5}">{escape(bar.label)}</text>'
        told = NOT_MEASURED
        shapes = []
        if bar.value is not None:
            told = f"{bar.value:.3g}"
            size = f'width="{self._length(bar.value):.1f}" height="{_ROW - 8}"'
            shapes.append(f'<rect x="{_LABEL}" y="{top + 4}" {size} fill="#3b6ea8"/>')
        if bar.value is not None and bar.low is not None and bar.high is not None:
            told += f" ({bar.low:.3g} to {bar.high:.3g})"
            ends = [_LABEL + self._length(bound) for bound in (bar.low, bar.high)]
            path = f"M{ends[0]:.1f} {middle}H{ends[1]:.1f}" + "".join(f"M{x:.1f} {top + 7}v10" for x in ends)
            shapes.append(f'<path d="{path}" stroke="#c2571a" stroke-width="2" fill="none"/>')
        return [label, *shapes, f'<text x="{_LABEL + _PLOT + 8}" y="{middle + 5}">{told}</text>']

    def _length(self, value: float) -> float:
        return _PLOT * value / self.most


def chart(
    rows: Iterable[Mapping[str, Any]], label: str, value: str, low: str = "", high: str = "", title: str = ""
) -> Chart:
    """Draw a bar for each row, with an interval where rows have one.

    Args:
        rows: as `figures` gives them, or any mappings.
        label, value: names of the columns with a bar's text and its length; a value of None is drawn as not
            measured.
        low, high: names of the columns with the bounds of its interval, if there are any.
        title: what the bars show; by default the name of the value's column.

    Raises:
        ChartError: there are no rows, a column is missing, or a number is negative or not finite.
    """
    bars = tuple(_bar(row, label, value, low, high) for row in rows)
    if not bars:
        raise ChartError("a chart needs a row")
    numbers = [number for bar in bars for number in (bar.value, bar.low, bar.high) if number is not None]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ChartError("a chart draws numbers from 0 on")
    return Chart(title or value, bars, max(numbers, default=0.0) or 1.0)


def _bar(row: Mapping[str, Any], label: str, value: str, low: str, high: str) -> Bar:
    try:
        bounds = [row[name] if name else None for name in (low, high)]
        return Bar(str(row[label]), *(None if one is None else float(one) for one in (row[value], *bounds)))
    except KeyError as error:
        raise ChartError(f"a row has no column {error}") from error
    except (TypeError, ValueError) as error:
        raise ChartError(f"a row has no number to draw: {error}") from error
