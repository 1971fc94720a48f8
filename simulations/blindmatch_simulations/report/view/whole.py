"""The whole view model of one run.

In:   results that were checked, and the attacks that lie beside them.
Out:  `View`; its JSON Schema; its JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from blindmatch_server.centre.notices import statute

from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess.results import (
    ATTACKS,
    Measured,
    Results,
    Studied,
    machine_words,
)
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed
from blindmatch_simulations.evaluation.population.fates import FATES
from blindmatch_simulations.evaluation.population.inputs import read_inputs
from blindmatch_simulations.measure import results as measure
from blindmatch_simulations.measure.results import ResultsError
from blindmatch_simulations.report.view.abuse import abusers, attacks_failed, opened_by_asking, openings
from blindmatch_simulations.report.view.cards import card_of, card_of_study
from blindmatch_simulations.report.view.findings import findings
from blindmatch_simulations.report.view.flagged import rates
from blindmatch_simulations.report.view.found import behaviours_of, edits
from blindmatch_simulations.report.view.ledger import Ledger
from blindmatch_simulations.report.view.schema import (
    Assumption,
    Card,
    Failed,
    Option,
    Provable,
    Run,
    Step,
    View,
)
from blindmatch_simulations.report.yearly import year_behaviours, year_inputs


def view_of(folder: Path, results: Results) -> View:
    """Make the view model of a run.

    Args:
        folder: in which ``attacks.json`` may lie.
        results: of the folder, checked.
    """
    ledger = Ledger()
    inputs = read_inputs(None)
    attacks_file = read_attacks(folder)
    attacks = () if attacks_file is None else tuple(attacks_file.rows)
    subjects = behaviours_of(results, inputs)
    rows = [row for row in results.rows if isinstance(row, Measured)]
    repeated = [name for name, times in Counter(row.id for row in rows).items() if times > 1]
    if repeated:
        raise ResultsError(f"rows: {', '.join(repeated)} occurs more than once: give each version a name")
    rows.sort(key=lambda row: (row.design.option, row.id))
    cards = [card_of(row, subjects[row.id], attacks, inputs, ledger) for row in rows]
    cards += [card_of_study(row) for row in results.rows if isinstance(row, Studied)]
    cards.sort(key=lambda card: (card.option, card.id))
    known = next(
        (one.known_false for row in rows if (one := subjects[row.id]).known_false and _is_near(row)), None
    )
    marks = rates(known, inputs, ledger)
    return View(
        runs=(_run(results, rows),),
        findings=findings(rows, cards, attacks, ledger),
        designs=tuple(cards),
        failed=tuple(
            Failed(row.id, row.why) for row in results.rows if not isinstance(row, Measured | Studied)
        ),
        fates=dict(FATES),
        edits=edits(inputs, ledger),
        rates=marks,
        abusers=abusers(attacks, rows),
        attacks_run=None if attacks_file is None else _run_of_attacks(attacks_file),
        attacks_failed=attacks_failed(attacks),
        openings=openings(rows, ledger),
        opened_by_asking=opened_by_asking(attacks),
        steps=_steps(),
        provable=tuple(Provable(one["claim"], one["by"]) for one in committed("plain")["provable"]),
        terms=dict(committed("plain")["glossary"]),
        unmeasured=tuple(committed("plain")["uncovered"]),
        assumptions=tuple(
            Assumption(one["holds"], one["concerns"], one["breaks"], one["covered"])
            for one in committed("assumptions")["assumptions"]
        ),
        options=_options(cards),
        law=statute().law.words,
        evidence=ledger.held(),
        year=year_inputs(),
        behaviours=tuple(year_behaviours(results)),
    )


def _is_near(row: Measured) -> bool:
    return row.design.relation == "near"


def attacks_in(folder: Path) -> tuple[AttackRow | NotPlayed, ...]:
    """Return rows of the attacks in a folder; none if none were played."""
    read = read_attacks(folder)
    return () if read is None else tuple(read.rows)


def read_attacks(folder: Path) -> measure.Results[AttackRow | NotPlayed] | None:
    """Read the attacks in a folder; nothing if none were played."""
    path = folder / ATTACKS
    if not path.exists():
        return None
    read: measure.Results[AttackRow | NotPlayed] = measure.read(path, measure.Results[AttackRow | NotPlayed])
    return read


def _run_of_attacks(read: measure.Results[AttackRow | NotPlayed]) -> Run:
    return Run(read.made_at, read.digest, read.command, "", machine_words(read.machine), ())


def _run(results: Results, rows: Sequence[Measured]) -> Run:
    return Run(
        results.made_at,
        results.digest,
        results.command,
        results.workload,
        machine_words(results.machine),
        tuple(sorted({row.entries for row in rows})),
    )


def _steps() -> tuple[Step, ...]:
    plain = committed("plain")
    names = plain["attacks"]
    return tuple(
        Step(
            one["who"], one["does"], one["measured"], tuple(names.get(name, name) for name in one["attacks"])
        )
        for one in plain["after"]
    )


def _options(cards: Sequence[Card]) -> tuple[Option, ...]:
    return tuple(
        Option(
            one["id"],
            one["level"],
            one["name"],
            one["provenance"],
            tuple(card.id for card in cards if card.option == one["id"]),
        )
        for one in committed("options")["options"]
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the view model, as its records have it; `view-v1.schema.json` is its text."""
    return msgspec.json.schema(View)
