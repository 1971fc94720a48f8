"""Nothing counts: a call gives the same a thousand times, an account's thousandth picture is as its first."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, combinations
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, Recording, replayed
from blindmatch_protocol.contract import UNBOUND, NoState, Role, concluded
from blindmatch_protocol.contract.steps import Done, Send, Voucher

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published
from blindmatch_simulations.evaluation.conformance.leakage.relations import groups, role_players
from blindmatch_simulations.evaluation.conformance.leakage.spans import Span
from blindmatch_simulations.testbed.inprocess.deployed import (
    VOUCHER,
    Deployed,
    drawn_binding,
    enrolled,
    run_session,
)
from blindmatch_simulations.testbed.inprocess.steps import below, byte_fields, decided, limits, sent
from blindmatch_simulations.testbed.inprocess.telling import shown_value
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.testbed.pictures.pool import Pooled

TIMES: Final = 1_030
"""Calls and pictures: what comes once in `TIMES` of them or more often is seen."""
ANSWERED: Final = 64
LEARNT: Final = 96
"""First pictures from which it is learnt where bodies differ: a random byte is missed with 2^-768. Before a
picture is said to differ elsewhere it is learnt from more of them."""
STRETCHES: Final = (1, 8, 64, 400)
"""An account is looked at more closely after so many pictures, or up to twice as many."""
GROWING: Final = 16
"""Pictures between two looks at what is kept."""


def check_repetition(fixtures: Fixtures) -> Passed:
    """`start` and `receive` give the same 1,030 times with the same tape, `answer` 64 times; in 1,030
    pictures no history changes enrolments, or bytes in which first ones agree."""
    fixtures.sends()
    deployed = as_published(fixtures).deployed
    for kind in ("listed", "other"):
        _same_calls(fixtures, deployed, fixtures.pool.of(kind)[0], TIMES if kind == "listed" else ANSWERED)
    pictures = _long_account(fixtures)
    alike = f"; an account's {pictures} pictures are alike" if pictures else ""
    words = f"the same {TIMES} times over{alike}{limits(fixtures.design)}"
    return Passed(words, {"times": TIMES, "pictures": pictures})


WINDOW: Final = 16
"""Bytes in which two ciphertexts under other keys agree with a probability of 2^-128 at each place."""
COPIES: Final = 3


def check_replays(fixtures: Fixtures) -> Passed:
    """Where requests are carried, replies to one that comes six times, alone and in a batch, are alike or
    share no 16 bytes in their place: no key stream seals two of them."""
    forwarded = fixtures.design.info.forwarded
    if not forwarded:
        raise NotApplicableError("nobody carries what is asked")
    deployed = as_published(fixtures).deployed
    compared = 0
    for kind in ("listed", "other"):
        bodies = sent(deployed, fixtures.pool.of(kind)[0].item, fixtures.rng(f"replays/{kind}"))
        for role in (one for one in sorted(bodies) if one in forwarded):
            replies = list(_replayed(fixtures, deployed, role, bodies[role]))
            for one, other in combinations(replies, 2):
                _unlike(role, one, other)
                compared += 1
    return Passed(f"{compared} pairs of replies to one request share no key stream", {"pairs": compared})


def _replayed(fixtures: Fixtures, deployed: Deployed, role: Role, body: Message) -> Iterator[Message]:
    request = deployed.request(role, body)
    for at, batch in enumerate([*[[request]] * COPIES, [request] * COPIES]):
        rng = fixtures.rng(f"replays/{role}/{at}")
        found = fixtures.design.answer(role, deployed.states[role], batch, rng, None)
        yield from (reply for reply in found.replies if isinstance(reply, Message))


def _unlike(role: Role, one: Message, other: Message) -> None:
    for mine, theirs in zip(byte_fields(one), byte_fields(other), strict=False):
        alike = np.frombuffer(mine, np.uint8)[: len(theirs)] == np.frombuffer(theirs, np.uint8)[: len(mine)]
        runs = np.convolve(alike, np.ones(WINDOW, int)) if len(alike) else alike
        if mine != theirs and runs.max(initial=0) >= WINDOW:
            rule = "two replies to one request are sealed alike: their carrier has their difference"
            raise BrokenError(f"answer of {role}", rule)


def _same_calls(fixtures: Fixtures, deployed: Deployed, one: Pooled, times: int) -> None:
    design = fixtures.design
    state = enrolled(deployed, fixtures.rng("same/account"))
    start = _taped(fixtures, lambda rng: design.start(state, deployed.setup, one.item, UNBOUND, rng))
    first = start()
    step = first.step
    calls = chain([first], iter(start, None))

    def begun(found: Any) -> Any:
        return decided(design, (_sent(found.step), found.state))

    _all_equal("start", partial(next, calls), begun, times, one)
    if not isinstance(step, Send):
        return
    replies = {
        role: deployed.answer(role, body, fixtures.rng("same"))[0] for role, body in step.bodies.items()
    }
    receive = _taped(fixtures, lambda rng: design.receive(step.session, deployed.setup, replies, rng))

    def seen(found: Any) -> Any:
        return decided(design, _sent(found)) or concluded(design, found, deployed.setup)

    _all_equal("receive", receive, seen, times, one)
    for role, body in step.bodies.items():
        answer = _taped(fixtures, lambda rng, role=role, body=body: deployed.answer(role, body, rng))  # type: ignore[misc]
        _all_equal(f"answer of {role}", answer, lambda found: decided(design, found), ANSWERED, one)


def _all_equal(
    step: str, call: Callable[[], Any], seen: Callable[[Any], Any], times: int, one: Pooled
) -> None:
    first = seen(call())
    for at in range(1, times):
        if seen(call()) != first:
            rule = f"the same call gives something else the {at + 1}th time"
            raise BrokenError(step, rule, item=one.name)


def _taped(fixtures: Fixtures, call: Callable[[Any], Any]) -> Callable[[], Any]:
    recording = Recording(fixtures.rng("same/tape"))
    call(recording.rng)
    tape = recording.tape() + fixtures.rng("same/more").take(len(recording.tape()))
    return lambda: call(replayed(tape))


def _sent(step: Any) -> dict[Any, bytes]:
    if isinstance(step, Done) and isinstance(step.outcome, Voucher):
        return {VOUCHER: step.outcome.body.encode()}
    return {role: body.encode() for role, body in step.bodies.items()} if isinstance(step, Send) else {}


def _long_account(fixtures: Fixtures) -> int:
    """The pictures of one account that were compared with another's of another history, 0 if nothing can be
    compared: bytes in which they differ under one tape are those of fresh accounts' first pictures, and after
    some of them all bodies fill the same space."""
    deployed = as_published(fixtures).deployed
    pair = _pair(fixtures)
    state = enrolled(deployed, fixtures.rng("long"))
    if isinstance(state, NoState) or pair is None:
        return 0
    states = [state, state]
    drawn = fixtures.rng("long/looked at")
    # another account of the first one's history: bytes in which their states differ are the account's own
    stranger = enrolled(deployed, fixtures.rng("long/another account"))
    # what is sent is spanned after a few and many pictures; once if the design is dear
    looked = [least + below(drawn, least + 1) for least in (STRETCHES[:1] if fixtures.whole else STRETCHES)]
    learnt = _of_first_pictures(fixtures, deployed, pair, range(LEARNT))
    for at in range(TIMES):
        if at:
            states = [
                fixtures.design.prepare(one, deployed.setup, fixtures.rng(f"long/{at}/offline"))
                for one in states
            ]
            stranger = fixtures.design.prepare(stranger, deployed.setup, fixtures.rng(f"long/{at}/other"))
        if at in looked:
            _fill_the_same(fixtures, deployed, states, stranger, pair, at)
            _enrol_the_same(fixtures, deployed, states, at)
        states, differs = _differing(fixtures, deployed, states, pair, f"long/{at}")
        stranger, _ = _started(fixtures, deployed, stranger, pair[0], f"long/{at}/other")
        if _beyond(differs, learnt):
            learnt = _joined(learnt, _of_first_pictures(fixtures, deployed, pair, range(LEARNT, TIMES)))
        if _beyond(differs, learnt):
            rule = f"an account's {at + 1}th picture differs from another in bytes in which no first one does"
            raise BrokenError("start", rule, items=" and ".join(one.name for one in pair))
    return TIMES


def _fill_the_same(
    fixtures: Fixtures,
    deployed: Deployed,
    states: list[Message],
    stranger: Message,
    pair: list[Pooled],
    at: int,
) -> None:
    """What is sent after some pictures: of either picture, and after either history.

    The space is spanned over accounts. An account sends from one state once if it moves on, as a ratchet
    does, so what is sent from one held state says nothing of it.
    """

    def span(state: Message, one: Pooled) -> Span:
        def sample(n: int) -> tuple[bytes, bytes]:
            of_account = _drawn_again(state, states[0], stranger, fixtures.rng(f"long/{at}/{n}/account"))
            try:
                return _started(fixtures, deployed, of_account, one, f"long/{at}/{n}")[1], b""
            except BlindmatchError:  # such a state is none of the design's
                return _started(fixtures, deployed, state, one, f"long/{at}/{n}")[1], b""

        return Span(sample).settle()

    spans = [span(states[0], pair[0]), span(states[1], pair[0]), span(states[0], pair[1])]
    for says, other in zip(("earlier pictures", "pictures"), spans[1:], strict=True):
        if not spans[0].alike(other):
            raise BrokenError("start", f"after {at} pictures a sum of bits tells {says} apart")


def _drawn_again(state: Message, one: Message, other: Message, rng: Randomness) -> Message:
    """A state with the bytes drawn again in which those of two accounts of one history differ: what an
    account drew, and what follows from it, but neither a count nor what is kept of pictures."""
    raws = [np.frombuffer(held.encode(), np.uint8) for held in (state, one, other)]
    if len({len(raw) for raw in raws}) > 1:
        return state
    own = raws[1] != raws[2]
    fresh = np.frombuffer(rng.take(len(own)), np.uint8)
    try:
        return type(state).decode(np.where(own, fresh, raws[0]).tobytes())
    except ProtocolError:
        return state


def _enrol_the_same(fixtures: Fixtures, deployed: Deployed, states: list[Message], at: int) -> None:
    """With the same bodies under the next key, whatever the pictures were."""
    design = fixtures.design
    rng = fixtures.rng
    made = [design.enrolment(one, deployed.setup, rng(f"long/{at}/enrolment")).bodies for one in states]
    one, other = ({role: body.encode() for role, body in bodies.items()} for bodies in made)
    if decided(design, one) != decided(design, other):
        raise BrokenError("enrolment", f"after {at} pictures what an account enrols with tells them apart")


def _of_first_pictures(
    fixtures: Fixtures, deployed: Deployed, pair: list[Pooled], numbers: Iterable[int]
) -> Any:
    """Bytes in which fresh accounts' first pictures differ under one tape."""
    learnt = np.zeros(0, np.bool_)
    for at in numbers:
        states = [enrolled(deployed, fixtures.rng(f"first/{at}"))] * 2
        learnt = _joined(learnt, _differing(fixtures, deployed, states, pair, f"first/{at}/start")[1])
    return learnt


