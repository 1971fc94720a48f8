"""The terms of docs/glossary.md, and the index at its head."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"
HEADING: Final = re.compile(r"^### (.+)$", re.MULTILINE)


def terms() -> list[str]:
    """Return the terms in the order in which the page defines them."""
    return HEADING.findall(PAGE.read_text("utf-8"))


def anchor(term: str) -> str:
    """Return the name under which a link finds a term, as Markdown renderers write it."""
    return re.sub(r"[^\w\- ]", "", term.lower()).replace(" ", "-")


def definitions() -> dict[str, str]:
    """Return what the page says of each term."""
    _, *parts = HEADING.split(PAGE.read_text("utf-8"))
    said = (part.partition("\n## ")[0].strip() for part in parts[1::2])
    return dict(zip(parts[::2], said, strict=True))


def index() -> str:
    """Return a link to each term, in alphabetical order."""
    links = (f"[{term}](#{anchor(term)})".replace(" ", "\0") for term in sorted(terms(), key=str.casefold))
    wrapped = textwrap.fill(", ".join(links) + ".", 118, break_long_words=False, break_on_hyphens=False)
    return wrapped.replace("\0", " ") + "\n"


TABLES: Final[Mapping[str, Callable[[], str]]] = {"the terms of the glossary: make pages": index}
"""What writes each block, by its name."""
