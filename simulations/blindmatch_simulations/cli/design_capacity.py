"""`blindmatch design capacity`: what modified phones open of a hidden list, and how long its key lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import SetParameters
from msgspec import to_builtins
from rich.table import Table

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import ERR, SetOption, complain, table, values_of
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design

if TYPE_CHECKING:
    from blindmatch_protocol.contract import AnyDesign

    from blindmatch_simulations.evaluation.studies.best_order import Guessed
    from blindmatch_simulations.evaluation.studies.capacity_records import Assumed, Capacity, OpenedShare

RESULT_VERSION: Final = 1


def _within(option: str, least: float, most: float, unit: str) -> Callable[[float | None], float | None]:
    """Return a callback that refuses numbers outside of `least` to `most`, and what is no number."""

    def check(value: float | None) -> float | None:
        # a comparison with nan is false, so that it is refused, too
        if value is not None and not least <= value <= most:
            rule = f"must be {unit} from {least:g} to {most:g}, not {value:g}"
            raise typer.BadParameter(rule, param_hint=option)
        return value

    return check


FIRST_EPOCH: Final = 1


def show_capacity(
    name: Annotated[
        str, typer.Argument(metavar="[DESIGN]", help="A design: a name, or path.py:NAME [default: all].")
    ] = "",
    values: SetOption = None,
    volume: Annotated[
        float | None,
        typer.Option(
            "--volume",
            callback=_within("--volume", 1, 1e13, "a number of pictures a day"),
            help="Pictures a day of all accounts together, 1 to 1e13 [default: the EU's, 720 million].",
        ),
    ] = None,
    pictures: Annotated[
        float,
        typer.Option(
            "--pictures",
            callback=_within("--pictures", 1, 1e9, "a number of pictures a year"),
            help="Pictures a year of a modified phone, 1 to 1e9: assumed.",
        ),
    ] = 20_000,
    years: Annotated[
        float,
        typer.Option(
            "--years",
            callback=_within("--years", 0.1, 100, "a number of years"),
            help="Life of a key that nothing ends, 0.1 to 100: assumed.",
        ),
    ] = 10,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Measure real lists for DESIGN's parameters, where nothing committed is of them: minutes.",
        ),
    ] = False,
) -> Found:
    """Tell what share of a hidden list modified phones open, and how long a key lasts.

    A device that learns whether its pictures are listed can ask for guesses, too, and many modified phones
    can pool what they ask. Without DESIGN the tables tell of all designs the share of the list that they open
    in a year, each for one kind of list, and the last one how long the keys last. With DESIGN they tell it
    for a year and for the key's life; where the design also limits all accounts together, the table of the
    limits by account alone comes first.

    Of uniform hashes a formula tells the share. Of real ones it is measured: an attacker that knows half of
    the reference corpus guesses the other half's hashes in the best order it knows. An entry is near if a
    picture that the attacker has is at most 64 bits away, and no honest question about it finds the entry; it
    is far beyond that.

    A limit on all accounts together protects the list until honest users have used the key up. How long that
    takes is told for --volume. Where it is less than a year, what counts is the limits by account alone: the
    first table of DESIGN, and those of all designs.

    Exit code 1 if you named a design whose key is used up within a year at that volume.
    """
    from blindmatch_simulations.evaluation.studies.capacity import capacity, eu_volume, opened_alone
    from blindmatch_simulations.evaluation.studies.capacity_records import Assumed

    given = values_of(values)
    if not name and (given or measure):
        raise typer.BadParameter("--set and --measure are of one design: name it")
    assumed = Assumed(volume or eu_volume(), pictures, years)
    designs = {name: load_design(name)} if name else {n: one.design for n, one in all_designs().items()}
    for design in designs.values():
        SetParameters(FIRST_EPOCH, given).check(design.info)
    now = time.time()
    found: dict[str, Capacity] = {}
    with phases(ERR) as begin:
        progress = begin("designs")
        for number, design in enumerate(designs.values()):
            parties = opened_alone(design, given, seeded("capacity"))
            more = _measured(design, parties, begin("guesses in the best order")) if measure else ()
            found[design.info.name] = capacity(parties, assumed, now, more=more)
            progress(number + 1, len(designs))
    result = {
        "result_version": RESULT_VERSION,
        "assumed": to_builtins(assumed),
        "designs": {one: to_builtins(own) for one, own in found.items()},
    }
    shown = tuple(_details(found, assumed) if name else _overview(found, assumed))
    used_up = {one: own.exhausted for one, own in found.items() if own.exhausted} if name else {}
    for one, words in used_up.items():
        complain(f"wrong: {one}: at this volume its key is used up within a year: {words}")
    return Found(result, shown, exit_codes.WRONG if used_up else exit_codes.OK)


def _measured(design: AnyDesign, parties: Any, progress: Any) -> tuple[Guessed, ...]:
    from blindmatch_simulations.evaluation.studies import best_order, hidden_parts
    from blindmatch_simulations.evaluation.studies.reference import read

    extraction = design.extraction(parties.setup)
    if extraction is None or extraction.places is None:
        raise typer.BadParameter(
            f"--measure: {design.info.name} declares no parts of a hash that are guessed"
        )
    reach = design.info.relation.distance or 0
    if extraction.hidden:
        return (hidden_parts.guess(read(), extraction, reach, progress),)
    return (best_order.guess(read(), extraction.places, extraction.needed, reach, progress),)


def _overview(found: dict[str, Capacity], assumed: Assumed) -> Iterator[Table | str]:
    from blindmatch_simulations.evaluation.studies import best_order
    from blindmatch_simulations.evaluation.studies import capacity_records as records

    columns = ("design", *(f"{phones:,}" for phones in assumed.phones))
    for kind, distance, says in (
        (records.UNIFORM, records.ANY, "uniform hashes"),
        (best_order.LIKE_PHOTOGRAPHS, best_order.FAR, "photograph-like, far from what the attacker has"),
        (best_order.ALL_KINDS, best_order.FAR, "all kinds of pictures, far from what the attacker has"),
        (best_order.ALL_KINDS, best_order.FURTHER, "the same, with what opens led further"),
        (best_order.ALL_KINDS, best_order.NEAR, "all kinds, near a picture that the attacker has"),
    ):
        rows = group_alike(
            {name: tuple(describe_shares(own, kind, distance, assumed)) for name, own in found.items()}
        )
        title = f"share of the list, percent, that modified phones open in a year: {says}"
        yield table(title, columns, rows, whole=columns)
    lasts = group_alike({name: (describe_life(own), own.notice or own.says) for name, own in found.items()})
    title = f"the key at {assumed.volume:,.0f} pictures a day"
    yield table(title, ("design", "lasts", "what honest users notice"), lasts, whole=("design",))
    yield from _notes(assumed)


def group_alike(rows: dict[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """A row for all designs of which the same is told, their names below one another."""
    named: dict[tuple[str, ...], list[str]] = {}
    for name, cells in rows.items():
        named.setdefault(cells, []).append(name)
    return [("\n".join(names), *cells) for cells, names in named.items()]


def describe_shares(own: Capacity, kind: str, distance: str, assumed: Assumed) -> Iterator[str]:
    """A cell for each number of phones, or, where a phone need not ask, what stands in place of all."""
    from blindmatch_simulations.evaluation.studies import capacity_records as records

    for phones in assumed.phones:
        share = own.find(phones, kind, distance) or own.find(phones, records.ANY, records.ANY)
        yield own.standing if share is None else _percent(share, own)


LEAST_SHOWN: Final = 1e-9


def _percent(share: OpenedShare, own: Capacity) -> str:
    if share.share is None:
        return "no limit" if own.standing == "tested alone" else "unknown"
    if not share.share and share.high:
        return f"<{100 * share.high:.2g}"
    if share.share < LEAST_SHOWN:
        return "0"
    return f"{100 * share.share:.2g}" if share.share < 0.995 else f"{100 * share.share:.4g}"


def describe_life(own: Capacity) -> str:
    from blindmatch_simulations.evaluation.studies.capacity import duration

    if own.exhausted:
        return own.exhausted
    ends = [one for one in (own.key_seconds, own.ends_seconds) if one is not None]
    return duration(min(ends)) if ends else "-" if own.standing != "hidden" else "is not used up"


def _details(found: dict[str, Capacity], assumed: Assumed) -> Iterator[Table | str]:
    ((design, own),) = found.items()
    columns = ("list", *(f"{phones:,}" for phones in assumed.phones))
    told: dict[tuple[str, str], dict[str, list[str]]] = {}
    for one in own.shares:
        rows = told.setdefault((one.limits, one.span), {})
        listed = one.kind if one.distance == "any" else f"{one.kind}, {one.distance}"
        rows.setdefault(listed, []).append(_percent(one, own))
    for limits, rows, times in _together(told):
        says = LIMITS[limits] if len({one for one, _ in told}) > 1 else limits
        title = f"{design}: share of the list, percent, by modified phones, in {times}; {says}"
        yield table(title, columns, [(listed, *cells) for listed, cells in rows.items()], whole=columns[1:])
    yield f"{design}: {own.says}"
    if own.standing == "hidden":
        yield f"key at {assumed.volume:,.0f} pictures a day: {describe_life(own)}; honest users: {own.notice}"
    yield from _notes(assumed)


LIMITS: Final = {
    "limits by account": "limits by account alone, as after honest users have used the key up",
    "all limits": "with the limit on all accounts together, while it lasts",
}
"""What the tables of a design say of the limits that hold in them, in their order."""


def _together(
    told: dict[tuple[str, str], dict[str, list[str]]],
) -> Iterator[tuple[str, dict[str, list[str]], str]]:
    """Yield each table once, with the limits and all times of which it is; limits by account alone first."""
    for limits in sorted({limits for limits, _ in told}, key=tuple(LIMITS).index):
        times: list[tuple[str, dict[str, list[str]]]] = [
            (time, rows) for (own, time), rows in told.items() if own == limits
        ]
        distinct = [rows for at, (_, rows) in enumerate(times) if rows not in [one for _, one in times[:at]]]
        for rows in distinct:
            yield limits, rows, " or ".join(time for time, one in times if one == rows)


def _notes(assumed: Assumed) -> Sequence[str]:
    from blindmatch_simulations.evaluation.studies.capacity import share_of_busiest

    busiest = f"{share_of_busiest(assumed.phone_pictures):.2%} of accounts send more"
    return (
        f"Assumed: {assumed.phone_pictures:,.0f} pictures a year of a modified phone ({busiest}); a key that "
        f"nothing ends lives {assumed.list_years:g} years, as its list does, though a list with deltas needs "
        "another one with every full set: give key_expires and --pictures for what limits then allow. "
        "Further accounts of a phone count as further phones.",
        "Real lists: the reference corpus, half of it known to the attacker; after <, the upper end of 95 % "
        "where none opened; unknown: not measured. Not in these curves, and known to open more: mirrored and "
        "turned images of known pictures, weak bits of edited copies. Not tried: millions of known pictures.",
    )
