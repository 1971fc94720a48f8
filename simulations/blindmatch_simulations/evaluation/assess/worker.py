"""The process of one design: ``python -m ...assess.worker run|check FOLDER OUT SETS REFERENCE``.

It reads ``plan.toml`` and ``material/`` in FOLDER, tells its progress as JSON lines on standard output, and
leaves ``observed.json`` or ``checks.json`` in OUT, in one step each. The design's set is kept below SETS.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from time import perf_counter

import msgspec
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Progress
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.material import Material
from blindmatch_simulations.evaluation.assess.observed import Check
from blindmatch_simulations.evaluation.assess.observing import Observer
from blindmatch_simulations.evaluation.assess.plan import Plan, read_plan
from blindmatch_simulations.evaluation.assess.results import write_whole
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.run import CHECKS, QUICK, judged
from blindmatch_simulations.measure.machine import choose_group_backend
from blindmatch_simulations.measure.phases import PhaseTimes
from blindmatch_simulations.measure.processes import used_cpu_seconds
from blindmatch_simulations.measure.yardstick import reading
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

PLAN = "plan.toml"
MATERIAL = "material"
OBSERVED = "observed.json"
CHECKED = "checks.json"
EVERY_SECONDS = 0.2
NOT_CHECKED = str(Verdict.NOT_CHECKED)
ENDED = "the process of the checks ended before"


def main(arguments: list[str]) -> int:
    """Run a part; 0 if it came to its end."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    part, reference = arguments[0], arguments[4]
    folder, out, sets = map(Path, arguments[1:4])
    try:
        choose_group_backend()
        plan = read_plan((folder / PLAN).read_text("utf-8"))
        if part == "run":
            _run(plan, folder, out, sets, reference)
        else:
            _check(plan, out, reference)
    except BlindmatchError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _end_with_parent() -> None:
    """End with all that was started here once standard input closes: the parent is gone, however it went."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)


def _run(plan: Plan, folder: Path, out: Path, sets: Path, reference: str) -> None:
    with tempfile.TemporaryDirectory(prefix="home-", dir=out) as home:
        material, phases = Material(folder / MATERIAL), PhaseTimes(_tell)
        observed = Observer(Path(home) / "home", sets, reference, plan, material, phases).run()
    write_whole(out / OBSERVED, msgspec.json.encode(observed))


def _check(plan: Plan, out: Path, reference: str) -> None:
    """Check after check, until the plan's work is used up; what did not run is told as not checked."""
    fixtures = Fixtures(load_design(reference), plan.seed, QUICK)
    progress = _tell("checks")
    u_us, before, budget = reading().u_us, used_cpu_seconds(), plan.limits.check_u
    found = [Check(one.name, one.says, NOT_CHECKED, ENDED, {}, 0.0) for one in CHECKS]
    write_whole(out / CHECKED, msgspec.json.encode(found))
    try:
        for at, check in enumerate(CHECKS):
            if 1e6 * (used_cpu_seconds() - before) > budget * u_us:
                why = f"the work for checks, {budget:,} u, was used up before"
                found[at:] = [replace(one, reason=why) for one in found[at:]]
                break
            began = perf_counter()
            result = judged(check.name, partial(check.run, fixtures))
            seconds = round(perf_counter() - began, 2)
            figures = dict(result.figures)
            found[at] = Check(check.name, check.says, str(result.verdict), result.reason, figures, seconds)
            write_whole(out / CHECKED, msgspec.json.encode(found))
            progress(at + 1, len(CHECKS))
    finally:
        write_whole(out / CHECKED, msgspec.json.encode(found))
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
