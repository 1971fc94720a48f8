"""What is drawn is long enough, and is drawn anew: keys, blinds and nonces hang on 128 bits of the tape at
least, and look it.

In: the design's steps that draw, each on tapes of this run's randomness. Out: how many bytes of a tape count,
that is, change what is sent or published when they are altered. A field that tells pictures apart on one tape
has to be hidden by what is drawn, so 16 bytes of the tape, or as many as a shorter field has, must count in
that very field: what is drawn for another field or round hides nothing there. What the account drew when it
was enrolled may hide it instead, as the key of a ratchet does, if the field never comes twice: neither in
`ACCOUNTS` accounts on one tape, nor in `SUCCESSIVE` pictures of one account on one tape. In all fields
together 16 bytes must count, too, unless no field tells pictures apart, so that nothing is hidden. At first
one byte of the tape in each stride is altered. Before a failure, those that lie between are altered as well:
of 16 bytes in a row a stride of 2 meets 8.

Parts of fields that come again are looked for in `leakage.pads`.

No blind of b bits comes twice in n = `SESSIONS` sessions with a probability of exp(-n^2 / 2^(b+1)).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from operator import and_, or_
from typing import Any, Final, TypeAlias

import numpy as np
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness, Recording, replayed
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import UNBOUND, Role
from blindmatch_protocol.contract.steps import Done, Send, Voucher
from blindmatch_protocol.group import SCALAR_BYTES
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published, lowered
from blindmatch_simulations.evaluation.conformance.leakage.pads import check_pads
from blindmatch_simulations.evaluation.conformance.leakage.relations import groups, role_players
from blindmatch_simulations.testbed.inprocess.deployed import (
    VOUCHER,
    Build,
    Deployed,
    Ran,
    drawn_binding,
    enrolled,
    publish,
    run_session,
    seen_by,
)
from blindmatch_simulations.testbed.inprocess.leaves import fields_of
from blindmatch_simulations.testbed.inprocess.steps import limits
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.testbed.pictures.pool import Pooled

SESSIONS: Final = 1_024
SETS: Final = 48
ALIKE: Final = 16
"""Pictures of those that agree on the facts which are compared on one tape: a field that holds one bit of a
picture is the same for all of them with 2^-15. `FEW_ALIKE` if a session takes long."""
FEW_ALIKE: Final = 2
ACCOUNTS: Final = 1_024
SUCCESSIVE: Final = 32
TRIED: Final = 96
"""Bytes of a tape that are altered at first, one after the other."""
MOST_TRIED: Final = 1_024
"""Bytes of a tape that are altered before too few are said to count: those beside what counts come first."""
LEAST_BYTES: Final = 16
LEAST_DRAWN: Final = 4
"""Bytes that a field of varying length must have before the zeros at its end, or it may come twice."""
LEAST_BITS: Final = 120
FEW: Final = 3
"""Entries of the sets that are published to look at their keys."""
DEEP: Final = 4
PUBLISH: Final = "publish"
SESSION: Final = "session"
FIRST: Final = "round 1"
ALL: Final = "all fields"
Rounds: TypeAlias = dict[str, list[tuple[str, bytes]]]
"""The byte fields that are seen, with their paths, by round."""


class Drawing(Redacted, Struct, frozen=True):
    """Something that draws.

    Attributes:
        step: of the design.
        run: what comes of it from a source of randomness.
        seen: the fields of what comes of it that others see, by round.
        kept: what it keeps.
        times: how often it is run to look for values that repeat.
        hidden: the fields that tell pictures apart on one tape, and how many bytes must count in each; None
            if that is not known.
        of_account: what is seen on one tape of an account that is enrolled from a source of randomness.
        in_succession: what is seen of one picture after another of such an account, each on one tape.
        counts: whether the bytes of its tape that count are counted.
    """

    step: str
    run: Callable[[Any], Any]
    seen: Callable[[Any], Rounds]
    kept: Callable[[Any], Any]
    times: int
    hidden: Mapping[str, int] | None = None
    of_account: Callable[[Randomness], Rounds] | None = None
    in_succession: Callable[[], list[Rounds]] | None = None
    counts: bool = True


def check_draws(fixtures: Fixtures) -> Passed:
    """16 drawn bytes at least count (96 places are altered), also in each field that a picture changes; of
    1,024 sessions, 48 sets and 48 replies no varying field repeats; 32-byte values vary in 120 bits. No part
    of a field that hides a picture comes again in 1,024 sessions, accounts, or pictures of an account."""
    found = {one.step: _looked_at(fixtures, one) for one in _drawings(fixtures)}
    drawn = {step: influence for step, influence in found.items() if influence is not None}
    check_pads(fixtures)
    if not drawn:
        raise NotApplicableError("nothing that is drawn shows in what is sent or published")
    words = ", ".join(f"{step} {influence}" for step, influence in drawn.items())
    words = f"bytes of the tape that count: {words}; nothing drawn came twice{limits(fixtures.design)}"
    return Passed(words, {"influence": drawn})


def _drawings(fixtures: Fixtures) -> Iterator[Drawing]:
    deployed = as_published(fixtures).deployed
    one = fixtures.pool.of("other")[0]
    design = fixtures.design
    state = enrolled(deployed, fixtures.rng("draws/account"))
    whole = partial(_session, fixtures, deployed, state)
    ran = whole(one)(fixtures.rng("draws/rounds"))
    # what leaves after `start`: bodies of later rounds, or a voucher that replies have a part in
    is_later = len(ran.rounds) > 1 or (bool(ran.rounds) and isinstance(ran.outcome, Voucher))

    def start(rng: Any) -> Any:
        return design.start(state, deployed.setup, one.item, UNBOUND, rng).step

    def seen_of(step: Any) -> Rounds:
        return {FIRST if isinstance(step, Send) else VOUCHER: _bodies(step)}

    def started_by(rng: Randomness) -> Rounds:
        account = enrolled(deployed, rng)
        tape = fixtures.rng("draws/start/0")
        return seen_of(design.start(account, deployed.setup, one.item, UNBOUND, tape).step)

    def run_by(rng: Randomness) -> Rounds:
        account = enrolled(deployed, rng)
        return _by_round(_session(fixtures, deployed, account, one)(fixtures.rng(f"draws/{SESSION}/0")))

    def lived() -> list[Rounds]:
        account = enrolled(deployed, fixtures.rng("draws/account"))
        seen = list[Rounds]()
        for _ in range(SUCCESSIVE):
            ran = _session(fixtures, deployed, account, one)(fixtures.rng("draws/successive"))
            account = ran.state
            seen.append(_by_round(ran))
        return seen

    hidden = _hidden(fixtures, whole)
    yield Drawing(
        "start",
        start,
        seen_of,
        lambda step: getattr(step, "session", None),
        SESSIONS,
        hidden,
        started_by,
        lived,
        counts=not is_later,
    )
    if is_later:
        yield Drawing(SESSION, whole(one), _by_round, lambda _: None, SETS, hidden, run_by, lived)
    entries = fixtures.pool.entries[:FEW]

    def made(rng: Any) -> Build:
        return publish(design, entries, rng, 1, lowered(fixtures))

    yield Drawing(PUBLISH, made, lambda build: {PUBLISH: sorted(build.files.items())}, _states, SETS)
    step = start(fixtures.rng("draws/asked"))
    for role, body in step.bodies.items() if isinstance(step, Send) else ():
        yield Drawing(
            f"answer of {role}",
            lambda rng, role=role, body=body: deployed.answer(role, body, rng)[0],  # type: ignore[misc]
            lambda reply: {"reply": list(_leaves_of(reply))},
            lambda reply: None,
            SETS,
        )


def _session(fixtures: Fixtures, deployed: Deployed, state: Any, one: Pooled) -> Callable[[Randomness], Ran]:
    """Runs a picture's sessions, in which the tape of the device alone decides: roles draw the same again."""

    def run(rng: Randomness) -> Ran:
        replies = fixtures.rng("draws/replies")
        binding = drawn_binding(fixtures.design, fixtures.rng("draws/message"))
        answering = partial(_answered, deployed, replies)
        return run_session(deployed, one.item, rng, state, answering, binding)

    return run


