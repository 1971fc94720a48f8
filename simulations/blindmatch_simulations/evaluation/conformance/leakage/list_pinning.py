"""What follows from the list and from what every device holds: set-ups that look random but tell of the list.

What goes in. A set-up is a function of the list, the epoch, the parameters, the entries' salts and the tape
that the list builder draws from. Two lists are *agreeing* if those facts that a device is declared, and
that do not change when a list is published again, are the same of both. Both are published on one tape.
*Pinned* are the bytes of the tape and of the salts that stand in both set-ups, in pieces of `pinning.PIECE`
bytes or more: a salt of a filter, filler as it was drawn. All else is drawn again in each run.

What comes out. Up to `pinning.DRAWS` set-ups of each list. A bit of a section *tells* if it is b in all
set-ups of the one list, and 1 - b in all of the other; so does a byte that is the same in all of the one
and is never that in the other, the length of a section, and whether there is one. Whoever has the function
and the pinned bytes, which is every device, can then try a guess of the list.

Why that is right. What is pinned is a part of the set-up. If set-ups of agreeing lists are distributed
alike, they are so given that part as well, and an honest set-up fails for one bit with a probability of at
most 2^-47, whatever the bit's distribution is (`pinning` derives it). A token under a key that is not in
the set-up changes with the key.

What it cannot see. A function of a short seed, which can be tried out: the seed is drawn again, and the
bytes change with it. Nor does it see a set-up whose key is published elsewhere, such as in a reply, or an
update.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any, Final

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Adversary, ListKnowledge, Party
from blindmatch_protocol.contract.design import told
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, lowered
from blindmatch_simulations.evaluation.conformance.leakage.pinning import (
    Fields,
    compare,
    record_from,
    splice,
    visible,
)
from blindmatch_simulations.testbed.inprocess.deployed import MemoryWorkspace, entry_id
from blindmatch_simulations.testbed.inprocess.steps import set_file
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from blindmatch_simulations.testbed.pictures.pool import random_hashes

LISTS: Final = 3
"""Lists that the pool's is held against: a bit of the list that is told is missed with 2^-3."""
SALT_BYTES: Final = 16
FRONT: Final = 1 << 25
"""Where the numbers begin of hashes that these lists are made of."""

FOLLOWS: Final = "{} follows from the list and from what every device holds"


class Drawn(Struct, frozen=True):
    """What decides a set-up beside the list: the start of the tape, what seeds its rest, and the salts."""

    tape: bytes
    rest: str
    salts: bytes


class Published(Struct, frozen=True):
    """A set-up: the fields of its files, the files, and the tape that was drawn."""

    fields: Fields
    files: dict[str, bytes]
    tape: bytes


class ListBuilder:
    """Publishes lists of a design on given tapes."""

    def __init__(self, fixtures: Fixtures) -> None:
        self._design = fixtures.design
        self._values = lowered(fixtures)

    def publish(self, entries: Rows, drawn: Drawn) -> Published:
        """Publish a list on a tape; whatever it draws beyond the tape follows from `drawn.rest`."""
        tape = record_from(drawn.tape, seeded(f"{drawn.rest}/tape"))
        ids = np.arange(len(entries), dtype=np.uint64) + np.uint64(entry_id(0))
        salts = np.frombuffer(drawn.salts, np.uint8).reshape(len(entries), SALT_BYTES)
        source = bm.batches_of(entries, ids, salts)
        out = MemoryWorkspace()
        made = self._design.publish(source, bm.SetParameters(1, self._values), tape.rng, None, out)
        files = out.files()
        setup = {name: files[name] for name in made.setup}
        return Published(_fields(setup), setup, tape.tape())


def _fields(files: dict[str, bytes]) -> Fields:
    """Sections by file and kind; a file of another format is one field."""
    found = Fields()
    for name, raw in files.items():
        file = set_file(raw)
        if file is None:
            found[f"set-up file {name}"] = raw
            continue
        for key in file.sections:
            words = ".".join(f"{number:#x}" for number in key)
            found[f"set-up file {name}, section {words}"] = bytes(file.section(*key))
    return found


