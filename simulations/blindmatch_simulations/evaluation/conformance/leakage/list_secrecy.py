"""What devices and stored files say of the list, held against what is declared.

More shown than declared fails. More declared than these show is an upper bound, which the verdict says: keys
and shares may tell more than a search for bytes finds. A malicious device may ask about hashes of its choice:
what that opens is declared as a fact (any_hash, any_token), so no game is played for it. A device sees set-up
files, replies, outcomes, and what it works out in a session beyond its outcome (`Design.worked_out`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import (
    UNBOUND,
    AnyDesign,
    ListKnowledge,
    Match,
    Party,
    Ready,
    Role,
    Send,
    concluded,
)
from blindmatch_protocol.setfile import SetFile
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.game import (
    PREFIX,
    Distinguisher,
    Finding,
    Guesses,
    Rest,
    Run,
    View,
    counts,
    equality,
    judge,
    lengths,
    numbers,
    prefixes,
    with_salt,
)
from blindmatch_simulations.evaluation.conformance.leakage.games import (
    GameSetup,
    game_of,
    numbered,
    run_counts,
    summary,
)
from blindmatch_simulations.evaluation.conformance.leakage.list_pinning import check_list_pinning
from blindmatch_simulations.evaluation.conformance.leakage.lists import (
    LIST_SCENARIOS,
    ListPair,
    built,
    material,
    playable_pair,
)
from blindmatch_simulations.evaluation.conformance.leakage.places import places_of
from blindmatch_simulations.evaluation.conformance.leakage.play import (
    MOST_MATRICES,
    Event,
    event_of,
    names_of,
    ordering,
)
from blindmatch_simulations.evaluation.conformance.spellings import spells_all
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, enrolled, opened, run_session
from blindmatch_simulations.testbed.inprocess.steps import flag, set_file
from blindmatch_simulations.testbed.inprocess.telling import shown_value
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed
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
    alike = list[int]()
    for words in (*found.reads, *found.values):  # how many are zero, and how many repeat another
        alike += [int((words == 0).sum()), int(words.size - len(np.unique(words)))]
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


NO_GUESSES: Final = Guesses({}, {})
SALT_BYTES: Final = 32
MOST_SALTS: Final = 8
SIGMAS: Final = 4.0
LINK: Final = 5
"""Bytes that two layers have in common by chance with a probability of some 2^-13 a run."""
COARSE: Final = 8
"""How many windows of `LINK` bytes make a step: a hash of 32 bytes has 28."""


def view_of(build: Build, asked: Sequence[Pooled], rng: Randomness) -> list[Event]:
    """One device's view: it opens the set-up and asks about some pictures, all as one account."""
    deployed = opened(build)
    events = [
        Event(Party.DEVICE, "set-up", 0, raw, (), _table(raw), _places(raw))
        for raw in build.setup_files.values()
    ]
    state = enrolled(deployed, rng)
    for number, one in enumerate(asked):
        started = deployed.design.start(state, deployed.setup, one.item, UNBOUND, rng)
        state = started.state
        events += _rounds(deployed, started.step, number, rng)
        events.append(Event(Party.DEVICE, "state", number, state.encode()))
    return events


def _rounds(deployed: Deployed, step: Any, number: int, rng: Randomness) -> list[Event]:
    design = deployed.design
    events = list[Event]()
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
        rows = _rows(file, key)
        found.append((key, section.items, section.length, ordering(rows), len(rows) - len(set(rows))))
    return tuple(found)


def _rows(file: SetFile, key: tuple[int, int]) -> list[bytes]:
    section = file.sections[key]
    content = bytes(file.section(*key))
    width = section.length // max(section.items, 1)
    return [content[at : at + width] for at in range(0, len(content), max(width, 1))]


def _places(raw: bytes) -> bytes:
    """Where extremes stand and rows ascend in the first sections of a set file that have rows."""
    file = set_file(raw)
    if file is None:
        return b""
    matrices = [rows for key in file.sections if len(rows := _rows(file, key)) > 1]
    return b"".join(map(places_of, matrices[:MOST_MATRICES]))


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
    left = pair.left.hashes()
    right = pair.right.hashes()
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


LIST_FACT: Final = "list"
"""A design that declares it to the device (or ``my.list``) says that devices get the list."""
STANDS: Final = "an entry of the list stands in what devices get, and is not declared"


