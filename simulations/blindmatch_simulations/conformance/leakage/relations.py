"""No parity of the bits that are sent tells pictures apart: no leak under other fields, padding, spare bits.

Over fresh randomness, what is sent for a picture fills an affine space over GF(2). Sums of its bits that
never change are readable by whoever receives it. If one of them changes with the picture, while everything
declared stays, it tells the pictures apart: a digest in the padding, a picture's bytes XORed with any other
fields in any order, a spare bit of an encoding, a bit that was drawn until it said something.

The space is spanned from samples until `SETTLED` in a row add nothing, so that an honest body is taken for
another with a probability of 2^-64. What is not linear over GF(2) is left to the dictionaries of the games.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from blindmatch_protocol.contract import Adversary, Item, Party
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.audit.counterpart import Counterpart, DecoyFinder
from blindmatch_simulations.conformance.fixtures import Fixtures, Setting, settings
from blindmatch_simulations.conformance.leakage.facts import Opponent, opponents
from blindmatch_simulations.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.inprocess.steps import sent
from blindmatch_simulations.inprocess.verdict import BrokenError, NotComparableError, Passed
from blindmatch_simulations.pictures.pool import Pooled

SETTLED: Final = 64
HEAD, TAIL = 160, 32
"""Bytes of what is sent in a session that are looked at: the first and the last ones."""
AGAIN: Final = 2
"""Samples of each picture that is compared."""
MOST_COMPARED: Final = 24
TOLD: Final = "a sum of bits of what is sent tells pictures apart that agree on all that is declared"


def check_relations(fixtures: Fixtures) -> Passed:
    """See the module; for every setting and for every coalition of parties with roles."""
    compared, samples = 0, 0
    for setting in settings(fixtures):
        for opponent in role_players(fixtures):
            found = groups(fixtures, setting, opponent)
            for group in found if _differ(found) else [*found, *_forged(fixtures, setting, opponent)]:
                samples += _alike(fixtures, setting, opponent, group)
                compared += len(group) - 1
    if not compared:
        raise NotComparableError("no two pictures agree on all that is declared (0 pairs)")
    words = f"no parity of bits tells apart {compared} pairs of pictures"
    words += f", from {samples} samples of one of them"
    return Passed(words, {"pairs": compared, "samples": samples})


def role_players(fixtures: Fixtures) -> list[Opponent]:
    """Those of parties with roles and nobody else: the others see no more of what is sent."""
    players = set(fixtures.design.info.parties)
    return [one for one in opponents(fixtures.design, Adversary.SEMI_HONEST) if one.parties <= players]


def groups(fixtures: Fixtures, setting: Setting, opponent: Opponent) -> list[list[Pooled]]:
    """Pictures of a setting that agree on what is declared to `opponent` and on its output, two or more."""
    found: dict[Hashable, list[Pooled]] = {}
    for one in _chosen(setting):
        output = opponent.learns_outcome and _output(fixtures, setting.deployed, one)
        key = (opponent.project(one.item, setting.deployed.setup), output)
        found.setdefault(key, []).append(one)
    return [group for group in found.values() if len(group) > 1]


def _differ(found: Sequence[Sequence[Pooled]]) -> bool:
    """Are there pictures with different hashes in one group?"""
    return any(len({one.item.hash for one in group}) > 1 for group in found)


def _forged(fixtures: Fixtures, setting: Setting, opponent: Opponent) -> list[list[Pooled]]:
    """Where facts depend on the hash: pictures of the setting, each with forged ones that agree on the facts
    and differ in all else (`audit.decoys`)."""
    first = _chosen(setting)[0]
    if len(opponent.parties) > 1:
        return []
    counterpart = Counterpart.of(setting.deployed, fixtures.rng("relations/forged"))
    finder = DecoyFinder(counterpart, [one.item for one in _chosen(setting)])
    (party,) = opponent.parties
    made: list[Any] = list(finder.decoys(first.item, party).items)
    return [[first, *(Pooled(f"forged/{at}", "forged", item) for at, item in enumerate(made))]]


def _chosen(setting: Setting) -> list[Pooled]:
    """All pictures of a small pool; of a crowd some of each kind, and those of another size."""
    if len(setting.pictures) <= MOST_COMPARED:
        return list(setting.pictures)
    kinds = {one.name.partition("/")[0] for one in setting.pictures}
    return [
        one
        for kind in sorted(kinds)
        for one in [each for each in setting.pictures if each.name.startswith(f"{kind}/")][:4]
    ]


def _output(fixtures: Fixtures, deployed: Deployed, one: Pooled) -> Hashable:
    ran = run_session(deployed, one.item, fixtures.rng(f"relations/output/{one.name}"))
    return type(ran.outcome).__name__, tuple(told.label is not None for told in ran.verdicts)


def _alike(fixtures: Fixtures, setting: Setting, opponent: Opponent, group: list[Pooled]) -> int:
    """Nothing that is constant for the first picture of a group is another for the rest; samples taken."""
    first, *rest = group
    sample = sampling(fixtures, setting.deployed, opponent.parties)
    hull = Hull()
    lengths, settled, count = set[int](), 0, 0
    while settled < SETTLED:
        body = sample(first.item, fixtures.rng(f"relations/{setting.name}/{opponent.name}/{count}"))
        lengths.add(len(body))
        settled = 0 if hull.add(number(body)) else settled + 1
        count += 1
    for one in rest:
        for again in range(AGAIN):
            body = sample(one.item, fixtures.rng(f"relations/{one.name}/{again}"))
            if len(body) not in lengths:
                raise _told(setting, opponent, "the length of what is sent tells pictures apart", first, one)
            if not hull.holds(number(body)):
                raise _told(setting, opponent, TOLD, first, one)
    return count


def _told(setting: Setting, opponent: Opponent, rule: str, first: Pooled, other: Pooled) -> BrokenError:
    return BrokenError(f"{opponent.name}, {setting.name}", rule, items=f"{first.name} and {other.name}")


def sampling(
    fixtures: Fixtures, deployed: Deployed, parties: frozenset[Party]
) -> Callable[[Item, Randomness], bytes]:
    """Gives what parties get for a picture of a new account, all rounds, one body after the other."""
    roles = sorted({role for party in parties for role in fixtures.design.info.seen_by(party)})
    one = fixtures.pool.of("other")[0]
    if len(run_session(deployed, one.item, fixtures.rng("relations/rounds")).rounds) < 2:
        return lambda item, rng: b"".join(
            body.encode() for role, body in sorted(sent(deployed, item, rng).items()) if role in roles
        )
    return lambda item, rng: b"".join(
        raw for role, raw in run_session(deployed, item, rng).bodies() if role in roles
    )


def number(body: bytes) -> int:
    """The looked-at bytes of a body as a vector of bits."""
    return int.from_bytes(body if len(body) <= HEAD + TAIL else body[:HEAD] + body[-TAIL:], "big")


class Hull:
    """The affine space over GF(2) that vectors of bits span."""

    def __init__(self) -> None:
        self._origin: int | None = None
        self._basis: dict[int, int] = {}

    def add(self, vector: int) -> bool:
        """Take a vector in; did the space grow?"""
        if self._origin is None:
            self._origin = vector
            return True
        rest = self._rest(vector)
        if rest:
            self._basis[rest.bit_length()] = rest
        return bool(rest)

    def holds(self, vector: int) -> bool:
        """Is a vector in the space?"""
        return not self._rest(vector)

    def _rest(self, vector: int) -> int:
        """What is left of a vector by the basis, in which every vector has a highest bit of its own."""
        rest = vector ^ (self._origin or 0)
        while rest and (held := self._basis.get(rest.bit_length())) is not None:
            rest ^= held
        return rest
