"""Everything follows from what came in: the same randomness gives the same bytes, on any executor, and in
whatever batch a body happens to arrive; and in a process (`confined`) with another clock, host name, process
id, environment and order of hash tables, and with files, sockets, processes and inspection refused.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, Final

import msgspec
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.randomness import TapeExhaustedError, seeded, system_randomness
from blindmatch_protocol.contract import UNBOUND, Answer, AnyDesign, Binding, Category, Role, Send, concluded
from blindmatch_protocol.contract.publishing import Executor
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance import confined
from blindmatch_simulations.evaluation.conformance.fixtures import (
    Fixtures,
    Setting,
    as_published,
    lowered,
    settings,
)
from blindmatch_simulations.evaluation.conformance.hostility import attacked
from blindmatch_simulations.evaluation.conformance.leakage.relations import chosen, one_of_each_kind
from blindmatch_simulations.measure.processes import AloneError, output_of
from blindmatch_simulations.testbed.inprocess.deployed import (
    Answering,
    Deployed,
    Ran,
    drawn_binding,
    opened,
    publish,
    run_again,
    run_session,
)
from blindmatch_simulations.testbed.inprocess.plugin_bounds import has_endless_call
from blindmatch_simulations.testbed.inprocess.steps import Stop, below, decided, hostile, limits
from blindmatch_simulations.testbed.inprocess.verdict import (
    BrokenError,
    NotCheckedError,
    NotComparableError,
    Passed,
)
from blindmatch_simulations.testbed.pictures.pool import Pooled
from blindmatch_simulations.testbed.pictures.sent import of_all_kinds

KINDS = ("listed", "other", "poor", "near-30")
MESSAGES: Final = 3
"""That a picture is tried in."""


def check_tape(fixtures: Fixtures) -> Passed:
    """State, tape and replies give bodies, outcome and next state again, also with the system's generator;
    only designs with vouchers are told of messages."""
    tried = fixtures.pool.of(*KINDS)
    design = fixtures.design
    drawn = [(one, run_session(fixtures.deployed, one.item, system_randomness())) for one in tried]
    for one, ran in [*((one, fixtures.honest[one.name]) for one in tried), *drawn]:
        again = _again(fixtures, one.item, ran)
        if decided(design, again.bodies()) != decided(design, ran.bodies()):
            raise BrokenError("start", "the same tape gives other bodies", item=one.name)
        if (again.outcome, decided(design, again.state)) != (ran.outcome, decided(design, ran.state)):
            raise BrokenError("receive", "the same tape gives another outcome or state", item=one.name)
    more = of_all_kinds(fixtures.seed) if isinstance(design.info.relation, Category) else []
    for one in (*tried, *more) if design.vouchers else ():
        first = fixtures.honest.get(one.name) or fixtures.run(one)
        rng = fixtures.rng(f"later/{one.name}")
        state = design.prepare(first.state, fixtures.deployed.setup, rng)
        for ran in (first, run_session(fixtures.deployed, one.item, rng, state)):
            for number in range(MESSAGES):
                _alike_in_a_message(fixtures, one, ran, bound(fixtures, number))
    if design.info.native_randomness:
        item = fixtures.pool.of("other")[0].item
        both = [run_session(fixtures.deployed, item, fixtures.rng("native")).asked for _ in range(2)]
        shown = [[(part.body, part.reply) for part in asked] for asked in both]
        if shown[0] == shown[1]:
            raise BrokenError("start", "native randomness is declared, and everything comes from the tape")
    return Passed(f"{len(tried)} sessions derived again from their tapes{limits(design)}")


def bound(fixtures: Fixtures, number: int = 0) -> Binding:
    """Of a picture that is in a message; of none if the design is told of none."""
    return drawn_binding(fixtures.design, fixtures.rng(f"bound/{number}"))


def _alike_in_a_message(fixtures: Fixtures, one: Pooled, ran: Ran, message: Binding) -> None:
    """A picture in a message is asked about as one in none, which is what most checks ask about; an account's
    first one, and a later one; roles draw the same for both."""

    def inside(binding: Binding) -> Ran:
        answer = partial(fixtures.deployed.answer, rng=fixtures.rng("bound"))
        return run_again(fixtures.deployed, one.item, ran, answer, binding)

    try:
        again = inside(message)
        alone = inside(UNBOUND)
    except BlindmatchError as error:
        raise BrokenError("start", f"does not run for a picture in a message: {error}") from error
    bodies = [[asked.body.encode() for asked in each.asked] for each in (again, alone)]
    if decided(fixtures.design, bodies[0]) != decided(fixtures.design, bodies[1]):
        raise BrokenError("start", "the message that a picture is in decides what is asked", item=one.name)
    if type(again.outcome) is not type(ran.outcome):
        raise BrokenError("receive", "the message that a picture is in decides the outcome", item=one.name)


def _again(fixtures: Fixtures, item: Any, ran: Ran) -> Ran:
    """The session once more; recorded replies are to other bodies where there is native randomness."""
    native = fixtures.design.info.native_randomness
    roles = fixtures.rng("native/roles")
    answer = partial(fixtures.deployed.answer, rng=roles) if native else None
    try:
        return run_again(fixtures.deployed, item, ran, answer)
    except TapeExhaustedError as error:
        raise BrokenError("start", "asks for more randomness the second time") from error
    except (BlindmatchError, StopIteration) as error:
        raise BrokenError("receive", f"does not run the same way the second time: {error}") from error


def check_setup(fixtures: Fixtures) -> Passed:
    """Publishing twice from the same randomness gives the same files: one set-up for every device."""
    again = fixtures.publish(fixtures.pool.entries, "publish")
    if again.files != fixtures.build.files:
        raise BrokenError("publish", "the same list and randomness give other files")
    secret = {name for names in again.published.roles.values() for name in names}
    shared = set(again.published.setup) & (secret | set(again.published.opener))
    one = fixtures.pool.of("other")[0]
    twice = [run_session(opened(again), one.item, fixtures.rng("setup")).bodies() for _ in range(2)]
    if decided(fixtures.design, twice[0]) != decided(fixtures.design, twice[1]):
        raise BrokenError("open_setup", "a set-up opened twice serves two devices differently")
    size = sum(map(len, again.setup_files.values()))
    figures = {"setup_bytes": size, "role_bytes": sum(map(len, again.files.values())) - size}
    words = f"{len(again.published.setup)} set-up files, {size} bytes, the same for every device"
    return Passed(words, figures | {"shared": len(shared)})


def check_executor(fixtures: Fixtures) -> Passed:
    """Devices ask and roles answer the same with and without threads, in every setting; a list is published
    to the same files."""
    fixtures.sends()
    compared = 0
    for setting in settings(fixtures):
        for one in one_of_each_kind(chosen(setting), fixtures.seed)[1]:
            _same_on_threads(fixtures, setting, one)
            compared += 1
    values = lowered(fixtures)
    rng = fixtures.rng("publish")
    build = publish(fixtures.design, fixtures.pool.entries, rng, 1, values, executor=fixtures.executor)
    if build.files != as_published(fixtures).deployed.build.files:
        raise BrokenError("publish", "threads change the files")
    _batch_on_threads(fixtures)
    words = f"{compared} sessions, and what is published, are the same with and without threads"
    return Passed(words + limits(fixtures.design), {"sessions": compared})


def _same_on_threads(fixtures: Fixtures, setting: Setting, one: Pooled) -> None:
    """One session, and again with the set-up and roles on threads."""
    design = fixtures.design
    where = setting.deployed
    hosted = replace(where, setup=design.with_executor(where.setup, fixtures.executor))

    def asking(deployed: Deployed, executor: Executor | None) -> Answering:
        rngs = (fixtures.rng(f"executor/{setting.name}/{one.name}/{at}") for at in count())
        return lambda role, body: deployed.answer(role, body, next(rngs), executor)

    first = run_session(where, one.item, fixtures.rng(f"executor/{one.name}"), answering=asking(where, None))
    try:
        again = run_again(hosted, one.item, first, asking(hosted, fixtures.executor))
    except BlindmatchError as error:
        raise BrokenError("with_executor", f"does not run on threads: {error}", item=one.name) from error
    for step, said in (
        ("start", [ran.bodies() for ran in (first, again)]),
        ("answer", [[(asked.reply, asked.verdict) for asked in ran.asked] for ran in (first, again)]),
        ("receive", [(ran.outcome, ran.state) for ran in (first, again)]),
    ):
        if decided(design, said[0]) != decided(design, said[1]):
            raise BrokenError(step, f"threads change it: {setting.name}", item=one.name)


def _batch_on_threads(fixtures: Fixtures) -> None:
    ran = fixtures.honest[fixtures.pool.of("listed")[0].name]
    for asked in ran.asked:
        state = fixtures.deployed.states[asked.role]
        requests = [fixtures.deployed.request(asked.role, asked.body)] * 3
        both = [
            fixtures.design.answer(asked.role, state, requests, fixtures.rng("executor"), executor)
            for executor in (None, fixtures.executor)
        ]
        replies = [decided(fixtures.design, list(one.replies)) for one in both]
        if replies[0] != replies[1]:
            raise BrokenError(f"answer of {asked.role}", "threads change the replies")


TRIED = 64
"""Hostile bytes tried to find a body that decodes and is refused."""


def check_batches(fixtures: Fixtures) -> Passed:
    """In a batch a reply leads where it leads alone, and no byte depends on other bodies or earlier ones; a
    bad one is refused alone."""
    sessions = [found for _, found in attacked(fixtures)]
    bad_ones = 0
    for number, stop in enumerate(sessions[0]):
        for role in stop.bodies:
            peers = [
                found[number] for found in sessions if number < len(found) and role in found[number].bodies
            ]
            _one_each(fixtures, role, peers)
            _same_beside_others(fixtures, role, peers)
            _same_after_others(fixtures, role, peers)
            bad = _bad(fixtures, role, stop.bodies[role])
            bad_ones += bad is not None
            if bad is not None:
                _same_beside_bad(fixtures, role, peers, bad)
    words = "replies do not depend on the rest of the batch, nor on what was asked before"
    words += limits(fixtures.design)
    return Passed(
        words if bad_ones else words + "; no body that decodes is refused", {"bad_bodies": bad_ones}
    )


def _answer(fixtures: Fixtures, role: Role, bodies: Sequence[Message]) -> Answer:
    step = f"answer of {role}"
    try:
        requests = [fixtures.deployed.request(role, body) for body in bodies]
        answer = fixtures.design.answer(
            role, fixtures.deployed.states[role], requests, fixtures.rng("batch"), None
        )
    except Exception as error:
        words = f"a batch of {len(bodies)} ends in {type(error).__name__} for all of it"
        raise BrokenError(step, words) from error
    if len(answer.replies) != len(bodies) or len(answer.verdicts) not in (0, len(bodies)):
        raise BrokenError(step, "there is not one reply, and one verdict or none, for each body")
    return answer


def _one_each(fixtures: Fixtures, role: Role, peers: Sequence[Stop]) -> None:
    """Every session goes on with its reply from the batch as with the one it gets alone."""
    answer = _answer(fixtures, role, [peer.bodies[role] for peer in peers])
    for at, peer in enumerate(peers):
        if not _equivalent(fixtures, role, peer, answer, at):
            raise BrokenError(f"answer of {role}", "a body gets another reply in a batch than alone")


def _same_beside_others(fixtures: Fixtures, role: Role, peers: Sequence[Stop]) -> None:
    """With the same randomness, another body between two changes neither one's reply."""
    first = peers[0].bodies[role]
    last = peers[-1].bodies[role]
    between = [_answer(fixtures, role, [first, peer.bodies[role], last]) for peer in peers]
    for answer in between[1:]:
        if any(_form(fixtures, answer, at) != _form(fixtures, between[0], at) for at in (0, 2)):
            raise BrokenError(f"answer of {role}", "a reply depends on another body of its batch")
        if answer.verdicts and (answer.verdicts[0], answer.verdicts[2]) != (
            between[0].verdicts[0],
            between[0].verdicts[2],
        ):
            raise BrokenError(f"answer of {role}", "a verdict depends on another body of its batch")


