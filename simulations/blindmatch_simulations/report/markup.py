"""Words and numbers as HTML; the script has the same rules for what it draws."""

from __future__ import annotations

from html import escape
from typing import Final

_RAISED: Final = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def text(value: object) -> str:
    """Escaped."""
    return escape(str(value), quote=True)


def mark(provenance: str) -> str:
    """A provenance mark, in words."""
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
