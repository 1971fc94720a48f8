"""A run: how designs behave, read from a results file of an assessment; every design's blocks on all workers,
put together at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_protocol.contract import Learner, Progress, no_progress
from blindmatch_protocol.designs.threshold_psi.shares import COIN_RANGE
from blindmatch_server.hosting.workers import TaskError, WorkerError, Workers
from msgspec import UNSET, Struct, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess import results as assess
from blindmatch_simulations.evaluation.assess.judging import NOTHING
from blindmatch_simulations.evaluation.assess.results import RESULTS, results_in
from blindmatch_simulations.evaluation.population.bands import calibrated, unseen
from blindmatch_simulations.evaluation.population.computing import Work, blocks_of, computed
from blindmatch_simulations.evaluation.population.counts import Count
from blindmatch_simulations.evaluation.population.false_matches import KnownFalse, ListRate, break_even
from blindmatch_simulations.evaluation.population.fates import declared
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs, PopulationError
from blindmatch_simulations.evaluation.population.model import (
    COSTS,
    GROWTH,
    LITERATURE,
    MEASURED,
    Behaviour,
    Counts,
    Range,
    literature,
    mean_entries,
    model,
    stream,
)
from blindmatch_simulations.evaluation.population.outputs import described, exhausted, of_counts
from blindmatch_simulations.evaluation.population.threshold import Rate, opened_accounts
from blindmatch_simulations.evaluation.studies.evidence import EDIT, committed, committed_figure
from blindmatch_simulations.evaluation.studies.false_matches import ALL, FALSE
from blindmatch_simulations.evaluation.studies.false_matches import GROWTH as GROWN
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH
from blindmatch_simulations.measure.cluster import completed
from blindmatch_simulations.measure.results import Figure, ResultsError, Row, read

_PACKAGE: Final = Path(__file__).parents[2]
SAMPLES: Final = (
    _PACKAGE / "data" / "sample-results.json",
    _PACKAGE.parents[1] / "docs" / "sample" / RESULTS,
)
"""The sample's results file as a wheel has it, and as a checkout has it."""

TICK_MS: Final = 10
VOUCHERS: Final = "a voucher leaves for every picture: its bytes are in query_up_bytes"
EVIDENCE: Final = "committed evidence"
FILE: Final = "results file"


class Subject(Struct, frozen=True):
    """A row of the results file: how it behaves, or why that was not measured; what loads the design; and
    what was measured of its false matches."""

    design: str
    behaviour: Behaviour | None
    why: str = ""
    reference: str = ""
    known_false: KnownFalse | None = None


def read_results(path: Path | None) -> assess.AnyResults:
    """A results file, or the one in a folder; by default the sample's; raises `ResultsError` if
    it is edited, truncated or of another version, and `PopulationError` if no design was assessed in it."""
    if path is None:
        return read_results(next((one for one in SAMPLES if one.is_file()), SAMPLES[-1]))
    found: assess.AnyResults = read(results_in(path), assess.AnyResults)
    if not any(isinstance(row, assess.Measured) for row in found.rows):
        raise PopulationError(f"{path.name}: rows: no design was assessed in it")
    return found


def subjects(results: assess.AnyResults, inputs: Inputs, chosen: list[str]) -> list[Subject]:
    """A subject for each design of the file, and one with the literature's rate that finds everything;
    raises `PopulationError` if a `chosen` one is not there."""
    made = [_subject(row, inputs) for row in results.rows]
    made.append(Subject(LITERATURE, literature(inputs)))
    unknown = [name for name in chosen if name not in {one.design for one in made}]
    if unknown:
        raise PopulationError(f"designs: the results file has no row of {', '.join(unknown)}")
    return [one for one in made if not chosen or one.design in chosen]


def _subject(row: object, inputs: Inputs) -> Subject:
    assert isinstance(row, Row)
    if not isinstance(row, assess.Measured):
        return Subject(row.id, None, f"not measured: {row.why or 'no row of a design'}")
    try:
        reference = str(row.parameters.get("reference", row.id))
        return Subject(row.id, _behaviour(row, inputs), "", reference, known_false(row))
    except ResultsError as error:
        return Subject(row.id, None, str(error))


