"""Words, numbers, charts and small pictures as HTML and SVG; the script has the same rules for what it draws.

Charts are drawn for a width of 360, so that their text can be read on a phone; every mark has its number or
name beside it, so that no colour is needed to read them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from math import floor, log10
from typing import Final

from blindmatch_protocol.picture import pdq

from blindmatch_simulations.data import committed
from blindmatch_simulations.testbed.pictures.crops import encoded, opened

_RAISED: Final = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def text(value: object) -> str:
    return escape(str(value), quote=True)


def policy(styles: Sequence[str], script: str = "") -> str:
    """A Content-Security-Policy: one script and these styles, by their hashes; nothing is fetched.

    Source: Content Security Policy Level 3; where a browser knows Trusted Types, HTML comes through `page`.
    """
    style, run = " ".join(map(_hash, styles)), _hash(script) if script else "'none'"
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src {style}; "
        f"script-src {run}; require-trusted-types-for 'script'; trusted-types page"
    )


def _hash(words: str) -> str:
    return f"'sha256-{b64encode(sha256(words.encode()).digest()).decode()}'"


def mark(provenance: str) -> str:
    return f'<span class="mark mark-{text(provenance)}">{text(provenance)}</span>'


def number(value: float) -> str:
    """A whole number as people read it, thousands apart."""
    return f"{value:,.0f}".replace(",", "\u202f")


def power(words: str) -> str:
    """``1.5e-06`` as people write it: a power of ten; other numbers as they are."""
    digits, _, exponent = words.partition("e")
    if not exponent:
        return words
    raised = str(int(exponent)).translate(_RAISED)
    return f"{digits}\u00a0\u00d7\u00a010{raised}"


WIDTH: Final = 360
HEIGHT: Final = 150
SIDES: Final = (56.0, WIDTH - 30.0)

STYLE: Final = (
    "<style>.t{font:12px system-ui,sans-serif;fill:#1b1b1b}.g{stroke:#767676;stroke-width:.5}"
    ".w{stroke:#0b57a4;stroke-width:2}.p{fill:#0b57a4}@media screen and (prefers-color-scheme:dark)"
    "{.t{fill:#ececec}.g{stroke:#9a9a9a}.w{stroke:#8ab8f0}.p{fill:#8ab8f0}}</style>"
)


def band(title: str, low: Sequence[float], value: Sequence[float], high: Sequence[float]) -> str:
    """A value from left to right with its band, at heights of the logarithm of one more than it."""
    top = max(1, floor(log10(1 + max(high))) + 1)
    parts = []
    for at in range(top + 1):
        y = _height(10.0**at - 1, top)
        parts += [
            _line(SIDES[0], y, SIDES[1], y, "g"),
            _text(SIDES[0] - 6, y + 4, _power(at) if at else "0", "end"),
        ]
    outline = [*_places(high, top), *reversed(_places(low, top))]
    parts.append(f'<polygon class="p" fill-opacity="0.25" points="{" ".join(outline)}"/>')
    parts.append(f'<polyline class="w" fill="none" points="{" ".join(_places(value, top))}"/>')
    return _svg(title, HEIGHT, parts)


def _places(values: Sequence[float], top: int) -> list[str]:
    step = (SIDES[1] - SIDES[0]) / max(1, len(values) - 1)
    return [f"{SIDES[0] + at * step:.1f},{_height(one, top):.1f}" for at, one in enumerate(values)]


def _height(value: float, top: int) -> float:
    return HEIGHT - 12 - log10(1 + value) / top * (HEIGHT - 24)


def _power(at: int) -> str:
    return f"{10**at}" if at <= 3 else power(f"1e{at}").removeprefix("1\u00a0\u00d7\u00a0")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text class="t" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(words)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{text(title)}"><title>{text(title)}</title>{STYLE}{"".join(parts)}</svg>'
    )


@cache
def bundled() -> list[bytes]:
    return [bytes.fromhex(one["hash"]) for one in committed("pictures")["pictures"]]


def near(one: bytes, hashes: Iterable[bytes]) -> bool:
    """Whether a hash matches any of some."""
    return bool((pdq.distances(pdq.rows([one]), pdq.rows(list(hashes))) <= pdq.MATCH_DISTANCE).any())


def thumbnail(file: bytes, size: tuple[int, int] = (160, 120), quality: int = 70) -> str:
    """A small copy of a picture, as a data URI."""
    small = opened(file)
    small.thumbnail(size)
    return f"data:image/jpeg;base64,{b64encode(encoded(small, 'JPEG', quality=quality)).decode()}"
