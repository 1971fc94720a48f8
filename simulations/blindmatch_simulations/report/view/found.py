"""What is found: of 100 known files sent, by design, and of copies after each edit.

In:   the rows of a run; the inputs of the year; the committed evidence.
Out:  keys of evidence by fate, and edits with keys of evidence by way of matching.

How many of 100 are found is calculated (`population/fates`): the recall of each edit is measured; the shares
of videos, of clients that never ask and of edits are assumed. The ends of `found` are those of the first two
of these shares.
"""

from __future__ import annotations

from typing import Final

from blindmatch_simulations.evaluation.assess.results import Measured, Results
from blindmatch_simulations.evaluation.population.fates import DERIVATION, FATES, found_between, of_hundred
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs
from blindmatch_simulations.evaluation.population.model import LITERATURE, model
from blindmatch_simulations.evaluation.population.running import Subject, subjects
from blindmatch_simulations.evaluation.studies.evidence import EDIT
from blindmatch_simulations.evaluation.studies.evidence import committed as committed_evidence
from blindmatch_simulations.measure.intervals import level_of
from blindmatch_simulations.measure.results import Row
from blindmatch_simulations.report.view.costs import as_if_it_lasted
from blindmatch_simulations.report.view.ledger import Ledger
from blindmatch_simulations.report.view.schema import Edit, Evidence, State
from blindmatch_simulations.testbed.pictures.crops import EDITS

FILE: Final = "evidence.json"
FOUND: Final = "found"
BY_SHARES: Final = (
    "from the assumed shares of videos and of modified clients at their high ends, to their low ends"
)


def behaviours_of(results: Results, inputs: Inputs) -> dict[str, Subject]:
    """Return how each design behaves in the model of a year, or why that was not measured, by id of its
    row."""
    return {one.design: one for one in subjects(results, inputs, []) if one.design != LITERATURE}


def fates_of(row: Measured, subject: Subject, inputs: Inputs, ledger: Ledger) -> dict[str, str]:
    """Take down what becomes of 100 known files sent in a design; nothing if what that needs is lacking."""
    if subject.behaviour is None:
        return {}
    accounts = int(inputs.accounts.number.value)
    counts = of_hundred(model(inputs, subject.behaviour, accounts, YEAR))
    low, high = found_between(inputs, subject.behaviour, accounts)
    source = ("population.toml", f"results.json: rows, {row.id}", FILE)
    lasting = as_if_it_lasted(row, inputs).capitalize()
    keys = {}
    for fate, words in FATES.items():
        is_found = fate == FOUND
        keys[fate] = ledger.add(
            f"hundred/{row.id}/{fate}",
            Evidence(
                title=f"Of 100 known files sent: {words}",
                state=State.CALCULATED,
                value=counts[fate],
                low=low if is_found else None,
                high=high if is_found else None,
                interval=BY_SHARES if is_found else "",
                unit="of 100 known files sent",
                why=". ".join(filter(None, (DERIVATION, subject.behaviour.recall.source, lasting))),
                source=source,
            ),
        )
    return keys


def edits(inputs: Inputs, ledger: Ledger) -> tuple[Edit, ...]:
    """Return the suite's edits, those of which most near copies are found first."""
    rows = [row for row in committed_evidence() if row.id == EDIT]
    made = [_edit(one.name, one.note, rows, inputs, ledger) for one in EDITS]

    def is_found(edit: Edit) -> float:
        return max((ledger[key].value or 0.0 for key in edit.found.values()), default=0.0)

    return tuple(sorted(made, key=is_found, reverse=True))


def _edit(name: str, note: str, rows: list[Row], inputs: Inputs, ledger: Ledger) -> Edit:
    found = {}
    for row in rows:
        if row.parameters["edit"] != name:
            continue
        matching = str(row.parameters["matching"])
        figure = row.figures[FOUND]
        title = f"Copies found after the edit {name}, by {matching}"
        source = f"{FILE}: rows, {EDIT}, {name}, {matching}"
        key = f"edit/{name}/{matching}"
        found[matching] = ledger.add_figure(key, title, figure, source, level_of(figure, "row"))
    share = Evidence(
        title=f"Share of the assumed mix of edits: {note}",
        state=State.ASSUMED,
        value=inputs.edits.mix.get(name, 0.0),
        unit="of known pictures sent",
        why="" if name in inputs.edits.mix else "the mix does not name this edit",
        source=(f"population.toml: edits.mix ({inputs.edits.source})",),
    )
    return Edit(name, note, ledger.add(f"edit/{name}/mix", share), found)