def _behaviour(row: assess.Measured, inputs: Inputs) -> Behaviour:
    """Raises `ResultsError` if what a run needs was not measured."""
    assumed = inputs.false_matches.assume
    # of a design that matches nothing, or no list, nothing is told
    _range("false_matches", row.figures.get("false_matches"))
    rate = literature(inputs).false_rate if assumed == "rate" else None
    skipped = row.figures.get("skipped_unnoticed")
    nothing = skipped is not None and skipped.value is None and skipped.why.startswith(NOTHING)
    costs = {name: _cost(row, name) for name in COSTS}
    opening = dict[str, Any]()
    if Learner.CENTRE in row.design.learns:
        parameters = row.design.parameters
        opening = {"threshold": parameters.get("threshold", 1), "by_period": True}
        opening["made_up"] = parameters.get("synthetic", 0) / COIN_RANGE
        asked = costs["query_up_bytes"]
        voucher = costs["report_bytes"]
        both = asked if asked.value is None else voucher
        if voucher.value is None:
            # the voucher is among what is sent for a picture; files of before that had it apart
            both = asked if asked.value else Figure(None, "the voucher was not measured")
        elif asked.value is not None and voucher.value is not None:
            both = replace(voucher, value=asked.value + voucher.value)
        costs |= {"query_up_bytes": both, "report_bytes": Figure(None, VOUCHERS)}
    made_up = opening.get("made_up", 0.0)
    return Behaviour(
        recall=_counted(_recall(row, inputs.edits.mix), made_up),
        false_rate=rate and _counted(rate, made_up),
        of_lists=_assumed_list(row, assumed) if assumed in LISTS else None,
        # where there is nothing to skip, nothing goes unnoticed
        unnoticed=Range(0, 0, 0, NOTHING) if nothing else _range("skipped_unnoticed", skipped),
        asks=bool(row.design.roles),
        costs={**costs, GROWTH: _growth(row)},
        entries=row.entries,
        key=row.key,
        assumed=assumed == "rate",
        **opening,
    )


def _assumed_list(row: assess.Measured, name: str) -> ListRate:
    """Raises `ResultsError` if the design was not measured against such a list."""
    found = _of_list(row, name)
    if found.item.value is None:
        raise ResultsError(f"not measured: false matches against a list of a kind ({name}): {found.item.why}")
    return found


def _counted(one: Range, made_up: float) -> Range:
    """Without the share of pictures whose voucher is made up whatever they match; where it was measured by
    vouchers that were opened, in a results file, these lack already."""
    if not made_up or one.source.startswith(FILE):
        return one
    value, low, high = (one.at(end) * (1 - made_up) for end in ("value", "low", "high"))
    return Range(value, low, high, f"{one.source}; {made_up:.2g} of vouchers are made up and never count")


def _cost(row: assess.Measured, name: str) -> Figure:
    """As measured; of the servers' CPU the larger one, as the report page has it: servers' processes left out
    their workers in earlier files, answers in one process leave out the service around them. Where there is
    nothing to measure, nothing is spent."""
    found = row.figures.get(name, Figure(None, "not measured"))
    matcher = row.figures.get("matcher_cpu_ms")
    if found.value is None and found.why.startswith(NOTHING) and name != "server_cpu_ms":
        return Figure(0.0, found.why)
    if name != "server_cpu_ms" or matcher is None or matcher.value is None:
        return found
    if found.value is None or found.value < matcher.value:
        return matcher
    # one reading, to the clock tick, is taken to spread as the answers' repeats do
    tick = TICK_MS * len(row.design.roles) / (found.n or 1)
    low, high = ((end or matcher.value) / matcher.value * found.value for end in (matcher.low, matcher.high))
    return found if found.low is not None else replace(found, low=max(0.0, low - tick), high=high + tick)


def _growth(row: assess.Measured) -> Figure:
    """Milliseconds of servers' CPU that an entry more adds to a picture, between two lengths of the list."""
    named = ("server_growth_u", "server_u", "matcher_cpu_ms")
    grown, own, ms = (row.figures.get(name, Figure(None, "not measured")) for name in named)
    if grown.value is None or not own.value or ms.value is None:
        return Figure(None, grown.why)
    value, low, high = (
        end and end * ms.value / own.value / 1000 for end in (grown.value, grown.low, grown.high)
    )
    return replace(grown, value=value, low=low, high=high)


