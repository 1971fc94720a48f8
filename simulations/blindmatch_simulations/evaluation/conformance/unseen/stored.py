"""Lines about files, randomness, outcomes, claims, state and time, which no session shows to a reader."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Fact, Item, Learner, Match
from blindmatch_protocol.designs import facts as built_in

from blindmatch_simulations.evaluation.conformance.unseen.suspect import (
    ENTRIES,
    NUMBERS,
    Suspect,
    build_of,
    deploy,
    pictures,
    rng_of,
    with_hash,
)
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, run_session
from blindmatch_simulations.testbed.inprocess.steps import sent
from blindmatch_simulations.testbed.pictures.pool import random_hashes

HASH_BYTES: Final = 32
FEW: Final = 1_024
"""Sessions of the check of draws."""
MANY: Final = 1 << 14
LISTED: Final = 4_096
MOST_MISSED: Final = LISTED // 200
"""One entry in 200, which the check's 160 entries miss with probability 0.995^160 = 0.45 and more."""
LIMIT_NS: Final = 50_000_000
"""The difference of medians that fails, in nanoseconds."""


def is_repeated_in_many(suspect: Suspect) -> bool:
    """What is sent for one picture is all different in 1,024 sessions, as the check finds, and a whole body
    comes twice in 16,384. With b bits that is missed by m sessions with probability exp(-m^2 / 2^(b+1)), the
    birthday bound: 88 % for m = 1,024 and b = 22."""
    deployed = deploy(suspect.design())
    item = pictures()[0]
    if not deployed.design.info.roles:
        return False
    seen = dict[bytes, int]()
    for at in range(MANY):
        body = _first_bodies(deployed, item, f"many/{at}")
        if seen.setdefault(body, at) != at:
            return at >= FEW
    return False


def _first_bodies(deployed: Deployed, item: Item, purpose: str) -> bytes:
    """The first round's bodies, one after the other."""
    bodies = sent(deployed, item, rng_of(purpose))
    return b"".join(bodies[role].encode() for role in sorted(bodies))


def misses_few_entries(suspect: Suspect) -> bool:
    """Of 4,096 listed pictures at least one is not found, and at most 20 are not: one in 200."""
    hashes = random_hashes(LISTED, NUMBERS + 2)
    design = suspect.design()
    if Learner.DEVICE not in design.info.learns:
        return False
    deployed = deploy(design, hashes)
    item = pictures()[0]
    listed = [with_hash(item, row.tobytes()) for row in hashes]
    ran = (run_session(deployed, one, rng_of(f"all/{at}")) for at, one in enumerate(listed))
    missed = sum(not isinstance(one.outcome, Match) for one in ran)
    return 1 <= missed <= MOST_MISSED


def is_enciphered_in_files(suspect: Suspect) -> bool:
    """A design made for a fresh secret is published with files that say the whole list under that secret, and
    nothing under another one."""
    if suspect.under is None or suspect.reads_files is None:
        return False
    mine = rng_of("files' secret").take(32)
    other = rng_of("files' other secret").take(32)
    build = build_of(suspect.under(mine))
    wanted = {row.tobytes() for row in build.entries}
    read, wrong = (suspect.reads_files(build.files, secret) for secret in (mine, other))
    return _hashes(read) >= wanted and not _hashes(wrong) & wanted


def _hashes(read: object) -> frozenset[bytes]:
    return read if isinstance(read, frozenset) else frozenset()


def is_permuted_in_files(suspect: Suspect) -> bool:
    """A file holds one row for each entry whose 256 columns of bits are those of the list in another order,
    which is the same order for two lists."""
    design = suspect.design()
    orders = list[tuple[int, ...]]()
    for number in (0, 1):
        hashes = random_hashes(ENTRIES, NUMBERS + 3 + number)
        found = _order_in(build_of(design, hashes, purpose=f"permuted/{number}"), hashes)
        orders += [found] if found is not None else []
    identity = tuple(range(8 * HASH_BYTES))
    return len(orders) == 2 and orders[0] == orders[1] != identity


