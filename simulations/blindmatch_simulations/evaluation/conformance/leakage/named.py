"""Names the field that tells two pictures apart, once a check has found that they are told apart.

In: two pictures, and the parties that see what is sent for them. Out: a field with one value in every session
of the one picture, and another value in every session of the other; None if no single field says it, as where
a leak is shared among fields.

Each picture is sent `SAMPLES` times, with the same randomness for both. A bit that is drawn is constant over
the sessions of a picture with a probability of 2^-(SAMPLES - 1), so none of some thousand bits is by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial, reduce
from operator import and_, or_
from typing import Final, TypeAlias

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Binding, Party, Role, Voucher

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.bindings import BindingKind
from blindmatch_simulations.testbed.inprocess.deployed import (
    VOUCHER,
    Deployed,
    Ran,
    drawn_binding,
    run_session,
    seen_by,
)
from blindmatch_simulations.testbed.inprocess.leaves import placed_fields
from blindmatch_simulations.testbed.inprocess.telling import Difference, shown_value
from blindmatch_simulations.testbed.pictures.pool import Pooled

SAMPLES: Final = 32

DrawBinding: TypeAlias = Callable[[Randomness], Binding]
"""Gives the binding of a session."""


def evidence_of(
    fixtures: Fixtures,
    deployed: Deployed,
    parties: Collection[Party],
    one: Pooled,
    other: Pooled,
    kind: BindingKind | None = None,
) -> dict[str, str]:
    """Return the evidence that a failure gives of two pictures that parties tell apart: the parties, the
    pictures, and the field with both values, if one field says it.

    Args:
        kind: of the bindings in which they are told apart; any if None.
    """
    found = {"party": " with ".join(sorted(parties)), "items": f"{one.name} and {other.name}"}
    draw = partial(drawn_binding, fixtures.design) if kind is None else kind.draw
    told = _telling_field_of(fixtures, deployed, parties, (one, other), draw)
    return found | ({} if told is None else {"field": told.words(one.name, other.name)})


def _telling_field_of(
    fixtures: Fixtures,
    deployed: Deployed,
    parties: Collection[Party],
    pictures: tuple[Pooled, Pooled],
    draw: DrawBinding,
) -> Difference | None:
    """Return the field that is constant for either picture, and not the same for both."""
    roles = {role for party in parties for role in seen_by(fixtures.design, party)}
    try:
        mine, theirs = (_fields(fixtures, deployed, roles, each, draw) for each in pictures)
    except BlindmatchError:
        return None  # a picture whose sessions are refused is told apart by that
    for path in mine[0]:
        if all(path in fields for fields in (*mine, *theirs)):
            found = _constant(path, [each[path] for each in mine], [each[path] for each in theirs])
            if found is not None:
                return found
    return None


def _fields(
    fixtures: Fixtures, deployed: Deployed, roles: Collection[Role], one: Pooled, draw: DrawBinding
) -> list[dict[str, object]]:
    """The fields of all bodies of each of a picture's sessions; those after the first round say which."""
    found = []
    for number in range(SAMPLES):
        rng = fixtures.rng(f"named/{number}")
        ran = run_session(deployed, one.item, rng, binding=draw(rng))
        found.append(dict(_all_fields(ran, roles)))
    return found


def _all_fields(ran: Ran, roles: Collection[Role]) -> Iterator[tuple[str, object]]:
    for number, asked in enumerate(ran.rounds, 1):
        for part in (one for one in asked if one.role in roles):
            before = "" if number == 1 else f"round {number}, "
            yield from _prefixed(before, part.body)
    if VOUCHER in roles and isinstance(ran.outcome, Voucher):
        yield from _prefixed("voucher, ", ran.outcome.body)


def _prefixed(before: str, body: Message) -> Iterator[tuple[str, object]]:
    return ((before + path, value) for path, value in placed_fields(body))


def _constant(path: str, mine: Sequence[object], theirs: Sequence[object]) -> Difference | None:
    raws = [value for value in (*mine, *theirs) if isinstance(value, bytes)]
    if len(raws) < len(mine) + len(theirs):
        if len({*map(shown_value, mine)}) == len({*map(shown_value, theirs)}) == 1 and mine[0] != theirs[0]:
            return Difference(path, shown_value(mine[0]), shown_value(theirs[0]), 0)
        return None
    own = raws[: len(mine)]
    others = raws[len(mine) :]
    if len({*map(len, own)}) > 1 or len({*map(len, others)}) > 1:
        return None
    if len(own[0]) != len(others[0]):
        return Difference(path, f"{len(own[0])} bytes", f"{len(others[0])} bytes", 0)
    for at in range(len(own[0])):
        places = [[raw[at] for raw in each] for each in (own, others)]
        kept = [~(reduce(or_, each) ^ reduce(and_, each)) & 0xFF for each in places]
        bits = kept[0] & kept[1] & (places[0][0] ^ places[1][0])
        if bits and kept == [0xFF, 0xFF]:
            return Difference(f"{path}[{at}]", f"{places[0][0]:02x}", f"{places[1][0]:02x}", 0)
        if bits:
            bit = bits.bit_length() - 1
            values = [str(each[0] >> bit & 1) for each in places]
            return Difference(f"{path}[{at}], bit {bit}", values[0], values[1], 0)
    return None
