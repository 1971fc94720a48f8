"""Who learns what: parties and coalitions by facts; each is tested, assumed or violated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blindmatch_simulations.assess import severity
from blindmatch_simulations.assess.judging import GAMES, LIST_GAMES, NOT_COMPARABLE
from blindmatch_simulations.assess.observed import Check, Declared
from blindmatch_simulations.assess.results import Measured, Results
from blindmatch_simulations.assess.severity import DEVICE
from blindmatch_simulations.measure.advantage import resolution
from blindmatch_simulations.report.markup import paragraph, section, table, text
from blindmatch_simulations.report.summary import measured

BREAKING = ("egress", "simulator", *GAMES, *LIST_GAMES)
"""Checks whose failure is a violation; those of lists look at the device, the others do not."""
NOTHING = "nothing beyond the output"
TESTED, ASSUMED, VIOLATED = "tested", "assumed", "violated"
LEAST_PAIRS = 8
"""Different pairs that a game must have been played over for its opponent to be called tested."""
BOUND = "advantage of the best distinguisher at most {:.3f} (99 % interval; {} runs, {:.3f} by guessing)"
WORDS = dict.fromkeys(GAMES, BOUND) | dict.fromkeys(LIST_GAMES, f"lists that agree on these facts: {BOUND}")
"""What a game of each check says of an opponent."""
HEAD = ("who", "adversary", "facts beyond the output", "status", "on what ground")


def learning_view(results: Results) -> str:
    """The view."""
    words = (
        "A fact is declared if a design or the messenger says that a party learns it; none here was "
        "observed. Facts stand most severe first. Tested: the egress audit or a leakage game of this run "
        f"(over {LEAST_PAIRS} pairs or more) looked for more and found nothing, which is no proof. Assumed: "
        "nothing here looked. Violated: more was found."
    )
    scale = (
        "A leakage game shows an opponent one of two pictures that agree in everything declared, and lets it "
        "guess which. An advantage of 0 is guessing, 1 is being always right. The bound is the upper end of "
        "a 99 % interval; beside it stands the least that so many runs can show, which guessing gives. "
        "Towards a device the games are about two lists instead."
    )
    tables = [table(_caption(one), HEAD, list(_rows(one))) for one in measured(results)]
    tables += [_messenger(measured(results))] if tables else []
    return section("learns", "Who learns what", paragraph(words), paragraph(scale), *tables)


def _caption(one: Measured) -> str:
    who = ", ".join(one.design.learns)
    return f"{one.design.name}: the outcome is learnt by {who}"


def _rows(one: Measured) -> Iterator[tuple[str, ...]]:
    declared = [leak for leak in one.design.declared if leak.source == "design"]
    found = list(_unnamed(one, declared))
    if not declared and not found:
        status = TESTED if one.audit.sessions and one.audit.comparable else ASSUMED
        ground = f"the design declares nothing; egress audit of {one.audit.sessions} sessions"
        yield ("all servers", "semi-honest", NOTHING, _status_cell(status), ground)
    for leak in declared:
        status, ground = _status(one, leak)
        yield _row(leak, status, ground)
    for who, ground in found:
        yield (text(who), "any", NOTHING, _status_cell(VIOLATED), text(ground))
    for name, (status, words) in _opponents(one, declared):
        adversary, _, who = name.partition(" ")
        facts = "what its members learn, joined" if " with " in who else NOTHING
        yield (text(who), text(adversary), facts, _status_cell(status), text(words))


def _messenger(rows: Sequence[Measured]) -> str:
    """What the messenger itself tells, the same for all designs."""
    ground = "declared by the messenger; the audit holds forms and lengths against it"
    lines = [_row(leak, ASSUMED, ground) for leak in rows[0].design.declared if leak.source == "messenger"]
    return table("The messenger, whatever the design", HEAD, lines)


def _row(leak: Declared, status: str, ground: str) -> tuple[str, ...]:
    facts = "".join(
        f"<li><b>{text(fact.name)}</b>: {text(fact.says)}</li>"
        for fact in severity.by_severity(leak.facts, leak.parties == DEVICE)
    )
    shown = f"<ul>{facts}</ul>" if facts else "nothing"
    who = " with ".join(leak.parties)
    return (text(who), text(leak.adversary), shown, _status_cell(status), text(ground))


def _status(one: Measured, leak: Declared) -> tuple[str, str]:
    found = [finding for finding in one.audit.findings if finding.party in leak.parties]
    if found:
        size = sum(finding.bytes for finding in found)
        return VIOLATED, f"{size} undeclared bytes: {found[0].rule}"
    for check in one.checks:
        if _broken(check) and (check.check in LIST_GAMES) is (leak.parties == DEVICE):
            return VIOLATED, f"{check.check}: {check.reason}"
    bound = _games(one).get(f"{leak.adversary} {' with '.join(leak.parties)}")
    if bound is not None:
        return bound
    if not one.audit.comparable and leak.parties != DEVICE:
        return ASSUMED, f"egress audit of {one.audit.sessions} sessions: {NOT_COMPARABLE}"
    if leak.adversary == "semi-honest" and leak.parties != DEVICE and one.audit.sessions:
        return TESTED, f"egress audit of {one.audit.sessions} sessions; no game was finished for it"
    return ASSUMED, one.checks_why or "no game looks at this party"


def _unnamed(one: Measured, declared: list[Declared]) -> Iterator[tuple[str, str]]:
    """What was found of parties to whom the design declares nothing: who, and what."""
    named = {leak.parties for leak in declared}
    parties = {party for each in named for party in each}
    for finding in one.audit.findings:
        if finding.party not in parties:
            yield finding.party, f"{finding.bytes} undeclared bytes: {finding.rule}"
    for check in filter(_broken, one.checks):
        if check.check in LIST_GAMES and DEVICE not in named:
            yield "device", f"{check.check}: {check.reason}"
        if check.check not in LIST_GAMES and not named - {DEVICE}:
            yield "a server", f"{check.check}: {check.reason}"


def _broken(check: Check) -> bool:
    return check.verdict == "failed" and check.check in BREAKING


def _games(one: Measured) -> dict[str, tuple[str, str]]:
    """Upper bounds of the advantage by opponent, in words; and whether that is a test, over enough pairs."""
    return {
        name: (
            _enough(int(found.get("pairs", LEAST_PAIRS))),
            _bound(check.check, float(found["interval"][1]), int(found["held_out_runs"])),
        )
        for check in one.checks
        if check.check in WORDS and check.verdict == "passed"
        for name, found in check.figures.items()
        if isinstance(found, dict) and "interval" in found
    }


def _enough(pairs: int) -> str:
    return TESTED if pairs >= LEAST_PAIRS else f"not measured ({pairs} pairs)"


def _bound(check: str, high: float, runs: int) -> str:
    return WORDS[check].format(high, runs, resolution(runs))


def _opponents(one: Measured, declared: list[Declared]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Opponents of games to whom nothing is declared by name."""
    named = {f"{leak.adversary} {' with '.join(leak.parties)}" for leak in declared}
    for name, words in _games(one).items():
        if name not in named:
            yield name, words


def _status_cell(status: str) -> str:
    signs = {TESTED: "\u2713", ASSUMED: "?", VIOLATED: "\u2717"}
    kind = status if status in signs else ASSUMED
    return f'<span class="status status-{kind}">{signs[kind]} {status}</span>'
