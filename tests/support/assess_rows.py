"""A measured design as data: observations and the row that is made from them."""

from __future__ import annotations

from blindmatch_simulations.assess import judging
from blindmatch_simulations.assess.observed import (
    AloneRow,
    Audited,
    Built,
    Check,
    Declared,
    Described,
    FactSeen,
    HarnessRow,
    Observed,
    Offence,
    PictureRow,
    ServerCost,
    Traffic,
    Updated,
)
from blindmatch_simulations.assess.results import Measured

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
    facts = (FactSeen("query_time", HOSTILE),)
    declared = (
        Declared(("matcher",), "semi-honest", "design", facts),
        Declared(("device",), "semi-honest", "design", ()),
        Declared(("provider",), "semi-honest", "messenger", facts),
    )
    design = Described(
        name, 1, option, differs, HOSTILE, 31, ("device",), {"matcher": "matcher"}, False,
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
        alone=(AloneRow(0, 10.0, 1.0, 1.0, 0.5, 0.5), AloneRow(1, 12.0, 2.0, 1.5, 0.7, 0.6)),
        harness=tuple(HarnessRow(at, 2.0, 1.0, 2.1 + at / 10, 1.03) for at in range(5)),
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
    return Measured(
        "measured", seen.design.name, seen.design.name, seen.design, seen.entries,
        judging.figures(seen, checks, why), judging.recall_by_edit(seen, EDITS),
        judging.recall_by_distance(seen), seen.traffic, seen.servers, seen.audit,
        seen.update, seen.offence,
        judging.tries_until_hidden(seen.pictures, EDITS), checks, why, {}, 0.0, 1.0, seen.key,
    )  # fmt: skip