def _same_after_others(fixtures: Fixtures, role: Role, peers: Sequence[Stop]) -> None:
    """With the same randomness, what was asked before changes no byte of a reply: nobody learns of it."""
    replies = []
    for peer in peers:
        _answer(fixtures, role, [peer.bodies[role]])
        replies.append(_form(fixtures, _answer(fixtures, role, [peers[0].bodies[role]]), 0))
    if any(reply != replies[0] for reply in replies):
        raise BrokenError(f"answer of {role}", "a reply depends on what was asked before it")


def _form(fixtures: Fixtures, answer: Answer, at: int) -> Any:
    return decided(fixtures.design, answer.replies[at])


def _same_beside_bad(fixtures: Fixtures, role: Role, peers: Sequence[Stop], bad: Message) -> None:
    for peer in peers:
        answer = _answer(fixtures, role, [peer.bodies[role], bad, peer.bodies[role]])
        if not isinstance(answer.replies[1], ProtocolError):
            raise BrokenError(f"answer of {role}", "a body that is refused alone is answered in a batch")
        if not all(_equivalent(fixtures, role, peer, answer, at) for at in (0, 2)):
            raise BrokenError(f"answer of {role}", "one bad body disturbs the others of its batch")


def _equivalent(fixtures: Fixtures, role: Role, peer: Stop, answer: Answer, at: int) -> bool:
    """Does the reply at `at` lead the session where the honest one does?"""
    reply = answer.replies[at]
    if not isinstance(reply, Message):
        return False
    return bool(_next(fixtures, peer, {**peer.replies, role: reply}) == _next(fixtures, peer, peer.replies))


