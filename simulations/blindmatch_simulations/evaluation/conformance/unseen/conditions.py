"""Lines about leaks that come only under a condition which no check meets, or seldom.

A predicate runs the design where the checks do, where the leak must not be, and where the suspect says that
it is. Each session is read alone: "a leak with probability p is missed with (1 - p)^r" holds only of leaks
that one session shows, and a leak that is put together from several falls under no line here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from blindmatch_protocol.codec.randomness import Randomness, Recording, system_randomness
from blindmatch_protocol.contract import Item

from blindmatch_simulations.evaluation.conformance.fixtures import LARGE, Fixtures, crowd, reduced
from blindmatch_simulations.evaluation.conformance.unseen.suspect import (
    NUMBERS,
    PICTURES,
    Suspect,
    count_right,
    deploy,
    is_right,
    pictures,
    rng_of,
    tells,
)
from blindmatch_simulations.testbed.inprocess.deployed import Deployed
from blindmatch_simulations.testbed.inprocess.steps import sent
from blindmatch_simulations.testbed.pictures.pool import picture, random_hashes

DRAWN: Final = 2_000
MOST_MET: Final = 4
"""Of 2,000 drawn pictures for which a leak of few pictures may be read: one in 500, which the 350 pictures of
a run miss with probability 0.998^350 = 0.50 and more."""
SESSIONS: Final = 6_000
MOST_BY_CHANCE: Final = 30
"""Of 6,000 sessions of one picture: one in 200, which the 80 runs of a class miss with 0.995^80 = 0.67 and
more."""
COUNTED: Final = 1_030
"""Pictures of one account that a check goes through."""
MOST_COUNTED: Final = 10_000
EPOCHS: Final = (1, 2, 3, 4, 5, 11, 300_007)
"""Those of the checks."""
MOMENTS: Final = 100
FROM: Final = 1_577_836_800
"""1 January 2020, the first of the moments."""
SPAN: Final = 1_577_836_800
"""50 years from then, in which they lie."""
MOST_ENTRIES: Final = 50_000
TOLD: Final = PICTURES - 1


def is_of_few_pictures(suspect: Suspect) -> bool:
    """The example is read from every session, and so are at most 4 of 2,000 drawn pictures."""
    if suspect.example is None or suspect.reads is None:
        return False
    deployed = deploy(suspect.design())
    if count_right(suspect, deployed, [suspect.example] * PICTURES, "example") < TOLD:
        return False
    drawn = (picture(NUMBERS + 10_000 + at) for at in range(DRAWN))
    return count_right(suspect, deployed, drawn, "drawn") <= MOST_MET


def is_by_chance(suspect: Suspect) -> bool:
    """One to 30 of 6,000 sessions of one picture, with as many tapes, are read, each alone; and at least one
    of another picture's."""
    if not tells(suspect):
        return False
    deployed = deploy(suspect.design())
    first, other = (
        count_right(suspect, deployed, [item] * SESSIONS, f"chance/{at}")
        for at, item in enumerate(pictures()[:2])
    )
    return 1 <= first <= MOST_BY_CHANCE and 1 <= other <= MOST_BY_CHANCE


def is_late_in_account(suspect: Suspect) -> bool:
    """Of one account's pictures one after the 1,030th is read, where the suspect says, and none before it."""
    if not COUNTED < suspect.at <= MOST_COUNTED or not tells(suspect):
        return False
    deployed = deploy(suspect.design())
    state = None
    right = list[int]()
    for at in range(suspect.at + 1):
        found, ran = is_right(suspect, deployed, pictures()[at % PICTURES], f"late/{at}", state=state)
        right += [at + 1] if found else []
        state = ran.state
    return bool(right) and min(right) > COUNTED


def is_at_one_time(suspect: Suspect) -> bool:
    """Read at a moment that the suspect gives, and at none of 100 drawn ones from 2020 to 2069."""
    if suspect.at <= 0 or not tells(suspect):
        return False
    deployed = deploy(suspect.design())
    rng = rng_of("moments")
    moments = [FROM + int.from_bytes(rng.take(4), "big") % SPAN for _ in range(MOMENTS)]
    with _clock(suspect.at):
        if count_right(suspect, deployed, pictures(), "then") < TOLD:
            return False
    for moment in moments:
        with _clock(moment):
            if count_right(suspect, deployed, pictures()[:1], f"at/{moment}"):
                return False
    return True


@contextmanager
def _clock(moment: int) -> Iterator[None]:
    """`time.time` gives this moment meanwhile."""
    real = time.time
    time.time = lambda: float(moment)
    try:
        yield
    finally:
        time.time = real


def is_in_one_epoch(suspect: Suspect) -> bool:
    """Read in an epoch that the suspect gives, and in none that the checks publish."""
    if not 0 < suspect.at < 1 << 31 or suspect.at in EPOCHS or not tells(suspect):
        return False
    design = suspect.design()
    told = [count_right(suspect, deploy(design, epoch=epoch), pictures()) for epoch in (suspect.at, *EPOCHS)]
    return told[0] >= TOLD and not any(told[1:])


def is_of_larger_sets(suspect: Suspect) -> bool:
    """Read with as many entries as the suspect gives, more than 2,000, and with none of 10, 40 and 2,000."""
    if not LARGE < suspect.at <= MOST_ENTRIES or not tells(suspect):
        return False
    design = suspect.design()
    told = [
        count_right(suspect, deploy(design, random_hashes(entries, NUMBERS + 1)), pictures())
        for entries in (suspect.at, 10, 40, LARGE)
    ]
    return told[0] >= TOLD and not any(told[1:])


def is_quiet_for_one_seed(suspect: Suspect) -> bool:
    """Read from no picture of the seed of conformance that the suspect gives, and from those of two others:
    a run with a seed of its own finds it."""
    if suspect.seed is None or not tells(suspect):
        return False
    design = suspect.design()
    deployed = deploy(design)
    right = list[float]()
    for seed in (suspect.seed, suspect.seed + 5_003, suspect.seed + 90_001):
        fixtures = Fixtures(design, seed)
        items = [one.item for one in (*fixtures.pool.pictures, *crowd(seed)[::16])]
        right.append(count_right(suspect, deployed, items, f"seed/{seed}") / len(items))
    return right[0] == 0 and bool(np.all(np.array(right[1:]) > 0.9))


def is_in_full_size(suspect: Suspect) -> bool:
    """The design has `reduced` sizes with the same steps, and is read in its own sizes and not in those."""
    design = suspect.design()
    small = reduced(design)
    if small is None or not tells(suspect):
        return False
    told = [count_right(suspect, deploy(one), pictures()) for one in (design, small)]
    return told[0] >= TOLD and not told[1]


def is_under_system_randomness(suspect: Suspect) -> bool:
    """The first round is read if a device draws from the system's generator itself, and not if the same bytes
    pass through a recording, or come from a seed."""
    if not tells(suspect):
        return False
    deployed = deploy(suspect.design())
    told = [
        sum(_is_read(suspect, deployed, item, source()) for item in pictures())
        for source in (system_randomness, lambda: Recording(system_randomness()).rng, lambda: rng_of("seed"))
    ]
    return told[0] >= TOLD and not any(told[1:])


def _is_read(suspect: Suspect, deployed: Deployed, item: Item, rng: Randomness) -> bool:
    assert suspect.reads is not None
    bodies = sent(deployed, item, rng)
    roles = deployed.design.info.roles
    seen = [bodies[role].encode() for role in sorted(bodies) if roles[role] in suspect.parties]
    return bool(seen) and suspect.reads(seen, suspect.secret) == suspect.says(item)
