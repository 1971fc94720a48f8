"""One game: a fair coin picks a sequence of the pair, a view is made, the coin is guessed.

    training runs   first half: each distinguisher learns what its values mean
                    second half: the best one is chosen
    held-out runs   the chosen one guesses; its advantage has a Clopper-Pearson interval

A class of pairs counts as told apart if its interval excludes guessing; the intervals are widened by the
number of classes (Bonferroni). So do all classes together; classes, and their sum, have half of the error
each. None of the distinguishers looks for structure in group elements.
"""

from __future__ import annotations

import hmac
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b, sha256, sha512
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party, Voucher
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.leakage.places import WIDTH
from blindmatch_simulations.evaluation.conformance.leakage.play import (
    MOST_MATRICES,
    Event,
    Moves,
    Pair,
    event_of,
)
from blindmatch_simulations.evaluation.conformance.leakage.power import POWER, Looks, at_once
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, Advantage, advantage
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.testbed.inprocess.steps import byte_fields
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from blindmatch_simulations.testbed.pictures.pool import Pooled

ERROR: Final = (1 - GAME_CONFIDENCE) / 2
"""Of all classes, and of their sum."""
CERTAIN: Final = 0.9995
"""Of the sum, before it fails: so many opponents' games are played that one in 200 is met by chance."""
RERUNS: Final = 2
PLACED: Final = 8
"""Sessions of a picture from which it is learnt what the places in its matrices say."""
TELLING: Final = 0.75
"""How far the means of two pictures lie apart in a place that tells them apart."""
PREFIX: Final = 8
"""Bytes that entries and their digests are looked for by."""
LEAST: Final = 4
"""Shorter fields meet by chance."""
MOST_SALTS: Final = 8
SALT_LENGTHS: Final = range(8, 65)
HALF: Final = 16
_MASKS: Final = ("request", "voucher", "enrolment")


Message: TypeAlias = tuple[str, str, int]
"""A message of a session: its kind of event, its name, and how many of that name came before."""
Places: TypeAlias = dict[Message, npt.NDArray[np.float64]]
"""By message, the mean answer to each question about places, over some sessions of a picture."""


class Guesses(Redacted, Struct, frozen=True):
    """For each picture's name: byte fields to look for, its hash, and what places in matrices say."""

    fields: dict[str, frozenset[bytes]]
    hashes: dict[str, bytes]
    places: dict[str, Places] = {}

    def hits(self, name: str, events: Sequence[Event]) -> int:
        """How many fields of `events` belong to the picture."""
        leaves = [leaf for event in events for leaf in event.leaves if len(leaf) >= LEAST]
        mine = self.fields[name]
        own = self.hashes[name]
        found = sum(leaf in mine for leaf in leaves)
        found += sum(event.data.count(own[:LEAST]) for event in events)
        asked = [leaf for event in events if event.kind in _MASKS for leaf in event.leaves]
        keys = [leaf for event in events if event.kind == "enrolment" for leaf in event.leaves]
        return found + _salted(own, leaves) + _masked(own, asked) + _padded(own, keys, asked)


def guesses(deployed: Deployed, pictures: Sequence[Pooled], rng: Randomness) -> Guesses:
    fields = {
        one.name: frozenset([*_fronts(one.item.hash), *_reruns(deployed, one, rng)]) for one in pictures
    }
    places = {one.name: _usual_places(deployed, one, rng) for one in pictures}
    return Guesses(fields, {one.name: one.item.hash for one in pictures}, places)


def _usual_places(deployed: Deployed, one: Pooled, rng: Randomness) -> Places:
    """Return what places in matrices say on average in `PLACED` sessions; nothing after the first session if
    that sends no matrix."""
    seen: dict[Message, list[bytes]] = {}
    for number in range(PLACED):
        try:
            ran = run_session(deployed, one.item, rng)
        except BlindmatchError:
            continue
        events = []
        for asked in ran.asked:
            events.append(event_of(Party.DEVICE, "request", 0, asked.body))
            events.append(event_of(Party.DEVICE, "reply", 0, asked.reply))
        if isinstance(ran.outcome, Voucher):
            events.append(event_of(Party.DEVICE, "voucher", 0, ran.outcome.body))
        found = placed_messages(events)
        if not found and number == 0:
            break
        for message, places in found.items():
            seen.setdefault(message, []).append(places)
    alike = {message: found for message, found in seen.items() if len({len(one) for one in found}) == 1}
    return {message: np.array([list(one) for one in found]).mean(axis=0) for message, found in alike.items()}


