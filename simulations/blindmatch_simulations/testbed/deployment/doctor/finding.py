"""What a check of a deployment found."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for long or not for everybody."""
    WRONG = "wrong"
    """Something in the folder is missing or bad."""
    UNREACHABLE = "unreachable"
    """A server does not answer as it should."""
    NOT_MEASURED = "not measured"
    """The check could not be made here."""


class Finding(Struct, frozen=True):
    """One line of the examination.

    Attributes:
        check: what was looked at.
        remedy: what to do; empty if nothing has to be done.
    """

    check: str
    status: Status
    what: str
    remedy: str = ""
