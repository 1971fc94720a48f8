"""What a device sees of a list: set-up files, the replies to its pictures, its outcomes, and what it works
out in a session beyond its outcome, as the design says (`Design.worked_out`): the best place to look for a
lone hit, and for one entry in two layers.

And what is looked at in that. As in `game`, nothing looks for structure in group elements.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import UNBOUND, AnyDesign, Match, Party, Ready, Send, concluded

from blindmatch_simulations.evaluation.conformance.leakage.game import (
    Distinguisher,
    View,
    counts,
    equality,
    lengths,
    numbers,
)
from blindmatch_simulations.evaluation.conformance.leakage.knowledge import (
    PREFIX,
    Guesses,
    prefixes,
    with_salt,
)
from blindmatch_simulations.evaluation.conformance.leakage.play import Event, event_of, ordering
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, enrolled, opened
from blindmatch_simulations.testbed.inprocess.steps import set_file
from blindmatch_simulations.testbed.pictures.pool import Pooled

NUMBER_BITS: Final = 24
"""Two values of one mask that differ in these low bits alone may be the numbers of two labels."""


def computed(design: AnyDesign, setup: Any, session: Any, move: int) -> list[Event]:
    """The events of what the device works out of a session that is ready; none if the design says nothing.

    computed    the leaves are keys, the shape counts: zeros read, equal values read, labels or addresses met
    read        in how many pairs of layers a value belongs to another; for every element asked for, in how
                many deltas it reads zero (or whether in the full set, if that is all there is); a byte each
    """
    found = design.worked_out(session, setup)
    if found is None:
        return []
    leaves = tuple(row.tobytes() for part in found.keys for row in part)
    alike = [count for words in (*found.reads, *found.values) for count in _count_alike(words)]
    events = [Event(Party.DEVICE, "computed", move, b"", leaves, (*alike, *found.met))]
    return [*events, Event(Party.DEVICE, "read", move, _across(found.reads))] if found.reads else events


def _across(reads: Sequence[Any]) -> bytes:
    """What the values that each layer reads for the same elements have to do with one another."""
    words = [read.reshape(len(read), -1) for read in reads]
    zeros = np.sum([(read == 0).all(axis=1) for read in words[1:] or words], axis=0)
    linked = 0
    for one, other in combinations(words, 2):
        apart = one ^ other
        apart[:, 0] >>= np.uint64(NUMBER_BITS)
        linked += int(((apart == 0).all(axis=1) & (one != 0).any(axis=1)).sum())
    return bytes(min(int(count), 255) for count in (linked, *zeros))


def _count_alike(read: Any) -> tuple[int, int]:
    """How many values are zero, and how many repeat another."""
    return int((read == 0).sum()), int(read.size - len(np.unique(read)))


NO_GUESSES: Final = Guesses({}, {})
SALT_BYTES: Final = 32
MOST_SALTS: Final = 8
SIGMAS: Final = 4.0
LINK, COARSE = 5, 8
"""Bytes that two layers have in common by chance with a probability of some 2^-13 a run, and how many such
windows make a step: a hash of 32 bytes has 28."""


def view_of(build: Build, asked: Sequence[Pooled], rng: Randomness) -> list[Event]:
    """One device's view: it opens the set-up and asks about some pictures, all as one account."""
    deployed = opened(build)
    events = [Event(Party.DEVICE, "set-up", 0, raw, (), _table(raw)) for raw in build.setup_files.values()]
    state = enrolled(deployed, rng)
    for number, one in enumerate(asked):
        started = deployed.design.start(state, deployed.setup, one.item, UNBOUND, rng)
        state = started.state
        events += _rounds(deployed, started.step, number, rng)
        events.append(Event(Party.DEVICE, "state", number, state.encode()))
    return events


def _rounds(deployed: Deployed, step: Any, number: int, rng: Randomness) -> list[Event]:
    design, events = deployed.design, list[Event]()
    while isinstance(step, Send):
        replies = {role: deployed.answer(role, body, rng)[0] for role, body in step.bodies.items()}
        events += [event_of(Party.DEVICE, "request", number, body) for body in step.bodies.values()]
        events += [event_of(Party.DEVICE, "reply", number, reply) for reply in replies.values()]
        step = design.receive(step.session, deployed.setup, replies, rng)
    if isinstance(step, Ready):
        events += computed(design, deployed.setup, step.session, number)
    step = concluded(design, step, deployed.setup)
    label = step.outcome.label.encode() if isinstance(step.outcome, Match) else b""
    events.append(Event(Party.DEVICE, "outcome", number, type(step.outcome).__name__.encode() + label))
    return events