def placed_messages(events: Sequence[Event]) -> dict[Message, bytes]:
    """Return the places of the messages of one session that have matrices."""
    found: dict[Message, bytes] = {}
    met = Counter[tuple[str, str]]()
    for event in events:
        if event.places:
            kind = event.kind
            name = str(event.shape[0])
            found[kind, name, met[kind, name]] = event.places
            met[kind, name] += 1
    return found


def _reruns(deployed: Deployed, one: Pooled, rng: Randomness) -> Iterable[bytes]:
    for _ in range(RERUNS):
        try:
            ran = run_session(deployed, one.item, rng)
        except BlindmatchError:
            continue
        for asked in ran.asked:
            for message in (asked.body, asked.reply):
                yield from (leaf for leaf in byte_fields(message) if len(leaf) >= LEAST)


def digests(own: bytes) -> tuple[bytes, ...]:
    return own, sha256(own).digest(), sha512(own).digest(), blake2b(own).digest()


def prefixes(own: bytes) -> Iterator[bytes]:
    """The first bytes of a byte string and of its digests."""
    return (made[:PREFIX] for made in digests(own))


def _fronts(own: bytes) -> Iterable[bytes]:
    for whole in digests(own):
        yield from (whole[:length] for length in (4, 8, 16, 20, 32, 64) if length <= len(whole))


def _salted(own: bytes, leaves: Sequence[bytes]) -> int:
    salts = [leaf for leaf in leaves if len(leaf) in SALT_LENGTHS][:MOST_SALTS]
    present = {leaf[:16] for leaf in leaves if len(leaf) >= 16}
    if len(present) < 2:
        return 0
    return sum(made[:16] in present for salt in salts for made in with_salt(own, salt))


def with_salt(own: bytes, salt: bytes) -> tuple[bytes, ...]:
    """Digests of a hash under a salt or key."""
    return (
        sha256(salt + own).digest(),
        sha256(own + salt).digest(),
        hmac.digest(salt, own, "sha256"),
        blake2b(own, key=salt[:64]).digest(),
    )


def _padded(own: bytes, keys: Sequence[bytes], leaves: Sequence[bytes]) -> int:
    salts = [leaf for leaf in leaves if len(leaf) in SALT_LENGTHS][:MOST_SALTS]
    keys = [key for key in keys if len(key) in SALT_LENGTHS][:MOST_SALTS]
    pads = {pad for key in keys for salt in salts for pad in with_salt(salt, key)}
    wanted = {bytes(a ^ b for a, b in zip(own[:HALF], pad, strict=False)) for pad in pads}
    return sum(leaf[:HALF] in wanted for leaf in leaves)


def _masked(own: bytes, leaves: Sequence[bytes]) -> int:
    """The hash, or its front half, in shares among fields."""
    return sum(
        in_shares(own[:width], [leaf[:width] for leaf in leaves if len(leaf) >= width]) for width in (16, 32)
    )


def in_shares(value: bytes, fields: Iterable[bytes]) -> int:
    """How many sets of two or more of the first different `fields`, all of the value's length, have the value
    as exclusive or or as sum."""
    words = list(dict.fromkeys(int.from_bytes(one, "big") for one in fields))[:MOST_SALTS]
    target = int.from_bytes(value, "big")
    modulus = 1 << 8 * len(value)
    sets = [(0, 0, 0)]
    for word in words:
        sets += [(mixed ^ word, (added + word) % modulus, count + 1) for mixed, added, count in sets]
    return sum(count > 1 and target in (mixed, added) for mixed, added, count in sets)


View = Sequence[Event]
HEAD: Final = 64
TAIL: Final = 32
MOST_EVENTS: Final = 4
MOST_LEAVES: Final = 96


class Distinguisher(Struct, frozen=True):
    """A name, and the value it makes of a view of one of a pair's two sides: sequences here, or lists."""

    name: str
    value: Callable[[View, Any, Guesses], Hashable]


def counts(view: View, pair: Any, known: Guesses) -> Hashable:
    """How many events of each kind there are for each picture."""
    return tuple((event.kind, event.move) for event in view)


def lengths(view: View, pair: Any, known: Guesses) -> Hashable:
    return tuple((event.kind, len(event.data)) for event in view)


def numbers(view: View, pair: Any, known: Guesses) -> Hashable:
    """Every number, flag and count, and whether rows are in order."""
    return tuple(event.shape for event in view)


def equality(view: View, pair: Any, known: Guesses) -> Hashable:
    """Which fields repeat an earlier one."""
    first: dict[bytes, int] = {}
    leaves = [leaf for event in view for leaf in event.leaves if len(leaf) >= LEAST][:MOST_LEAVES]
    return tuple(first.setdefault(leaf, at) for at, leaf in enumerate(leaves))