LISTS: Final[Mapping[str, str]] = {"photographs": PHOTOGRAPH, "mixed": ALL}
"""Kinds of lists against which all kinds of pictures were measured, and how the evidence calls them."""


def known_false(row: assess.Measured) -> KnownFalse | None:
    """Return what the committed evidence has of a design's false matches; None if it has nothing."""
    seen = _evidence(row, FALSE, PHOTOGRAPH, "item")
    lists = tuple(_of_list(row, name) for name in LISTS)
    if seen.value is None or any(one.item.value is None for one in lists):
        return None
    return KnownFalse(seen, lists, _evidence(row, FALSE, PHOTOGRAPH, "item_by_package"))


def _of_list(row: assess.Measured, name: str) -> ListRate:
    item = _evidence(row, FALSE, ALL, "item_by_package", LISTS[name])
    wanted = {"within": row.design.distance, "kind": ALL, "list": LISTS[name]}
    grown = next((one for one in committed() if one.id == GROWN and one.parameters == wanted), None)
    exponent = grown.figures["exponent"] if grown else Figure(None, "nothing matched, so that none was seen")
    return ListRate(name, item, exponent)


def _evidence(row: assess.Measured, kind: str, of: str, name: str, listed: str = ALL) -> Figure:
    design = str(row.parameters.get("reference", row.design.name))
    return committed_figure(kind, of, name, design, row.design.distance, row.design.parameters, listed)


def _recall(row: assess.Measured, mix: Mapping[str, float]) -> Range:
    """The mean over the mix; its ends are those of the edits' own intervals, so that it errs to be wide."""
    figures: dict[str, Figure | None] = {name: _evidence(row, EDIT, name, "found") for name in mix}
    source = EVIDENCE
    if any(one is None or one.value is None for one in figures.values()):
        measured = {one.name: one.share for one in row.recall_by_edit}
        figures = {name: measured.get(name) for name, share in mix.items() if share}
        source = FILE
    parts = {name: _range(f"recall of {name}", figure) for name, figure in figures.items()}
    value, low, high = (
        sum(mix[name] * part.at(end) for name, part in parts.items()) for end in ("value", "low", "high")
    )
    n = min(figure.n or 0 for figure in figures.values() if figure)
    return Range(min(value, 1.0), min(low, 1.0), min(high, 1.0), f"{source}, {n:,} pictures with each edit")


def _range(name: str, figure: Figure | None) -> Range:
    if figure is None or figure.value is None:
        raise ResultsError(f"not measured: {name}{': ' + figure.why if figure and figure.why else ''}")
    low, high = (figure.value if one is None else one for one in (figure.low, figure.high))
    return Range(figure.value, low, high, f"{FILE}, {figure.n or '?'} pictures")


def rates(design: str, results: Path | None, inputs: Inputs) -> list[Rate]:
    """Of a design: the rate where half of all matches are wrong, the least flattering ones that were
    measured, at the length of the inputs' list, and the literature's. Raises `PopulationError` if the results
    lack the design."""
    read = read_results(results)
    subjects(read, inputs, [design])
    rate = literature(inputs).false_rate
    even = break_even(inputs)
    assert rate is not None
    made = [
        Rate("half wrong", even.rate, f"assumed: {even.assumes}"),
        Rate(LITERATURE, rate.value, "assumed: the inputs' false_matches.rate"),
    ]
    row = next(one for one in read.rows if one.id == design)
    known = known_false(row) if isinstance(row, assess.Measured) else None
    for one in known.lists if known else ():
        found = one.at(mean_entries(inputs, YEAR))
        assert found.value is not None
        words = f"{EVIDENCE}: all kinds of pictures against a list of a kind ({one.list}), {found.why}"
        made.append(Rate(f"{one.list} list", found.value, words))
    return made


VERSION: Final = 6
"""Of the JSON; goes up when a key changes its meaning or goes."""

Task = tuple[str, int]
"""A design, and a block of it."""


