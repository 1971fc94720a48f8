"""Errors of a scenario."""

from __future__ import annotations

from blindmatch_protocol.errors import BlindmatchError


class ScenarioError(BlindmatchError):
    """An operation cannot be done in this world, or a bound was reached."""


class RecordingError(BlindmatchError):
    """A file is no recording of this version."""
