"""Words, numbers and small pictures as HTML; the script has the same rules for what it draws."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from html import escape

from blindmatch_protocol.picture import pdq

from blindmatch_simulations.data import committed
from blindmatch_simulations.testbed.pictures.crops import data_uri, opened


def text(value: object) -> str:
    return escape(str(value), quote=True)


def policy(styles: Sequence[str], script: str = "") -> str:
    """A Content-Security-Policy (Level 3): one script and these styles, by their hashes; nothing is fetched.
    Where a browser knows Trusted Types, HTML comes through `page`."""
    style = " ".join(map(_hash, styles))
    run = _hash(script) if script else "'none'"
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
    return data_uri(small, "JPEG", quality=quality)
