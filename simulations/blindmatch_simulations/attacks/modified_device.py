"""Whoever has a device makes another use of it.

stolen-device   reads its files, and asks the design itself as often as they like; nobody is asked
    hashes read    entries that stand in the set-up's files as they are
    edits tested   of copies of listed pictures, some too far off, those of which it is told if they match
unmatched       sends a listed picture without having it matched; nobody can tell
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from blindmatch_client.egress import Call
from blindmatch_client.egress.methods import EXCHANGE, EXCHANGE_LARGE
from blindmatch_client.errors import ServiceUnavailableError
from blindmatch_client.failure import FailureMode
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Match, Party

from blindmatch_simulations.attacks.adversary import Claim, Means
from blindmatch_simulations.attacks.arena import Arena, attack
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.loopback import drawn, loopback
from blindmatch_simulations.deployment.operators import centre_list
from blindmatch_simulations.inprocess.deployed import run_session
from blindmatch_simulations.inprocess.opened import OpenDesign
from blindmatch_simulations.pictures.hash_only import HashOnly

ENTRIES: Final = 200
EDITS: Final = 40


@attack(
    "stolen-device",
    Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "the files of one device"),
    Claim("whoever has a device tests guesses as often as they like", "docs/designs/device-list.md"),
    budget=f"a list of {ENTRIES}, {EDITS} edits of its entries, nobody who is asked",
    against={"device-list", "device-list-hashed"},
)
def stolen_device(arena: Arena) -> Figure:
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


PICTURES: Final = 3
WAIT_MS: Final = 200


def _no_answer(call: Call[Any, Any], request: Any, reply: Any) -> Any:
    """What mallory's device does with the matcher's replies: it looks at none."""
    if call.method in (EXCHANGE, EXCHANGE_LARGE):
        raise ServiceUnavailableError(Party.MATCHER, "is not listened to")
    return reply


@attack(
    "unmatched",
    Means(frozenset({Party.DEVICE}), has="a modified device"),
    Claim("whoever changes it sends what they like unmatched, and nobody can tell"),
    budget=f"{PICTURES} listed pictures",
    against={"oprf-psi", "token-psi", "split-psi", "prefix-bucket"},
)
def unmatched(arena: Arena) -> Figure:
    """Count the listed pictures that arrive without a report."""
    listed = [drawn(number) for number in range(PICTURES)]
    with loopback(arena, listed) as held:
        bob = held.device("bob")
        mallory = held.device("mallory", _no_answer, mode=FailureMode.SEND_UNMATCHED)
        for picture in arena.each(listed):
            mallory.device.send_picture("bob", picture)
        arrived = [one for message in bob.device.receive(WAIT_MS) for one in message.pictures]
        reports = len(centre_list(held.deployment).reports)
    return counted("pictures unmatched", {"delivered": (len(arrived) - reports, PICTURES)})