def _next(fixtures: Fixtures, peer: Stop, replies: Any) -> Any:
    setup = fixtures.deployed.setup
    try:
        step = fixtures.design.receive(peer.session, setup, replies, fixtures.rng("next"))
    except ProtocolError as error:
        return error.rule
    end = concluded(fixtures.design, step, setup)
    return sorted(end.bodies) if isinstance(end, Send) else end.outcome


def _bad(fixtures: Fixtures, role: Role, good: Message) -> Message | None:
    """A body that decodes and is refused alone."""
    for raw in hostile(fixtures.design.requests[role], good.encode(), fixtures.rng("bad"), TRIED):
        try:
            body = decode_any(fixtures.design.requests[role], raw, "bad")
        except ProtocolError:
            continue
        if isinstance(_answer(fixtures, role, [body]).replies[0], ProtocolError):
            return body
    return None


CONFINED: Final = ("listed/0", "near-30/0", "other/0", "poor/0", "screenshot/0")
SECONDS: Final = 1_800.0
"""After so long the other process is given up; that is no verdict on the design."""
CLOCK: Final = 4_070_908_800
"""1 January 2099, while the design is loaded and for the first picture."""
CLOCKS_FROM: Final = 1_798_761_600
"""1 January 2027; the other pictures have a clock of the ten years from then on."""
CLOCKS_SPAN: Final = 315_532_800
_HASH_SEED: Final = "7"


