"""What a change of a list did, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

from blindmatch_server.curator.rejects import Reason


class Summary(Struct, frozen=True):
    """What an import, or another change of a list, did.

    Attributes:
        entries: in the list now.
        added: entries that were not in it before.
        removed: entries of the previous list that are gone.
        accepted: valid records that are no deletions.
        removals: valid records that are deletions.
        duplicates: accepted records whose hash was in the previous list or came before.
        not_half: entries whose number of ones is not 128, as ties at the median leave it.
        families: families of near duplicates; None if they were not looked for.
        family_members: entries that are in one; None if they were not looked for.
        families_to: every pair of near duplicates up to this distance was found; -1 if the budget ended
            before any distance was sure; None if they were not looked for.
        digest: of the list, SHA-256 in hex.
        read: records read: accepted, removals and rejected ones.
        rejected: number of rejected records by reason.
        rejects: the side file, if anything was rejected.
    """

    entries: int
    added: int
    removed: int
    accepted: int
    removals: int
    duplicates: int
    not_half: int
    families: int | None
    family_members: int | None
    families_to: int | None
    digest: str
    read: int = 0
    rejected: Mapping[Reason, int] = field(default_factory=dict)
    rejects: Path | None = None
