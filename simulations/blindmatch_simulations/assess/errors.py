"""What can go wrong in an assessment."""

from __future__ import annotations

from blindmatch_protocol.errors import BlindmatchError


class AssessError(BlindmatchError):
    """An assessment cannot be made or taken up."""


class PlanError(AssessError):
    """A workload file cannot be used."""


class ResultsError(AssessError):
    """A results folder is missing, truncated, edited or of another version."""
