"""Pairs of lists that agree on every fact a device may learn of them: the worst cases first.

Both lists of a pair have the hash of one picture, so that a match is in every view; a device asks about that
picture and about one more, and both lists give it the same outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Adversary, Party
from blindmatch_protocol.contract.design import told
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, crowd
from blindmatch_simulations.evaluation.conformance.leakage.games import (
    GameSetup,
    lone_entries,
    lone_entry,
    part_of,
)
from blindmatch_simulations.evaluation.conformance.leakage.play import names_of
from blindmatch_simulations.testbed.inprocess.deployed import (
    Build,
    entry_id,
    opened,
    publish,
    run_session,
    update,
)
from blindmatch_simulations.testbed.pictures.pool import HashOnly, Pooled, flipped, random_hashes

ENTRIES: Final = 9
"""Entries of a list beside that of the picture that matches."""
CLOSE_BITS: Final = 3
ASKED: Final = 6
"""Pictures with a lone hit each, or updates with one."""
NEAR_ENTRIES: Final = "near_entries"
"""A design that declares it (or ``my.near_entries``) to the device says that a device gets the labels of
entries near its pictures, be they matches or not."""


class Change(Redacted, Struct, frozen=True, eq=False):
    """An update: hashes it adds, uint8 (n, 32), ids it removes, and the epoch whose ids and salts it uses
    again, if it does."""

    adds: Rows
    removes: tuple[int, ...] = ()
    numbered_as: int | None = None


class List(Redacted, Struct, frozen=True, eq=False):
    """A list, uint8 (n, 32), and the updates that follow it."""

    entries: Rows
    changes: tuple[Change, ...] = ()

    def hashes(self) -> frozenset[bytes]:
        """Every hash that was ever on it."""
        parts = (self.entries, *(change.adds for change in self.changes))
        return frozenset(row.tobytes() for part in parts for row in part)


class ListPair(Redacted, Struct, frozen=True, eq=False):
    """Two lists, and the pictures that a device asks about."""

    left: List
    right: List
    asked: tuple[Pooled, ...]


class ListScenario(Struct, frozen=True):
    """A class of pairs of lists.

    Attributes:
        pair: makes one; None if there is none for a design.
    """

    name: str
    pair: Callable[[Material], ListPair | None]


class Material(Redacted, Struct, frozen=True, eq=False):
    """What pairs are made of.

    Attributes:
        fixtures, game: the run.
        rows: a list of which the first entry is the hash of the picture that matches.
        others: hashes that are near to nothing.
    """

    fixtures: Fixtures
    game: GameSetup
    rows: Rows
    others: Rows

    def pair(self, left: List, right: List, *others: Pooled) -> ListPair:
        asked = (self.fixtures.pool.of("listed")[0], *(others or self.fixtures.pool.of("other")[:1]))
        return ListPair(left, right, asked)

    def with_last(self, own: bytes) -> Rows:
        return np.concatenate([self.rows[:-1], np.frombuffer(own, np.uint8).reshape(1, 32)])


def material(fixtures: Fixtures, game: GameSetup) -> Material:
    listed = np.frombuffer(fixtures.pool.of("listed")[0].item.hash, np.uint8).reshape(1, 32)
    drawn = random_hashes(2 * ENTRIES, fixtures.seed + (1 << 21))
    return Material(fixtures, game, np.concatenate([listed, drawn[:ENTRIES]]), drawn[ENTRIES:])


def built(fixtures: Fixtures, game: GameSetup, one: List, rng: Randomness) -> Build:
    """Publish a list, then its updates; `DesignError` if it has updates, and the design can only be published
    whole."""
    build = publish(fixtures.design, one.entries, rng, 1, game.values)
    for change in one.changes:
        build = update(build, change.adds, change.removes, rng, numbered_as=change.numbered_as)
    return build


def playable_pair(scenario: ListScenario, held: Material) -> ListPair | None:
    """The pair of a scenario, if there is one and its lists give a device the same facts and outcomes."""
    pair = scenario.pair(held)
    if pair is None:
        return None
    try:
        left, right = (_told(held, one, pair) for one in (pair.left, pair.right))
    except DesignError:
        return None
    return pair if left == right else None


def _told(held: Material, one: List, pair: ListPair) -> list[Hashable]:
    design = held.fixtures.design
    facts = told(design, frozenset({Party.DEVICE}), Adversary.SEMI_HONEST)
    deployed = opened(built(held.fixtures, held.game, one, held.fixtures.rng("told")))
    found: list[Any] = []
    for picture in pair.asked:
        found += [fact.project(picture.item, deployed.setup) for fact in facts]
        found.append(run_session(deployed, picture.item, held.fixtures.rng("told/session")).outcome)
    return found


def _opens_near(held: Material) -> bool:
    """Does the design say that a device gets labels of entries near its pictures, matches or not?"""
    return NEAR_ENTRIES in names_of(
        told(held.fixtures.design, frozenset({Party.DEVICE}), Adversary.SEMI_HONEST)
    )


def _opens_lone(held: Material) -> bool:
    """Does a lone hit open an entry, as the design says itself twice: by the fact `near_entries`, and by an
    `extraction` that needs one part? Then that hit is what is declared. Where two parts must agree it is not,
    and whoever says one instead states a list that opens sooner."""
    extraction = held.fixtures.design.extraction(held.game.table.deployed.setup)
    needs_one = extraction is not None and extraction.places is not None and extraction.needed == 1
    return needs_one and _opens_near(held)


def _lone(held: Material) -> ListPair | None:
    found = held.game.pool.of("lone")[:1]
    if not found or _opens_lone(held):
        return None
    (one,) = found
    setup = held.game.table.deployed.setup
    entry = lone_entry(held.fixtures.design, setup, one.item, 0)
    return None if entry is None else held.pair(List(held.with_last(entry)), List(held.rows), one)


def _outside(held: Material) -> ListPair | None:
    if _opens_near(held):
        return None
    one = held.fixtures.pool.of("far-32")[0]
    return held.pair(List(held.with_last(flipped(one.item, 32))), List(held.rows), one)


def _close(own: bytes) -> bytes:
    return own[:-1] + bytes([own[-1] ^ (1 << CLOSE_BITS) - 1])


def _meeting(held: Material) -> ListPair:
    setup = held.game.table.deployed.setup
    partner = part_of(held.fixtures.design, setup, HashOnly(held.rows[1].tobytes()))
    return held.pair(List(held.with_last(partner)), List(held.rows))


def _added(held: Material) -> ListPair:
    near = np.frombuffer(_close(held.rows[1].tobytes()), np.uint8).reshape(1, 32)
    return held.pair(List(held.rows, (Change(near),)), List(held.rows, (Change(held.others[:1]),)))


def _back(held: Material) -> ListPair:
    gone = Change(held.others[:1], (entry_id(1),))
    return held.pair(
        List(held.rows, (gone, Change(held.rows[1:2]))), List(held.rows, (gone, Change(held.others[1:2])))
    )


def _taken(held: Material) -> ListPair | None:
    pair = _lone(held)
    if pair is None:
        return None
    gone = Change(held.others[:1], (entry_id(ENTRIES),))
    return ListPair(List(pair.left.entries, (gone,)), List(pair.right.entries, (gone,)), pair.asked)


def _lone_back(held: Material) -> ListPair | None:
    """The entry of a lone hit is removed, and is listed again as it was or another one is."""
    pair = _lone(held)
    return None if pair is None else _again(held, pair.left.entries[-1:], pair.asked)


def _again(held: Material, own: Rows, asked: tuple[Pooled, ...]) -> ListPair:
    """`own` is removed, and comes back under its id and salt, or another entry does."""
    first = np.concatenate([own, held.rows[:-1]])
    gone = Change(held.others[:1], (entry_id(0),))
    left, right = (List(first, (gone, Change(rows, (), 1))) for rows in (own, held.others[1:2]))
    return ListPair(left, right, asked)


def _small(held: Material) -> ListPair | None:
    """Updates of one entry each: every one a lone hit of the same picture, or none."""
    if _opens_lone(held):
        return None
    drawn = random_hashes(2 * ASKED, held.fixtures.seed + (1 << 23))
    one = held.fixtures.pool.of("other")[0]
    setup = held.game.table.deployed.setup
    lone = lone_entries(held.fixtures.design, setup, one.item, drawn[:ASKED])
    if lone is None:
        return None
    left, right = (
        List(held.rows, tuple(Change(rows[at : at + 1]) for at in range(ASKED)))
        for rows in (lone, drawn[ASKED:])
    )
    return held.pair(left, right, one)


def _sized(entries: int) -> Callable[[Material], ListPair | None]:
    """An update of so many entries: up to `ASKED` of them are lone hits of one picture each, or none is."""

    def pair(held: Material) -> ListPair | None:
        if _opens_lone(held):
            return None
        setup = held.game.table.deployed.setup
        drawn = random_hashes(2 * entries, held.fixtures.seed + (1 << 24))
        pictures = [one for one in crowd(held.fixtures.seed) if one.kind == "other"][: min(ASKED, entries)]
        design = held.fixtures.design
        places = enumerate(pictures)
        lone = [lone_entries(design, setup, one.item, drawn[at : at + 1]) for at, one in places]
        if any(rows is None for rows in lone):
            return None
        full = np.concatenate([rows for rows in (*lone, drawn[len(lone) : entries]) if rows is not None])
        left, right = (List(held.rows, (Change(rows),)) for rows in (full, drawn[entries:]))
        return held.pair(left, right, *pictures)

    return pair


LIST_SCENARIOS: Final = (
    ListScenario("a lone band hit or none", _lone),
    ListScenario("updates of one entry, a lone hit each or none", _small),
    ListScenario("an update of 10 entries, lone hits or none", _sized(10)),
    ListScenario("an update of 50 entries, lone hits or none", _sized(50)),
    ListScenario("an update that brings a lone hit back or a new entry", _lone_back),
    ListScenario("an update that takes a lone hit away or another entry", _taken),
    ListScenario("an update that brings an entry back or a new one", _back),
    ListScenario(
        "an update that brings an entry back as it was or a new one",
        lambda held: _again(held, held.others[2:3], held.pair(List(held.rows), List(held.rows)).asked),
    ),
    ListScenario("an update that adds a near duplicate or a stranger", _added),
    ListScenario("an entry at distance 32 or none", _outside),
    ListScenario(
        "near duplicates or strangers",
        lambda held: held.pair(List(held.with_last(_close(held.rows[1].tobytes()))), List(held.rows)),
    ),
    ListScenario("entries that meet in a band or none", _meeting),
    ListScenario(
        "one entry or another",
        lambda held: held.pair(List(held.rows), List(held.with_last(held.others[0].tobytes()))),
    ),
    ListScenario(
        "another order",
        lambda held: held.pair(List(held.rows), List(np.concatenate([held.rows[:1], held.rows[:0:-1]]))),
    ),
)
"""All classes of pairs of lists."""