def check_list(fixtures: Fixtures) -> Passed:
    """Set-up files, and replies without a match, hold no first 8 bytes of an entry's hash or digest; lists of
    one size give equal lengths, and no byte follows from the list and the randomness that a set-up shows.
    """
    if list_declared(fixtures):
        raise NotApplicableError("the list is declared to devices")
    wanted = dictionary(fixtures.pool.entries)
    searched = 0
    for name, raw in fixtures.build.setup_files.items():
        searched += search(raw, wanted, f"set-up file {name}")
    for name, ran in fixtures.honest.items():
        if isinstance(ran.outcome, Match):
            continue
        for asked in ran.asked:
            searched += search(asked.reply.encode(), wanted, f"reply for {name}")
    words = f"none of {len(fixtures.pool.entries)} entries in {searched} bytes that devices get"
    return Passed(f"{words}{_words_if_alike(fixtures)}; {check_list_pinning(fixtures)}")


def list_declared(fixtures: Fixtures) -> bool:
    leaks = [leak for leak in fixtures.design.leakage() if Party.DEVICE in leak.parties]
    return LIST_FACT in names_of(fact for leak in leaks for fact in leak.facts)


def dictionary(entries: Rows) -> frozenset[bytes]:
    """The first bytes of every entry's hash and of its digests."""
    return frozenset(made for row in entries for made in prefixes(row.tobytes()))


def search(raw: bytes, wanted: frozenset[bytes], where: str) -> int:
    """Bytes searched; `BrokenError` if one of `wanted` stands in them."""
    for at in range(len(raw) - PREFIX + 1):
        if raw[at : at + PREFIX] in wanted:
            raise BrokenError(where, STANDS, at=at)
    return len(raw)


def _words_if_alike(fixtures: Fixtures) -> str:
    """Set-ups of two lists of one size have the same lengths, and so have replies to one picture."""
    one = fixtures.build
    other = fixtures.publish(fixtures.pool.others, "publish")
    lengths = [[len(raw) for raw in build.setup_files.values()] for build in (one, other)]
    if lengths[0] != lengths[1]:
        raise BrokenError(
            "publish", f"set-ups of two lists of one size differ in length: {shown_value(lengths)}"
        )
    if _replies(fixtures, one) != _replies(fixtures, other):
        raise BrokenError("answer", "for a picture on neither list, lengths of replies depend on the list")
    return "; two lists of one size give set-ups and replies of the same lengths"


def _replies(fixtures: Fixtures, build: Build) -> list[int]:
    item = fixtures.pool.of("other")[0].item
    ran = run_session(opened(build), item, fixtures.rng("alike"))
    return [len(asked.reply.encode()) for asked in ran.asked]


FEWER = 5
"""Entries that the smaller list lacks."""


def check_list_knowledge(fixtures: Fixtures) -> Passed:
    """No coalition of a device, the provider and roles stores more of the list than `list_knowledge` says:
    hashes in some spellings, testing, size."""
    info = fixtures.design.info
    smaller = fixtures.publish(fixtures.pool.entries[:-FEWER], "list-knowledge")
    whole = {name for name, raw in fixtures.build.files.items() if spells_all(raw, fixtures.pool.entries)}
    bounds = list[str]()
    count = 0
    everybody = sorted({Party.DEVICE, Party.PROVIDER, *info.parties})
    sizes = range(1, len(everybody) + 1)
    for parties in (frozenset(some) for size in sizes for some in combinations(everybody, size)):
        declared = fixtures.design.list_knowledge(parties)
        found = _shown(fixtures, smaller, whole, parties)
        count = count + 1
        name = " with ".join(sorted(parties))
        if found > declared:
            rule = f"{name}: declared to show {declared} of the list, and stored files show {found}"
            raise BrokenError("list_knowledge", rule)
        if declared > found:
            bounds.append(f"{name}: {declared}")
    words = f"stored files of {count} coalitions show no more of the list than is declared"
    if bounds:
        words += f"; not shown by this suite, so an upper bound: {', '.join(bounds)}"
    return Passed(words, {"coalitions": count, "upper_bounds": bounds})


def _shown(fixtures: Fixtures, smaller: Build, whole: set[str], parties: frozenset[Party]) -> ListKnowledge:
    """The most that is shown; `whole` are files in which the list is spelled."""
    held, fewer = (_files(build, parties) for build in (fixtures.build, smaller))
    if not held:
        return ListKnowledge.NOTHING
    content = b"\0".join(held.values())
    if not whole.isdisjoint(held) or all(row.tobytes() in content for row in fixtures.pool.entries):
        return ListKnowledge.HASHES
    if _testable(fixtures, parties):
        return ListKnowledge.TESTABLE
    sizes = [[(len(raw), _entries(raw)) for raw in files.values()] for files in (held, fewer)]
    return ListKnowledge.NOTHING if sizes[0] == sizes[1] else ListKnowledge.SIZE


def _files(build: Build, parties: frozenset[Party]) -> Mapping[str, bytes]:
    """What the parties store: the set-up, if one of them has it or serves it to devices, and files of the
    roles they host."""
    info = build.design.info
    carries = {info.setup_host, *info.forwarded.values()}
    found = dict(build.setup_files) if parties & {Party.DEVICE, *carries} else {}
    for role in _hosted(build, parties):
        found |= build.role_files(role)
    return found


