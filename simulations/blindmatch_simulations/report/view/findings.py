"""The three findings that open the page: what is found and its price, the error rate that decides, and who
decides what is looked for.

In:   cards and their evidence; marks of false matches; played attacks.
Out:  findings as sentences whose numbers each name evidence.

A finding states both sides of what it is about, and none of the three recommends anything. Designs are
chosen by what they declare and by what was measured, never by name: of the private designs of each way of
matching the one that moves the fewest bytes for a picture. Sentences name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from blindmatch_protocol.contract import Learner, Shows

from blindmatch_simulations.evaluation.assess.judging import NOTHING
from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed
from blindmatch_simulations.evaluation.population.inputs import YEAR
from blindmatch_simulations.measure.results import Figure, Status
from blindmatch_simulations.report.view import words
from blindmatch_simulations.report.view.abuse import design_of
from blindmatch_simulations.report.view.costs import DAY_SECONDS, LIST, figure_of
from blindmatch_simulations.report.view.flagged import (
    BREAK_EVEN,
    EXCLUDED,
    EXCLUDED_BY_SOURCE,
    MIXED,
    SEEN,
    VOLUME,
    WORST_KIND,
    WRONG_AT_EVEN,
)
from blindmatch_simulations.report.view.found import FOUND
from blindmatch_simulations.report.view.holdings import facts_of_innocents
from blindmatch_simulations.report.view.ledger import Ledger
from blindmatch_simulations.report.view.schema import Card, Evidence, Finding, Sentence, State

LEAFLET: Final = "dual-purpose"
"""The attack that lists a harmless leaflet."""
OF_LEAFLET: Final = "achieved: of the leaflet"
"""The attack's figure: senders of the leaflet that were found out, of `n`."""
MODIFIED: Final = "modified"
"""The fate of files that changed clients send."""
NEAR: Final = "near"
EQUAL: Final = "equal"
Written = tuple[str, Callable[[Evidence], str]]
"""The key of evidence, and how a sentence writes it."""


def findings(
    rows: Sequence[Measured],
    cards: Sequence[Card],
    attacks: Sequence[AttackRow | NotPlayed],
    ledger: Ledger,
) -> tuple[Finding, ...]:
    """Return the three findings; where a run lacks what a finding is about, a sentence says so."""
    found = tuple(_say_found(rows, cards, ledger))
    wrong = tuple(_say_wrong(ledger))
    widened = tuple(_say_widened(rows, attacks, ledger))
    return (
        Finding("What private matching finds, and at what price", found),
        Finding("Whether most matches would be right is not known", wrong),
        Finding("Whoever makes the list decides what is looked for", widened),
    )


def is_private(row: Measured) -> bool:
    """Is somebody asked about a picture, and does nobody but the device learn picture, hash or outcome?"""
    design = row.design
    asked = set(design.roles.values())
    told = {thing for party in asked for fact in facts_of_innocents(design, party) for thing in fact.shows}
    is_kept = not told & {Shows.PICTURE, Shows.HASH} and design.content == "no"
    return bool(asked) and is_kept and design.learns == (Learner.DEVICE,) and design.end_to_end


def _smallest_private(rows: Sequence[Measured], relation: str) -> Measured | None:
    """Return the private design that moves the fewest bytes for a picture, of those that the corpus knows."""
    private = [
        row
        for row in rows
        if is_private(row)
        and row.design.relation == relation
        and not row.design.differs
        and _value(row, "corpus_recall") is not None
    ]
    moved = ("query_up_bytes", "query_down_bytes")
    return min(
        private, key=lambda row: sum(_value(row, name) or float("inf") for name in moved), default=None
    )


def _value(row: Measured, name: str) -> float | None:
    return row.figures.get(name, Figure(None)).value


def _say_found(rows: Sequence[Measured], cards: Sequence[Card], ledger: Ledger) -> Iterator[Sentence]:
    titles = {card.id: card.title for card in cards}
    near = _smallest_private(rows, NEAR)
    equal = _smallest_private(rows, EQUAL)
    if near is None:
        yield ("This run has no private design that finds near copies and was measured on the corpus.",)
    else:
        recalled = figure_of(near, "corpus_recall_pairs", ledger)
        of_all = figure_of(near, "corpus_recall", ledger)
        if ledger[recalled].low is not None:
            yield ledger.sentence(
                "Of the edited copies of photographs that hashes of this kind can recognise at all, private "
                f"matching of near copies (here \u201c{titles[near.id]}\u201d, which moves the fewest bytes) "
                "finds {near}; for photographs of another source, {ends} are to be expected.",
                {"near": (recalled, words.percent), "ends": (recalled, words.percent_between)},
            )
        yield ledger.sentence(
            "Of all edited copies of the reference photographs, with each edit alike, it finds {all} "
            "({all_ends} for another source).",
            {"all": (of_all, words.percent), "all_ends": (of_all, words.percent_between)},
        )
    if equal is None:
        yield ("This run has no private design that finds exact copies and was measured on the corpus.",)
    else:
        exact = figure_of(equal, "corpus_recall", ledger)
        yield ledger.sentence(
            f"Private matching of exact copies (\u201c{titles[equal.id]}\u201d) finds {{exact}} of them "
            "({exact_ends} for another source).",
            {"exact": (exact, words.percent), "exact_ends": (exact, words.percent_between)},
        )
    yield from _say_of_hundred(near, equal, rows, cards, ledger)
    if near is not None:
        yield from _say_price(near, cards, ledger)