def _order_in(build: Build, hashes: Rows) -> tuple[int, ...] | None:
    """The places of the list's columns in a file that holds exactly these columns; None if there is none."""
    listed = np.unpackbits(hashes, axis=1)
    places = {column.tobytes(): at for at, column in enumerate(listed.T)}
    for raw in build.files.values():
        if len(raw) != hashes.size:
            continue
        rows = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(-1, HASH_BYTES), axis=1)
        order = tuple(places.get(column.tobytes(), -1) for column in rows.T)
        if sorted(order) == list(range(8 * HASH_BYTES)):
            return order
    return None


def is_misnamed_fact(suspect: Suspect) -> bool:
    """A declared fact has the name of one of the protocol's own and another value of some picture."""
    own = {fact.name: fact for fact in vars(built_in).values() if isinstance(fact, Fact)}
    deployed = deploy(suspect.design())
    declared = {fact.name: fact for leak in deployed.design.leakage() for fact in leak.facts}
    return any(
        _value(fact, item, deployed) != _value(own[name], item, deployed)
        for name, fact in declared.items()
        if name in own
        for item in pictures()
    )


def _value(fact: Fact, item: Item, deployed: Deployed) -> object:
    try:
        return fact.project(item, deployed.setup)
    except AttributeError:
        return AttributeError


def is_kept_elsewhere(suspect: Suspect) -> bool:
    """After a session a module that is not the design's holds the picture's hash under a name of its own, and
    held it under none before."""
    deployed = deploy(suspect.design())
    mine = {kind.__module__ for kind in type(deployed.design).__mro__}
    for at, item in enumerate(pictures()[:2]):
        before = _holders(item.hash, mine)
        run_session(deployed, item, rng_of(f"kept/{at}"))
        if not _holders(item.hash, mine) - before:
            return False
    return True


def _holders(value: bytes, mine: set[str]) -> set[tuple[str, str]]:
    """Names of modules, and in them, that hold bytes with this value in them."""
    found = set[tuple[str, str]]()
    for name, module in list(sys.modules.items()):
        for key, held in list(vars(module).items()) if module is not None and name not in mine else ():
            if isinstance(held, bytes | bytearray) and value in held:
                found.add((name, key))
    return found


@dataclass
class _Heard:
    """Audit events (PEP 578) while `listening`. A hook cannot be removed, so one serves all runs."""

    listening: bool = False
    events: list[str] = field(default_factory=list)


_HEARD: Final = _Heard()
_REACHES: Final = ("open", "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn")
_hooked: list[bool] = []


def reaches_out_in_publish(suspect: Suspect) -> bool:
    """`publish` opens a file, a socket or a process."""
    if not _hooked:
        sys.addaudithook(_hear)
        _hooked.append(True)
    design = suspect.design()
    build_of(design)  # what is imported late is imported here
    _HEARD.events.clear()
    _HEARD.listening = True
    try:
        build_of(design, purpose="heard")
    finally:
        _HEARD.listening = False
    return bool(_HEARD.events)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _HEARD.listening and event.startswith(_REACHES):
        _HEARD.events.append(event)


def takes_little_longer(suspect: Suspect) -> bool:
    """By the clocks that it moves, and nothing else does, sessions with a match take longer or shorter than
    those without one, by less than the 50 ms that fail; and send the same number of bytes."""
    if suspect.clocks is None:
        return False
    hashes = random_hashes(ENTRIES, NUMBERS + 5)
    deployed = deploy(suspect.design(), hashes)
    item = pictures()[0]
    match = [with_hash(item, row.tobytes()) for row in hashes[:4]]
    spent = [_spent(suspect, deployed, one) for one in (*match, *pictures()[:4])]
    lengths = {length for _, length in spent}
    apart = float(np.median([took for took, _ in spent[:4]]) - np.median([took for took, _ in spent[4:]]))
    return 0 < abs(apart) < LIMIT_NS and len(lengths) == 1


def _spent(suspect: Suspect, deployed: Deployed, item: Item) -> tuple[int, int]:
    """The greatest advance of one of the clocks in a session, in nanoseconds, and bytes that were sent."""
    assert suspect.clocks is not None
    before = [clock() for clock in suspect.clocks]
    ran = run_session(deployed, item, rng_of("timed"))
    took = max(clock() - start for clock, start in zip(suspect.clocks, before, strict=True))
    return took, sum(len(raw) for _, raw in ran.bodies())
