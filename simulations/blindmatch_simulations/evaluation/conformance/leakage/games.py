"""The games of a design: every coalition, semi-honest and malicious, over all classes of pairs; and its own
simulator against real views: that is given facts, output and randomness, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    Adversary,
    AnyDesign,
    Item,
    Learner,
    Match,
    NoMatch,
    Outcome,
    Parts,
    Party,
    Role,
    Voucher,
)
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_protocol.sets import labels
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published, lowered, once
from blindmatch_simulations.evaluation.conformance.leakage.game import (
    Finding,
    Guesses,
    Run,
    bound,
    guesses,
    judge,
    together,
)
from blindmatch_simulations.evaluation.conformance.leakage.lives import carried_over
from blindmatch_simulations.evaluation.conformance.leakage.named import evidence_of
from blindmatch_simulations.evaluation.conformance.leakage.play import (
    SCENARIOS,
    Behaviour,
    Event,
    Move,
    Opponent,
    Pair,
    Play,
    Scenario,
    Table,
    event_of,
    opponents,
    playable,
)
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, opened, run_session
from blindmatch_simulations.testbed.inprocess.steps import below, flag, resealed, set_file
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.testbed.pictures.pool import Pool, Pooled, small_picture

LONE: Final = 2
HALF: Final = 128
FIRST: Final = 900
"""Numbers of these pictures, beyond those of the pool."""


def with_worst(fixtures: Fixtures, setup: Any) -> Pool:
    """The pool of `fixtures` and its design's worst cases; `setup` has the parameters that are played."""
    pool = fixtures.pool
    front = 1000 * fixtures.seed + FIRST
    lone = [Pooled(f"lone/{i}", "lone", small_picture(front + i)) for i in range(LONE)]
    found = [lone_entry(fixtures.design, setup, one.item, at) for at, one in enumerate(lone)]
    kept = [(one, entry) for one, entry in zip(lone, found, strict=True) if entry is not None]
    unopened = Pooled("unopened/0", "unopened", small_picture(front + LONE))
    hashes = [entry for _, entry in kept] + [unopened.item.hash]
    pictures = (*pool.pictures, *(one for one, _ in kept), unopened)
    return Pool(pictures, np.concatenate([pool.entries, rows(hashes)]), pool.others)


def lone_entry(design: AnyDesign, setup: Any, item: Item, which: int) -> bytes | None:
    """An entry that agrees with `item` in one part alone, a token as it is if `which` is even, else the least
    likely variant that is asked for; None if its bands are too narrow for that."""
    parts = design.parts(setup, item)
    if parts is None:
        return part_of(design, setup, item)
    part, probe = (0, 0) if which % 2 == 0 else (-1, -1)
    wanted = int(parts.asked[part, probe])
    width = parts.places.shape[1]
    entry = 1 - np.unpackbits(np.frombuffer(item.hash, np.uint8))
    entry[parts.places[part]] = [wanted >> (width - 1 - at) & 1 for at in range(width)]
    return np.packbits(entry).tobytes() if hits(np.packbits(entry), parts) == 1 else None


def lone_entries(design: AnyDesign, setup: Any, item: Picture, drawn: Rows) -> Rows | None:
    """Entries, uint8 (n, 32), that agree with `item` in the token of the first band alone, and else are as
    `drawn`, uint8 (n, 32); None for a design without bands, or if its bands are too narrow for that."""
    parts = design.parts(setup, item)
    if parts is None or not len(drawn):
        return None
    place = parts.places[0]
    bits = np.unpackbits(drawn, axis=1)
    bits[:, place] = np.unpackbits(np.frombuffer(item.hash, np.uint8))[place]
    found = np.packbits(bits, axis=1)
    return found if all(hits(row, parts) == 1 for row in found) else None


def part_of(design: AnyDesign, setup: Any, item: Item) -> bytes:
    """A hash that has the first part of the item's, or its front half, and else the opposite of its bits."""
    bits = np.unpackbits(np.frombuffer(item.hash, np.uint8))
    parts = design.parts(setup, item)
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
    """`deployed` with a set-up in which the label of `one` does not open; None if there is no such label. The
    roles keep their state: the set was altered before anybody signed or logged it."""
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


CARRIED: Final = (
    "a match or none",
    "quality 0 or not",
    "a retry",
    "after a match or after none",
    "two that match",
    "two that do not match",
)
"""Classes that are played with accounts that have lived, too."""
OWN: Final = -1
"""The number of a picture that the opponent asked about itself."""


