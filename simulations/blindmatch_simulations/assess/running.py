"""A whole assessment: material once, one guarded process a design, then the results file and the report.

Each design's row is written as soon as it is finished; one that is there is not measured again, unless the
design's source has changed. Its set is kept until then, so that a run that was interrupted after the build
does not build again.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from blindmatch_protocol.contract import Progress

from blindmatch_simulations.assess import judging, origin, store
from blindmatch_simulations.assess.corpus import pair_distances
from blindmatch_simulations.assess.errors import AssessError
from blindmatch_simulations.assess.guard import Ended, guarded
from blindmatch_simulations.assess.machine import this_machine
from blindmatch_simulations.assess.material import make
from blindmatch_simulations.assess.observed import Check, Observed
from blindmatch_simulations.assess.origin import SETS
from blindmatch_simulations.assess.plan import Plan, plan_digest, read_plan
from blindmatch_simulations.assess.results import FORMAT, VERSION, Design, Failed, Measured, Results, encode
from blindmatch_simulations.assess.worker import CHECKED, MATERIAL, OBSERVED, PLAN
from blindmatch_simulations.deployment.registry import (
    RegistryError,
    all_designs,
    is_path,
    load_design,
    portable_reference,
)

T = TypeVar("T")
Stage = Callable[[str], Progress]
WORKER: Final = "blindmatch_simulations.assess.worker"
NO_CHECKS: Final = "the plan gives the checks no time"


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is to be measured, and where it goes.

    Attributes:
        out: the results folder.
        text: the workload file.
        references: designs by name or path.py:NAME; all registered ones if it is empty.
        command: the command with its workload; the report's footer adds the designs whose rows there are.
        stage: shows progress.
    """

    out: Path
    text: str
    references: Sequence[str]
    command: str
    stage: Stage

    def run(self) -> Results:
        """Measure what is not measured yet, and write ``results.json``.

        Raises:
            AssessError: if the folder holds a run of another workload or of another machine, or the
                workload cannot be used.
            RegistryError: if a design that was asked for is not there.
        """
        plan = read_plan(self.text)
        for reference in self.references:
            _must_be_there(reference)
        self._claim()
        wanted = {name_of(reference): reference for reference in self.references or sorted(all_designs())}
        missing = {name: one for name, one in wanted.items() if not self._finished(name, one)}
        with tempfile.TemporaryDirectory(prefix=".work-", dir=self.out) as work:
            folder = Path(work)
            if missing:
                (folder / PLAN).write_text(self.text, "utf-8")
                make(plan, folder / MATERIAL, self.stage("material"))
            progress = self.stage("designs")
            progress(len(wanted) - len(missing), len(wanted))
            for at, (name, reference) in enumerate(missing.items(), 1 + len(wanted) - len(missing)):
                self._measure(plan, folder, name, reference)
                shutil.rmtree(self.out / SETS / name, ignore_errors=True)
                progress(at, len(wanted))
        shutil.rmtree(self.out / SETS, ignore_errors=True)
        return self._assembled(plan, list(wanted))

    def _claim(self) -> None:
        """Make the folder, or make sure that it holds a run of the same workload."""
        kept = self.out / store.WORKLOAD
        if kept.exists():
            if plan_digest(kept.read_text("utf-8")) != plan_digest(self.text):
                raise AssessError(f"{self.out} holds a run of another workload; choose another --out")
            origin.check_machine(self.out)
        elif self.out.exists() and any(self.out.iterdir()):
            raise AssessError(f"{self.out} is neither empty nor a results folder; choose another --out")
        else:
            store.write(kept, self.text.encode())
        for stale in self.out.glob(".work-*"):
            shutil.rmtree(stale, ignore_errors=True)

    def _finished(self, name: str, reference: str) -> bool:
        """Was this design, as it is now, measured before? One that failed is tried again."""
        return self._is_measured(name) and origin.is_same(self.out, name, reference)

    def _begin(self, name: str, reference: str) -> None:
        """A row of an earlier source goes before anything says that it is one of this."""
        if self._is_measured(name):
            self._path(name).unlink()
        origin.note(self.out, name, reference)

    def _is_measured(self, name: str) -> bool:
        return self._path(name).exists() and store.read_design(self._path(name)).measured is not None

    def _path(self, name: str) -> Path:
        return self.out / store.DESIGNS / f"{name}.json"

    def _measure(self, plan: Plan, folder: Path, name: str, reference: str) -> None:
        place = folder / name
        place.mkdir()
        self._begin(name, reference)
        limits = plan.limits
        ran = self._guard("run", folder, name, reference, limits.run_seconds, limits.memory_mib)
        seen = _read(place / OBSERVED, Observed) if not ran.why else None
        if seen is None:
            reason = ran.why or "its process left no result that can be read"
            row = Design(failed=Failed("failed", reference_words(reference), name, reason, ran.seconds))
            store.write(self._path(name), encode(row))
            return
        checks, why = self._checks(plan, folder, name, reference)
        rows = {"pictures": seen.pictures, "alone": seen.alone, "harness": seen.harness, "checks": checks}
        store.write_rows(self.out, name, rows)
        store.write(
            self._path(name), encode(Design(measured=_row(plan, name, reference, seen, checks, why, ran)))
        )

    def _checks(self, plan: Plan, folder: Path, name: str, reference: str) -> tuple[tuple[Check, ...], str]:
        if not plan.limits.check_seconds:
            return (), NO_CHECKS
        ended = self._guard(
            "check", folder, name, reference, plan.limits.check_seconds, plan.limits.memory_mib
        )
        return _read(folder / name / CHECKED, tuple[Check, ...]) or (), ended.why

    def _guard(
        self, part: str, folder: Path, name: str, reference: str, seconds: float, memory_mib: float
    ) -> Ended:
        kept = self.out.resolve() / SETS / name
        command = [sys.executable, "-m", WORKER, part, str(folder), str(folder / name), str(kept)]
        shown: dict[str, Progress] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                shown[stage] = self.stage(f"{name}: {stage}")
            shown[stage](done, total)

        log = folder / name / f"{part}.log"
        return guarded([*command, portable_reference(reference)], log, seconds, memory_mib, tell)

    def _assembled(self, plan: Plan, names: Sequence[str]) -> Results:
        known = {path.stem for path in (self.out / store.DESIGNS).glob("*.json")}
        order = [*names, *sorted(known - set(names))]
        designs = tuple(store.read_design(self._path(name)) for name in order)
        results = Results(
            format=FORMAT,
            version=VERSION,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            command=again(self.command, designs),
            seed=plan.seed,
            workload=plan.name,
            machine=this_machine(),
            plan=msgspec.to_builtins(plan),
            designs=designs,
            distances=pair_distances(plan, self.stage("distances between pictures")),
            files=store.digests(self.out),
            digest="",
        )
        made = store.sealed(results)
        store.write(self.out / store.RESULTS, encode(made))
        return made