def _say_of_hundred(
    near: Measured | None,
    equal: Measured | None,
    rows: Sequence[Measured],
    cards: Sequence[Card],
    ledger: Ledger,
) -> Iterator[Sentence]:
    reads = next((row for row in rows if not row.design.end_to_end and row.design.relation == NEAR), None)
    fates = {card.id: card.fates for card in cards}
    near_fates, equal_fates, reads_fates = (
        fates[row.id] if row is not None else {} for row in (near, equal, reads)
    )
    near_key, equal_key, reads_key = (one.get(FOUND, "") for one in (near_fates, equal_fates, reads_fates))
    if not (near_key and equal_key and reads_key):
        return
    yield ledger.sentence(
        "Of 100 known files sent, private matching of near copies finds {near} and of exact copies {equal}; "
        "a provider that reads all messages and matches near copies finds {reads}. These three numbers are "
        "calculated from assumed shares, of which two alone can move {near} to anything from {near_moved}, "
        "and {reads} to anything from {reads_moved}.",
        {
            "near": (near_key, words.value),
            "equal": (equal_key, words.value),
            "reads": (reads_key, words.value),
            "near_moved": (near_key, words.between),
            "reads_moved": (reads_key, words.between),
        },
    )
    by_clients = [ledger[one[MODIFIED]].value or 0.0 for one in (near_fates, reads_fates)]
    apart = (ledger[reads_key].value or 0.0) - (ledger[near_key].value or 0.0)
    if not 2 * (by_clients[0] - by_clients[1]) > apart > 0:
        return
    yield ledger.sentence(
        "Of the difference between {near} and {reads} most is assumed, not measured: private matching misses "
        "{near_modified} since clients are assumed to be changed so that they never ask, and the provider "
        "that reads misses {reads_modified} for that reason.",
        {
            "near": (near_key, words.value),
            "reads": (reads_key, words.value),
            "near_modified": (near_fates[MODIFIED], words.value),
            "reads_modified": (reads_fates[MODIFIED], words.value),
        },
    )


def _say_price(near: Measured, cards: Sequence[Card], ledger: Ledger) -> Iterator[Sentence]:
    cost = next(card.cost for card in cards if card.id == near.id)
    phone = ledger[cost["phone"]]
    if phone.value is not None:
        disturbed = ", while other work ran beside it" if phone.disturbed else ""
        yield ledger.sentence(
            "For each picture it costs a phone {phone} of computing ({phone_ends} over repeats), measured on "
            f"the computer of this run{disturbed}, {{up}} sent and {{down}} received.",
            {
                "phone": (cost["phone"], words.milliseconds),
                "phone_ends": (cost["phone"], words.between),
                "up": (cost["up"], words.size),
                "down": (cost["down"], words.size),
            },
        )
    life = ledger[cost["key"]]
    if life.value is not None and life.value < YEAR * DAY_SECONDS:
        yield ledger.sentence(
            "At the volume assumed for the EU, {volume} pictures a day, what its key allows all accounts "
            "together is used up after {life}. It then answers nobody until the list has a new key; without "
            "that limit, many modified phones can open its list by guessing. What it finds of 100 known "
            "files is calculated as if its key answered all year.",
            {"life": (cost["key"], words.duration), "volume": (VOLUME, words.large)},
        )
    opened = ledger[cost["opened"]]
    if opened.value is not None:
        yield ledger.sentence(
            "A thousand modified phones open {opened} of its list in a year, of entries that resemble "
            "nothing they have.",
            {"opened": (cost["opened"], words.percent)},
        )


def _say_wrong(ledger: Ledger) -> Iterator[Sentence]:
    held = ledger.held()
    if SEEN in held:
        yield ledger.sentence(
            "In this test {seen} photographs matched a picture of another source. That excludes only error "
            "rates above {alone} if each picture counts as drawn for itself, and above {by_source} if other "
            "sources may differ as these do.",
            {
                "seen": (SEEN, words.of_n),
                "alone": (EXCLUDED, words.percent),
                "by_source": (EXCLUDED_BY_SOURCE, words.percent),
            },
        )
    shown: dict[str, Written] = {
        "mixed": (MIXED, words.percent),
        "ends": (MIXED, words.percent_between),
        "worst": (WORST_KIND, words.percent),
    }
    if MIXED in held and WORST_KIND in held:
        yield ledger.sentence(
            "Of pictures of all kinds, many of them drawings, {mixed} matched a list of such pictures "
            "({ends}); of the kind of which most matched, {worst}.",
            shown,
        )
    yield ledger.sentence(
        "If {even} innocent pictures matches, half of all matches are wrong. That number stands on assumed "
        "numbers of pictures and of known files; with these at their ends it is anything from {least} to "
        "{most}.",
        {
            "even": (BREAK_EVEN, words.one_in),
            "least": (BREAK_EVEN, words.one_in_low),
            "most": (BREAK_EVEN, words.one_in_high),
        },
    )
    yield ledger.sentence(
        "At that rate, {wrong} innocent pictures would be flagged in the EU in a year, at the assumed "
        "{volume} pictures a day. How many people that would be was not calculated. No test here can tell on "
        "which side of that rate reality lies.",
        {"wrong": (WRONG_AT_EVEN, words.large), "volume": (VOLUME, words.large)},
    )


