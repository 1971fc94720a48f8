"""Sweeps: one workload over a grid of parameters, list sizes and seeds, each point an assessment of its own.

    workload with [sweep] --> points --> OUT/k=20_random=3000_seed=1/results.json, ... --> one table (`tidy`)

A design is measured on the values of those parameters that it has; at each point once. A sweep that was
interrupted goes on, point by point, and one that gets further values keeps the points that are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import msgspec
from blindmatch_protocol.contract import SetParameters
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.plan import (
    CorpusPick,
    KindsPick,
    Listing,
    Plan,
    PlanError,
    Sweep,
)
from blindmatch_simulations.evaluation.assess.rows import known, must_be_there
from blindmatch_simulations.evaluation.assess.studying import STUDIES
from blindmatch_simulations.testbed.deployment.registry import is_path, load_design


class Point(Struct, frozen=True):
    """An assessment of a sweep.

    Attributes:
        name: of its folder; empty if it is the only one, and has the whole folder.
        text: its workload file.
        references: designs that are measured on it.
        words: the options that give it alone.
    """

    name: str
    text: str
    references: tuple[str, ...]
    words: tuple[str, ...]


def points(plan: Plan, references: Sequence[str]) -> list[Point]:
    """The points of a plan's sweep, or of the plan as it is; those of each design in the order of the grid.

    Raises:
        PlanError: if a parameter is of no design, or a value is there twice.
        DesignError: if a value is out of range.
        RegistryError: if a design is not there.
    """
    wanted, sweep = list(references) or known(), plan.sweep or Sweep()
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
    """Values, list size and seed of each point that a design is measured on."""
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
    if several:  # what PDQ makes of pictures depends on no point
        made = replace(made, corpus=CorpusPick(0), kinds=KindsPick(0, 0))
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
