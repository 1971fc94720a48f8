"""Reads how designs behave from a results file of an assessment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from blindmatch_simulations.evaluation.assess import results as assess
from blindmatch_simulations.evaluation.assess.judging import NOTHING
from blindmatch_simulations.evaluation.assess.store import RESULTS, results_in
from blindmatch_simulations.evaluation.population.behaviour import (
    COSTS,
    LITERATURE,
    Behaviour,
    Range,
    literature,
)
from blindmatch_simulations.evaluation.population.inputs import Inputs, PopulationError
from blindmatch_simulations.measure.results import Figure, ResultsError, Row, read

_PACKAGE: Final = Path(__file__).parents[2]
SAMPLES: Final = (
    _PACKAGE / "data" / "sample-results.json",
    _PACKAGE.parents[1] / "docs" / "sample" / RESULTS,
)
"""The sample's results file as a wheel has it, and as a checkout has it."""


class Subject(Struct, frozen=True):
    """A row of the results file: how it behaves, or why that was not measured; what loads the design."""

    design: str
    behaviour: Behaviour | None
    why: str = ""
    reference: str = ""


def read_results(path: Path | None) -> assess.AnyResults:
    """A results file, or the one in a folder; by default the sample's.

    Raises:
        ResultsError: if it is edited, truncated or of another version.
        PopulationError: if no design was assessed in it.
    """
    if path is None:
        return read_results(next((one for one in SAMPLES if one.is_file()), SAMPLES[-1]))
    found: assess.AnyResults = read(results_in(path), assess.AnyResults)
    if not any(isinstance(row, assess.Measured) for row in found.rows):
        raise PopulationError(f"{path.name}: rows: no design was assessed in it")
    return found


def subjects(results: assess.AnyResults, inputs: Inputs, chosen: list[str]) -> list[Subject]:
    """A subject for each design of the file, and one with the literature's rate that finds everything.

    Raises:
        PopulationError: if a `chosen` one is not there.
    """
    made = [_subject(row, inputs) for row in results.rows]
    made.append(Subject(LITERATURE, literature(inputs)))
    unknown = [name for name in chosen if name not in {one.design for one in made}]
    if unknown:
        raise PopulationError(f"--designs: the results file has no row of {', '.join(unknown)}")
    return [one for one in made if not chosen or one.design in chosen]


def _subject(row: object, inputs: Inputs) -> Subject:
    assert isinstance(row, Row)
    if not isinstance(row, assess.Measured):
        return Subject(row.id, None, f"not measured: {row.why or 'no row of a design'}")
    try:
        return Subject(row.id, _behaviour(row, inputs), "", str(row.parameters.get("reference", row.id)))
    except ResultsError as error:
        return Subject(row.id, None, str(error))


def _behaviour(row: assess.Measured, inputs: Inputs) -> Behaviour:
    """Raises `ResultsError` if what a run needs was not measured."""
    assumed = inputs.false_matches.use == "rate"
    measured = _range("false_matches", row.figures.get("false_matches"))
    return Behaviour(
        recall=_recall(row, inputs.edits.mix),
        false_rate=literature(inputs).false_rate if assumed else measured,
        unnoticed=_unnoticed(row.figures.get("skipped_unnoticed")),
        asks=bool(row.design.roles),
        costs={name: _cost(row, name) for name in COSTS},
        entries=row.entries,
        key=row.key,
        assumed=assumed,
    )


def _cost(row: assess.Measured, name: str) -> Figure:
    """As measured; of the servers' CPU the larger one, as the report page has it.

    Servers' processes left out their workers in earlier files; answers in one process leave out the service
    around them. Where there is nothing to measure, nothing is spent.
    """
    found = row.figures.get(name, Figure(None, "not measured"))
    matcher = row.figures.get("matcher_cpu_ms")
    if found.value is None and found.why.startswith(NOTHING) and name != "server_cpu_ms":
        return Figure(0.0, found.why)
    if name != "server_cpu_ms" or matcher is None or matcher.value is None:
        return found
    return found if found.value is not None and found.value >= matcher.value else matcher


def _recall(row: assess.Measured, mix: Mapping[str, float]) -> Range:
    """The mean over the mix; its ends are those of the edits' own intervals, so that it errs to be wide."""
    measured = {one.name: one.share for one in row.recall_by_edit}
    parts = {name: _range(f"recall of {name}", measured.get(name)) for name, share in mix.items() if share}
    value, low, high = (
        sum(mix[name] * part.at(end) for name, part in parts.items()) for end in ("value", "low", "high")
    )
    return Range(min(value, 1.0), min(low, 1.0), min(high, 1.0))


def _unnoticed(figure: Figure | None) -> Range:
    """Where there is nothing to skip, nothing goes unnoticed."""
    if figure is not None and figure.value is None and figure.why.startswith(NOTHING):
        return Range.exactly(0)
    return _range("skipped_unnoticed", figure)


def _range(name: str, figure: Figure | None) -> Range:
    if figure is None or figure.value is None:
        raise ResultsError(f"not measured: {name}{': ' + figure.why if figure and figure.why else ''}")
    low, high = (figure.value if one is None else one for one in (figure.low, figure.high))
    return Range(figure.value, low, high)
