"""What a verdict says."""

from __future__ import annotations

from blindmatch_proofs.verdict import Failed


def reason(found: object) -> str:
    """Why it failed; it must have."""
    assert isinstance(found, Failed)
    return found.reason
