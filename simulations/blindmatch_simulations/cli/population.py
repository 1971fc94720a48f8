"""`blindmatch population`: a year of a messenger, for every design of a results file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Found, people
from blindmatch_simulations.cli.console import parts, table
from blindmatch_simulations.evaluation.assess.judging import NOTHING
from blindmatch_simulations.evaluation.population.inputs import YEAR, read_inputs
from blindmatch_simulations.evaluation.population.running import Options, run
from blindmatch_simulations.measure.phases import as_heard
from blindmatch_simulations.measure.results import short, shortest

SHOWN: Final = {
    "true_reports": "true reports", "false_reports": "false reports", "accounts_wrong": "wrong accounts",
    "missed_unrecognised": "not recognised", "people_needed": "people", "backlog": "backlog",
    "server_cores": "server cores", "keys_used": "keys used",
}  # fmt: skip
EFFORT: Final = 1 + list(SHOWN).index("people_needed")
WIDEST: Final = 3
BANDS: Final = (
    "Below a value is what 95 % of runs lie in, by chance, at either end of what was measured; below that, "
    "with every input and measured figure drawn between its ends, too."
)
COMPARED: Final = "Reports a head, beside counted years; this validates no part of the model"


def run_population(
    results: Annotated[
        Path | None,
        typer.Option("--results", help="A results file or folder of assess [default: the sample of docs]."),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", help="Inputs of your own (TOML) [default: eu-year].")
    ] = None,
    designs: Annotated[
        str, typer.Option("--designs", help="Rows of the results file, separated by commas [default: all].")
    ] = "",
    accounts: Annotated[
        int | None,
        typer.Option("--accounts", min=1, max=10**10, help="[default: as the inputs say, 450 million]"),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="Days that are simulated.")] = YEAR,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, help="Processes; the result does not depend on it.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides every random number.")] = 1,
) -> Found:
    """Simulate a messenger with many accounts over many days: what each design reports, misses and costs.

    How a design behaves is read from the committed evidence and a results file of assess; what people and the
    centre do from a file of inputs, each figure with its source. Bands are where 95 % of runs lie: by chance,
    and with inputs drawn, too.
    """
    given = read_inputs(inputs)
    count = int(given.accounts.number.value) if accounts is None else accounts
    chosen = [name.strip() for name in designs.split(",") if name.strip()]
    with phases(people()) as begin:
        options = Options(count, days, workers, seed)
        made = run(given, results, chosen, options, partial(as_heard(begin), "blocks"))
    return Found(made, list(_shown(made, f"{count:,} accounts, {days:,} days, seed {seed}")))


def _shown(made: Mapping[str, Any], size: str) -> Iterator[Table | str]:
    rows = made["designs"]
    title = f"{size}. {BANDS}"
    yield from parts(title, ("design", *SHOWN.values()), list(_rows(rows)), EFFORT)
    yield unseen(made)
    yield from (f"{one['design']}: {one['why']}" for one in rows if one["status"] != "measured")
    yield from (opened(one) for one in rows if one.get("threshold"))
    yield table(f"what matters most: {rows[-1]['design']}", TORNADO, _widest(rows[-1]), TORNADO[:3])
    yield table(COMPARED, COUNTED, list(_years(made["calibration"])))
    yield f"digest {made['digest']}"


TORNADO: Final = ("output", "expected", "figure", "at its low end", "at its high end")
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


def opened(row: Mapping[str, Any]) -> str:
    """What a design's threshold lets nobody see, and whom it opens all the same."""
    one, wrong = row["threshold"], row["threshold"]["opened_wrongly_a_year"]
    seen = " to ".join(short(one["seen"][end]) for end in ("from_utility", "from_t"))
    chance, bursts = (
        " to ".join(short(wrong[end][how]) for end in ("value", "high")) for how in ("independent", "bursts")
    )
    return (
        f"{row['design']}: an account with fewer than {one['t']} matches in {one['days']} days reports "
        f"nothing. Expected: of {one['sharers']:,} sharers their true matches open {seen}; false matches "
        f"alone open an account {chance} times a year if independent, {bursts} with the bursts that `design "
        "threshold` assumes."
    )


def unseen(made: Mapping[str, Any]) -> str:
    """What pictures without a match bound, and what that still allows."""
    one = made["unseen"]
    return (
        f"{one['pictures']:,} pictures without a match bound false matches at 1 in 1,000,000, which still is "
        f"{short(one['false_reports'])} false reports here. That a longer list matches more, in proportion, "
        "is a model."
    )
