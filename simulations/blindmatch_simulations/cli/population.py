"""`blindmatch population`: a year of a messenger, for every design of a results file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Found, people
from blindmatch_simulations.cli.console import parts, table
from blindmatch_simulations.cli.corpus import RayOption
from blindmatch_simulations.evaluation.assess.judging import NOTHING
from blindmatch_simulations.evaluation.assess.results import write_whole
from blindmatch_simulations.evaluation.population.computing import DEVICE_DAYS
from blindmatch_simulations.evaluation.population.inputs import YEAR, read_inputs
from blindmatch_simulations.evaluation.population.running import Options, run
from blindmatch_simulations.measure.phases import as_heard
from blindmatch_simulations.measure.results import shortest
from blindmatch_simulations.report.yearly import BANDS, COMPARED, unseen, yearly

SHOWN: Final = {
    "true_reports": "true reports", "false_reports": "false reports", "accounts_wrong": "wrong accounts",
    "missed_unrecognised": "not recognised", "people_needed": "people", "backlog": "backlog",
    "server_cores": "server cores", "keys_used": "keys used",
}  # fmt: skip
EFFORT: Final = 1 + list(SHOWN).index("people_needed")
PAGE: Final = "population.html"
WIDEST: Final = 3

ResultsOption = Annotated[
    Path | None,
    typer.Option("--results", help="A results file or folder of assess [default: the sample of docs]."),
]
InputsOption = Annotated[
    Path | None, typer.Option("--inputs", help="Inputs of your own (TOML) [default: eu-year].")
]
DesignsOption = Annotated[
    str, typer.Option("--designs", help="Rows of the results file, separated by commas [default: all].")
]
AccountsOption = Annotated[
    int | None,
    typer.Option("--accounts", min=1, max=10**10, help="[default: as the inputs say, 450 million]"),
]
DaysOption = Annotated[int, typer.Option("--days", min=1, max=3650, help="Days that are simulated.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=256, help="Processes; the result does not depend on it.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Decides every random number.")]
DevicesOption = Annotated[
    int,
    typer.Option("--devices", min=0, max=100_000, help="Also run so many real devices of each design."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of result and page; an interrupted run goes on."),
]


def run_population(
    results: ResultsOption = None,
    inputs: InputsOption = None,
    designs: DesignsOption = "",
    accounts: AccountsOption = None,
    days: DaysOption = YEAR,
    workers: WorkersOption = 1,
    ray: RayOption = "",
    seed: SeedOption = 1,
    devices: DevicesOption = 0,
    out: OutOption = None,
) -> Found:
    """Simulate a messenger with many accounts over many days: what each design reports, misses and costs.

    How a design behaves is read from the committed evidence and a results file of assess; what people and the
    centre do from a file of inputs, each figure with its source. Bands are where 95 % of runs lie: by chance,
    and with inputs drawn, too.
    Exit code 1 if real devices (--devices) count what the model excludes.
    """
    given = read_inputs(inputs)
    count = int(given.accounts.number.value) if accounts is None else accounts
    chosen = [name.strip() for name in designs.split(",") if name.strip()]
    with phases(people()) as begin:
        options = Options(count, days, workers, seed, out, devices, ray)
        made = run(given, results, chosen, options, partial(as_heard(begin), "blocks"))
    if out is not None:
        write_whole(out / PAGE, yearly(made).encode())
    shown = list(_shown(made, f"{count:,} accounts, {days:,} days, seed {seed}"))
    if out is not None:
        shown.append(f"written: {out / PAGE}")
    lived = {one["design"]: one["devices"] for one in made["designs"] if one.get("devices")}
    if lived:
        title = f"{devices:,} real devices, {min(days, DEVICE_DAYS)} days"
        shown.append(table(title, LIVED, list(_lived(lived))))
    right = all(one["agree"] for one in lived.values())
    return Found(made, shown, exit_codes.OK if right else exit_codes.WRONG)


def _shown(made: Mapping[str, Any], size: str) -> Iterator[Table | str]:
    rows = made["designs"]
    title = f"{size}. {BANDS}"
    yield from parts(title, ("design", *SHOWN.values()), list(_rows(rows)), EFFORT)
    yield unseen(made)
    yield from (f"{one['design']}: {one['why']}" for one in rows if one["status"] != "measured")
    yield table(f"what matters most: {rows[-1]['design']}", TORNADO, _widest(rows[-1]), TORNADO[:3])
    yield table(COMPARED, COUNTED, list(_years(made["calibration"])))
    yield f"digest {made['digest']}"


TORNADO: Final = ("output", "expected", "figure", "at its low end", "at its high end")
LIVED: Final = ("design", "what", "counted", "model, 99.99 %", "agrees")
COUNTED: Final = ("year", "what", "expected", "counted", "residual %")


def _rows(designs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    for one in designs:
        if one["status"] == "measured":
            yield (one["design"], *(_cell(one["run"][name]) for name in SHOWN))


def _cell(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "-" if found["why"].startswith(NOTHING) else "not measured"
    if found["low"] is None:
        return shortest(found["value"])
    ends = ((found["low"], found["high"]), found["joint"] or ())
    bands = (" to ".join(map(shortest, two)) for two in ends if two)
    return "\n".join((found.get("verdict", shortest(found["value"])), *bands))


def _widest(one: Mapping[str, Any]) -> list[tuple[object, ...]]:
    moved = [row for row in one.get("sensitivity", ()) if row["output"] in SHOWN]
    rows: list[tuple[object, ...]] = []
    for output, group in groupby(moved, key=lambda row: row["output"]):
        for row in list(group)[:WIDEST]:
            ends = (shortest(row["at_low"]), shortest(row["at_high"]))
            rows.append((output, shortest(row["base"]), row["input"], *ends))
    return rows


def _years(years: Iterable[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    for one in years:
        for what in ("received", "forwarded"):
            if what in one:
                share = f"{100 * one[what]['residual_share']:+.1f}"
                yield one["name"], what, one[what]["expected"], one[what]["counted"], share


def _lived(lived: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    for design, told in lived.items():
        for what, one in told["outputs"].items():
            agrees = "yes" if one["within"] else "no"
            yield design, what, one["counted"], f"{one['low']:,} to {one['high']:,}", agrees
