"""Where games are played: a deployment with requests as small as its parameters allow, the guesses, and the
worst cases that a list can hold for a design: pictures that are almost found, or found in vain.


lone        an entry agrees with the picture in one band and in no other; for a design without bands, in
            the front half of the hash
unopened    its very hash is listed, and the label behind it was altered before the set was signed: all
            digests are right, the label does not open
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Item, Match, NoMatch, Parts, Party, Voucher
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_protocol.sets import labels
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published, lowered, once
from blindmatch_simulations.evaluation.conformance.leakage.facts import Move
from blindmatch_simulations.evaluation.conformance.leakage.knowledge import Guesses, guesses
from blindmatch_simulations.evaluation.conformance.leakage.play import Behaviour, Event, Play, Table
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, opened, run_session
from blindmatch_simulations.testbed.inprocess.steps import resealed, set_file
from blindmatch_simulations.testbed.pictures.pool import Pool, Pooled, picture

LONE: Final = 2
HALF: Final = 128
FIRST: Final = 900
"""Numbers of these pictures, beyond those of the pool."""


def with_worst(fixtures: Fixtures, setup: Any) -> Pool:
    """The pool of `fixtures` and its design's worst cases; `setup` has the parameters that are played."""
    pool, front = fixtures.pool, 1000 * fixtures.seed + FIRST
    lone = [Pooled(f"lone/{i}", "lone", picture(front + i)) for i in range(LONE)]
    found = [lone_entry(fixtures.design, setup, one.item, at) for at, one in enumerate(lone)]
    kept = [(one, entry) for one, entry in zip(lone, found, strict=True) if entry is not None]
    unopened = Pooled("unopened/0", "unopened", picture(front + LONE))
    hashes = [entry for _, entry in kept] + [unopened.item.hash]
    pictures = (*pool.pictures, *(one for one, _ in kept), unopened)
    return Pool(pictures, np.concatenate([pool.entries, rows(hashes)]), pool.others)


def lone_entry(design: AnyDesign, setup: Any, item: Item, which: int) -> bytes | None:
    """An entry that agrees with `item` in one part alone; None if its bands are too narrow for that.

    Args:
        setup: its set-up, for the parameters.
        which: an even number takes a token as it is, an odd one the least likely variant that is asked for.
    """
    parts = design.parts(setup, item)
    if parts is None:
        return part_of(design, setup, item)
    part, probe = (0, 0) if which % 2 == 0 else (-1, -1)
    wanted, width = int(parts.asked[part, probe]), parts.places.shape[1]
    entry = 1 - np.unpackbits(np.frombuffer(item.hash, np.uint8))
    entry[parts.places[part]] = [wanted >> (width - 1 - at) & 1 for at in range(width)]
    return np.packbits(entry).tobytes() if hits(np.packbits(entry), parts) == 1 else None


def lone_entries(design: AnyDesign, setup: Any, item: Picture, drawn: Rows) -> Rows | None:
    """Entries, uint8 (n, 32), that agree with `item` in the token of the first band alone, and else are as
    `drawn`, uint8 (n, 32); None for a design without bands, or if its bands are too narrow for that."""
    parts = design.parts(setup, item)
    if parts is None or not len(drawn):
        return None
    place, bits = parts.places[0], np.unpackbits(drawn, axis=1)
    bits[:, place] = np.unpackbits(np.frombuffer(item.hash, np.uint8))[place]
    found = np.packbits(bits, axis=1)
    return found if all(hits(row, parts) == 1 for row in found) else None


def part_of(design: AnyDesign, setup: Any, item: Item) -> bytes:
    """A hash that has the first part of the item's, or its front half, and else the opposite of its bits."""
    bits, parts = np.unpackbits(np.frombuffer(item.hash, np.uint8)), design.parts(setup, item)
    kept = np.arange(HALF) if parts is None else parts.places[0]
    other = 1 - bits
    other[kept] = bits[kept]
    return np.packbits(other).tobytes()


def hits(entry: npt.NDArray[np.uint8], parts: Parts) -> int:
    """In how many parts one of the values asked for is that of an entry, uint8 (32,)."""
    bits = np.unpackbits(entry)[parts.places].astype(np.uint64)
    own = bits @ (np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)[::-1])
    return int((parts.asked == own[:, None]).any(axis=1).sum())