def _answered(deployed: Deployed, rng: Randomness, role: Role, body: Message) -> Any:
    return deployed.answer(role, body, rng)


def _by_round(ran: Ran, roles: Collection[Role] | None = None) -> Rounds:
    """What a session sends to some roles, or to all, by round; a voucher is a round of its own."""
    found: Rounds = {}
    for number, asked in enumerate(ran.rounds, 1):
        bodies = [one.body for one in asked if roles is None or one.role in roles]
        found[f"round {number}"] = [leaf for body in bodies for leaf in _leaves_of(body)]
    if isinstance(ran.outcome, Voucher) and (roles is None or VOUCHER in roles):
        found[VOUCHER] = list(_leaves_of(ran.outcome.body))
    return found


def _hidden(
    fixtures: Fixtures, whole: Callable[[Pooled], Callable[[Randomness], Ran]]
) -> dict[str, int] | None:
    """Fields that differ, on one tape, between two pictures that agree on all that is declared; and how many
    drawn bytes must count in each. None if no two pictures agree."""
    setting = as_published(fixtures)
    most = FEW_ALIKE if fixtures.whole else ALIKE
    seen = dict[str, Ran]()
    hidden = dict[str, int]()
    alike = list[list[Pooled]]()
    for opponent in role_players(fixtures):
        roles = {role for party in opponent.parties for role in seen_by(fixtures.design, party)}
        for group in groups(fixtures, setting, opponent):
            alike.append(group)
            for one in group[:most]:
                if one.name not in seen:
                    seen[one.name] = whole(one)(fixtures.rng("draws/hidden"))
            mine, *others = (_by_field(_by_round(seen[one.name], roles)) for one in group[:most])
            apart = {name for other in others for name in mine if mine[name] != other.get(name, mine[name])}
            hidden |= {name: min(LEAST_BYTES, max(map(len, mine[name]))) for name in apart}
    return None if fixtures.design.info.native_randomness or not alike else hidden


