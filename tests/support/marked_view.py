"""A view model with markup in every text."""

from __future__ import annotations

from typing import Any

MARK = "\"'><img src=x onerror=window.tainted=1><script>window.tainted=1</script>{{script}}"
KINDS = {"state", "holds", "kind", "format"}
"""Fields that have one of a few values."""
STRUCTURE = ("year",)
"""Equations, whose texts are names of numbers."""
KEYED = {"evidence", "fates", "cost", "found", "by_phones"}


def marked(value: Any, at: tuple[str, ...] = (), *, whole: bool = False) -> Any:
    """Put markup into every text; keys of evidence stay what they were to each other.

    Args:
        whole: also into texts that have one of a few values, and into names of fields that are data.
    """
    if at[:1] == STRUCTURE:
        return value
    if isinstance(value, str):
        return value if at[-1] in KINDS and not whole else f"{value}{MARK}"
    if isinstance(value, list):
        return [marked(one, at, whole=whole) for one in value]
    if isinstance(value, dict):
        names_are_data = at[-1:] == ("evidence",) or (whole and at[-1:] and at[-1] in KEYED)
        return {
            (f"{name}{MARK}" if names_are_data else name): marked(one, (*at, name), whole=whole)
            for name, one in value.items()
        }
    return value