def with_spoilt_label(deployed: Deployed, one: Pooled, fixtures: Fixtures) -> Deployed | None:
    """`deployed` with a set-up in which the label of `one` does not open; None if there is no such label.

    The roles keep the state they have: the set was altered before anybody signed or logged it.
    """
    if not _found(deployed, one, fixtures):
        return None
    for files in _spoilt(deployed.build):
        try:
            setup = deployed.design.open_setup(files, deployed.build.epoch)
        except SetFileError:
            continue
        spoilt = replace(deployed, setup=setup)
        if not _found(spoilt, one, fixtures):
            return spoilt
    return None


def _found(deployed: Deployed, one: Pooled, fixtures: Fixtures) -> bool:
    try:
        ran = run_session(deployed, one.item, fixtures.rng("spoilt"))
    except BlindmatchError:
        return False
    return isinstance(ran.outcome, Match)


def _spoilt(build: Build) -> Iterator[Mapping[str, bytes]]:
    """The set-up's files with one bit of one sealed label altered, label after label."""
    files = build.setup_files
    for name, raw in files.items():
        if (file := set_file(raw)) is None:
            continue
        for index in range(file.count(labels.KIND)):
            row = file.row(labels.KIND, index)
            for number in range(row.items):
                place = (labels.KIND, index), number * (row.length // row.items)
                yield {**files, name: resealed(file, partial(_flipped, place))}


def _flipped(place: tuple[tuple[int, int], int], key: tuple[int, int], content: bytes) -> bytes:
    """The content with one bit flipped, if it is that of the section at the place."""
    where, at = place
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if key == where else content


OWN: Final = -1
"""The number of a picture that the opponent asked about itself."""


class GameSetup(Redacted, Struct, frozen=True):
    """What a game needs.

    Attributes:
        values: the parameters that differ from their defaults.
        outputs: by picture, what an honest session of it gives whoever learns the outcome.
        own: by picture, what a device of the opponent's own and the roles see when it asks about it.
    """

    pool: Pool
    table: Table
    known: Guesses
    values: dict[str, int]
    outputs: dict[str, object]
    own: dict[str, list[Event]]


@once
def game_of(fixtures: Fixtures) -> GameSetup:
    """The set-up of a run's games."""
    values = lowered(fixtures)
    pool = with_worst(fixtures, as_published(fixtures).deployed.setup)
    honest, other = (
        opened(fixtures.publish(pool.entries, purpose, values=values)) for purpose in ("publish", "other-key")
    )
    spoilt = with_spoilt_label(honest, pool.of("unopened")[0], fixtures)
    if spoilt is None:
        pool = pool.without("unopened")
    table = Table(spoilt or honest, other)
    outputs = {one.name: output_of(fixtures, table.deployed, one) for one in pool.pictures}
    known = guesses(table.deployed, pool.pictures, fixtures.rng("guesses"))
    own = {one.name: _asked_itself(fixtures, table, one) for one in pool.pictures}
    return GameSetup(pool, table, known, values, outputs, own)


def _asked_itself(fixtures: Fixtures, table: Table, one: Pooled) -> list[Event]:
    """A session of the opponent's own device, which shows it outcome and state; no part of the sequence."""
    rng = fixtures.rng(f"own/{one.name}")
    play = Play(table, Behaviour.HONEST, rng)
    events = [replace(event, move=OWN) for event in play.run((Move(one),))]
    return [*events, *(Event(Party.DEVICE, kind, OWN, data) for kind, data in play.ends)]


def output_of(fixtures: Fixtures, deployed: Deployed, one: Pooled) -> object:
    """The design's own outcome, which for a near design is not always the oracle's (a voucher's is).
    Whoever refuses a session has learnt nothing in it."""
    try:
        ran = run_session(deployed, one.item, fixtures.rng(f"output/{one.name}"))
    except ProtocolError:
        return NoMatch.__name__, [], False
    opened_later = isinstance(ran.outcome, Voucher) and fixtures.pool.matches(
        fixtures.design.info.relation, one
    )
    return type(ran.outcome).__name__, [told.label is not None for told in ran.verdicts], opened_later