class PinnedLists:
    """Two lists of one length on one tape, and what of it both set-ups show."""

    def __init__(self, builder: ListBuilder, purpose: str, lists: tuple[Rows, Rows]) -> None:
        self._builder = builder
        self._purpose = purpose
        self._lists = lists
        self._salts = seeded(f"{purpose}/0/salts").take(SALT_BYTES * len(lists[0]))
        first, second = (builder.publish(one, Drawn(b"", f"{purpose}/0", self._salts)) for one in lists)
        self._tape = first.tape[: min(len(first.tape), len(second.tape))]
        self.setups = (first.files, second.files)
        seen = [b"\0".join(one.files.values()) for one in (first, second)]
        self._kept = visible(self._tape, seen[0]) & visible(self._tape, seen[1])
        self._kept_salts = visible(self._salts, seen[0]) & visible(self._salts, seen[1])

    @property
    def size(self) -> int:
        """How many drawn bytes are pinned."""
        return int(self._kept.sum() + self._kept_salts.sum())

    def published_again(self) -> dict[str, bytes]:
        """Return the first list's set-up files with nothing pinned."""
        rest = f"{self._purpose}/again"
        salts = seeded(f"{rest}/salts").take(len(self._salts))
        return self._builder.publish(self._lists[0], Drawn(b"", rest, salts)).files

    def run(self, which: int, again: int) -> Fields:
        """Publish one of the lists with all that is not pinned drawn again."""
        rest = f"{self._purpose}/{2 * again + which}"
        tape = splice(seeded(f"{rest}/drawn").take(len(self._tape)), self._tape, self._kept)
        salts = splice(seeded(f"{rest}/salts").take(len(self._salts)), self._salts, self._kept_salts)
        return self._builder.publish(self._lists[which], Drawn(tape, rest, salts)).fields


def check_list_pinning(fixtures: Fixtures) -> str:
    """Return how many pairs of lists were compared.

    Raises:
        BrokenError: set-ups tell agreeing lists apart though what they show of their randomness is the same.
    """
    if fixtures.design.list_knowledge(frozenset({Party.DEVICE})) >= ListKnowledge.TESTABLE:
        return "what devices hold tests the list by declaration, so no two lists are compared"
    builder = ListBuilder(fixtures)
    compared = 0
    drawn = 0
    for number in range(LISTS):
        other = random_hashes(len(fixtures.pool.entries), fixtures.seed + FRONT + number)
        pinned = PinnedLists(builder, f"lists/{fixtures.seed}/{number}", (fixtures.pool.entries, other))
        if not _do_agree(fixtures, pinned):
            continue
        compared += 1
        drawn = max(drawn, pinned.size)
        found = compare(partial(pinned.run, 0), partial(pinned.run, 1), by_bytes=True)
        if found is not None:
            raise BrokenError(
                "publish",
                FOLLOWS.format(found.field),
                party=Party.DEVICE,
                field=found.words("one list", "another list"),
            )
    if not compared:
        return "no two lists agree on what is declared to devices"
    return f"{compared} pairs of lists compared with what a set-up shows pinned (up to {drawn} bytes drawn)"


def _do_agree(fixtures: Fixtures, pinned: PinnedLists) -> bool:
    """Are the facts that follow from the list alone the same of both lists?

    A fact that changes when the same list is published again follows from what was drawn as well, such as a
    digest of rows. Both lists cannot be made to agree on it, and it is no fact of the list.
    """
    first, second = (_facts(fixtures, files) for files in pinned.setups)
    again = _facts(fixtures, pinned.published_again())
    return all(second[place] == value for place, value in first.items() if again[place] == value)


def _facts(fixtures: Fixtures, files: dict[str, bytes]) -> dict[tuple[str, str], Hashable]:
    """The facts that a device is declared, by their names and those of pictures."""
    setup: Any = fixtures.design.open_setup(files, 1)
    facts = told(fixtures.design, frozenset({Party.DEVICE}), Adversary.SEMI_HONEST)
    pictures = [one for kind in ("other", "poor") for one in fixtures.pool.of(kind)]
    return {(fact.name, one.name): fact.project(one.item, setup) for fact in facts for one in pictures}