def _hosted(build: Build, parties: frozenset[Party]) -> list[Role]:
    return [role for role, host in build.design.info.roles.items() if host in parties]


def _testable(fixtures: Fixtures, parties: frozenset[Party]) -> bool:
    """Does a picture end otherwise where it is listed, with the parties' own roles alone?"""
    item = fixtures.pool.of("listed")[0].item
    ends = []
    for deployed in (fixtures.deployed, fixtures.next_epoch):
        roles = _hosted(deployed.build, parties)
        own = replace(deployed, states={role: deployed.states[role] for role in roles})
        try:
            ran = run_session(own, item, fixtures.rng("list-knowledge/asked"))
        except (BlindmatchError, KeyError):
            return False
        ends.append((type(ran.outcome), [verdict.label is None for verdict in ran.verdicts]))
    return ends[0] != ends[1]


def _entries(raw: bytes) -> int | None:
    file = set_file(raw)
    return None if file is None else file.entries


DEVICE: Final = "semi-honest device"
FIRST_LOOK: Final = 5 / 6
"""Of a quick game's held-out runs of a class, in the first look at a class of lists: 40 of 48."""
ALL_LOOKS: Final = 7 / 3
"""Of the same, in both looks: 112, with which an advantage of one half in one of 14 classes is caught with
95 % (`power`); with 48 it would have to be 0.7. Every run publishes a set, so few classes get them all."""


def check_lists(fixtures: Fixtures) -> Passed:
    """A device that opens either of two lists is not told which ([games over lists](#games-over-lists))."""
    if list_declared(fixtures):
        raise NotApplicableError("the list is declared to devices")
    game = game_of(fixtures)
    held = material(fixtures, game)
    pairs = {one.name: playable_pair(one, held) for one in LIST_SCENARIOS}
    classes = {name: pair for name, pair in pairs.items() if pair is not None}
    if not classes:
        raise NotApplicableError("no pair of lists agrees on what is declared to devices")
    figures: dict[str, Any] = {"parameters": game.values, "known_to": _knowing(fixtures)}
    findings = list[Finding]()
    for name, pair in classes.items():
        finding = judge_lists(fixtures, game, name, pair, len(classes))
        findings.append(finding.not_told(f"{DEVICE}: {name}", "lists told apart by {}"))
    words = [summary(DEVICE, findings, figures, len(classes)), *_size_words(fixtures, game)]
    words += [f"{name}: {how}" for name, how in figures["known_to"].items()]
    return Passed("; ".join(words), figures)


def _size_words(fixtures: Fixtures, game: GameSetup) -> list[str]:
    """Return what the parameters were lowered to, if they were, and what that leaves out."""
    own = {one.name: one.default for one in fixtures.design.info.parameters} | fixtures.values
    lower = [f"{name} {value} of {own[name]}" for name, value in game.values.items() if own[name] != value]
    if not lower:
        return []
    return [f"lists played with {', '.join(lower)}: what shows only with more of these is missed"]


def judge_lists(fixtures: Fixtures, game: GameSetup, name: str, pair: ListPair, classes: int) -> Finding:
    """Play and judge one class, in two looks unless the games are large.

    Every run has a set of its own, with keys of its own.
    """

    def run(rng: Randomness) -> Run:
        coin = flag(rng)
        build = built(fixtures, game, pair.right if coin else pair.left, rng)
        return Run(view_of(build, pair.asked, rng), pair, coin)

    purpose = f"lists/{name}"
    training, most = run_counts(fixtures, classes)
    first = most
    if not fixtures.held_out:
        training, held = fixtures.runs
        first = int(held * FIRST_LOOK)
        most = int(held * ALL_LOOKS)
    looked = training + first
    learn = numbered(fixtures, purpose, range(training), run)
    seen = numbered(fixtures, purpose, range(training, looked), run)
    more = range(looked, training + most)
    rest = Rest(len(more), lambda: numbered(fixtures, purpose, more, run)) if more else None
    return judge(name, learn, seen, NO_GUESSES, classes, LIST_DISTINGUISHERS, rest)


def _knowing(fixtures: Fixtures) -> dict[str, str]:
    """Whether the coalition of a device and everybody with a role has the list in effect, as is declared and
    as `list_known` holds against its files; then no game is played for it."""
    parties = frozenset({Party.DEVICE, *fixtures.design.info.roles.values()})
    known = fixtures.design.list_knowledge(parties)
    if len(parties) == 1 or known < ListKnowledge.TESTABLE:
        return {}
    return {" with ".join(sorted(parties)): f"no game: stored files show {known.says}, by declaration"}