class GameSetup(Redacted, Struct, frozen=True):
    """What a game needs.

    Attributes:
        values: the parameters that differ from their defaults.
        outputs: by picture, what an honest session of it gives whoever learns the outcome.
        own: by picture, what a device of the opponent's own and the roles see when it asks about it.
        scenarios: classes of pairs that are played.
        name: what a game is called after its opponent; empty for that with new accounts.
    """

    pool: Pool
    table: Table
    known: Guesses
    values: dict[str, int]
    outputs: dict[str, object]
    own: dict[str, list[Event]]
    scenarios: tuple[Scenario, ...] = SCENARIOS
    name: str = ""


@once
def game_of(fixtures: Fixtures) -> GameSetup:
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


@once
def carried_game(fixtures: Fixtures) -> GameSetup | None:
    """The game with accounts that are carried into a third epoch, of the same list; None if the design has
    no account state."""
    life = carried_over(fixtures, True)
    if life is None:
        return None
    base = game_of(fixtures)
    values = lowered(fixtures)
    other = opened(fixtures.publish(fixtures.pool.entries, "other-key/carried", 3, values))
    table = Table(life.deployed, other, life)
    outputs = {one.name: output_of(fixtures, table.deployed, one) for one in fixtures.pool.pictures}
    known = guesses(table.deployed, fixtures.pool.pictures, fixtures.rng("guesses/carried"))
    own = {one.name: _asked_itself(fixtures, table, one) for one in fixtures.pool.pictures}
    scenarios = tuple(one for one in SCENARIOS if one.name in CARRIED)
    return GameSetup(fixtures.pool, table, known, base.values, outputs, own, scenarios, f", {life.name}")


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


FEWER: Final = ((16, 3), (32, 2))
"""In quick mode a class has all runs, of up to 16 classes; two thirds of them, of up to 32; or else half."""

Shared: TypeAlias = dict[Hashable, tuple[list[Run], list[Run]]]
CHEATS = (Behaviour.OTHER_KEY, Behaviour.ALTERED, Behaviour.SILENT)


class Class(Redacted, Struct, frozen=True):
    """A class of pairs that can be played: its name, its pairs, and what the roles do."""

    name: str
    pairs: Sequence[Pair]
    behaviour: Behaviour


def check_semi_honest(fixtures: Fixtures) -> Passed:
    """Honest roles, alone and in coalitions, look at everything they get, also of accounts in a third epoch
    ([games](#games))."""
    return _check(fixtures, Adversary.SEMI_HONEST, (Behaviour.HONEST,))


def check_malicious(fixtures: Fixtures) -> Passed:
    """Roles cheat in their replies, and see whether a report, a hold or a retry follows."""
    return _check(fixtures, Adversary.MALICIOUS, CHEATS)


def _check(fixtures: Fixtures, adversary: Adversary, behaviours: Sequence[Behaviour]) -> Passed:
    games = [one for one in (game_of(fixtures), carried_game(fixtures)) if one is not None]
    found = opponents(fixtures.design, adversary)
    if not found:
        raise NotApplicableError("nobody gets anything: nothing is sent for a picture")
    figures: dict[str, Any] = {"parameters": games[0].values}
    words: list[str] = []
    for game in games:
        shared: Shared = {}
        for opponent in found:
            name = opponent.name + game.name
            classes = classes_of(game, opponent, behaviours)
            if not classes:
                words.append(f"{name}: no pair agrees on the declared facts, everything is declared")
                continue
            findings = _play(fixtures, game, opponent, classes, shared)
            pairs = len({pair.names for one in classes for pair in one.pairs})
            words.append(summary(name, findings, figures, pairs))
    return Passed("; ".join(words), figures)


def classes_of(game: GameSetup, opponent: Opponent, behaviours: Sequence[Behaviour]) -> list[Class]:
    """Every class with at least one pair that agrees on the facts declared to `opponent`."""
    found: list[Class] = []
    for scenario in game.scenarios:
        if scenario.links and Behaviour.HONEST not in behaviours:
            continue  # a device stops asking a role that cheated, and the role knows the account it cheated
        pairs = playable(scenario, game.pool, game.table.deployed, opponent, game.outputs)
        for behaviour in behaviours if pairs else ():
            name = scenario.name if behaviour is Behaviour.HONEST else f"{scenario.name}, role {behaviour}"
            found.append(Class(name, pairs, behaviour))
    return found


