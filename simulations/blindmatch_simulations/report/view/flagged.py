"""Innocent pictures that match, on one logarithmic scale of rates.

In:   the committed evidence of a near design; the break-even of the year's inputs; what others claim.
Out:  marks: what was seen and what that excludes, what was measured of all kinds of pictures, where half of
      all matches would be wrong, and what others claim, each with its unit, its pictures and its list.

A rate of pictures against a list, one of pairs and one of accounts are different quantities; each mark says
which it is. Nothing here can tell on which side of the break-even real traffic lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from blindmatch_protocol.picture.pdq import MATCH_DISTANCE

from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.population.false_matches import KnownFalse, break_even
from blindmatch_simulations.evaluation.population.inputs import Inputs
from blindmatch_simulations.evaluation.studies.evidence import committed as committed_evidence
from blindmatch_simulations.evaluation.studies.false_matches import ALL, FALSE
from blindmatch_simulations.measure.intervals import level_of
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report.view.ledger import Ledger
from blindmatch_simulations.report.view.schema import Evidence, Rate, State

FILE: Final = "evidence.json"
BREAK_EVEN: Final = "flagged/break-even"
SEEN: Final = "flagged/seen"
EXCLUDED: Final = "flagged/excluded"
EXCLUDED_BY_SOURCE: Final = "flagged/excluded-by-source"
WORST_KIND: Final = "flagged/worst-kind"
SOURCE: Final = f"{FILE}: rows, evidence/false, photographs against all"
MIXED: Final = "flagged/mixed"
VOLUME: Final = "inputs/volume"
WRONG_AT_EVEN: Final = "flagged/wrong-at-break-even"
PICTURE: Final = "each picture"
UNITS: Final = ("picture", "pair", "account")
LISTS: Final = {"mixed": "pictures of all kinds", "photographs": "photographs"}


def rates(known: KnownFalse | None, inputs: Inputs, ledger: Ledger) -> tuple[Rate, ...]:
    """Return all marks; without evidence of false matches, those that need none."""
    made = [_even(inputs, ledger)]
    if known is not None:
        made += _seen(known, ledger)
        made += (_measured(one.list, one.item, ledger) for one in known.lists)
        made += _worst_kind(ledger)
    return (*made, *_claimed(ledger))


def _even(inputs: Inputs, ledger: Ledger) -> Rate:
    even = break_even(inputs)
    evidence = Evidence(
        title="Where half of all matches are wrong",
        state=State.CALCULATED,
        value=even.rate,
        low=even.low,
        high=even.high,
        interval="every assumed number at the end that moves the rate furthest",
        unit="false matches for each picture sent",
        why=even.assumes,
        source=("population.toml",),
    )
    key = ledger.add(BREAK_EVEN, evidence)
    accounts = inputs.accounts.number
    daily = inputs.activity.pictures_a_day
    volume = Evidence(
        title="Pictures sent in a day, in the EU",
        state=State.ASSUMED,
        value=accounts.value * daily.value,
        unit="pictures a day",
        why=f"{accounts.value:,} accounts that send {daily.value:g} pictures a day each; {daily.source}",
        source=("population.toml: accounts.number, activity.pictures_a_day",),
    )
    ledger.add(VOLUME, volume)
    wrong = Evidence(
        title="Innocent pictures flagged in a year in the EU, where half of all matches are wrong",
        state=State.CALCULATED,
        value=even.right,
        unit="pictures a year",
        why="the rate at which half of all matches are wrong, times the pictures that are assumed to be sent",
        source=("population.toml",),
    )
    ledger.add(WRONG_AT_EVEN, wrong)
    return Rate("Half of all matches are wrong", "break-even", key, PICTURE, "all pictures sent", "any list")


def _entries(figure: Figure) -> str:
    return f"{round(figure.pairs / figure.n):,} entries" if figure.pairs and figure.n else "length not noted"


def _seen(known: KnownFalse, ledger: Ledger) -> Iterator[Rate]:
    figure = known.seen
    compared = f"pictures of all kinds, {_entries(figure)}"
    title = "Photographs that matched a picture of another source"
    key = ledger.add_figure(SEEN, title, figure, SOURCE, level_of(figure, "row"))
    yield Rate("Photographs that matched in this test", "seen", key, PICTURE, "photographs", compared)
    for name, bounded, how in (
        (EXCLUDED, figure, "each picture counts as drawn for itself"),
        (EXCLUDED_BY_SOURCE, known.seen_by_source, "sources may differ as these do"),
    ):
        excluded = Evidence(
            title=f"Rates that this test of photographs excludes, if {how}: all above this one",
            state=State.CALCULATED if bounded.high is not None else State.NOT_MEASURED,
            value=bounded.high,
            unit="share of pictures",
            interval=level_of(bounded, "row"),
            n=bounded.n,
            why=bounded.why,
            source=(SOURCE,),
        )
        key = ledger.add(name, excluded)
        label = f"Excluded, if {how}: any higher rate"
        yield Rate(label, "excluded", key, PICTURE, "photographs", compared)


def _measured(name: str, figure: Figure, ledger: Ledger) -> Rate:
    title = f"Pictures of all kinds that matched a list of {LISTS[name]}"
    source = f"{FILE}: rows, evidence/false, list {name}"
    key = ledger.add_figure(f"flagged/{name}", title, figure, source, level_of(figure, "row"))
    listed = f"{LISTS[name]}, {_entries(figure)}"
    return Rate(
        "Measured: pictures of all kinds, many of them drawings",
        "measured",
        key,
        PICTURE,
        "all kinds",
        listed,
    )


def _worst_kind(ledger: Ledger) -> Iterator[Rate]:
    """Yield the kind of picture of which most matched pictures of all kinds, sources weighing alike."""
    rows = [
        row
        for row in committed_evidence()
        if row.id == FALSE
        and (row.parameters["list"], row.parameters["within"]) == (ALL, MATCH_DISTANCE)
        and row.parameters["kind"] != ALL
        and row.figures["item_by_package"].value is not None
    ]
    if not rows:
        return
    worst = max(rows, key=lambda row: row.figures["item_by_package"].value or 0.0)
    kind = str(worst.parameters["kind"])
    figure = worst.figures["item_by_package"]
    source = f"{FILE}: rows, evidence/false, {kind} against all"
    title = f"Pictures of one kind ({kind}) that matched a list of pictures of all kinds"
    key = ledger.add_figure(WORST_KIND, title, figure, source, level_of(figure, "row"))
    listed = f"{LISTS['mixed']}, {_entries(figure)}"
    yield Rate(f"Measured: the kind of which most matched, {kind}", "measured", key, PICTURE, kind, listed)


def _claimed(ledger: Ledger) -> Iterator[Rate]:
    for row in committed("claimed-rates")["rows"]:
        rate = row["rate"]
        is_claimed = row["status"] != "not found"
        unit = f"each {row['unit']}" if row["unit"] in UNITS else "unit not stated"
        evidence = Evidence(
            title=f"{row['of']}: {row['says']}",
            state=State.CLAIMED if is_claimed else State.NOT_MEASURED,
            value=rate or None,
            high=rate if row["bound"] else None,
            unit=unit,
            why={None: "no rate is stated", 0.0: "no false match is reported, so no rate follows"}.get(
                rate, ""
            ),
            source=(row["source"],),
        )
        key = ledger.add(f"claimed/{row['id']}", evidence)
        yield Rate(row["of"], "claimed", key, unit, row["pictures"], row["list"])