def check_surroundings(fixtures: Fixtures) -> Passed:
    """Another process sends the same with another clock, host, environment and hash seed; files, sockets,
    processes and frames are refused; nothing stays behind."""
    fixtures.sends()
    chosen = [one for one in fixtures.pool.pictures if one.name in CONFINED]
    done = _confined(_task(fixtures, chosen))
    said = {"reach": ("reaches out of the design", done.refused), "state": ("leaves state behind", done.kept)}
    for step, (says, found) in said.items():
        if found:
            raise BrokenError(f"surroundings: {step}", f"a step {says}: {', '.join(dict.fromkeys(found))}")
    for one in chosen:
        ran = run_session(fixtures.deployed, one.item, seeded(f"confined/{fixtures.seed}/{one.name}"))
        here = [(str(role), body) for role, body in ran.bodies()]
        if decided(fixtures.design, done.bodies[one.name]) != decided(fixtures.design, here):
            rule = "what is sent hangs on clock, host, process, environment or the order of hash tables"
            raise BrokenError("surroundings: clock, host, order", rule, item=one.name)
    return Passed(
        f"{len(chosen)} sessions send the same bytes in a process with another clock, host, environment and "
        "order of hash tables, where files, sockets, processes and inspection are refused"
        + limits(fixtures.design)
    )


def _task(fixtures: Fixtures, chosen: list[Pooled]) -> confined.Task:
    module, file, name = _reference(fixtures.design)
    build = fixtures.build
    return confined.Task(
        module=module,
        file=file,
        name=name,
        files={name: bytes(raw) for name, raw in build.files.items()},
        epoch=build.epoch,
        setup=list(build.setup_files),
        roles={str(role): list(build.role_files(role)) for role in build.published.roles},
        account=build.account,
        pictures=[(one.name, *one.item.pixels.shape[:2], one.item.pixels.tobytes()) for one in chosen],
        seed=fixtures.seed,
        clocks=_clocks(fixtures, len(chosen)),
        host="elsewhere",
        pid=4711,
        environment={"HOME": "/", "LANG": "C", "USER": "nobody"},
    )


def _clocks(fixtures: Fixtures, count: int) -> list[int]:
    rng = fixtures.rng("clocks")
    return [CLOCK, *(CLOCKS_FROM + below(rng, CLOCKS_SPAN) for _ in range(count - 1))]


def _reference(design: AnyDesign) -> tuple[str, str, str]:
    """Module, file if it was loaded from a path, and name of the design's object or class."""
    kind = type(design)
    module = sys.modules[kind.__module__]
    held = [name for name, value in vars(module).items() if value is design]
    name = held[0] if held else kind.__qualname__
    if not held and getattr(module, name, None) is not kind:
        raise NotComparableError("the design is made inside of a function, where no other process finds it")
    by_path = module.__name__.startswith("blindmatch_design_")
    return module.__name__, str(module.__file__) if by_path else "", name


def _confined(task: confined.Task) -> confined.Done:
    if has_endless_call():  # nobody looks on in that process, so that it would wait for its whole time
        raise NotCheckedError("a call of the design did not return, so it is not run in another process")
    command = [sys.executable, "-m", confined.__name__]
    paths = ":".join(path for path in sys.path if path)
    surroundings = {"PYTHONHASHSEED": _HASH_SEED, "PYTHONPATH": paths, "PATH": "/usr/bin:/bin"}
    try:
        raw = output_of(command, SECONDS, input=msgspec.msgpack.encode(task), env=surroundings, cwd=Path("/"))
    except AloneError as error:
        if isinstance(error.__cause__, TimeoutExpired):
            raise NotCheckedError(f"the other process had not ended after {SECONDS:,.0f} s") from error
        raise BrokenError("surroundings", f"the design does not run in another process: {error}") from error
    return msgspec.msgpack.decode(raw, type=confined.Done)
