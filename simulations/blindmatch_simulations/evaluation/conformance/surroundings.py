"""Nothing but state, picture, set-up and tape decides what a design sends: no clock, host, file or state.

One more process runs some sessions again (`confined`), with another clock, host name, process id, environment
and order of hash tables, and with files, sockets, processes and inspection refused. What it sends must be
what is sent here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

import msgspec
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.evaluation.conformance import confined
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.measure.processes import AloneError, output_of
from blindmatch_simulations.testbed.inprocess.deployed import run_session
from blindmatch_simulations.testbed.inprocess.steps import decided, limits
from blindmatch_simulations.testbed.inprocess.verdict import (
    BrokenError,
    NotCheckedError,
    NotComparableError,
    Passed,
)
from blindmatch_simulations.testbed.pictures.pool import Pooled

CONFINED: Final = ("listed/0", "near-30/0", "other/0", "poor/0")
SECONDS: Final = 1_800.0
"""After so long the other process is given up; that is no verdict on the design."""
CLOCK: Final = 4_070_908_800
"""1 January 2099."""
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
        pictures=[(one.name, *one.item.pixels.shape[:2], one.item.pixels.tobytes()) for one in chosen],
        seed=fixtures.seed,
        clock=CLOCK,
        host="elsewhere",
        pid=4711,
        environment={"HOME": "/", "LANG": "C", "USER": "nobody"},
    )


def _reference(design: AnyDesign) -> tuple[str, str, str]:
    """Module, file if it was loaded from a path, and name of the design's object or class.

    Raises:
        NotComparableError: if another process cannot find it.
    """
    kind = type(design)
    module = sys.modules[kind.__module__]
    held = [name for name, value in vars(module).items() if value is design]
    name = held[0] if held else kind.__qualname__
    if not held and getattr(module, name, None) is not kind:
        raise NotComparableError("the design is made inside of a function, where no other process finds it")
    by_path = module.__name__.startswith("blindmatch_design_")
    return module.__name__, str(module.__file__) if by_path else "", name


def _confined(task: confined.Task) -> confined.Done:
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