def _joined(one: Any, other: Any) -> Any:
    width = max(len(one), len(other))
    return np.pad(one, (0, width - len(one))) | np.pad(other, (0, width - len(other)))


def _beyond(differs: Any, learnt: Any) -> bool:
    return bool((_joined(differs, learnt) != _joined(learnt, np.zeros(len(differs), np.bool_))).any())


def _started(
    fixtures: Fixtures, deployed: Deployed, state: Message, one: Pooled, purpose: str
) -> tuple[Message, bytes]:
    rng = fixtures.rng(purpose)
    binding = drawn_binding(fixtures.design, rng)
    started = fixtures.design.start(state, deployed.setup, one.item, binding, rng)
    return started.state, b"".join(raw for _, raw in sorted(_sent(started.step).items()))


def _differing(
    fixtures: Fixtures, deployed: Deployed, states: list[Message], pair: list[Pooled], purpose: str
) -> tuple[list[Message], Any]:
    """Two accounts' states after a picture each, and in which bytes their bodies differ under one tape."""
    started = [
        _started(fixtures, deployed, state, one, purpose) for state, one in zip(states, pair, strict=True)
    ]
    bodies = [body for _, body in started]
    width = max(map(len, bodies))
    rows = [np.frombuffer(body.ljust(width, b"\0"), np.uint8) for body in bodies]
    differs = (rows[0] != rows[1]) | (np.arange(width) >= min(map(len, bodies)))
    return [state for state, _ in started], differs


