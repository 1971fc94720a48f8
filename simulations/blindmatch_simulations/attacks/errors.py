"""What goes wrong in an attack that is no result of it."""

from __future__ import annotations

from blindmatch_protocol.errors import BlindmatchError


class AttackError(BlindmatchError):
    """The scene of an attack is not as it should be, so it says nothing."""