def _dictionary(view: View, pair: Pair, known: Guesses) -> Hashable:
    """For each place of the sequence: does the left picture explain more fields, or the right one?"""

    def found(moves: Moves, at: int) -> int:
        if at >= len(moves):
            return 0
        return known.hits(moves[at].one.name, [event for event in view if event.move == at])

    places = range(max(len(pair.left), len(pair.right)))
    return tuple(int(np.sign(found(pair.left, at) - found(pair.right, at))) for at in places)


def _placed(view: View, pair: Pair, known: Guesses) -> Hashable:
    """For each place of the sequence: do the places in matrices agree with the left picture, or the right?"""

    def leaning(at: int) -> int:
        if at >= min(len(pair.left), len(pair.right)):
            return 0
        sides = [known.places.get(moves[at].one.name, {}) for moves in (pair.left, pair.right)]
        seen = placed_messages([event for event in view if event.move == at])
        return int(np.sign(sum(_leaning(message, places, sides) for message, places in seen.items())))

    return tuple(leaning(at) for at in range(max(len(pair.left), len(pair.right))))


def _leaning(message: Message, places: bytes, sides: Sequence[Places]) -> float:
    """Return by how much more places agree with the left side than with the right one, over those that tell
    the two apart; a message that comes once more than usual, as in a retry, is held against the first."""
    left, right = (side.get(message, side.get((*message[:2], 0))) for side in sides)
    if left is None or right is None or not len(left) == len(right) == len(places):
        return 0.0
    apart = np.where(np.abs(left - right) >= TELLING, left - right, 0.0)
    return float(apart @ (np.frombuffer(places, np.uint8) - (left + right) / 2))


def _verdicts(view: View, pair: Pair, known: Guesses) -> Hashable:
    return tuple((event.kind, event.move, bool(event.data)) for event in view if event.kind in _LEARNT)


_LEARNT: Final = ("verdict", "report", "voucher")

DISTINGUISHERS: Final = (
    Distinguisher("counts and order", counts),
    Distinguisher("lengths", lengths),
    Distinguisher("numbers and row order", numbers),
    Distinguisher("equality and linkage", equality),
    Distinguisher("dictionary with the roles' keys", _dictionary),
    Distinguisher("verdicts and reports", _verdicts),
    Distinguisher("a dictionary of places in matrices", _placed),
)
BITS: Final = "a single bit"
"""The one bit of the bodies that tells most, see `bits`."""
PLACE: Final = "a place in a matrix"
"""The one question about places that tells most, see `places_asked`."""


def bits(view: View) -> npt.NDArray[np.uint8]:
    """The first and last bytes of the first messages, as bits; shape (MOST_EVENTS * (HEAD + TAIL) * 8,)."""
    chosen: list[Any] = [event.data for event in view if event.data][:MOST_EVENTS]
    padded = [data[:HEAD].ljust(HEAD, b"\0") + data[-TAIL:].rjust(TAIL, b"\0") for data in chosen]
    raw = b"".join(padded).ljust(MOST_EVENTS * (HEAD + TAIL), b"\0")
    return np.unpackbits(np.frombuffer(raw, np.uint8))


def places_asked(view: View) -> npt.NDArray[np.uint8]:
    """The answers about places of the first messages that have matrices; uint8, shape (MOST_EVENTS *
    MOST_MATRICES * WIDTH,)."""
    room = MOST_MATRICES * WIDTH
    placed = [event.places[:room].ljust(room, b"\0") for event in view if event.places][:MOST_EVENTS]
    return np.frombuffer(b"".join(placed).ljust(MOST_EVENTS * room, b"\0"), np.uint8)


BEST_BITS: Final = 3
"""Single bits that the first half of the training runs proposes to the second."""


class Run(Redacted, Struct, frozen=True):
    """A view, the pair it is of (of sequences, or of lists), and the coin: True for the right one."""

    view: View
    pair: Any
    coin: bool


Rule: TypeAlias = Callable[[Run], bool]
"""Guesses the coin."""


class Rest(Struct, frozen=True):
    """The runs of a class's second look: how many they are, and what makes them."""

    runs: int
    make: Callable[[], Sequence[Run]]


class Finding(Struct, frozen=True):
    """What came out for one class of pairs.

    Attributes:
        measured: over all runs that were made.
        right: right guesses among the runs of the first look, which every class gets.
        looks: the test of the class.
    """

    scenario: str
    best: str
    measured: Advantage
    right: int
    looks: Looks

    def not_told(
        self, step: str, says: str, evidence: Callable[[], Mapping[str, object]] = dict[str, object]
    ) -> Finding:
        """The same; `BrokenError` at `step`, if the class was told apart, for `says`, by which advantage,
        and with what `evidence` gives."""
        if self.measured.told_apart:
            words = f"{says.format(self.best)}, advantage {self.measured.words()}"
            raise BrokenError(step, words, **evidence())
        return self


