"""What can be measured, by reference, the row that is made of it, and the points of a sweep."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Final

import msgspec
from blindmatch_protocol.contract import SetParameters
from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from blindmatch_simulations.evaluation.assess.figures import figures_of
from blindmatch_simulations.evaluation.assess.judging import (
    Case,
    found_by_kind,
    recall_by_distance,
    recall_by_edit,
    tries_until_hidden,
)
from blindmatch_simulations.evaluation.assess.observed import Check, Observed
from blindmatch_simulations.evaluation.assess.plan import Listing, Plan, PlanError, Sweep
from blindmatch_simulations.evaluation.assess.results import Design, Measured, Studied
from blindmatch_simulations.evaluation.studies.targeted import Scheme, attempts, costs
from blindmatch_simulations.measure.results import Figure, Strict
from blindmatch_simulations.measure.yardstick import conditions
from blindmatch_simulations.testbed.deployment.registry import (
    all_designs,
    check_file,
    is_path,
    load_design,
    path_of,
)

UNITS: Final = {"sender_u": "u", "authority_u": "u", "escrow_bytes": "bytes"}


def _targeted(name: str) -> Studied:
    began = time.perf_counter()
    scheme = Scheme()
    found = tuple(attempts(scheme))
    return Studied(
        id=name,
        what=f"No detection: {scheme.k} of {scheme.n} authorities together open the messages of one account. "
        "Made-up accounts, in one process.",
        option="0c",
        page=f"docs/designs/{name}.md",
        parameters={"reference": name, **asdict(scheme)},
        figures={key: Figure(value, unit=UNITS[key]) for key, value in costs(scheme).items()},
        opened=found,
        seconds=round(time.perf_counter() - began, 2),
    )


STUDIES: Final[Mapping[str, Callable[[str], Studied]]] = {"targeted-access": _targeted}
"""By name, as they are asked for beside designs."""


class Done(Strict, frozen=True):
    """What was seen of a design, and what that took; kept until it is checked."""

    seen: Observed
    peak_mib: float
    seconds: float


def option_of(row: Design) -> str | None:
    """The option of the catalogue that a row is of; None if it failed."""
    if isinstance(row, Measured):
        return row.design.option
    return row.option if isinstance(row, Studied) else None


def known() -> list[str]:
    """Everything that can be measured without a path."""
    return sorted({*all_designs(), *STUDIES})


def again(command: str, rows: Sequence[Design]) -> str:
    """The line that makes all rows again, those of earlier runs into the folder too."""
    references = [str(row.parameters["reference"]) for row in rows]
    words = [] if set(references) == set(known()) else ["--designs", ",".join(references)]
    return shlex.join([*shlex.split(command), *words, "--out", "DIR"])


def must_be_there(reference: str) -> None:
    """A misspelt name is the user's fault, no design's; a file is loaded in the design's own process only."""
    if reference in STUDIES:
        return
    if is_path(reference):
        check_file(path_of(reference))
    else:
        load_design(reference)


