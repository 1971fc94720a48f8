"""A card for each design of a run.

In:   a row; how it behaves in the model of a year; played attacks; words that stand in `data/cards.toml`.
Out:  the card, with keys of evidence for all its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from blindmatch_simulations.data import committed, table_of
from blindmatch_simulations.evaluation.assess.judging import NOTHING
from blindmatch_simulations.evaluation.assess.results import Measured, Studied
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed
from blindmatch_simulations.evaluation.population.inputs import Inputs
from blindmatch_simulations.evaluation.population.running import Subject
from blindmatch_simulations.evaluation.studies.targeted import Opened
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report.view.abuse import worst_of
from blindmatch_simulations.report.view.costs import costs_of
from blindmatch_simulations.report.view.found import fates_of
from blindmatch_simulations.report.view.holdings import tiles_of
from blindmatch_simulations.report.view.ledger import Ledger
from blindmatch_simulations.report.view.schema import Card, Holds, Tile
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

LEVELS: Final = {
    "baseline": "For comparison",
    "device": "On the phone",
    "server": "At a server",
    "encryption": "In the encryption",
}
ELSEWHERE: Final = "Not among the options of the expert process"
MATCHES: Final = {
    "near": "copies that look alike",
    "equal": "copies with the very same hash",
    "category": "a kind of picture, by a model",
    "nothing": "nothing",
}
AUTHORITIES: Final = "authorities"
LIST: Final = frozenset({"near", "equal"})
"""Relations of designs that compare with a list."""


def card_of(
    row: Measured, subject: Subject, attacks: Sequence[AttackRow | NotPlayed], inputs: Inputs, ledger: Ledger
) -> Card:
    """Make a design's card."""
    design = row.design
    words = words_of(row.id) if row.parameters.get("reference", row.id) == row.id else {}
    looks = design.relation in LIST
    fates = fates_of(row, subject, inputs, ledger) if looks else {}
    return Card(
        id=row.id,
        version=design.version,
        option=design.option,
        level=level_of_option(design.option),
        title=words.get("title", row.id),
        idea=tuple(words.get("idea", (design.summary,))),
        page=f"docs/designs/{row.id}.md" if words else "",
        matches=MATCHES.get(design.relation, design.relation),
        tiles=tiles_of(row),
        fates=fates,
        found_why="" if fates else _why_not_found(design.relation, subject),
        cost=costs_of(row, subject, inputs, ledger),
        misuse=worst_of(row, attacks),
        one_list=_one_list(row),
        stand_in=design.differs,
        faults=tuple(_faults(row)),
        missing=tuple(_missing(row)),
    )


def card_of_study(row: Studied) -> Card:
    """Make the card of an option that was studied and is no design: nothing is detected in it."""
    words = words_of(row.id)
    by_warrant = [one for one in row.opened if one.who.startswith(AUTHORITIES)]
    says = tuple(_opened_words(one) for one in by_warrant[-1:])
    worst = max(row.opened, key=lambda one: one.messages, default=None)
    tiles = (
        Tile("provider", Holds.CIPHERTEXT, (), checked=False),
        Tile("authorities", Holds.ON_WARRANT, says, checked=True),
        Tile("centre", Holds.NOTHING, (), checked=False),
    )
    return Card(
        id=row.id,
        version=1,
        option=row.option,
        level=level_of_option(row.option),
        title=words.get("title", row.id),
        idea=tuple(words.get("idea", (row.what,))),
        page=row.page,
        matches=MATCHES["nothing"],
        tiles=tiles,
        fates={},
        found_why="It does not look for anything.",
        cost={},
        misuse="nothing was tried" if worst is None else f"{_opened_words(worst)} (played)",
        one_list="There is no list.",
    )


def _opened_words(opened: Opened) -> str:
    return f"{opened.who}: {opened.messages} of {opened.of_messages} messages opened"


def words_of(design: str) -> dict[str, Any]:
    """Return title and idea of a design; nothing of one that a plug-in brings."""
    found: dict[str, Any] = table_of("cards").get(design, {})
    return found


def level_of_option(option: str) -> str:
    """Return the level at which the expert process has an option."""
    levels = {one["id"]: one["level"] for one in committed("options")["options"]}
    return LEVELS[levels[option]] if option in levels else ELSEWHERE


def _why_not_found(relation: str, subject: Subject) -> str:
    if relation == "nothing":
        return "It does not look for anything."
    if relation == "category":
        return "It looks for a kind of picture, not for known files; how many it finds was not measured."
    return f"Not calculated: {subject.why or 'its way of matching is not in the model of a year'}."


def _one_list(row: Measured) -> str:
    """Say whether an outsider can check that all devices get one list."""
    if row.design.relation not in LIST:
        return "There is no list."
    figure = row.figures.get("proof_bytes", Figure(None, "not in this results file"))
    if figure.value is not None:
        return (
            "Can be shown to outsiders, if independent witnesses sign the public log; "
            "the witnesses here are the suite's own."
        )
    if figure.why.startswith(NOTHING):
        return f"Cannot be shown to outsiders: {figure.why.removeprefix(NOTHING).lstrip(': ')}."
    return f"Not measured: {figure.why}."


def _faults(row: Measured) -> Iterator[str]:
    """Yield what this run found wrong with a design."""
    for check in row.checks:
        if check.verdict == Verdict.FAILED:
            yield f"The check {check.check} failed: {check.reason}"
    if row.audit.undeclared_bytes:
        yield f"{row.audit.undeclared_bytes:,} bytes left the device that nothing declared explains."


def _missing(row: Measured) -> Iterator[str]:
    """Yield what was not measured of a design."""
    if row.design.differs:
        yield f"The option itself: a stand-in ran. {row.design.differs}"
    if row.lessened:
        yield row.lessened
    skipped = [check.check for check in row.checks if check.verdict == Verdict.NOT_CHECKED]
    if skipped:
        yield f"Checks that were not run: {', '.join(skipped)}. {row.checks_why}".strip()
    if not row.audit.sessions and row.design.relation in LIST:
        yield "An audit of what leaves devices."
