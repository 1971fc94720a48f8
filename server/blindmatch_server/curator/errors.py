"""Errors of plaintext lists; no text of them holds a hash."""

from __future__ import annotations

from blindmatch_protocol.codec.errors import BlindmatchError


class ListError(BlindmatchError):
    """A plaintext list cannot be imported, opened, changed or written."""


class FormatError(ListError):
    """A source as a whole is not what its format says; single bad records are rejected instead."""


class NothingValidError(ListError):
    """A source has not one valid record."""


class SourceChangedError(ListError):
    """A source changed while it was being imported."""


class ListBusyError(ListError):
    """Another import is replacing the same list."""


class ListFileError(ListError):
    """A list file is truncated, altered, of another version or no list file at all."""