def _play(
    fixtures: Fixtures, game: GameSetup, opponent: Opponent, classes: Sequence[Class], shared: Shared
) -> list[Finding]:
    """Runs are shared by opponents for whom the same pairs agree; each looks at its own part of them."""
    findings = []
    for one in classes:
        key = (one.name, tuple(pair.names for pair in one.pairs), run_counts(fixtures, len(classes)))
        if key not in shared:
            shared[key] = play_class(fixtures, game, one, len(classes))
        mine, theirs = (
            [Run(seen_by(opponent, game, run), run.pair, run.coin) for run in runs] for runs in shared[key]
        )
        finding = judge(one.name, mine, theirs, game.known, len(classes))
        seen = partial(_evidence, fixtures, game, opponent, one)
        findings.append(finding.not_told(f"{opponent.name}{game.name}: {one.name}", "told apart by {}", seen))
    return findings


def _evidence(fixtures: Fixtures, game: GameSetup, opponent: Opponent, one: Class) -> dict[str, str]:
    """Who tells a class of pairs apart, its first pair, and the field in which the first pictures of the two
    sides that are not the same one differ, if there is one."""
    pair = one.pairs[0]
    sides = [", ".join(names) for names in pair.names]
    seen = {"party": " with ".join(sorted(opponent.parties)), "items": " and ".join(sides)}
    moves = zip(pair.left, pair.right, strict=False)
    apart = next(((a.one, b.one) for a, b in moves if a.one is not b.one), None)
    if apart is None:
        return seen
    return evidence_of(fixtures, game.table.deployed, opponent.parties, *apart) | seen


def play_class(fixtures: Fixtures, game: GameSetup, one: Class, classes: int) -> tuple[list[Run], list[Run]]:
    """Training and held-out runs of one class."""

    def run(rng: Randomness) -> Run:
        pair = one.pairs[below(rng, len(one.pairs))]
        coin = flag(rng)
        events = Play(game.table, one.behaviour, rng).run(pair.right if coin else pair.left)
        return Run(events, pair, coin)

    return played(fixtures, f"game{game.name}/{one.name}", run_counts(fixtures, classes), run)


def played(
    fixtures: Fixtures,
    purpose: str,
    counts: tuple[int, int],
    run: Callable[[Randomness], Run],
    at_once: bool = True,
) -> tuple[list[Run], list[Run]]:
    """As many training and held-out runs, on threads if `at_once`; each has randomness of its own."""
    runs = numbered(fixtures, purpose, range(sum(counts)), run, at_once)
    return runs[: counts[0]], runs[counts[0] :]


def numbered(
    fixtures: Fixtures,
    purpose: str,
    numbers: range,
    run: Callable[[Randomness], Run],
    at_once: bool = True,
) -> list[Run]:
    """Return the runs of these numbers, of which each has randomness of its own."""
    rngs = (fixtures.rng(f"{purpose}/{number}") for number in numbers)
    return list((fixtures.executor.map if at_once else map)(run, rngs))


