"""Everything follows from what came in: the same randomness gives the same bytes, on any executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blindmatch_protocol.errors import BlindmatchError
from blindmatch_protocol.randomness import TapeExhaustedError, replayed, system_randomness

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.deployed import Ran, opened, publish, run_session
from blindmatch_simulations.inprocess.enrolled import request_of
from blindmatch_simulations.inprocess.taped import decided, limits
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed

KINDS = ("listed", "other", "poor", "near-30")


def check_tape(bench: Bench) -> Passed:
    """A session's recorded tape, state and replies give its bodies and its outcome again; also where what was
    recorded came from the system's generator, as it does on a device."""
    chosen, design = bench.pool.of(*KINDS), bench.design
    drawn = [(one, run_session(bench.deployed, one.item, system_randomness())) for one in chosen]
    for one, ran in [*((one, bench.honest[one.name]) for one in chosen), *drawn]:
        again = _again(bench, lambda one=one, ran=ran: _replayed(bench, one.item, ran))  # type: ignore[misc]
        if decided(design, again.bodies()) != decided(design, ran.bodies()):
            raise BrokenError("start", "the same tape gives other bodies", item=one.name)
        if (again.outcome, decided(design, again.state)) != (ran.outcome, decided(design, ran.state)):
            raise BrokenError("receive", "the same tape gives another outcome or state", item=one.name)
    if design.info.native_randomness:
        _shows(bench, bench.pool.of("other")[0].item)
    return Passed(f"{len(chosen)} sessions derived again from their tapes{limits(design)}")


def _shows(bench: Bench, item: Any) -> None:
    """Native randomness that is declared is there: the same tapes give other bytes."""
    both = [run_session(bench.deployed, item, bench.rng("native")) for _ in range(2)]
    first, second = ([(part.body, part.reply) for one in ran.rounds for part in one] for ran in both)
    if first == second:
        raise BrokenError("start", "native randomness is declared, and everything comes from the tape")


def _replayed(bench: Bench, item: Any, ran: Ran) -> Ran:
    replies = iter([(asked.reply, asked.verdict) for one in ran.rounds for asked in one])
    tape: Any = replayed(ran.tape)
    if not bench.design.info.native_randomness:
        return run_session(bench.deployed, item, tape, ran.state_before, lambda role, body: next(replies))
    deployed, roles = bench.deployed, bench.rng("native/roles")  # recorded replies are to other bodies
    return run_session(
        deployed,
        item,
        tape,
        ran.state_before,
        lambda role, body: deployed.answer(role, body, roles),
    )


def _again(bench: Bench, run: Callable[[], Ran]) -> Ran:
    try:
        return run()
    except TapeExhaustedError as error:
        raise BrokenError("start", "asks for more randomness the second time") from error
    except (BlindmatchError, StopIteration) as error:
        raise BrokenError("receive", f"does not run the same way the second time: {error}") from error


def check_setup(bench: Bench) -> Passed:
    """Publishing twice from the same randomness gives the same files: one set-up for every device."""
    again = publish(bench.design, bench.pool.entries, bench.rng("publish"), 1, bench.values)
    if again.files != bench.build.files:
        raise BrokenError("publish", "the same list and randomness give other files")
    secret = {name for names in again.published.roles.values() for name in names}
    shared = set(again.published.setup) & (secret | set(again.published.opener))
    one = bench.pool.of("other")[0]
    twice = [run_session(opened(again), one.item, bench.rng("setup")).bodies() for _ in range(2)]
    if decided(bench.design, twice[0]) != decided(bench.design, twice[1]):
        raise BrokenError("open_setup", "a set-up opened twice serves two devices differently")
    size = sum(map(len, again.setup_files.values()))
    return Passed(
        f"{len(again.published.setup)} set-up files, {size} bytes, the same for every device",
        {
            "setup_bytes": size,
            "role_bytes": sum(map(len, again.files.values())) - size,
            "shared": len(shared),
        },
    )


def check_executor(bench: Bench) -> Passed:
    """Roles answer the same with and without threads."""
    if not bench.design.info.roles:
        raise NotApplicableError("the design asks nobody")
    ran = bench.honest[bench.pool.of("listed")[0].name]
    for asked in (part for one in ran.rounds for part in one):
        state = bench.deployed.states[asked.role]
        requests = [request_of(bench.design, bench.deployed.setup, asked.role, asked.body)] * 3
        both = [
            bench.design.answer(asked.role, state, requests, bench.rng("executor"), executor)
            for executor in (None, bench.executor)
        ]
        replies = [decided(bench.design, list(one.replies)) for one in both]
        if replies[0] != replies[1]:
            raise BrokenError(f"answer of {asked.role}", "threads change the replies")
    return Passed(f"replies are the same with and without threads{limits(bench.design)}")
