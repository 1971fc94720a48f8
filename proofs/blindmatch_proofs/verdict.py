"""Verdicts of a check: passed, or failed and why. Never a bare boolean."""

from __future__ import annotations

from typing import Never, TypeAlias

from msgspec import Struct


class _NoTruth:
    """A verdict is matched or compared; an `if` on it is a mistake, since both kinds are objects."""

    __slots__ = ()

    def __bool__(self) -> Never:
        raise TypeError("a verdict has no truth value: match it, or compare its type")


class Passed(_NoTruth, Struct, frozen=True):
    """The check was made and what was claimed holds."""


class Failed(_NoTruth, Struct, frozen=True):
    """The check was made and what was claimed does not hold; `reason` says which rule was broken, and no
    secret or content."""

    reason: str


Verdict: TypeAlias = Passed | Failed
