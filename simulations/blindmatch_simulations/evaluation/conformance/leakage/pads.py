"""What hides a picture comes once: no part of a field that pictures change is the same in two sessions.

A pad, a blind or a key of few values gives itself away by coming again. That does not show in the number of
bytes that are drawn, nor in whole fields, if something else is drawn beside it.

What goes in. Two pictures that agree on all that is declared to a coalition, and sessions of both on the same
tapes. They are run in three ways, those of an account only if it has a state:

    sessions                     of one account, on tapes of their own; if there is no state
    sessions, or accounts, with  all is drawn anew that is not sent (see `pinning`), the account too: a nonce
    what is sent held            excuses no short key
    an account's pictures        one after the other, with the state as it moves on: a ratchet passes

What comes out. A byte *hides* in a session if it differs between the pictures. Take a window of bytes that
hide, whatever lies between them, and the n sessions in which all of them do. Let c be the pairs of sessions
in which the windows of both pictures are the same. Let q_i be the share of pairs that agree in byte i, over
sessions of different accounts. Of bytes that are independent of each other c has a mean of at most

    m = n (n - 1) / 2 * q_1 * ... * q_w,

and, were c Poisson's, c or more pairs would come with a probability of about e^(c - m) (m / c)^c at most
(Chernoff's bound). Windows of 8, 4 and 2 bytes are suspects with less than 2^-40. Since pairs share sessions,
c varies more than a Poisson variable where the values of a byte are not equally likely. A suspect fails only
if c is also more than 8 standard deviations above its mean when each byte of the same sessions is dealt out
anew. So bits may come again that are sent as bytes. Of b bits that hide 8 bytes some show again up to about
b = 18 with n = 1,024. Of a field whose length varies both ends are looked at.

Known false alarm. Bytes of one value are not independent: a bit under its own drawn bit that is sent as an
integer of several bytes (1 and -1, or 0 and 2^32 - 1) fails, though nothing leaks. Send such a bit as a byte.

Why that is a leak. One pad hid both pictures in both sessions, so the sum of the windows of two sessions is
that of the pictures. Fixed filler in a drawn order comes again, but does not hide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, Setting
from blindmatch_simulations.evaluation.conformance.leakage.lives import Account, Life, has_state, lives
from blindmatch_simulations.evaluation.conformance.leakage.pinning import (
    Drawn,
    Fields,
    Pair,
    Pinned,
    Watcher,
    pairs_of,
)
from blindmatch_simulations.evaluation.conformance.leakage.play import Opponent
from blindmatch_simulations.evaluation.conformance.leakage.relations import groups, role_players
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from blindmatch_simulations.testbed.pictures.pool import Pooled

RUNS: Final = 1_024
"""Sessions of each way; `FEW` if one takes long."""
FEW: Final = 64
TAPES: Final = 8
"""On which the two pictures are compared."""
WIDTHS: Final = (8, 4, 2)
ENDS: Final = 256
"""Bytes at either end of a field that are looked at."""
MOST_FIELDS: Final = 128
UNLIKELY: Final = 40 * log(2)
DEALS: Final = 50
"""Times that the bytes of a suspect are dealt out anew."""
DEVIATIONS: Final = 8
LONG_ENROLMENT: Final = 1 << 16
"""Bytes of enrolments above which an account is not enrolled anew for each session."""

Bytes: TypeAlias = npt.NDArray[np.uint8]


class Way(Redacted, Struct, frozen=True):
    """Sessions that are run in one way: what decides each of them, what it is called, and what is seen of the
    first picture."""

    words: str
    drawn: Sequence[Drawn]
    seen: Sequence[Fields]


def check_pads(fixtures: Fixtures) -> None:
    """Raise `BrokenError` if a part of a field that hides pictures comes again; see the module."""
    if fixtures.design.info.native_randomness:
        return
    life = lives(fixtures)[0]
    players = role_players(fixtures)
    largest = max((len(one.parties) for one in players), default=0)
    for opponent in players:
        pair = _pair_of(fixtures, life, opponent)
        if pair is not None and len(opponent.parties) in (1, largest):
            _Looked(fixtures, life, opponent, pair).through()


def _pair_of(fixtures: Fixtures, life: Life, opponent: Opponent) -> Pair | None:
    """Two pictures with different hashes that agree on what is declared, none too poor to be asked about if
    there are others."""
    setting = Setting(life.name, life.deployed, fixtures.pool.pictures)
    found = list[Pair]()
    for group in groups(fixtures, setting, opponent):
        first, *others = sorted(group, key=_order)
        found += [Pair(first, one) for one in others if one.item.hash != first.item.hash][:1]
    found.sort(key=lambda pair: _order(pair.first))
    return next(iter(found or pairs_of(fixtures, life, opponent)), None)


def _order(one: Pooled) -> int:
    kind = one.name.partition("/")[0]
    return {"other": 0, "poor": 2}.get(kind, 1)


class Part(Struct, frozen=True):
    """The bytes of a field that are looked at: of both ends, if it is long or its length varies.

    Attributes:
        length: that it must have; None if it varies.
    """

    head: int
    tail: int
    length: int | None

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Part:
        """The part of values that most of them have, if their lengths vary."""
        lengths = sorted(len(value) for value in values if value)
        if not lengths:
            return cls(0, 0, 0)
        if lengths[0] == lengths[-1]:
            whole = lengths[0] <= 2 * ENDS
            return cls(lengths[0] if whole else ENDS, 0 if whole else ENDS, lengths[0])
        common = min(lengths[len(lengths) // 4], ENDS)
        return cls(common, common, None)

    @property
    def size(self) -> int:
        return self.head + self.tail

    def cut(self, value: bytes) -> bytes | None:
        """The part of a value; None if it has none."""
        if len(value) < max(self.head, self.tail) or self.length not in (None, len(value)):
            return None
        return value[: self.head] + value[len(value) - self.tail :]


class Hiding(Redacted, Struct, frozen=True):
    """The part of a field that is looked at, and which bytes of it hide: bool (part.size,)."""

    part: Part
    places: npt.NDArray[np.bool_]


class _Looked:
    """One coalition and one pair of pictures under examination."""

    def __init__(self, fixtures: Fixtures, life: Life, opponent: Opponent, pair: Pair) -> None:
        self._fixtures = fixtures
        self._life = life
        self._opponent = opponent
        self._pair = pair
        self._watcher = Watcher(fixtures, life, opponent.parties)
        self._purpose = f"pads/{fixtures.seed}/{opponent.name}"
        self._pinned = Pinned(self._watcher, self._purpose, seeded(self._purpose), self._items)
        self._watcher.stops_after_first = self._has_one_round()

    def through(self) -> None:
        """Look at sessions of each way."""
        hides = self._hiding()
        if not hides:
            return
        account = self._pinned.account
        numbers = range(FEW if self._fixtures.whole else RUNS)
        if not has_state(self._fixtures):
            plain = self._way("sessions", [self._pinned.fresh(number, account) for number in numbers])
            self._look(plain, plain, hides)
            if self._pinned.size:
                drawn = [self._pinned.drawn(0, number, account) for number in numbers]
                held = self._way("sessions with what is sent held", drawn)
                self._look(held, held, hides)
            return
        drawn = [self._pinned.drawn(0, number, self._account(number)) for number in numbers]
        accounts = self._way("accounts with what is sent held", drawn)
        self._look(accounts, accounts, hides)
        self._look(self._lived(len(numbers)), accounts, hides)

    def _way(self, words: str, drawn: Sequence[Drawn]) -> Way:
        return Way(words, drawn, [self._watcher.run(self._pair.first.item, one).fields for one in drawn])

    def _has_one_round(self) -> bool:
        first = self._pinned.fresh(0, self._pinned.account)
        names = self._watcher.run(self._pair.first.item, first).fields
        return all(name.startswith("round 1, ") for name in names)

    def _account(self, number: int) -> Account:
        """An account of its own; the first one where enrolling takes long."""
        design = self._fixtures.design
        first = self._pinned.account
        rng = self._fixtures.rng(f"pads/account/{number}")
        if not design.enrolments:
            return self._life.account(rng)
        if sum(len(body.encode()) for body in first.held.values()) > LONG_ENROLMENT:
            return first
        made = design.enrolment(design.enrol(rng), self._life.deployed.setup, rng)
        state = design.prepare(made.state, self._life.deployed.setup, rng)
        return Account(state, made.bodies)

    def _lived(self, count: int) -> Way:
        """One session after the other of an account that lives on."""
        deployed = self._life.deployed
        account = self._pinned.account
        drawn = list[Drawn]()
        seen = list[Fields]()
        for number in range(count):
            drawn.append(self._pinned.fresh(RUNS + number, account))
            watched = self._watcher.run(self._pair.first.item, drawn[-1])
            seen.append(watched.fields)
            rng = self._fixtures.rng(f"pads/lived/{number}")
            try:
                state = self._fixtures.design.prepare(watched.state, deployed.setup, rng)
            except BlindmatchError:
                break  # other checks find that an account cannot go on
            account = Account(state, account.held)
        return Way("pictures of one account", drawn, seen)

    def _hiding(self) -> dict[str, Hiding]:
        """Bytes of each field that differ between the pictures on one of some tapes."""
        runs = [
            [
                self._watcher.run(item, self._pinned.fresh(number, self._pinned.account)).fields
                for item in self._items
            ]
            for number in range(TAPES)
        ]
        found = dict[str, Hiding]()
        for name in list(dict.fromkeys(name for pair in runs for name in pair[0]))[:MOST_FIELDS]:
            part = Part.of([fields.get(name, b"") for pair in runs for fields in pair])
            rows, theirs = (_rows([pair[side] for pair in runs], name, part) for side in (0, 1))
            hides = (rows != theirs).any(axis=0)
            if hides.any():
                found[name] = Hiding(part, hides)
        return found

    @property
    def _items(self) -> tuple[Any, Any]:
        return self._pair.first.item, self._pair.second.item

    def _look(self, way: Way, known: Way, hiding: Mapping[str, Hiding]) -> None:
        """Raise `BrokenError` if a window comes again more often than bytes of a known way explain."""
        for name, hides in hiding.items():
            rows = _rows(way.seen, name, hides.part)
            others = rows if known is way else _rows(known.seen, name, hides.part)
            windows = list(_suspects(rows, others, hides.places))
            if not windows:
                continue
            theirs = self._second(way, name, hides.part)
            their_others = theirs if known is way else self._second(known, name, hides.part)
            for window in windows:
                mine = _both(rows[:, window], theirs[:, window])
                agree = _agree(_both(others[:, window], their_others[:, window])[:, : len(window)])
                count = _alike(_numbers(mine))
                mean = _pairs(len(mine)) * float(np.prod(agree))
                if _is_suspect(count, mean) and count > self._most_when_dealt(mine):
                    raise self._broken(way, f"{name}[{window[0]}:{window[-1] + 1}]")

    def _most_when_dealt(self, both: Bytes) -> float:
        """Pairs of equal windows that chance explains, if each byte of both pictures, uint8 (n, 2 * width),
        is dealt out anew over the sessions."""
        rng = np.random.default_rng(self._fixtures.seed)
        width = both.shape[1] // 2
        counts = []
        for _ in range(DEALS):
            dealt = both.copy()
            for at in range(width):
                order = rng.permutation(len(both))
                dealt[:, at] = both[order, at]
                dealt[:, width + at] = both[order, width + at]
            counts.append(_alike(_numbers(dealt)))
        return float(np.mean(counts) + DEVIATIONS * np.std(counts))

    def _second(self, way: Way, name: str, part: Part) -> Bytes:
        """A field in the same sessions of the second picture."""
        seen = [self._watcher.run(self._pair.second.item, one).fields for one in way.drawn]
        return _rows(seen, name, part)

    def _broken(self, way: Way, place: str) -> BrokenError:
        rule = f"field {place}, which hides the picture, comes again in {len(way.seen)} {way.words}"
        return BrokenError(
            "start" if self._watcher.stops_after_first else "session",
            f"{rule}, so that two of them tell how their pictures differ",
            party=" with ".join(sorted(self._opponent.parties)),
            items=f"{self._pair.first.name} and {self._pair.second.name}",
        )


def _rows(seen: Sequence[Fields], name: str, part: Part) -> Bytes:
    """The part of a field in each session, uint8 (sessions, part.size); zeros where it has none."""
    found = np.zeros((len(seen), part.size), np.uint8)
    for at, fields in enumerate(seen):
        row = part.cut(fields.get(name, b""))
        if row is not None:
            found[at] = np.frombuffer(row, np.uint8)
    return found


def _both(mine: Bytes, theirs: Bytes) -> Bytes:
    """The windows of both pictures, one after the other, in the sessions in which every byte hides."""
    both: Bytes = np.concatenate([mine, theirs], axis=1)
    hiding: Bytes = both[(mine != theirs).all(axis=1)]
    return hiding


def _suspects(rows: Bytes, known: Bytes, places: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.intp]]:
    """The places of windows of hiding bytes, in order and whatever lies between them, in which rows are alike
    more often than independent bytes would be."""
    agree = _agree(known)
    hiding = np.flatnonzero(places)
    for width in WIDTHS:
        for start in range(len(hiding) - width + 1):
            window = hiding[start : start + width]
            mean = _pairs(len(rows)) * float(np.prod(agree[window]))
            if _is_suspect(_alike(_numbers(rows[:, window])), mean):
                yield window


def _agree(rows: Bytes) -> npt.NDArray[np.float64]:
    """The share of pairs of rows that agree, for each byte; of few rows, all."""
    if len(rows) < 2:
        return np.ones(rows.shape[1])
    return np.array([_alike(column) for column in rows.T]) / _pairs(len(rows))


def _numbers(rows: Bytes) -> npt.NDArray[Any]:
    """Each row as one value, which is the same for equal rows."""
    return np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").reshape(-1)


def _pairs(count: int) -> float:
    return count * (count - 1) / 2


def _alike(values: npt.NDArray[Any]) -> int:
    """Pairs of equal values."""
    _, sizes = np.unique(values, return_counts=True)
    return int((sizes * (sizes - 1) // 2).sum())


def _is_suspect(count: int, mean: float) -> bool:
    """Are so many pairs less likely than 2^-40 (see the module)?"""
    if count <= mean:
        return False
    least = max(mean, 1e-30)
    return count - mean + count * log(least / count) < -UNLIKELY