def again(command: str, designs: Sequence[Design]) -> str:
    """The line that makes all rows again, those of earlier runs into the folder too."""
    rows = [one.measured or one.failed for one in designs]
    references = [row.reference for row in rows if row is not None]
    words = [] if set(references) == set(all_designs()) else ["--designs", ",".join(references)]
    return shlex.join([*shlex.split(command), *words, "--out", "DIR"])


def _must_be_there(reference: str) -> None:
    """A misspelt name is the user's fault, no design's; a file is loaded in the design's own process only."""
    if not is_path(reference):
        load_design(reference)
    elif not Path(reference.rpartition(":")[0]).is_file():
        raise RegistryError(f"{reference}: no such file")


def name_of(reference: str) -> str:
    """A file name for a design: its name, or one made of path and attribute with a digest of the path."""
    path, _, attribute = reference.rpartition(":")
    if not is_path(reference):
        return re.sub(r"[^A-Za-z0-9._-]", "-", reference)
    digest = sha256(str(Path(path).resolve()).encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{Path(path).stem}-{attribute}-{digest}")


def reference_words(reference: str) -> str:
    """A reference without the folders of the machine it was run on."""
    path, _, attribute = reference.rpartition(":")
    return f"{Path(path).name}:{attribute}" if is_path(reference) else reference


def _row(
    plan: Plan,
    name: str,
    reference: str,
    seen: Observed,
    checks: tuple[Check, ...],
    why: str,
    ran: Ended,
) -> Measured:
    return Measured(
        status="measured",
        reference=reference_words(reference),
        name=name,
        design=seen.design,
        entries=seen.entries,
        figures=judging.figures(seen, checks, why),
        recall_by_edit=judging.recall_by_edit(seen, plan.pictures.edits),
        recall_by_distance=judging.recall_by_distance(seen),
        traffic=seen.traffic,
        servers=seen.servers,
        audit=seen.audit,
        update=seen.update,
        offence=seen.offence,
        tries_until_hidden=judging.tries_until_hidden(seen.pictures, plan.pictures.edits),
        checks=checks,
        checks_why=why,
        stages=seen.stages,
        peak_mib_all=ran.peak_mib,
        seconds=ran.seconds,
        key=seen.key,
    )


def _read(path: Path, kind: Any) -> Any:
    """What a worker left, or None if it is not what it must be."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
