"""Errors that an exit code depends on, apart from what raises them, which is slow to load."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.codec.errors import BlindmatchError

DAMAGES: Final = (
    *(OSError, ValueError, KeyError, TypeError),
    *(AttributeError, OverflowError, RecursionError),
)
"""What reading damaged JSON may raise: also for numbers that are too large and brackets too deep."""


class ReplayError(BlindmatchError):
    """A replay file cannot be read; the text names the field and the rule."""


class ManifestError(BlindmatchError):
    """A manifest of a foreign counterpart cannot be used; the text names the field and the rule."""


class DeploymentError(BlindmatchError):
    """A deployment's folder is missing, incomplete or of another version."""
