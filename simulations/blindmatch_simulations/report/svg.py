"""Charts as SVG: shares with their intervals, and named points over a logarithmic axis.

They are drawn for a width of 360, so that their text can be read on a phone; every mark has its number or
name beside it, so that no colour is needed to read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Final

from blindmatch_simulations.report.markup import power, text

WIDTH: Final = 360
ROW: Final = 20
LEFT: Final = 104
RIGHT: Final = 76
HEIGHT: Final = 300
SIDES: Final = (56.0, WIDTH - 30.0)
BOTTOM: Final = HEIGHT - 46.0
TOP: Final = 42.0
EM: Final = 7.0
"""Width of a letter, at the most on average, for the size of text used here."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

STYLE: Final = (
    "<style>.t{font:12px system-ui,sans-serif;fill:#1b1b1b}.g{stroke:#767676;stroke-width:.5}"
    ".w{stroke:#0b57a4;stroke-width:2}.p{fill:#0b57a4}@media screen and (prefers-color-scheme:dark)"
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
    if not points:
        return _svg(title, 40, [_text(10, 24, "nothing was measured", "start")])
    across = _decades([point.x for point in points])
    down = _decades([point.y for point in points])
    parts = _across(across)
    for at in range(down[0], down[1] + 1):
        parts += _level(_scaled(at, down, BOTTOM, TOP), _power(at))
    places = [
        (one.name, _scaled(log10(one.x), across, *SIDES), _scaled(log10(one.y), down, BOTTOM, TOP))
        for one in points
    ]
    return _svg(title, HEIGHT, [*parts, *_named(places, set()), *_axes(x_name, y_name)])


def trade(title: str, x_name: str, y_name: str, points: Sequence[Point], best: set[str]) -> str:
    """Points with a share of 1 as `y` over a logarithmic axis; those in `best` are ringed."""
    if not points:
        return _svg(title, 40, [_text(10, 24, "nothing was measured", "start")])
    across = _decades([point.x for point in points])
    parts = _across(across)
    for at in range(5):
        parts += _level(_scaled(at, (0, 4), BOTTOM, TOP), f"{25 * at} %")
    places = [
        (one.name, _scaled(log10(one.x), across, *SIDES), _scaled(one.y, (0, 1), BOTTOM, TOP))
        for one in points
    ]
    return _svg(title, HEIGHT, [*parts, *_named(places, best), *_axes(x_name, y_name)])


def _across(decades: tuple[int, int]) -> list[str]:
    parts: list[str] = []
    for at in range(decades[0], decades[1] + 1):
        x = _scaled(at, decades, *SIDES)
        parts += [_line(x, TOP, x, BOTTOM, "g"), _text(x, HEIGHT - 30, _power(at), "middle")]
    return parts


def _level(y: float, name: str) -> list[str]:
    return [_line(SIDES[0], y, SIDES[1], y, "g"), _text(SIDES[0] - 6, y + 4, name, "end")]


def _axes(x_name: str, y_name: str) -> list[str]:
    return [_text(SIDES[0], HEIGHT - 8, x_name, "start"), _text(4, 12, y_name, "start")]


def _named(places: Sequence[tuple[str, float, float]], ringed: set[str]) -> list[str]:
    """Dots with their names, each name where it covers neither a dot nor another name."""
    parts = [f'<circle class="p" cx="{x:.1f}" cy="{y:.1f}" r="5"/>' for _, x, y in places]
    parts += [
        f'<circle class="w" fill="none" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
        for name, x, y in places
        if name in ringed
    ]
    taken: list[Box] = [(x - 9, y - 9, x + 9, y + 9) for _, x, y in places]
    for name, x, y in places:
        left, base = _free(x, y, EM * len(name), taken)
        taken.append((left, base - 11, left + EM * len(name), base + 3))
        parts.append(_text(left, base, name, "start"))
    return parts


def _free(x: float, y: float, width: float, taken: Sequence[Box]) -> tuple[float, float]:
    """Left end and base line of a name for the dot at `x` and `y`; the first place if none is free."""
    middle = min(max(SIDES[0] + 3, x - width / 2), WIDTH - width)
    levels = [(middle, y + step) for step in (-14, 22, -28, 36, -42, 50)]
    sides = [(x + 12, y + 4), (x - 12 - width, y + 4)]
    places = [(left, base) for left, base in sides if SIDES[0] < left < WIDTH - width] + levels
    for left, base in places:
        box = (left, base - 11, left + width, base + 3)
        if not any(_overlap(box, other) for other in taken):
            return left, base
    return places[0]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = floor(log10(min(values))), floor(log10(max(values))) + 1
    return low, high


def _scaled(value: float, span: tuple[int, int], start: float, end: float) -> float:
    return start + (value - span[0]) / (span[1] - span[0]) * (end - start)


def _power(at: int) -> str:
    if 0 <= at <= 3:
        return f"{10**at}"
    return f"{10.0**at:g}" if -3 <= at < 0 else power(f"1e{at}").removeprefix("1\u00a0\u00d7\u00a0")


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