def name_of(reference: str) -> str:
    """A file name for a design: its name, or one made of path and attribute with a digest of the path."""
    path, _, attribute = reference.rpartition(":")
    if not is_path(reference):
        return re.sub(r"[^A-Za-z0-9._-]", "-", reference)
    digest = sha256(str(path_of(reference).resolve()).encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{Path(path).stem}-{attribute}-{digest}")


def reference_words(reference: str) -> str:
    """A reference without the folders of the machine it was run on."""
    path, _, attribute = reference.rpartition(":")
    return f"{Path(path).name}:{attribute}" if is_path(reference) else reference


def row_of(
    plan: Plan,
    name: str,
    reference: str,
    done: Done,
    checks: tuple[Check, ...],
    why: str,
) -> Measured:
    """The row of a design that was run and, unless `why` says otherwise, checked."""
    seen = done.seen
    case = Case(done.seen, checks, why, reference_words(reference))
    declared = seen.design.parameters
    given = {name: declared[name] for name in plan.parameters if name in declared}
    same = set(Measured.__struct_fields__).intersection(Observed.__struct_fields__)
    as_seen: dict[str, Any] = {name: getattr(seen, name) for name in same}
    return Measured(
        id=name,
        what=seen.design.summary,
        conditions=None if seen.timed is UNSET else conditions(list(seen.timed.values())),
        parameters={"reference": reference_words(reference), "entries": seen.entries, **given},
        figures=figures_of(case),
        recall_by_edit=recall_by_edit(case, plan.pictures.edits),
        recall_by_distance=recall_by_distance(case),
        tries_until_hidden=tries_until_hidden(case.rows, plan.pictures.edits),
        checks=checks,
        checks_why=why,
        peak_mib_all=done.peak_mib,
        seconds=done.seconds,
        recall_by_kind=found_by_kind(case, True) or UNSET,
        false_by_kind=found_by_kind(case, False) or UNSET,
        **as_seen,
    )


class Point(Struct, frozen=True):
    """An assessment of a sweep.

    Attributes:
        name: of its folder; empty if it is the only one, and has the whole folder.
        words: the options that give it alone.
    """

    name: str
    text: str
    references: tuple[str, ...]
    words: tuple[str, ...]


def points(plan: Plan, references: Sequence[str]) -> list[Point]:
    """The points of a plan's sweep, or of the plan as it is; those of each design in the order of the grid;
    `PlanError` if a parameter is of no design, or a value is there twice; `DesignError` if a value is out of
    range; `RegistryError` if a design is not there."""
    wanted = list(references) or known()
    sweep = plan.sweep or Sweep()
    for reference in wanted:
        must_be_there(reference)
    _check(plan, sweep, wanted)
    grid: dict[tuple[Any, ...], list[str]] = {}
    for reference in wanted:
        for key in _grid(plan, sweep, reference):
            grid.setdefault(key, []).append(reference)
    return [_point(plan, sweep, key, mine, len(grid) > 1) for key, mine in grid.items()]


def names_of(reference: str, given: Sequence[str]) -> list[str]:
    """Which of `given` parameters a design has; all of them for a file, which its own process alone loads."""
    if reference in STUDIES:
        return []
    if is_path(reference):
        return list(given)
    declared = {one.name for one in load_design(reference).info.parameters}
    return [name for name in given if name in declared]


def _check(plan: Plan, sweep: Sweep, references: Sequence[str]) -> None:
    for name, values in {**sweep.set, "random": sweep.random, "seeds": sweep.seeds}.items():
        if len(set(values)) < len(values):
            raise PlanError(f"sweep: {name}: must not have a value twice")
    for name, values in {**{one: (value,) for one, value in plan.parameters.items()}, **sweep.set}.items():
        having = [one for one in references if name in names_of(one, [name])]
        if not having or not values:
            raise PlanError(f"sweep: {name}: {'no design of this run has it' if values else 'needs a value'}")
        for reference in having:
            for value in values if not is_path(reference) else ():
                SetParameters(1, {name: value}).check(load_design(reference).info)


def _grid(plan: Plan, sweep: Sweep, reference: str) -> Iterator[tuple[Any, ...]]:
    names = names_of(reference, list(sweep.set))
    fixed = {name: plan.parameters[name] for name in names_of(reference, list(plan.parameters))}
    axes = [sweep.set[name] for name in names]
    for seed, random, *values in product(
        sweep.seeds or (plan.seed,), sweep.random or (plan.list.random,), *axes
    ):
        yield tuple(sorted({**fixed, **dict(zip(names, values, strict=True))}.items())), random, seed


def _point(plan: Plan, sweep: Sweep, key: tuple[Any, ...], references: list[str], several: bool) -> Point:
    values, random, seed = key
    made = replace(plan, parameters=dict(values), list=Listing(random), seed=seed, sweep=None)
    axes = [f"{name}={value}" for name, value in values]
    name = "_".join([*axes, f"random={random}", f"seed={seed}"]) if several else ""
    words = [word for one in axes for word in ("--set", one)]
    words += ["--list-sizes", str(random)] if sweep.random else []
    words += ["--seeds", str(seed)] if sweep.seeds else []
    return Point(name, plan_toml(made), tuple(references), tuple(words))


def plan_toml(plan: Plan) -> str:
    """A plan as a workload file. JSON's texts, numbers and lists are TOML's, too."""
    fields = {key: value for key, value in msgspec.to_builtins(plan).items() if value not in (None, {})}
    plain = [f"{key} = {_value(value)}\n" for key, value in fields.items() if not isinstance(value, dict)]
    tables = [
        f"\n[{key}]\n" + "".join(f"{name} = {_value(one)}\n" for name, one in value.items())
        for key, value in fields.items()
        if isinstance(value, dict)
    ]
    return "".join([*plain, *tables])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)