def _pair(fixtures: Fixtures) -> list[Pooled] | None:
    """Two pictures that agree on what is declared to whoever has a role."""
    setting = as_published(fixtures)
    found = [group for one in role_players(fixtures) for group in groups(fixtures, setting, one)]
    return found[0][:2] if found else None


def check_growth(fixtures: Fixtures) -> Passed:
    """An account's state, and what object, class, module, set-up and roles hold, is no longer after 16 more
    pictures; 48 times a picture ends alike."""
    deployed = as_published(fixtures).deployed
    grown = {kind: _grown(fixtures, deployed, fixtures.pool.of(kind)[0]) for kind in ("listed", "other")}
    states = {kind: state for kind, (state, _) in grown.items()}
    if len(set(states.values())) > 1:
        raise BrokenError("start", f"an account's state says whether pictures matched: {shown_value(states)}")
    for kind, (state, kept) in grown.items():
        if state:
            rule = f"an account's state grows by {state} bytes in {GROWING} pictures"
            raise BrokenError("start", rule, item=kind)
        if kept > 0:
            rule = f"{kept} bytes more are held in memory after {GROWING} pictures that are {kind}"
            raise BrokenError("session", rule)
    return Passed(f"after {GROWING} more pictures, matching or not, no state and no memory is longer")


