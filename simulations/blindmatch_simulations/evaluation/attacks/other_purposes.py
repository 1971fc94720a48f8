"""A curator lists what the list is not for; all pictures are generated, and show nothing and nobody.

A view is the place's picture with noise, cut by 4 % of its side, up to 10 % brighter or darker. What matches
is the design's relation; no protocol is run for views.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import distances, rows

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means
from blindmatch_simulations.evaluation.attacks.arena import OF_A_SEED, Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted, mean_of
from blindmatch_simulations.evaluation.attacks.recorded import ASKED
from blindmatch_simulations.testbed.inprocess.deployed import run_session
from blindmatch_simulations.testbed.inprocess.steps import below
from blindmatch_simulations.testbed.pictures.pool import GENERATED, detailed

SENDERS: Final = 5
"""Of the leaflet, and as many of other pictures."""
OTHERS: Final = 500
"""Entries that the list is for."""
POISON: Final = (1, 2, 4, 8, 16)
"""Views that are listed."""
PLACES: Final = 60
QUICK_PLACES: Final = 3
VIEWS: Final = 10
"""Of each place, sent by others."""
CUT: Final = 0.04
BRIGHTER: Final = 0.1
NOISE: Final = 4
"""Levels, at most, of each value: no two views are the same."""


@attack(
    "dual-purpose",
    Means(frozenset({Party.CURATOR}), has="the list"),
    Claim("No design here can tell what a list is a list of"),
    budget=f"one entry of ten, {SENDERS} senders of it and as many of other pictures",
    needs=(needs.A_LIST, needs.SINGLY),
    exposes="who sends a leaflet",
    left=Left.REPORTED,
)
def dual_purpose(arena: Arena) -> Figure:
    """Count the senders of the leaflet that are found, by whoever learns outcomes in the design."""
    rng = arena.rng("senders")
    arena = arena.reduced()
    leaflet, *others = (
        Picture.from_pixels(np.asarray(GENERATED["documents"](OF_A_SEED * arena.seed + number)))
        for number in range(1 + SENDERS)
    )
    entries = np.concatenate([arena.hashes(9, "list"), rows([leaflet.hash])])
    deployed = arena.deployed(entries, "set", **ASKED)
    found = list[bool]()
    arena.spending.list_share = 1 / len(entries)
    for item in arena.each([leaflet] * SENDERS + others):
        found.append(run_session(deployed, item, rng).found)
    cases = {"of the leaflet": found[:SENDERS], "of other pictures": found[SENDERS:]}
    return counted("senders found", {name: (sum(one), SENDERS) for name, one in cases.items()})


@attack(
    "poisoned-list",
    Means(frozenset({Party.CURATOR}), has="the list"),
    Claim("nearness lets a list watch a place"),
    budget=f"1 to {POISON[-1]} views of a place beside {OTHERS} others; {PLACES} places, {VIEWS} views each",
    needs=(needs.NEAR,),
    exposes="who photographs a place",
    left=Left.REPORTED,
)
def poisoned_list(arena: Arena) -> Figure:
    """The share of new views of a place that match, by how much of the list is views of it."""
    places = PLACES if arena.thorough else QUICK_PLACES
    most = arena.design.info.relation.distance
    apart = arena.once(("views", places), lambda: _distances(arena, places))
    nearest = {count: apart[:, :, :count].min(axis=2) for count in POISON}
    parts = {
        f"poison {count / (OTHERS + count):.2%}": float((nearest[count] <= most).mean()) for count in POISON
    }
    rate = list(parts.values())[-1]
    parts["the same, were only equal hashes matches"] = float((nearest[POISON[-1]] == 0).mean())
    arena.spending.list_share = round(POISON[-1] / (OTHERS + POISON[-1]), 4)
    return mean_of("surveillance rate", rate, places, parts)


def _distances(arena: Arena, places: int) -> npt.NDArray[np.uint16]:
    """Of new views and listed ones, (places, views, listed)."""
    found = []
    rng = arena.rng("views")
    for number in arena.each(range(places)):
        place = detailed(OF_A_SEED * arena.seed + number).pixels
        listed, sent = (rows([_view(place, rng).hash for _ in range(count)]) for count in (POISON[-1], VIEWS))
        found.append(distances(sent, listed))
    return np.stack(found)


def _view(place: npt.NDArray[np.uint8], rng: Randomness) -> Picture:
    cut = round(CUT * min(place.shape[:2]))
    height, width = place.shape[:2]
    top = below(rng, cut + 1)
    left = below(rng, cut + 1)
    light = 1 + BRIGHTER * (below(rng, 2001) / 1000 - 1)
    shown = place[top : top + height - cut, left : left + width - cut] * np.float32(light)
    noise = np.frombuffer(rng.take(shown.size), np.uint8).reshape(shown.shape) % np.uint8(2 * NOISE + 1)
    return Picture.from_pixels(np.clip(shown + noise - NOISE, 0, 255).astype(np.uint8))
