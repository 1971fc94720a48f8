"""Whoever has a device reads its files, and asks the design itself as often as they like; nobody is asked.

hashes read    entries that stand in the set-up's files as they are
edits tested   of copies of listed pictures, some too far off, those of which it is told whether they match
"""

from __future__ import annotations

from typing import Final

import numpy as np
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Match, Party

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.inprocess.deployed import run_session
from blindmatch_simulations.inprocess.opened import OpenDesign
from blindmatch_simulations.pictures.hash_only import HashOnly

ENTRIES: Final = 200
EDITS: Final = 40


def run(arena: Arena) -> Figure:
    """Count what is read and what is told."""
    entries = arena.hashes(ENTRIES, "list")
    built = arena.publish(entries, "set")
    stored = b"".join(built.setup_files.values())
    read = sum(row.tobytes() in stored for row in entries)
    arena.spending.list_share = EDITS / ENTRIES
    arena.progress(1, 2)
    stolen = OpenDesign(arena.design, arena.design.open_setup(built.setup_files), {})
    told = sum(_told(arena, stolen, entries[at].tobytes(), at) for at in range(EDITS))
    arena.progress(2, 2)
    return counted("answers", {"hashes read": (read, ENTRIES), "edits tested": (told, EDITS)})


def _told(arena: Arena, stolen: OpenDesign, entry: bytes, at: int) -> bool:
    """Is the right answer given for a copy of an entry, which by turns is near and too far off?"""
    most = arena.design.info.relation.distance
    assert most is not None
    near, bits = at % 2 == 0, np.unpackbits(np.frombuffer(entry, np.uint8))
    bits[: most if near else most + 1] ^= 1
    ran = run_session(stolen, HashOnly(np.packbits(bits).tobytes()), arena.rng(f"edit/{at}"))
    return isinstance(ran.outcome, Match) is near


ATTACK: Final = Adversary(
    name="stolen-device",
    means=Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "the files of one device"),
    claim=Claim("whoever has a device tests guesses as often as they like", "docs/designs/device-list.md"),
    budget=f"a list of {ENTRIES}, {EDITS} edits of its entries, nobody who is asked",
    move=run,
    weakness=AS_BUILT,
    against=frozenset({"device-list", "device-list-hashed"}),
)
