"""`blindmatch bench near` and `blindmatch design tune`: near matching measured, and its parameters chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from blindmatch_simulations.cli.console import JsonOption, bars, console_for, table, write_json
from blindmatch_simulations.near import Options, Point, Wishes, edited_crops, run_near, tune

app = typer.Typer(help="Choose a design's parameters.", no_args_is_help=True)

TUNABLE: Final = "token-psi"
SEED: Final = 23
ROW_COLUMNS: Final = ("figure", "value", "unit", "reach", "verdict", "how")
POINT_COLUMNS: Final = ("k", "bands", "probes", "needed", "recall %", "device u", "list costs", "bytes asked")

CropsOption = Annotated[int, typer.Option(min=5, max=600, help="Crops, each of which gets every edit.")]
Log2nOption = Annotated[int, typer.Option("--log2n", min=4, max=24, help="The list has 2^this entries.")]


def bench_near(
    log2n: Log2nOption = 20,
    crops: CropsOption = 300,
    sessions: Annotated[int, typer.Option(min=1, help="Whole sessions with all cryptography.")] = 100,
    built: Annotated[int, typer.Option(min=16, help="Entries of the set that is built.")] = 1024,
    json_path: JsonOption = None,
) -> None:
    """token-psi: recall by edit and distance, entries revealed, cost, and what extraction costs.

    Rows marked "tokens" count without cryptography on large samples; rows marked "protocol" run all of it.
    """
    console = console_for(json_path)
    options = Options(set_size=1 << log2n, crops=crops, sessions=sessions, built=built)
    with _stages(console) as stage:
        rows = run_near(options, stage)
    for section in dict.fromkeys(row.section for row in rows):
        cells = [
            (row.what, _figure(row.value), row.unit, row.reach or "-", row.verdict, row.how)
            for row in rows
            if row.section == section
        ]
        console.print(table(section, ROW_COLUMNS, cells))
    write_json([row.as_json() for row in rows], json_path)


@app.command("tune")
def tune_design(
    design: Annotated[
        str, typer.Argument(help="The design; token-psi alone has parameters to tune.")
    ] = TUNABLE,
    log2n: Log2nOption = 20,
    recall: Annotated[float, typer.Option(min=0, max=100, help="Least recall, in percent.")] = 99.0,
    device: Annotated[float, typer.Option(min=0, help="Most CPU of the device a picture, in u.")] = 900.0,
    secrecy: Annotated[
        float, typer.Option(min=0, help="Log2 of the evaluations that may reveal the whole list, at least.")
    ] = 25.0,
    crops: CropsOption = 60,
    json_path: JsonOption = None,
) -> None:
    """Draw the frontier of recall, device cost and list secrecy, and propose parameters."""
    if design != TUNABLE:
        raise typer.BadParameter(f"only {TUNABLE} has parameters to tune, not {design}")
    console = console_for(json_path)
    wishes = Wishes(set_size=1 << log2n, recall=recall, device_u=device, secrecy=2.0**secrecy)
    with _stages(console) as stage:
        pairs = edited_crops(crops, SEED, progress=partial(stage, "edited crops"))
        found = tune(pairs, wishes, partial(stage, "combinations"))
    shown = [point for point in found.points if point.recall >= recall - 5]
    console.print(
        table(f"frontier of {design} from {recall - 5:g} % recall on", POINT_COLUMNS, _cells(shown))
    )
    if found.proposal is None:
        console.print("no combination does all that was asked for: lower a wish")
    else:
        chosen = found.proposal.tokening
        words = " ".join(f"--set {name}={value}" for name, value in asdict(chosen).items())
        console.print(f"proposal: blindmatch list build NAME --design {design} {words}", soft_wrap=True)
    points = [_described(point) for point in found.points]
    proposal = _described(found.proposal) if found.proposal else None
    write_json({"wishes": asdict(wishes), "points": points, "proposal": proposal}, json_path)


@contextmanager
def _stages(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """One bar for each stage, made when it is first heard of."""
    with bars(console) as shown:
        tasks: dict[str, Any] = {}

        def stage(title: str, done: int, total: int) -> None:
            if title not in tasks:
                tasks[title] = shown.add_task(title, total=total)
            shown.update(tasks[title], completed=done, total=total)

        yield stage


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"


def _cells(points: list[Point]) -> list[tuple[object, ...]]:
    return [
        (
            point.tokening.k,
            point.tokening.bands,
            point.tokening.probes,
            point.tokening.needed,
            f"{point.recall:.2f}",
            f"{point.device_u:.0f}",
            f"{point.secrecy:,.3g}",
            point.request_bytes,
        )
        for point in points
    ]


def _described(point: Point) -> dict[str, Any]:
    return asdict(point)
