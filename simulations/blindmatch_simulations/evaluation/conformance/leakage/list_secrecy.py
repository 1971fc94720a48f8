"""What devices and stored files say of the list, held against what is declared.

    list             a dictionary of every entry is looked for in set-up files and replies, and two lists of
                     one size must look alike: it finds the list in the clear or under a plain digest
    list knowledge   what a coalition stores (`Design.list_knowledge`)
        size         lists of two sizes give it files of other lengths, or with another count of entries
        testable     its roles answer its own device, and the same picture ends otherwise once it is listed
        hashes       every listed hash stands in its files, byte for byte, or in one file (`spellings`)
    list games       two lists that agree on what a device may learn of them, told apart by a device or not

More shown than declared fails. More declared than these show is an upper bound, which the verdict says: keys
and shares may tell more than a search for bytes finds, and the dictionary finds no entry under a salt or key
that stands beside it. A malicious device may ask about hashes of its choice: what that opens is declared as a
fact (any_hash, any_token), so no game is played for it. Nor is one for whoever has the roles' files beside a
device, if they are declared to show the list, or whether a guess is listed; that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, Final

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import ListKnowledge, Match, Party, Role
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.facts import names_of
from blindmatch_simulations.evaluation.conformance.leakage.game import Finding, Run, judge
from blindmatch_simulations.evaluation.conformance.leakage.game_setup import GameSetup, game_of
from blindmatch_simulations.evaluation.conformance.leakage.games import played, run_counts, summary
from blindmatch_simulations.evaluation.conformance.leakage.knowledge import PREFIX, prefixes
from blindmatch_simulations.evaluation.conformance.leakage.list_view import (
    LIST_DISTINGUISHERS,
    NO_GUESSES,
    view_of,
)
from blindmatch_simulations.evaluation.conformance.leakage.lists import (
    LIST_SCENARIOS,
    ListPair,
    built,
    material,
    playable_pair,
)
from blindmatch_simulations.evaluation.conformance.spellings import spells_all
from blindmatch_simulations.testbed.inprocess.deployed import Build, opened, run_session
from blindmatch_simulations.testbed.inprocess.steps import flag, set_file
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed

LIST_FACT: Final = "list"
"""A design that declares it to the device (or ``my.list``) says that devices get the list."""
STANDS: Final = "an entry of the list stands in what devices get, and is not declared"


def check_list(fixtures: Fixtures) -> Passed:
    """Set-up files, and replies without a match, hold no first 8 bytes of an entry's hash or digest; lists of
    one size give equal lengths."""
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
    return Passed(words + _words_if_alike(fixtures))


def list_declared(fixtures: Fixtures) -> bool:
    """Is it declared that devices get the list?"""
    leaks = [leak for leak in fixtures.design.leakage() if Party.DEVICE in leak.parties]
    return LIST_FACT in names_of(fact for leak in leaks for fact in leak.facts)


def dictionary(entries: Rows) -> frozenset[bytes]:
    """The first bytes of every entry's hash and of its digests."""
    return frozenset(made for row in entries for made in prefixes(row.tobytes()))


def search(raw: bytes, wanted: frozenset[bytes], where: str) -> int:
    """Bytes searched.

    Raises:
        BrokenError: if one of `wanted` stands in them.
    """
    for at in range(len(raw) - PREFIX + 1):
        if raw[at : at + PREFIX] in wanted:
            raise BrokenError(where, STANDS, at=at)
    return len(raw)


def _words_if_alike(fixtures: Fixtures) -> str:
    """Set-ups of two lists of one size have the same lengths, and so have replies to one picture."""
    one, other = fixtures.build, fixtures.publish(fixtures.pool.others, "publish")
    lengths = [[len(raw) for raw in build.setup_files.values()] for build in (one, other)]
    if lengths[0] != lengths[1]:
        raise BrokenError("publish", f"set-ups of two lists of one size differ in length: {lengths}")
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
    bounds, count = list[str](), 0
    for parties in _coalitions({Party.DEVICE, Party.PROVIDER, *info.parties}):
        declared, found = fixtures.design.list_knowledge(parties), _shown(fixtures, smaller, whole, parties)
        count, name = count + 1, " with ".join(sorted(parties))
        if found > declared:
            rule = f"{name}: declared to show {declared} of the list, and stored files show {found}"
            raise BrokenError("list_knowledge", rule)
        if declared > found:
            bounds.append(f"{name}: {declared}")
    words = f"stored files of {count} coalitions show no more of the list than is declared"
    if bounds:
        words += f"; not shown by this suite, so an upper bound: {', '.join(bounds)}"
    return Passed(words, {"coalitions": count, "upper_bounds": bounds})


def _coalitions(parties: set[Party]) -> Iterator[frozenset[Party]]:
    for size in range(1, len(parties) + 1):
        yield from map(frozenset, combinations(sorted(parties), size))


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
    """What a set file says of how many entries it has."""
    file = set_file(raw)
    return None if file is None else file.entries


DEVICE: Final = "semi-honest device"
PUBLISHED: Final = 2
"""Every run publishes a set, so that in quick mode there are two thirds of the usual runs."""


def check_lists(fixtures: Fixtures) -> Passed:
    """A device that opens either of two lists is not told which ([games over lists](#games-over-lists))."""
    if list_declared(fixtures):
        raise NotApplicableError("the list is declared to devices")
    game = game_of(fixtures)
    held = material(fixtures, game)
    played = [one for one in LIST_SCENARIOS if fixtures.held_out or not one.large]
    pairs = {one.name: playable_pair(one, held) for one in played}
    classes = {name: pair for name, pair in pairs.items() if pair is not None}
    if not classes:
        raise NotApplicableError("no pair of lists agrees on what is declared to devices")
    figures: dict[str, Any] = {"parameters": game.values, "known_to": _knowing(fixtures)}
    findings = [_class(fixtures, game, name, pair, len(classes)) for name, pair in classes.items()]
    words = [summary(DEVICE, findings, figures, len(classes))]
    words += [f"{name}: {how}" for name, how in figures["known_to"].items()]
    return Passed("; ".join(words), figures)


def _class(fixtures: Fixtures, game: GameSetup, name: str, pair: ListPair, classes: int) -> Finding:
    training, held = play_lists(fixtures, game, name, pair, classes)
    finding = judge(name, training, held, NO_GUESSES, classes, LIST_DISTINGUISHERS)
    return finding.not_told(f"{DEVICE}: {name}", "lists told apart by {!r}")


def play_lists(
    fixtures: Fixtures, game: GameSetup, name: str, pair: ListPair, classes: int
) -> tuple[list[Run], list[Run]]:
    """Training and held-out runs of one class; every run has a set of its own, with keys of its own."""

    def run(rng: Randomness) -> Run:
        coin = flag(rng)
        build = built(fixtures, game, pair.right if coin else pair.left, rng)
        return Run(view_of(build, pair.asked, rng), pair, coin)

    return played(fixtures, f"lists/{name}", run_counts(fixtures, classes, PUBLISHED), run)


def _knowing(fixtures: Fixtures) -> dict[str, str]:
    """Whether the coalition of a device and everybody with a role has the list in effect, as is declared and
    as `list_known` holds against its files; then no game is played for it."""
    parties = frozenset({Party.DEVICE, *fixtures.design.info.roles.values()})
    known = fixtures.design.list_knowledge(parties)
    if len(parties) == 1 or known < ListKnowledge.TESTABLE:
        return {}
    return {" with ".join(sorted(parties)): f"no game: stored files show {known.says}, by declaration"}
