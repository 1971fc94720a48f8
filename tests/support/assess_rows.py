"""A tiny workload; a measured design as data: observations and the row that is made from them."""

from __future__ import annotations

import re

from blindmatch_protocol.contract import Severity
from blindmatch_simulations.evaluation.assess.observed import (
    AloneRow,
    Audited,
    Built,
    Check,
    Declared,
    Described,
    FactSeen,
    Observed,
    Offence,
    PictureRow,
    ServerCost,
    Traffic,
    Updated,
)
from blindmatch_simulations.evaluation.assess.plan import plan_text, read_plan
from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.evaluation.assess.subjects import Done, row_of
from blindmatch_simulations.evaluation.conformance.leakage.power import at_once
from blindmatch_simulations.measure.intervals import advantage
from msgspec.structs import replace

TINY = """
version = 3
name = "tiny"
seed = 3
list = { random = 40 }
update = { adds = 2, removes = 1 }
audit = { pictures = 2 }
alone = { pictures = 2 }
limits = { run_seconds = 600, check_u = 0, memory_mib = 1500 }

[pictures]
listed = 2
unlisted = 3
edits = ["identical", "jpeg-90", "crop-2%"]
unlisted_edits = ["identical"]
"""


def tiny(**values: object) -> str:
    """The workload with other values of keys, as TOML has them."""
    text = TINY
    for key, value in values.items():
        text, found = re.subn(rf"\b{key} = (\[.*?\]|[^\s,]+)", f"{key} = {value}", text)
        assert found == 1, key
    return text


HOSTILE = "<script>alert('x')</script>"


EDITS = ("identical", "caption")


def picture(index: int, edit: str, listed: bool, matched: bool | None) -> PictureRow:
    distance = 0 if edit == "identical" else 40
    near = distance if listed else 90
    return PictureRow(
        index, "cat" if listed else f"dog-{index}", edit, listed, 100, distance, near, matched is True,
        matched, "match", True, 70, 136, 100, 5.0 + index, 2.0,
    )  # fmt: skip


def observed(name: str = "quoted", option: str = "1b", differs: str = "", tells: bool = True) -> Observed:
    facts = (FactSeen("query_time", HOSTILE, Severity.TIMES),)
    declared = (
        Declared(("matcher",), "semi-honest", "design", facts),
        Declared(("device",), "semi-honest", "design", ()),
        Declared(("provider",), "semi-honest", "messenger", facts),
    )
    design = Described(
        name, 1, option, differs, HOSTILE, 31, ("device",), {"matcher": "matcher"}, "no",
        {"k": 24, "bands": 10, "probes": 16}, declared,
    )  # fmt: skip
    matched = (True, False, False, False) if tells else (None,) * 4
    pictures = tuple(
        picture(at, edit, listed, hit)
        for at, (edit, listed, hit) in enumerate(
            zip((*EDITS, "identical", "identical"), (True, True, False, False), matched, strict=True)
        )
    )
    return Observed(
        design=design,
        entries=100,
        build=Built(1.0, 0.5, 100, 8000),
        build_parts=1,
        pictures=pictures,
        arrived=4,
        alone=(AloneRow(0, 10.0, 1.0, 1.0, 0.5, 0.5, 0, 4.0), AloneRow(1, 12.0, 2.0, 1.5, 0.7, 0.6, 0, 5.0)),
        traffic=(Traffic("matcher", "matching", 280, 544),),
        servers=(ServerCost("matcher", 0.4, 100.0),),
        peak_mib=3.0,
        audit=Audited(2, 2, 0, ()),
        update=Updated("cannot be updated"),
        offence=Offence(1, 1, 0, 1, True, True, 0),
        vouchers_opened=0,
        query_rate=50.0,
        query_burst=500,
        stages={},
    )


def row(seen: Observed, checks: tuple[Check, ...] = (), why: str = "no time") -> Measured:
    plan = read_plan(plan_text(None))
    edited = replace(plan, pictures=replace(plan.pictures, edits=EDITS))
    return row_of(edited, seen.design.name, seen.design.name, Done(seen, 0.0, 1.0), checks, why)


def game_figures(high: float, runs: int) -> dict[str, object]:
    """Of an opponent of a game of one class, whose bound is `high`."""
    one = advantage(runs // 2, runs)
    found = {"resolution": round(one.resolution, 4), "caught": at_once(runs, one.confidence).caught}
    return {**found, "interval": [0.0, high], "held_out_runs": runs, "class_runs": runs, "classes": 1}