def _table(raw: bytes) -> tuple[Any, ...]:
    """What the tables of a set file say, and the rows of its sections: in order, or repeated."""
    file = set_file(raw)
    if file is None:
        return ()
    found: list[Any] = [file.entries]
    for key, section in file.sections.items():
        content, width = bytes(file.section(*key)), section.length // max(section.items, 1)
        rows = [content[at : at + width] for at in range(0, len(content), max(width, 1))]
        found.append((key, section.items, section.length, ordering(rows), len(rows) - len(set(rows))))
    return tuple(found)


def _windows(view: View, kinds: Iterable[str]) -> frozenset[bytes]:
    """Everything `PREFIX` bytes long that stands in events of these kinds."""
    raws = [event.data for event in view if event.kind in kinds]
    return frozenset(raw[at : at + PREFIX] for raw in raws for at in range(len(raw) - PREFIX + 1))


def _own_keys(view: View, pair: Any, known: Guesses) -> int:
    """How many of the keys a device works out, or of their digests, stand in the set-up."""
    held = _windows(view, ("set-up",))
    leaves = [leaf for event in view if event.kind == "computed" for leaf in event.leaves]
    return sum(not held.isdisjoint(prefixes(leaf)) for leaf in leaves)


def _count_entries(view: View, pair: Any, known: Guesses) -> int:
    """Do more of the entries stand in the view that the left list alone has, or the right one?"""
    left, right = pair.left.hashes(), pair.right.hashes()
    held = _windows(view, ("set-up", "reply"))
    salts = _salts(view)
    return int(np.sign(_hits(left - right, held, salts) - _hits(right - left, held, salts)))


def _salts(view: View) -> list[bytes]:
    """Fields of replies, and what set-up files begin and end with: a salt is mostly one of these."""
    leaves = [leaf for event in view if event.kind == "reply" for leaf in event.leaves]
    files = [event.data for event in view if event.kind == "set-up"]
    ends = [part for raw in files for part in (raw[:SALT_BYTES], raw[:16], raw[-SALT_BYTES:], raw[-16:])]
    return [salt for salt in (*ends, *leaves) if len(salt) >= 16][:MOST_SALTS]


def _hits(entries: Iterable[bytes], held: frozenset[bytes], salts: Sequence[bytes]) -> int:
    found = 0
    for own in entries:
        found += sum(made in held for made in prefixes(own))
        found += sum(made[:PREFIX] in held for salt in salts for made in with_salt(own, salt))
    return found


def _shared(view: View, pair: Any, known: Guesses) -> int:
    """How many windows of the newest set-up file stand in an older one: labels, cells or addresses of one
    entry that are sealed or masked alike in two layers. Numbers and zeros are not counted."""
    files = [event.data for event in view if event.kind == "set-up"]
    *older, newest = [{raw[at : at + LINK] for at in range(len(raw) - LINK + 1)} for raw in files]
    return sum(len(set(window)) == LINK for window in newest & set[bytes]().union(*older)) // COARSE


def _reads(view: View) -> npt.NDArray[np.int_]:
    """Summed over the pictures but the first, which matches: pairs of layers that belong together, then zeros
    of each element asked for."""
    found = [np.frombuffer(event.data, np.uint8) for event in view if event.kind == "read" and event.move]
    return np.sum(found, axis=0, dtype=np.int_) if found else np.zeros(2, np.int_)


def _density(view: View, pair: Any, known: Guesses) -> tuple[int, ...]:
    """For each set-up file how far its ones are from half, in steps of `SIGMAS`, and what deflating saves."""
    found: list[int] = []
    for raw in (event.data for event in view if event.kind == "set-up"):
        ones = int(np.bitwise_count(np.frombuffer(raw, np.uint8)).sum())
        found.append(round((ones - 4 * len(raw)) / (SIGMAS * max(2 * len(raw), 1) ** 0.5)))
        found.append((len(raw) - len(zlib.compress(raw, 1))) // 64)
    return tuple(found)


LIST_DISTINGUISHERS: Final = (
    Distinguisher("counts and order", counts),
    Distinguisher("lengths", lengths),
    Distinguisher("numbers, tables and what is worked out", numbers),
    Distinguisher("equality and linkage", equality),
    Distinguisher("own keys in the set-up", _own_keys),
    Distinguisher("a dictionary of entries", _count_entries),
    Distinguisher("density", _density),
    Distinguisher("what layers share", _shared),
    Distinguisher("values of one element in two layers", lambda view, *_: int(_reads(view)[0])),
    Distinguisher("zeros where the first element is looked up", lambda view, *_: int(_reads(view)[1])),
    Distinguisher("zeros where elements are looked up", lambda view, *_: int(_reads(view)[1:].sum())),
)