def run_counts(fixtures: Fixtures, classes: int, most: float = 3) -> tuple[int, int]:
    """(training, held-out) runs of each of so many classes: `most` thirds of a quick run's at most; with the
    large games, all classes together have 10,000."""
    training, held = fixtures.runs
    if fixtures.held_out:
        return max(training, fixtures.held_out // 3 // classes), -(-fixtures.held_out // classes)
    parts = min(most, next((parts for limit, parts in FEWER if classes <= limit), 1.5))
    return int(training * parts) // 3, int(held * parts) // 3


def seen_by(opponent: Opponent, game: GameSetup, run: Run) -> list[Event]:
    """What an opponent sees of a run; one with a device has asked about the pair's pictures itself."""
    events = [event for event in run.view if event.party in opponent.parties]
    if opponent.has_device:
        names = dict.fromkeys(move.one.name for move in (*run.pair.left, *run.pair.right))
        own = (event for name in names for event in game.own[name])
        events += [event for event in own if event.party in opponent.parties]
    return events


def summary(opponent: str, findings: Sequence[Finding], figures: dict[str, Any], pairs: int) -> str:
    """What came out for one opponent over so many different pairs; its figures are added to `figures`."""
    overall = together(opponent, findings)
    worst = max(findings, key=lambda finding: finding.measured.high)
    found = bound(findings)
    figures[opponent] = {
        **found,
        "held_out_runs": overall.runs,
        "classes": len(findings),
        "pairs": pairs,
        "worst_class": worst.scenario,
        **{f"together_{name}": value for name, value in overall.figures().items()},
    }
    return (
        f"{opponent}: {bounded(found)} in any of {len(findings)} classes of {pairs} pairs, "
        f"{overall.high:.3f} over all of them together ({overall.words()}); {would_have_caught(found)}"
    )


def bounded(found: Mapping[str, Any]) -> str:
    """What no distinguisher exceeded."""
    return (
        f"none that training chose exceeded {found['interval'][1]:.3f} ({found['resolution']:.3f} by "
        f"guessing, {found['class_runs']} runs)"
    )


def would_have_caught(found: Mapping[str, Any]) -> str:
    """Return the power of a pass in words: the least advantages that fail with 95 %, by the exact binomial
    test (`power`)."""
    one = found["caught"]
    every = found["caught_together"]
    if one is None and every is None:
        return f"{found['most_runs']} runs a class are too few to catch any advantage with 95 %"
    places = [(one, "in one class"), (every, "in every class")]
    said = " or ".join(f"{caught:.3f} {where}" for caught, where in places if caught is not None)
    return f"would have caught an advantage of {said} with 95 %, once training finds it"


KINDS = ("listed", "near-30", "far-32", "lone", "other", "poor")


def check_simulator(fixtures: Fixtures) -> Passed:
    """`simulate` gets facts, output and randomness; its views have the messages and lengths of real ones, and
    are not told apart."""
    fixtures.asks()
    game = game_of(fixtures)
    one = fixtures.pool.of("other")[0]
    simulated = [
        role
        for role in fixtures.design.info.roles
        if simulated_view(game.table.deployed, role, one, None, fixtures.rng("simulator")) is not None
    ]
    if not simulated:
        raise NotApplicableError("the design has no simulator")
    figures: dict[str, Any] = {}
    words = [_role(fixtures, game, role, len(simulated) * len(KINDS), figures) for role in simulated]
    return Passed("; ".join(words), figures)


def simulated_view(
    deployed: Deployed, role: Role, one: Pooled, output: Outcome | None, rng: Randomness
) -> tuple[Message, ...] | None:
    """What the simulator makes of the facts declared to the role's party."""
    design = deployed.design
    facts = told(design, frozenset({design.info.roles[role]}), Adversary.SEMI_HONEST)
    projected = {fact.name: fact.project(one.item, deployed.setup) for fact in facts}
    return design.simulate(role, projected, output, rng)


def _role(fixtures: Fixtures, game: GameSetup, role: Role, classes: int, figures: dict[str, Any]) -> str:
    findings: list[Finding] = []
    for kind in KINDS:
        run = partial(_view, game, role, kind)
        made = played(fixtures, f"simulator/{role}/{kind}", run_counts(fixtures, classes), run)
        finding = judge(kind, *made, game.known, classes)
        says = "real and simulated views told apart by {}"
        findings.append(finding.not_told(f"simulate, role {role}, {kind}", says))
    together(f"simulate, role {role}", findings)
    found = figures[str(role)] = bound(findings)
    return f"role {role}: {bounded(found)} of any kind of picture; {would_have_caught(found)}"


def _view(game: GameSetup, role: Role, kind: str, rng: Randomness) -> Run:
    """A view of one picture, real if the coin is True; the adversary guesses that picture and another."""
    chosen = game.pool.of(kind)
    others = game.pool.of("other", "far-33")
    one = chosen[below(rng, len(chosen))]
    different = [other for other in others if other is not one]
    pair = Pair((Move(different[below(rng, len(different))]),), (Move(one),))
    coin = flag(rng)
    deployed = game.table.deployed
    if coin:
        bodies = [asked.body for asked in run_session(deployed, one.item, rng).asked if asked.role == role]
    else:
        learns = Learner.SERVER in deployed.design.info.learns
        output = run_session(deployed, one.item, rng).outcome if learns else None
        made = simulated_view(deployed, role, one, output, rng)
        if made is None:
            rule = "has a simulator for some pictures only"
            raise BrokenError(f"simulate, role {role}", rule, item=one.name)
        bodies = list(made)
    return Run(_answered(deployed, role, bodies, rng), pair, coin)


def _answered(deployed: Deployed, role: Role, bodies: list[Message], rng: Randomness) -> list[Event]:
    """The view with the role's own replies, which its keys and state make of the bodies."""
    party = deployed.design.info.roles[role]
    events = list[Event]()
    for body in bodies:
        events.append(event_of(party, "request", 0, body))
        try:
            events.append(event_of(party, "reply", 0, deployed.answer(role, body, rng)[0]))
        except ProtocolError:
            events.append(Event(party, "refused", 0))
    return events