def judge(
    scenario: str,
    training: Sequence[Run],
    held: Sequence[Run],
    known: Guesses,
    classes: int,
    tried: Sequence[Distinguisher] = DISTINGUISHERS,
    rest: Rest | None = None,
) -> Finding:
    """Learn, choose and measure on one class of pairs.

    Args:
        held: the held-out runs, or those of the first look.
        classes: how many are tested at once.
        rest: the runs of the second look, which are made if the first one does not pass the class (`power`).
    """
    half = len(training) // 2
    learn = training[:half]
    choose = training[half:]
    rules = [*((one.name, _learnt(one, learn, known)) for one in tried), *_best(learn, BITS, bits)]
    if any(event.places for run in learn for event in run.view):
        rules += _best(learn, PLACE, places_asked)
    scores = [sum(rule(run) == run.coin for run in choose) for _, rule in rules]
    name, best = rules[int(np.argmax(scores))]
    confidence = 1 - ERROR / classes
    looks = at_once(len(held), confidence)
    if rest is not None:
        looks = Looks(len(held) + rest.runs, len(held), confidence)
    first = sum(best(run) == run.coin for run in held)
    right = first
    runs = len(held)
    if rest is not None and first >= looks.least_first:
        right += sum(best(run) == run.coin for run in rest.make())
        runs = looks.runs
    return Finding(scenario, name, advantage(right, runs, confidence), first, looks)


def together(step: str, findings: Sequence[Finding]) -> Advantage:
    """The advantage over all classes; `BrokenError` at `step`, if they are told apart together, though none
    may be alone. A second look depends on the first, so only first looks are added."""
    runs = sum(finding.looks.first for finding in findings)
    right = sum(finding.right for finding in findings)
    found = advantage(right, runs, 1 - ERROR)
    if advantage(right, runs, CERTAIN).told_apart:
        raise BrokenError(step, f"told apart over all {len(findings)} classes, advantage {found.words()}")
    return found


def bound(findings: Sequence[Finding]) -> dict[str, Any]:
    """The largest advantage of any class by the intervals that hold for all of them, not below what guessing
    alone would give; and the power: what would have been caught in one class, and spread over all alike."""
    worst = max((finding.measured for finding in findings), key=lambda one: max(one.high, one.resolution))
    looks = findings[0].looks
    first_looks = at_once(sum(finding.looks.first for finding in findings), CERTAIN)
    return {
        "advantage": round(worst.value, 4),
        "interval": [round(worst.low, 4), round(max(worst.high, worst.resolution), 4)],
        "resolution": round(worst.resolution, 4),
        "class_runs": worst.runs,
        "caught": _rounded(looks.caught),
        "power": POWER,
        "first_runs": looks.first,
        "most_runs": looks.runs,
        "fails_from": looks.least_right,
        "caught_together": _rounded(first_looks.caught),
    }


def _rounded(caught: float | None) -> float | None:
    return None if caught is None else round(caught, 4)


def _learnt(one: Distinguisher, runs: Sequence[Run], known: Guesses) -> Rule:
    """Guesses the side on which a value was seen more often; left if it was never seen."""
    seen: dict[Hashable, Counter[bool]] = defaultdict(Counter)
    for run in runs:
        seen[one.value(run.view, run.pair, known)][run.coin] += 1
    sides = {value: count[True] > count[False] for value, count in seen.items()}
    return lambda run: sides.get(one.value(run.view, run.pair, known), False)


def _best(
    runs: Sequence[Run], name: str, asked: Callable[[View], npt.NDArray[np.uint8]]
) -> list[tuple[str, Rule]]:
    """By the bits that tell most. Of thousands some do by chance, in few runs; others' turn comes later."""

    def by_bit(place: int, meaning: bool) -> tuple[str, Rule]:
        return name, lambda run: bool(asked(run.view)[place]) == meaning

    matrix = np.array([asked(run.view) for run in runs], np.float32)
    coins = np.array([run.coin for run in runs], np.bool_)
    if coins.all() or not coins.any():
        return [by_bit(0, True)]
    apart = matrix[coins].mean(axis=0) - matrix[~coins].mean(axis=0)
    places = np.argsort(-np.abs(apart), kind="stable")[:BEST_BITS].tolist()
    return [by_bit(place, bool(apart[place] > 0)) for place in places]
