"""A whole assessment: material once, one guarded process a design, then the results file and the report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.keeping import (
    SETS,
    UNFINISHED,
    check_machine,
    is_same_origin,
    kept_checks,
    note_origin,
    protocol_digest,
)
from blindmatch_simulations.evaluation.assess.material import make
from blindmatch_simulations.evaluation.assess.observed import Check, Observed
from blindmatch_simulations.evaluation.assess.plan import AssessError, Plan, plan_digest, read_plan
from blindmatch_simulations.evaluation.assess.results import (
    DESIGNS,
    RESULTS,
    WORKLOAD,
    Measured,
    Results,
    Studied,
    file_digests,
    read_design,
    write_rows,
    write_whole,
)
from blindmatch_simulations.evaluation.assess.shared import of_pictures
from blindmatch_simulations.evaluation.assess.subjects import (
    STUDIES,
    Done,
    again,
    known,
    must_be_there,
    name_of,
    option_of,
    reference_words,
    row_of,
)
from blindmatch_simulations.evaluation.assess.worker import CHECKED, MATERIAL, OBSERVED, PLAN
from blindmatch_simulations.evaluation.conformance.run import CHECKS
from blindmatch_simulations.measure.phases import PhaseProgress, Tell, as_heard, silent
from blindmatch_simulations.measure.processes import group_mib
from blindmatch_simulations.measure.results import Row, Status, decoded, decoded_or_none, encode, results
from blindmatch_simulations.testbed.deployment.processes import Forked, Nursery
from blindmatch_simulations.testbed.deployment.registry import option_ids, portable_reference

POLL_SECONDS: Final = 0.1
RAW_VERSION: Final = 2
"""Of raw rows; the first, without a row of the rest of the run, said none."""
STOPPED: Final = "interrupted"
MEMORY_POLL_SECONDS: Final = 0.5
_TAIL: Final = 400


class Ended(Struct, frozen=True):
    """How a guarded command ended: `why` is empty if it went well.

    Attributes:
        peak_mib: the most that all its processes had together, as often as it was looked at.
    """

    why: str
    seconds: float
    peak_mib: float


def guarded(
    start: Callable[[int, IO[bytes]], subprocess.Popen[bytes] | Forked],
    log: Path,
    seconds: float,
    memory_mib: float,
    tell: Tell = lambda *_: None,
    stop: threading.Event | None = None,
) -> Ended:
    """Run a process to its end, or until it breaks a limit; nothing it started is left behind. `start` starts
    it at the head of a process group with these streams, of which standard output has JSON lines of progress.
    Limits are `seconds`, `memory_mib`, resident, of its whole group, and `stop`, set by another thread, for
    the reason `STOPPED`."""
    heard, said = os.pipe()
    reader = threading.Thread(target=_follow, args=(os.fdopen(heard, "rb"), tell), daemon=True)
    reader.start()
    with log.open("wb") as sink:
        try:
            process = start(said, sink)
            began = time.monotonic()  # not before it has started
        finally:
            os.close(said)
        try:
            why, peak = _watch(process, began + seconds, seconds, memory_mib, stop or threading.Event())
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(1.0)
    if not why and process.returncode:
        why = _reason(process.returncode, log)
    return Ended(why, round(time.monotonic() - began, 2), round(peak, 1))


def _watch(
    process: subprocess.Popen[bytes] | Forked,
    deadline: float,
    seconds: float,
    memory_mib: float,
    stop: threading.Event,
) -> tuple[str, float]:
    peak = 0.0
    looked = 0.0
    while process.poll() is None:
        now = time.monotonic()
        if now > deadline:
            return f"took longer than {seconds:.0f} s", peak
        if now - looked > MEMORY_POLL_SECONDS:
            looked = now
            peak = max(peak, group_mib(process.pid))
            if peak > memory_mib:
                return f"used more than {memory_mib:.0f} MiB", peak
        if stop.wait(POLL_SECONDS):
            return STOPPED, peak
    return "", peak


def _follow(lines: IO[bytes], tell: Tell) -> None:
    """Hand on progress lines; whatever else a design prints is left out."""
    with lines:
        for line in lines:
            with suppress(ValueError, TypeError, OverflowError, RecursionError):
                phase, done, total = json.loads(line)
                tell(str(phase), int(done), int(total))


def _reason(code: int, log: Path) -> str:
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name}"
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    words = " ".join(lines[-1].split())[:_TAIL] if lines else "without a word"
    return f"exit code {code}: {words}"


WORKER: Final = "blindmatch_simulations.evaluation.assess.worker"
UNCHECKED: Final = "the checks have not run yet"
NO_CHECKS: Final = "the plan has no work for checks"


class Assessment(Struct, frozen=True):
    """What is to be measured, and where it goes.

    Attributes:
        references: designs by name or path.py:NAME; all registered ones if it is empty.
        command: the command with its workload; the report's footer adds the designs whose rows there are.
        cache: the user's, for what no design changes (`assess.shared`); None: it is made for this run alone.
        watch: gets the results so far whenever there is another row, or a row's checks.
        nursery: what designs' processes are forked off; `run` makes one.
    """

    out: Path
    text: str
    references: Sequence[str]
    command: str
    phase: PhaseProgress
    watch: Callable[[Results], object] | None = None
    cache: Path | None = None
    nursery: Nursery | None = None

    def run(self) -> Results:
        """Measure what is not measured yet, and write ``results.json``; `AssessError` if the folder holds a
        run of another workload or of another machine, or the workload cannot be used; `RegistryError` if a
        design that was asked for is not there."""
        protocol_digest.cache_clear()
        protocol_digest()
        plan = read_plan(self.text)
        if plan.sweep is not None:
            raise AssessError("workload: sweep: it has several points (assess.sweep)")
        for reference in self.references:
            must_be_there(reference)
        if self._is_begun():
            check_machine(self.out)
        elif self.out.exists() and any(self.out.iterdir()):
            raise AssessError(f"{self.out} is neither empty nor a results folder; choose another --out")
        else:
            write_whole(self.out / WORKLOAD, self.text.encode())
        for stale in self.out.glob(".work-*"):
            shutil.rmtree(stale, ignore_errors=True)
        wanted = {name_of(reference): reference for reference in self.references or known()}
        missing = {name: one for name, one in wanted.items() if not self._finished(name, one)}
        own = [one for one in missing.values() if one not in STUDIES]
        with tempfile.TemporaryDirectory(prefix=".work-", dir=self.out) as work, ExitStack() as stack:
            nursery = stack.enter_context(Nursery(WORKER, len(own) > 1)) if own else None
            replace(self, nursery=nursery)._missing(plan, Path(work), wanted, missing)
        made = self._assembled(plan, list(wanted))
        shutil.rmtree(self.out / SETS, ignore_errors=True)
        return made

    def is_done(self) -> bool:
        """Is all of it measured, by the code as it is? Raises `AssessError` if another run is there."""
        protocol_digest.cache_clear()
        self._is_begun()
        whole = all(self._finished(name_of(one), one) for one in self.references)
        return whole and (self.out / RESULTS).exists()

    def _missing(
        self, plan: Plan, folder: Path, wanted: Mapping[str, str], missing: Mapping[str, str]
    ) -> None:
        """Measure one design after the other; then check them, as many at a time as there are cores."""
        if missing:
            (folder / PLAN).write_bytes(encode(plan))
            fill = of_pictures(plan, self.cache).fill
            make(plan, folder / MATERIAL, self.phase("material"), fill)
        progress = self.phase("designs")
        done = len(wanted) - len(missing)
        progress(done, len(wanted))
        for name, reference in missing.items():
            if not self._is_seen(name, reference):
                self._measure(plan, folder, name, reference)
            done += 1
            progress(done, len(wanted))
            self._show(plan, list(wanted))
        stop = threading.Event()
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            checking = [
                pool.submit(self._check, plan, folder, name, wanted[name], stop)
                for name in missing
                if self._done_path(name).exists() and not self._finished(name, wanted[name])
            ]
            try:
                for one in as_completed(checking):
                    one.result()
                    self._show(plan, list(wanted))
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _show(self, plan: Plan, wanted: Sequence[str]) -> None:
        if self.watch is not None:
            self.watch(self._assembled(plan, [name for name in wanted if self._path(name).exists()]))

    def _is_begun(self) -> bool:
        """Does the folder hold a run of the same workload? Raises `AssessError` for one of another."""
        kept = self.out / WORKLOAD
        if kept.exists() and plan_digest(kept.read_text("utf-8")) != plan_digest(self.text):
            raise AssessError(f"{self.out} holds a run of another workload; choose another --out")
        return kept.exists()

    def _finished(self, name: str, reference: str) -> bool:
        """Was this design measured and checked before, as it is now? A failed one is tried again."""
        row = read_design(self._path(name)) if self._path(name).exists() else None
        if isinstance(row, Measured) and row.checks_why != UNCHECKED:
            return is_same_origin(self.out, name, reference)
        return isinstance(row, Studied)

    def _is_seen(self, name: str, reference: str) -> bool:
        """Was this design run in an earlier part, as it is now, and lacks its checks alone?"""
        seen = self._path(name).exists() and self._done_path(name).exists()
        return seen and is_same_origin(self.out, name, reference)

    def _path(self, name: str) -> Path:
        return self.out / DESIGNS / f"{name}.json"

    def _done_path(self, name: str) -> Path:
        return self.out / SETS / f"{name}.json"

    def _measure(self, plan: Plan, folder: Path, name: str, reference: str) -> None:
        if reference in STUDIES:
            write_whole(self._path(name), encode(STUDIES[reference](name)))
            return
        place = folder / name
        place.mkdir()
        # a row of an earlier source goes before anything says that it is one of this
        self._path(name).unlink(missing_ok=True)
        note_origin(self.out, name, reference)
        (self.out / SETS / f"{name}-{CHECKED}").unlink(missing_ok=True)
        ran = self._guard("run", plan, folder, name, reference)
        shutil.rmtree(self.out / SETS / name, ignore_errors=True)
        seen = decoded_or_none(place / OBSERVED, Observed)  # its last step but for checks, which may end it
        if seen is None:
            reason = ran.why or "its process left no result that can be read"
            parameters: dict[str, int | float | str] = {"reference": reference_words(reference)}
            parameters |= plan.parameters
            failed = Row(
                id=name, status=Status.FAILED, parameters=parameters, why=reason, seconds=ran.seconds
            )
            write_whole(self._path(name), encode(failed))
            return
        done = Done(seen, ran.peak_mib, ran.seconds)
        write_whole(self._done_path(name), encode(done))
        self._write(plan, name, reference, done, (), UNCHECKED if plan.limits.check_u else NO_CHECKS)
        if len(self._kept_checks(name)) == len(CHECKS):
            self._check(plan, folder, name, reference, threading.Event())

    def kept(self) -> str:
        """What an interrupted run leaves, in words."""
        rows = {path.stem: read_design(path) for path in (self.out / DESIGNS).glob("*.json")}
        unchecked = [name for name, row in rows.items() if getattr(row, "checks_why", "") == UNCHECKED]
        later = f", of which {len(unchecked)} are not checked yet ({', '.join(sorted(unchecked))})"
        told = ", ".join(sorted(rows)) or "none"
        return f"kept in {self.out}: rows of {told}{later if unchecked else ''}; the same command goes on"

    def _check(self, plan: Plan, folder: Path, name: str, reference: str, stop: threading.Event) -> None:
        """Check a design that was measured, and write its row again, unless it is stopped."""
        done = decoded(self._done_path(name), Done)
        if plan.limits.check_u:
            ended = Ended("", 0.0, 0.0)
            found = self._kept_checks(name)
            if len(found) < len(CHECKS):
                ended = self._guard("check", plan, folder, name, reference, stop)
                found = self._kept_checks(name)
            if ended.why == STOPPED:
                return
            used_up = f"the work for checks, {plan.limits.check_u:,} u, was used up before"
            why = "the process of the checks ended before" if ended.why else used_up
            left = {one.name: Check(one.name, one.says, UNFINISHED, why, {}, 0.0) for one in CHECKS}
            checks = tuple((left | found).values())
            unfinished = next((one.reason for one in checks if one.verdict == UNFINISHED), "")
            self._write(plan, name, reference, done, checks, ended.why or unfinished)

    def _kept_checks(self, name: str) -> dict[str, Check]:
        kept = kept_checks(self.out / SETS / f"{name}-{CHECKED}")
        return {one.check.check: one.check for every in kept.values() for one in every}

    def _write(
        self, plan: Plan, name: str, reference: str, done: Done, checks: tuple[Check, ...], why: str
    ) -> None:
        seen = done.seen
        rows: dict[str, Sequence[Any]] = {
            "pictures": seen.pictures,
            "alone": seen.alone,
            "checks": checks,
        }
        rest = {key: one for key, one in msgspec.to_builtins(seen).items() if key not in (*rows, "design")}
        rows["run"] = ({"version": RAW_VERSION, **rest},)
        write_rows(self.out, name, rows)
        write_whole(self._path(name), encode(row_of(plan, name, reference, done, checks, why)))

    def _guard(
        self,
        part: str,
        plan: Plan,
        folder: Path,
        name: str,
        reference: str,
        stop: threading.Event | None = None,
    ) -> Ended:
        limits = plan.limits
        kept = self.out.resolve() / SETS / name
        words = part, str(folder), str(folder / name), str(kept), portable_reference(reference)
        log = folder / name / f"{part}.log"
        log.parent.mkdir(exist_ok=True)
        tell = as_heard(lambda title: self.phase(f"{name}: {title}"))
        assert self.nursery is not None
        start = partial(self.nursery.start, words)
        return guarded(start, log, limits.run_seconds, limits.memory_mib, tell, stop)

    def _assembled(self, plan: Plan, names: Sequence[str]) -> Results:
        known = {path.stem for path in (self.out / DESIGNS).glob("*.json")}
        order = [*names, *sorted(known - set(names))]
        rows = [read_design(self._path(name)) for name in order]
        options = {one for row in rows if (one := option_of(row)) in option_ids()}
        made: Results = results(
            Results,
            again(self.command, rows),
            msgspec.to_builtins(plan),
            rows,
            seed=plan.seed,
            workload=plan.name,
            files=file_digests(self.out),
            options_measured=len(options),
            options_in_all=len(option_ids()),
        )
        write_whole(self.out / RESULTS, encode(made))
        return made


def measured_there(text: str, designs: Sequence[str], command: str, cache: Path | None) -> dict[str, bytes]:
    """A whole assessment on a node of a cluster: files of its folder, by their paths in it."""
    with tempfile.TemporaryDirectory(prefix="blindmatch-assess-") as folder:
        out = Path(folder) / "out"
        Assessment(out, text, designs, command, silent, None, cache).run()
        files = (path for path in out.rglob("*") if path.is_file())
        return {str(path.relative_to(out)): path.read_bytes() for path in files}