def _by_field(seen: Rounds) -> dict[str, list[bytes]]:
    """The values of each field of each round; rows and elements of one field come together."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for part, leaves in seen.items():
        for path, value in leaves:
            found[f"{part}, field {path}"].append(value)
    return found


def _looked_at(fixtures: Fixtures, one: Drawing) -> int | None:
    """Bytes of the tape that count; None if what is drawn does not show."""
    first, again = (one.seen(one.run(fixtures.rng(f"draws/{one.step}/{at}"))) for at in range(2))
    if first == again:
        return None
    made = [one.run(fixtures.rng(f"draws/{one.step}/{at}")) for at in range(one.times)]
    _never_twice(one, [one.seen(result) for result in made])
    _full_range(one, [one.kept(result) for result in made])
    if not one.counts:
        return None
    by_tape = one.step == PUBLISH or not fixtures.design.info.native_randomness
    return _influence(fixtures, one) if by_tape else 0


def _influence(fixtures: Fixtures, one: Drawing) -> int:
    """How many bytes of a tape change what is seen, of those that are tried at first."""
    recording = _taped(fixtures.rng(f"draws/{one.step}/0"), one)
    honest = recording.seen
    tape = recording.tape
    stride = max(1, -(-len(tape) // TRIED))
    found = {at: _changed(fixtures, one, recording, at) for at in range(0, len(tape), stride)}
    count = sum(map(bool, found.values()))
    # one in each stride is too few to call a part short: what lies between is altered as well
    wanted = _wanted(one, _by_field(honest))
    short = [part for part, least in wanted.items() if _counted(found, part) < least]
    for at in _between(found, len(tape), stride) if short and tape else ():
        found[at] = _changed(fixtures, one, recording, at)
        short = [part for part in short if _counted(found, part) < wanted[part]]
        if not short:
            break
    short = _not_hidden_by_account(fixtures, one, short, wanted)
    for part in short:
        where = "" if part == ALL else f" in {part}, which pictures change"
        words = f"of {len(tape)} bytes that are drawn {_counted(found, part)} count{where}"
        rule = f"{words}, so what they hide can be tried out"
        raise BrokenError(one.step, rule, tried=len(found))
    return count


def _wanted(one: Drawing, seen: Mapping[str, list[bytes]]) -> dict[str, int]:
    """How many bytes of the tape must count, by field and in all."""
    if one.hidden is None:
        return {ALL: LEAST_BYTES}
    hidden = {name: least for name, least in one.hidden.items() if name in seen}
    return {ALL: LEAST_BYTES} | hidden if hidden else {}


def _not_hidden_by_account(
    fixtures: Fixtures, one: Drawing, short: Sequence[str], wanted: Mapping[str, int]
) -> list[str]:
    """Of the parts that a session's tape hides too little, those that the account's enrolment does not hide
    either. Of all fields together nothing more is asked if its tape hides each that was short."""
    fields = [part for part in short if part != ALL]
    if one.of_account is None or not fields:
        return list(short)
    enrolment = Drawing(one.step, one.of_account, lambda seen: seen, lambda _: None, 1)
    recording = _taped(fixtures.rng("draws/account"), enrolment)
    stride = max(1, -(-len(recording.tape) // MOST_TRIED))
    found = {
        at: _changed(fixtures, enrolment, recording, at, refused=frozenset())
        for at in range(0, len(recording.tape), stride)
    }
    accounts = [one.of_account(fixtures.rng(f"draws/accounts/{at}")) for at in range(ACCOUNTS)]
    successive = [] if one.in_succession is None else one.in_succession()
    left = [
        part
        for part in fields
        if _counted(found, part) < wanted[part]
        or _comes_twice(accounts, part)
        or _comes_twice(successive, part)
    ]
    return [part for part in short if part in left or (part == ALL and left)]


def _comes_twice(runs: Sequence[Rounds], part: str) -> bool:
    """Has a field the same value in two of the runs that have it?"""
    values = [tuple(found[part]) for found in map(_by_field, runs) if part in found]
    return len(set(values)) < len(values)


class Taped(Redacted, Struct, frozen=True):
    """One run of something that draws: its tape, and what was seen."""

    tape: bytes
    seen: Rounds


def _taped(rng: Randomness, one: Drawing) -> Taped:
    recording = Recording(rng)
    seen = one.seen(one.run(recording.rng))
    return Taped(recording.tape(), seen)


def _changed(
    fixtures: Fixtures, one: Drawing, taped: Taped, at: int, refused: frozenset[str] | None = None
) -> frozenset[str]:
    """The fields that are seen otherwise once one byte of the tape is another one; `refused`, or all, if that
    ends in a refusal."""
    altered = bytearray(taped.tape)
    altered[at] ^= 0xFF
    more = fixtures.rng("draws/more").take(len(altered))
    try:
        seen = one.seen(one.run(replayed(bytes(altered) + more)))
    except BlindmatchError:
        # it draws otherwise then
        return frozenset({ALL, *_by_field(taped.seen)}) if refused is None else refused
    others = _by_field(seen)
    parts = {name for name, values in _by_field(taped.seen).items() if others.get(name) != values}
    return frozenset(parts | ({ALL} if parts else set()))


def _counted(found: Mapping[int, frozenset[str]], part: str) -> int:
    return sum(part in parts for parts in found.values())


def _between(found: Mapping[int, frozenset[str]], length: int, stride: int) -> list[int]:
    """Places that were not tried, those beside one that counts before others; `MOST_TRIED` at most."""
    left = [at for at in range(length) if at not in found]
    beside = [at for at in left if any(found.get(at // stride * stride + more) for more in (0, stride))]
    return [*beside, *(at for at in left if at not in set(beside))][: MOST_TRIED - len(found)]


def _never_twice(one: Drawing, runs: Sequence[Rounds]) -> None:
    """A field of `LEAST_BYTES` and more that is not always the same is never the same twice. Where its length
    varies, zeros at its end may fill it up: a value with few bytes before them says nothing."""
    values: dict[tuple[str, str, int], list[bytes]] = defaultdict(list)
    for run in runs:
        for part, leaves in run.items():
            for at, (path, value) in enumerate(leaves):
                if len(value) >= LEAST_BYTES:
                    values[part, path, at].append(value)
    for (part, path, _), found in values.items():
        if len({*map(len, found)}) > 1:
            found[:] = [value for value in found if len(value.rstrip(b"\0")) >= LEAST_DRAWN]
        if 1 < len(set(found)) < len(found) and not _arranged(found):
            where = "" if len(runs[0]) == 1 else f"{part}, "
            raise BrokenError(one.step, f"{where}field {path}: two of {len(found)} draws are the same")


def _arranged(found: list[bytes]) -> bool:
    """Is only the order of the same bytes drawn, or where they end?"""
    longest = max(found, key=len)
    return len({bytes(sorted(one)) for one in found}) == 1 or all(map(longest.startswith, found))


def _full_range(one: Drawing, kept: Iterable[Any]) -> None:
    """Values of 32 bytes that are kept and vary do so in nearly all of their bits."""
    values: dict[str, list[int]] = defaultdict(list)
    for held in kept:
        for path, value in leaves_of(held):
            if len(value) == SCALAR_BYTES:
                values[path].append(int.from_bytes(value, "big"))
    for path, found in values.items():
        varying = (reduce(or_, found) ^ reduce(and_, found)).bit_count()
        if len(found) >= SETS and 0 < varying < LEAST_BITS:
            raise BrokenError(
                one.step, f"{path.lstrip('.')}: of its 256 bits {varying} vary: it is drawn short"
            )


def leaves_of(held: Any, path: str = "", depth: int = DEEP) -> Iterator[tuple[str, bytes]]:
    """Every byte string and row of bytes in an object, in its attributes and in theirs, with its path."""
    if isinstance(held, bytes):
        yield path, held
    elif isinstance(held, np.ndarray):
        if held.dtype == np.uint8 and held.ndim == 2 and held.shape[1] >= LEAST_BYTES:
            yield from ((f"{path}[{row}]", held[row].tobytes()) for row in range(min(len(held), TRIED)))
    elif isinstance(held, tuple | list):
        for at, part in enumerate(held[:TRIED]):
            yield from leaves_of(part, f"{path}[{at}]", depth)
    elif depth and hasattr(type(held), "__module__"):
        slots = [name for kind in type(held).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in (*slots, *getattr(held, "__dict__", ())):
            if isinstance(name, str):
                yield from leaves_of(getattr(held, name, None), f"{path}.{name}", depth - 1)


def _bodies(step: Any) -> list[tuple[str, bytes]]:
    if isinstance(step, Done) and isinstance(step.outcome, Voucher):
        return list(_leaves_of(step.outcome.body))
    if not isinstance(step, Send):
        return []
    return [leaf for role in sorted(step.bodies) for leaf in _leaves_of(step.bodies[role])]


def _leaves_of(body: Message) -> Iterator[tuple[str, bytes]]:
    return ((path, value) for path, value in fields_of(body) if isinstance(value, bytes))


def _states(build: Build) -> Any:
    design = build.design
    return [design.open_role(role, build.role_files(role)) for role in sorted(build.published.roles)]
