"""Who learns what: parties and coalitions by facts; each is tested, assumed or violated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blindmatch_simulations.assess.judging import GAMES, LIST_GAMES
from blindmatch_simulations.assess.observed import Declared
from blindmatch_simulations.assess.report.markup import paragraph, section, table, text
from blindmatch_simulations.assess.report.summary import measured
from blindmatch_simulations.assess.results import Measured, Results

LIST_CHECKS = ("list", *LIST_GAMES)
"""Checks of what a device gets of the list."""
TESTED, ASSUMED, VIOLATED = "tested", "assumed", "violated"
HEAD = ("who", "adversary", "facts beyond the output", "status", "on what ground")


def learning_view(results: Results) -> str:
    """The view."""
    words = (
        "A fact is declared if a design or the messenger says that a party learns it. Tested: the egress "
        "audit or a "
        "leakage game of this run looked for more and found nothing. That is no proof: no distinguisher in "
        "this suite exceeded the bound shown, others may. Assumed: nothing here looked. Violated: more was "
        "found."
    )
    scale = (
        "A leakage game shows an opponent one of two pictures that agree in everything declared, and lets it "
        "guess which. An advantage of 0 is guessing, 1 is being always right. The bound is the upper end "
        "of a "
        "99 % interval; with few runs it is far above 0 even if nothing leaks."
    )
    tables = [table(_caption(one), HEAD, list(_rows(one))) for one in measured(results)]
    tables += [_messenger(measured(results))] if tables else []
    return section("learns", "Who learns what", paragraph(words), paragraph(scale), *tables)


def _caption(one: Measured) -> str:
    who = ", ".join(one.design.learns)
    return f"{one.design.name}: the outcome is learnt by {who}"


def _rows(one: Measured) -> Iterator[tuple[str, ...]]:
    declared = [leak for leak in one.design.declared if leak.source == "design"]
    if not declared:
        yield (
            "nobody",
            "any",
            "nothing beyond the output",
            _status_cell(ASSUMED),
            "the design declares nothing",
        )
    for leak in declared:
        status, ground = _status(one, leak)
        yield _row(leak, status, ground)
    for name, words in _coalitions(one, declared):
        adversary, _, who = name.partition(" ")
        yield (
            text(who),
            text(adversary),
            "what its members learn, joined" if " with " in who else "nothing beyond the output",
            _status_cell(TESTED),
            text(words),
        )


def _messenger(rows: Sequence[Measured]) -> str:
    """What the messenger itself tells, the same for all designs."""
    ground = "declared by the messenger; the audit holds forms and lengths against it"
    lines = [_row(leak, ASSUMED, ground) for leak in rows[0].design.declared if leak.source == "messenger"]
    return table("The messenger, whatever the design", HEAD, lines)


def _row(leak: Declared, status: str, ground: str) -> tuple[str, ...]:
    facts = "".join(f"<li><b>{text(fact.name)}</b>: {text(fact.says)}</li>" for fact in leak.facts)
    shown = f"<ul>{facts}</ul>" if facts else "nothing"
    who = " with ".join(leak.parties)
    return (text(who), text(leak.adversary), shown, _status_cell(status), text(ground))


def _status(one: Measured, leak: Declared) -> tuple[str, str]:
    found = [finding for finding in one.audit.findings if finding.party in leak.parties]
    if found:
        size = sum(finding.bytes for finding in found)
        return VIOLATED, f"{size} undeclared bytes: {found[0].rule}"
    against = ("egress", *GAMES, "simulator", *(LIST_CHECKS if "device" in leak.parties else ()))
    for check in one.checks:
        if check.verdict == "failed" and check.check in against:
            return VIOLATED, f"{check.check}: {check.reason}"
    ground = _games(one).get(f"{leak.adversary} {' with '.join(leak.parties)}")
    if ground is not None:
        return TESTED, ground
    if leak.adversary == "semi-honest" and leak.parties != ("device",) and one.audit.sessions:
        return TESTED, f"egress audit of {one.audit.sessions} sessions; no game was finished for it"
    return ASSUMED, one.checks_why or "no game looks at this party"


def _games(one: Measured) -> dict[str, str]:
    """Upper bounds of the advantage by opponent, in words."""
    return {
        name: _bound(check.check, float(found["interval"][1]))
        for check in one.checks
        if check.check in (*GAMES, *LIST_GAMES) and check.verdict == "passed"
        for name, found in check.figures.items()
        if isinstance(found, dict) and "interval" in found
    }


def _bound(game: str, high: float) -> str:
    of = "lists that agree on these facts: " if game in LIST_GAMES else ""
    return f"{of}advantage of the best distinguisher at most {high:.3f} (99 % interval)"


def _coalitions(one: Measured, declared: list[Declared]) -> Iterator[tuple[str, str]]:
    named = {f"{leak.adversary} {' with '.join(leak.parties)}" for leak in declared}
    yield from ((name, ground) for name, ground in _games(one).items() if name not in named)


def _status_cell(status: str) -> str:
    sign = {TESTED: "\u2713", ASSUMED: "?", VIOLATED: "\u2717"}[status]
    return f'<span class="status status-{status}">{sign} {status}</span>'
