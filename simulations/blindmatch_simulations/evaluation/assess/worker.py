"""The process of one design, forked off one that has loaded all this: run|check FOLDER OUT SETS REFERENCE.

It reads ``plan.json`` and ``material/`` in FOLDER, tells its progress as JSON lines on standard output, and
leaves ``observed.json`` in OUT, in one step. The design's set is kept below SETS, its checks beside it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import perf_counter

import msgspec
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.group import building
from blindmatch_protocol.group.backend import BUILD_ROWS

from blindmatch_simulations.evaluation.assess.keeping import (
    CHECKS_FILE,
    committed_checks,
    keep_checks,
    read_code,
)
from blindmatch_simulations.evaluation.assess.material import Material
from blindmatch_simulations.evaluation.assess.observing import Observer
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.evaluation.assess.results import write_whole
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.run import CHECKS, QUICK
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.measure.machine import choose_group_backend
from blindmatch_simulations.measure.phases import PhaseTimes
from blindmatch_simulations.measure.results import decoded
from blindmatch_simulations.testbed.deployment.processes import Nursery
from blindmatch_simulations.testbed.deployment.registry import built_in_designs, load_design
from blindmatch_simulations.testbed.inprocess.deployed import values_of

PLAN = "plan.json"
MATERIAL = "material"
OBSERVED = "observed.json"
CHECKED = CHECKS_FILE
EVERY_SECONDS = 0.2


def prepare(many: bool) -> None:
    """Make what each of `many` designs would make again: machine code of the group, and keys of checks."""
    if many:
        choose_group_backend()
        with building(BUILD_ROWS):
            pass
        read_code(one.design for one in built_in_designs())
        clopper_pearson(0, 1)  # loads scipy


def main(arguments: Sequence[str] = ()) -> int:
    """Run a part; 0 if it came to its end."""
    arguments = arguments or sys.argv[1:]
    part = arguments[0]
    reference = arguments[4]
    folder, out, sets = map(Path, arguments[1:4])
    # before there are threads
    nursery = Nursery() if part == "run" else None
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        choose_group_backend()
        plan = decoded(folder / PLAN, Plan)
        if nursery is not None:
            with nursery:
                _run(plan, folder, out, sets, reference, nursery)
        if part == "check" or (plan.committed_checks and committed_checks(reference)):
            # few checks are left where most are committed: they take no process of their own
            _check(plan, sets.with_name(f"{sets.name}-{CHECKED}"), reference)
    except BlindmatchError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _end_with_parent() -> None:
    """End with all that was started here once standard input closes: the parent is gone."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)


def _run(plan: Plan, folder: Path, out: Path, sets: Path, reference: str, nursery: Nursery) -> None:
    with tempfile.TemporaryDirectory(prefix="home-", dir=out) as home:
        material = Material(folder / MATERIAL)
        phases = PhaseTimes(_tell)
        observed = Observer(Path(home) / "home", sets, reference, plan, material, phases, nursery).run()
    write_whole(out / OBSERVED, msgspec.json.encode(observed))


def _check(plan: Plan, out: Path, reference: str) -> None:
    design = load_design(reference)
    done = count(1)
    progress = _tell("checks")
    fixtures = Fixtures(design, plan.seed, QUICK, values_of(design, plan.parameters))
    committed = committed_checks(reference) if plan.committed_checks else ()
    budget = plan.limits.check_u
    try:
        keep_checks(out, fixtures, budget, lambda _: progress(next(done), len(CHECKS)), committed)
    finally:
        fixtures.close()


def _tell(title: str) -> Progress:
    """Lines that the parent shows; not more often than people can read."""
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if done >= total or perf_counter() - last >= EVERY_SECONDS:
            last = perf_counter()
            print(json.dumps([title, done, total]), flush=True)

    print(json.dumps([title, 0, 0]), flush=True)
    return progress
