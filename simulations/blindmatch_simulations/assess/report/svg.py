"""Two kinds of charts as SVG: shares with their intervals, and points on two logarithmic axes.

They are drawn for a width of 360, so that their text can be read on a phone; every mark has its number or
name beside it, so that no colour is needed to read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Final

from blindmatch_simulations.assess.report.markup import text

WIDTH: Final = 360
ROW: Final = 20
LEFT: Final = 84
RIGHT: Final = 76
STYLE: Final = (
    "<style>.t{font:12px system-ui,sans-serif;fill:#1b1b1b}.g{stroke:#767676;stroke-width:.5}"
    ".w{stroke:#0b57a4;stroke-width:2}.p{fill:#0b57a4}@media (prefers-color-scheme:dark)"
    "{.t{fill:#ececec}.g{stroke:#9a9a9a}.w{stroke:#8ab8f0}.p{fill:#8ab8f0}}</style>"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A share of 1 with its interval; `value` is None if it was not measured."""

    name: str
    value: float | None
    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """A named point; both values are above 0."""

    name: str
    x: float
    y: float


def shares(title: str, bars: Sequence[Bar]) -> str:
    """One line a share: a dot on a scale of 0 to 100 %, its interval, its number."""
    height = ROW * (len(bars) + 2)
    parts = [_line(_x(at / 4), 4, _x(at / 4), height - ROW, "g") for at in range(5)]
    parts += [_text(_x(at / 4), height - 5, f"{25 * at} %", "middle") for at in range(0, 5, 2)]
    for row, bar in enumerate(bars):
        middle = ROW * row + ROW
        parts.append(_text(LEFT - 6, middle + 4, bar.name, "end"))
        parts.append(_text(WIDTH - RIGHT + 8, middle + 4, bar.label, "start"))
        if bar.value is not None:
            parts.append(_line(_x(bar.low), middle, _x(bar.high), middle, "w"))
            parts.append(f'<circle class="p" cx="{_x(bar.value):.1f}" cy="{middle}" r="4.5"/>')
    return _svg(title, height, parts)


def scatter(title: str, x_name: str, y_name: str, points: Sequence[Point]) -> str:
    """Points on two logarithmic axes, each with its name."""
    height = 300
    parts: list[str] = []
    if not points:
        return _svg(title, 40, [_text(10, 24, "nothing was measured", "start")])
    across = _decades([point.x for point in points])
    down = _decades([point.y for point in points])
    frame = (56.0, WIDTH - 90.0, height - 46.0, 30.0)
    for at in range(across[0], across[1] + 1):
        x = _scaled(at, across, frame[0], frame[1])
        parts += [_line(x, frame[3], x, frame[2], "g"), _text(x, height - 30, _power(at), "middle")]
    for at in range(down[0], down[1] + 1):
        y = _scaled(at, down, frame[2], frame[3])
        parts += [_line(frame[0], y, frame[1], y, "g"), _text(frame[0] - 6, y + 4, _power(at), "end")]
    taken: list[float] = []
    for point in sorted(points, key=lambda one: one.y):
        x = _scaled(log10(point.x), across, frame[0], frame[1])
        y = _scaled(log10(point.y), down, frame[2], frame[3])
        label_y = _free(y + 4, taken)
        parts += [
            f'<circle class="p" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
            _text(x + 9, label_y, point.name, "start"),
        ]
    parts += [_text(frame[0], height - 8, x_name, "start"), _text(4, 12, y_name, "start")]
    return _svg(title, height, parts)


def _free(y: float, taken: list[float]) -> float:
    """The nearest height above where no label is yet."""
    while any(abs(y - other) < 13 for other in taken):
        y -= 4
    taken.append(y)
    return y


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = floor(log10(min(values))), floor(log10(max(values))) + 1
    return low, high


def _scaled(value: float, span: tuple[int, int], start: float, end: float) -> float:
    return start + (value - span[0]) / (span[1] - span[0]) * (end - start)


def _power(at: int) -> str:
    if 0 <= at <= 3:
        return f"{10**at}"
    return f"{10.0**at:g}" if -3 <= at < 0 else f"1e{at}"


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text class="t" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(words)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{text(title)}"><title>{text(title)}</title>{STYLE}{"".join(parts)}</svg>'
    )