def _grown(fixtures: Fixtures, deployed: Deployed, one: Pooled) -> tuple[int, int]:
    """By how many bytes the state, and what is held, grow from one stretch of pictures to the next."""
    state = enrolled(deployed, fixtures.rng("growth"))
    looks = list[tuple[int, int]]()
    ends = set[Any]()
    roots = [*_own(fixtures.design), deployed.setup, *deployed.states.values()]
    for stretch in range(3):
        for at in range(GROWING):
            rng = fixtures.rng(f"growth/{stretch}/{at}")
            try:
                ran = run_session(deployed, one.item, rng, state)
            except BlindmatchError as error:
                raise BrokenError("session", f"a later picture ends in an error: {error}") from error
            state = ran.state
            ends = ends | {(type(ran.outcome), ran.found)}
            if len(ends) > 1:
                raise BrokenError("session", "the same picture ends otherwise after others", item=one.name)
        looks.append((len(state.encode()), held_bytes(roots)))
    (_, first), (length, second), (longer, third) = looks
    return longer - length, min(second - first, third - second)


def _own(design: Any) -> list[Any]:
    """Where a design may keep something: its object, its classes and the modules they are from."""
    kinds = [kind for kind in type(design).__mro__ if kind.__module__ != "builtins"]
    modules = [sys.modules[kind.__module__] for kind in kinds if kind.__module__ in sys.modules]
    return [design, *(vars(one) for one in (*kinds, *modules))]


_CODE = (ModuleType, type, FunctionType, BuiltinFunctionType)


def held_bytes(roots: Iterable[Any]) -> int:
    """Bytes of all objects that are reachable from some, not through functions, classes or modules."""
    found = dict[int, Any]()
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) not in found and not isinstance(one, _CODE):
            found[id(one)] = one
            waiting += gc.get_referents(one)
    return sum(sys.getsizeof(one) for one in found.values())