def _say_widened(
    rows: Sequence[Measured], attacks: Sequence[AttackRow | NotPlayed], ledger: Ledger
) -> Iterator[Sentence]:
    listing = {row.id: row for row in rows if row.design.relation in LIST}
    played = {
        design_of(row): row
        for row in attacks
        if isinstance(row, AttackRow) and row.id == LEAFLET and design_of(row) in listing
    }
    if played:
        yield from _say_leaflet(listing, played, ledger)
    elif any(row.id == LEAFLET and row.status == Status.FAILED for row in attacks):
        yield ("Putting something else on the list was tried in this run, and the try crashed.",)
    else:
        yield ("This run did not try to put something else on the list.",)
    if listing:
        yield (
            "What is on a list cannot be checked from outside; people who look at a report could notice that "
            "it shows something else.",
        )
        yield _say_provable(list(listing.values()), ledger)


def _say_leaflet(
    listing: Mapping[str, Measured], played: Mapping[str, AttackRow], ledger: Ledger
) -> Iterator[Sentence]:
    private = [design for design in played if is_private(listing[design])]
    counted = {
        "tried": ("Designs in which a harmless leaflet was put on the list", len(played)),
        "found": (
            "Designs in which a listed leaflet was found like any listed picture",
            sum(row.succeeded for row in played.values()),
        ),
        "private": ("Private designs in which a leaflet was put on the list", len(private)),
        "private_found": (
            "Private designs in which a listed leaflet was found",
            sum(played[design].succeeded for design in private),
        ),
        "untried": ("Designs with a list in which no leaflet was put on it", len(listing) - len(played)),
    }
    shown: dict[str, Written] = {}
    for name, (title, count) in counted.items():
        evidence = Evidence(
            title=title,
            state=State.MEASURED,
            value=count,
            unit="designs",
            source=(f"attacks.json: rows, {LEAFLET}",),
        )
        shown[name] = (ledger.add(f"findings/leaflet/{name}", evidence), words.value)
    shown["senders"] = (_senders(played.values(), ledger), words.value)
    yield ledger.sentence(
        "A harmless leaflet was put on the list of {tried} designs. {private} of them are private: by their "
        "own declaration nobody but the device learns picture, hash or outcome until it reports. {senders} "
        "devices sent the leaflet in each; all of them were found out, like those that send a listed "
        "picture, in {found} of the {tried} designs and in {private_found} of the {private} private ones. In "
        "{untried} other designs with a list this was not tried.",
        shown,
    )


def _senders(played: Iterable[AttackRow], ledger: Ledger) -> str:
    """Take down how many devices sent the leaflet in each design; the fewest where designs differ."""
    counts = [figure.n for row in played if (figure := row.figures.get(OF_LEAFLET)) and figure.n is not None]
    evidence = Evidence(
        title="Devices that sent the leaflet, in each design in which it was put on the list",
        state=State.MEASURED if counts else State.NOT_MEASURED,
        value=min(counts, default=None),
        low=min(counts, default=None),
        high=max(counts, default=None),
        interval="fewest and most, over designs",
        unit="devices",
        source=(f"attacks.json: rows, {LEAFLET}, figures, {OF_LEAFLET}",),
    )
    return ledger.add("findings/leaflet/senders", evidence)


def _say_provable(rows: Sequence[Measured], ledger: Ledger) -> Sentence:
    """Say in how many designs with a list an outsider can check that there is one list for all."""
    figures = [row.figures.get("proof_bytes", Figure(None)) for row in rows]
    known = [figure for figure in figures if _is_known(figure)]
    if not known:
        return ("Whether an outsider can check that everybody gets one list was not measured in this run.",)
    counted = {
        "provable": sum(figure.value is not None for figure in known),
        "looked": len(known),
    }
    titles = {
        "provable": "Designs in which an outsider can check that all devices get one list",
        "looked": "Designs with a list of which that was measured",
    }
    shown: dict[str, Written] = {}
    for name, count in counted.items():
        evidence = Evidence(
            title=titles[name],
            state=State.MEASURED,
            value=count,
            unit="designs",
            why="if independent witnesses sign the public log; those in this test are the suite's own",
            source=("results.json: rows, figures, proof_bytes",),
        )
        shown[name] = (ledger.add(f"findings/one-list/{name}", evidence), words.value)
    return ledger.sentence(
        "In {provable} of {looked} designs with a list an outsider can check that everybody gets one and the "
        "same list, if independent witnesses sign its public log.",
        shown,
    )


def _is_known(figure: Figure) -> bool:
    return figure.value is not None or figure.why.startswith(NOTHING)