class Options(Struct, frozen=True):
    """Attributes:
    accounts, days: of the population.
    workers: processes that compute; 1 is this one.
    seed: decides every random number.
    """

    accounts: int
    days: int
    workers: int = 1
    seed: int = 1


def run(
    inputs: Inputs,
    results: Path | None,
    chosen: list[str],
    options: Options,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """The whole result, as the JSON has it; `PopulationError` if an input is refused, or workers keep ending;
    `ResultsError` if the results file is not whole."""
    began = time.monotonic()
    read = read_results(results)
    found = subjects(read, inputs, chosen)
    works = {
        one.design: Work(model(inputs, one.behaviour, options.accounts, options.days), options.seed)
        for one in found
        if one.behaviour is not None
    }
    counts = {name: np.zeros((len(Count), options.days), np.int64) for name in works}
    told: dict[str, dict[str, Any]] = {name: {} for name in works}
    first = {name: next(one for one in works if works[one].alike(work)) for name, work in works.items()}
    tasks = [(name, block) for name, work in works.items() for block in blocks_of(work, first[name] != name)]
    for number, ((name, _), made) in enumerate(_done(tasks, works, options.workers), 1):
        if isinstance(made, dict):
            told[name].update(made)
        else:
            counts[name] += made
        progress(number, len(tasks))
    for name, other in first.items():
        counts[name] = counts[other]
        told[name]["bands"] = told[other]["bands"]
        told[name]["joint"] = {**told[other]["joint"], **told[name]["loads"]}
    opens = {
        row.id: row.capacity.open_to
        for row in read.rows
        if isinstance(row, assess.Measured) and row.capacity is not UNSET
    }
    rows = [_row(one, works.get(one.design), counts, told, opens.get(one.design)) for one in found]
    years = calibrated(inputs, options.seed)
    return {
        "population": VERSION, "accounts": options.accounts, "days": options.days,
        "seconds": round(time.monotonic() - began, 3), "workers": options.workers, "seed": options.seed,
        "digest": sha256(json.dumps([rows, years], sort_keys=True).encode()).hexdigest(),
        "inputs": to_builtins(inputs),
        "results": {"digest": read.digest, "made_at": read.made_at, "command": read.command},
        "break_even": to_builtins(break_even(inputs)),
        "list_entries": mean_entries(inputs, options.days),
        "unseen": unseen(model(inputs, literature(inputs), options.accounts, options.days)),
        "designs": rows, "calibration": years,
    }  # fmt: skip


def _row(
    one: Subject,
    work: Work | None,
    counts: Mapping[str, Counts],
    told: Mapping[str, Any],
    open_to: int | None,
) -> dict[str, Any]:
    """A design's part of the result; `open_to` are phones that open its list without a limit on all."""
    if work is None or one.behaviour is None:
        return {"design": one.design, "status": "not measured", "why": one.why}
    value = of_counts(counts[one.design], work.its, stream(work.seed, "centre"))
    found = told[one.design]
    year, day = described(value, found, work.its)
    behaviour = {name: to_builtins(getattr(work.its.behaviour, name)) for name in MEASURED}
    return {
        "design": one.design, "status": "measured", "entries_measured": one.behaviour.entries,
        "behaviour": behaviour, "false_matches": to_builtins(one.known_false),
        "run": year, "daily": day, "sensitivity": found["sensitivity"],
        "threshold": opened_accounts(work.its) if one.behaviour.threshold > 1 else None,
        "of_100": declared(work.its) if work.its.known else None,
        "exhausted": exhausted(work.its, open_to),
    }  # fmt: skip


def _done(
    tasks: Sequence[Task], works: Mapping[str, Work], workers: int
) -> Iterator[tuple[Task, Counts | dict[str, Any]]]:
    if workers == 1:
        yield from ((task, computed(works[task[0]], task[1])) for task in tasks)
        return
    pool = Workers(workers)
    calls = {(name, block): (computed, works[name], block) for name, block in tasks}
    try:
        yield from completed(pool, calls, 2 * workers)
    except WorkerError as error:
        raise PopulationError("workers: they keep ending; try fewer --workers") from error
    except TaskError as error:
        raise PopulationError(f"workers: a block failed: {error}") from error
    finally:
        pool.end()
