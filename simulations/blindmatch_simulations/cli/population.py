"""`blindmatch population`: a year of a messenger, for every design of a results file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from msgspec import convert
from rich.table import Table

from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import ERR, parts, table
from blindmatch_simulations.evaluation.assess.judging import NOTHING
from blindmatch_simulations.evaluation.population.false_matches import ListRate
from blindmatch_simulations.evaluation.population.fates import DERIVATION, FATES
from blindmatch_simulations.evaluation.population.inputs import (
    YEAR,
    read_inputs,
    with_mix,
    with_rate,
)
from blindmatch_simulations.evaluation.population.outputs import NOT_KNOWN
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
OF_100: Final = "what becomes of 100 known files sent, by assumed shares"
COMPARED: Final = "Reports a head, beside counted years; this validates no part of the model"


def run_population(
    results: Annotated[
        Path | None,
        typer.Option("--results", help="A results file or folder of assess [default: the sample of docs]."),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", help="Inputs of your own (TOML) [default: eu-year].")
    ] = None,
    mix: Annotated[
        str,
        typer.Option(
            "--mix", help="Edits as EDIT=SHARE,EDIT=SHARE, summing to 1 [default: as the inputs say]."
        ),
    ] = "",
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            min=0,
            max=1,
            help="False matches a picture, assumed of all designs [default: not known].",
        ),
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
    and with inputs drawn, too. The rate of false matches is not known: what depends on it is told if one is
    assumed.
    """
    given = read_inputs(inputs)
    if mix:
        given = with_mix(given, mix)
    if rate is not None:
        given = with_rate(given, rate)
    count = int(given.accounts.number.value) if accounts is None else accounts
    chosen = [name.strip() for name in designs.split(",") if name.strip()]
    with phases(ERR) as begin:
        options = Options(count, days, workers, seed)
        made = run(given, results, chosen, options, partial(as_heard(begin), "blocks"))
    size = f"{count:,} accounts, {days:,} days, a list of {made['list_entries']:,.0f} entries, seed {seed}"
    return Found(made, list(_shown(made, size)))


def _shown(made: Mapping[str, Any], size: str) -> Iterator[Table | str]:
    rows = made["designs"]
    title = f"{size}. {BANDS}"
    yield from parts(title, ("design", *SHOWN.values()), list(_rows(rows)), EFFORT)
    yield from cores(rows)
    yield from exhausted(rows)
    yield from known_false(made)
    yield table(
        OF_100, ("design", *FATES.values(), "found, two shares moved"), list(_fates(rows)), ("design",)
    )
    yield f"{DERIVATION}. Assumed mix of edits: {_mix(made['inputs'])}."
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
        if found["why"] == NOT_KNOWN:
            return "not known"
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


def _fates(designs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    for one in designs:
        if one["status"] == "measured" and one["of_100"]:
            fates = one["of_100"]["fates"]
            ends = one["of_100"]["found_by_two_assumed_shares"]
            yield (
                one["design"],
                *(f"{fates[name]:.1f}" for name in FATES),
                " to ".join(f"{end:.0f}" for end in ends),
            )


def cores(designs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Over which list servers' cores are told, where that is not the year's."""
    told: dict[str, list[str]] = {}
    for one in designs:
        figure = one["run"]["server_cores"] if one["status"] == "measured" else {"value": None}
        why = str(figure.get("why", ""))
        if figure["value"] is not None and "not known beyond" in why:
            told.setdefault(why, []).append(one["design"])
    yield from (f"server cores of {', '.join(names)}: {why}" for why, names in told.items())


def exhausted(designs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Which designs this volume uses up, and what they are without the limit that it uses up."""
    told: dict[str, list[str]] = {}
    for one in designs:
        if words := one.get("exhausted"):
            told.setdefault(words, []).append(one["design"])
    yield from (
        f"{', '.join(names)} at this volume: {words}. By then all accounts together have used the key up; "
        "without that limit, those of an account remain."
        for words, names in told.items()
    )


def _mix(inputs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in inputs["edits"]["mix"].items())


def known_false(made: Mapping[str, Any]) -> Iterator[str]:
    """What is known of false matches, in three parts that stand together: seen, the least flattering rates,
    and where half of all matches are wrong; once for all designs of which it is the same."""
    even = made["break_even"]
    entries = made["list_entries"]
    told: dict[str, list[str]] = {}
    for row in made["designs"]:
        if known := row.get("false_matches"):
            told.setdefault(_seen(known, entries), []).append(row["design"])
    for words, designs in told.items():
        yield f"false matches of {', '.join(designs)}: {words}"
    yield (
        f"Half of all matches are wrong at one error in {even['pictures']:,.0f} pictures: {even['assumes']}. "
        "No test here can tell on which side of it reality lies."
    )


def _seen(known: Mapping[str, Any], entries: float) -> str:
    """`entries`: of the year's list, the mean."""
    seen = known["seen"]
    excluded = "" if seen["value"] else f", which excludes only rates above {seen['high']:.2%}"
    parts = [
        f"{round(seen['value'] * seen['n'])} of {seen['n']} photographs matched a picture of another source, "
        f"in a list of {seen['pairs'] / seen['n']:,.0f}{excluded}"
    ]
    for one in known["lists"]:
        item = one["item"]
        there = convert(one, ListRate).at(entries)
        parts.append(
            f"all kinds of pictures against a list of {item['pairs'] / item['n']:,.0f} ({one['list']}): "
            f"{item['value']:.2%} ({item['low']:.2%} to {item['high']:.2%}); scaled to the year's "
            f"{entries:,.0f} entries, a model: {there.value:.2%} ({there.low:.2%} to {there.high:.2%})"
        )
    return "; ".join(parts)


def opened(row: Mapping[str, Any]) -> str:
    """What a design's threshold lets nobody see, and whom it opens all the same."""
    one = row["threshold"]
    wrong = row["threshold"]["opened_wrongly_a_year"]
    seen = " to ".join(short(one["seen"][end]) for end in ("from_utility", "from_t"))
    chance, series, bursts = (short(wrong[how]) for how in ("independent", "in_series", "bursts"))
    rate = f"{1 / wrong['rate']:,.0f}" if wrong["rate"] else "infinitely many"
    return (
        f"{row['design']}: an account with fewer than {one['t']} matches in {one['days']} days reports "
        f"nothing; from {one['always']} on, all are opened. Expected: of {one['sharers']:,} sharers their "
        f"true matches open {seen}. Accounts opened wrongly in a year at one error in {rate} pictures, "
        f"{wrong['at']}: {chance} if false matches are independent, {series} in the model's series and "
        f"cascades, {bursts} with the bursts that `design threshold` assumes."
    )


def unseen(made: Mapping[str, Any]) -> str:
    """What pictures without a match bound, and what that still allows."""
    one = made["unseen"]
    return (
        f"{one['pictures']:,} pictures without a match bound false matches at 1 in 1,000,000, which still is "
        f"{short(one['false_reports'])} false reports here."
    )
