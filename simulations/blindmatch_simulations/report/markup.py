"""Words and numbers as HTML; the script has the same rules for what it draws."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from typing import Final

_RAISED: Final = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def text(value: object) -> str:
    """Escaped."""
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
