"""The three findings that open the page: what is found and its price, the error rate that decides, and who
decides what is looked for.

In:   cards and their evidence; marks of false matches; played attacks.
Out:  findings as sentences whose numbers each name evidence.

A finding states both sides of what it is about, and none of the three recommends anything. Designs are
chosen by what they declare, never by name: the first private design of each way of matching in the order of
the options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from blindmatch_protocol.contract import Learner

from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed
from blindmatch_simulations.evaluation.population.inputs import Inputs
from blindmatch_simulations.evaluation.studies.capacity import key_seconds
from blindmatch_simulations.report.view import words
from blindmatch_simulations.report.view.costs import figure_of
from blindmatch_simulations.report.view.flagged import BREAK_EVEN, EXCLUDED, MIXED, SEEN
from blindmatch_simulations.report.view.ledger import Ledger
from blindmatch_simulations.report.view.schema import Card, Evidence, Finding, Sentence, State

LEAFLET: Final = "dual-purpose"
"""The attack that lists a harmless leaflet."""
Shown = dict[str, tuple[str, Callable[[Evidence], str]]]
"""By the name in a sentence: the key of the evidence, and how it is written."""


def findings(
    rows: Sequence[Measured],
    cards: Sequence[Card],
    attacks: Sequence[AttackRow | NotPlayed],
    inputs: Inputs,
    ledger: Ledger,
) -> tuple[Finding, ...]:
    """Return the three findings; where a run lacks what a finding is about, a sentence says so."""
    found = tuple(_say_found(rows, cards, inputs, ledger))
    wrong = tuple(_say_wrong(ledger))
    widened = tuple(_say_widened(rows, attacks, ledger))
    return (
        Finding("What private matching finds, and at what price", found),
        Finding("Whether most matches would be right is not known", wrong),
        Finding("Whoever makes the list decides what is looked for", widened),
    )


def is_private(row: Measured) -> bool:
    """Is a server asked, of whom and of everybody else the design keeps picture and outcome?"""
    design = row.design
    is_asked = bool(design.roles) and design.content == "no"
    return is_asked and design.learns == (Learner.DEVICE,) and design.end_to_end and not design.differs


def _first_private(rows: Sequence[Measured], relation: str) -> Measured | None:
    private = [row for row in rows if is_private(row) and row.design.relation == relation]
    return min(private, key=lambda row: (row.design.option, len(row.id), row.id), default=None)


def _say_found(
    rows: Sequence[Measured], cards: Sequence[Card], inputs: Inputs, ledger: Ledger
) -> Iterator[Sentence]:
    near = _first_private(rows, "near")
    equal = _first_private(rows, "equal")
    if near is None or equal is None:
        yield ("This run lacks a private design for near copies, or one for exact copies.",)
        return
    recalled = figure_of(near, "corpus_recall_pairs", ledger)
    of_all = figure_of(near, "corpus_recall", ledger)
    exact = figure_of(equal, "corpus_recall", ledger)
    yield ledger.sentence(
        "Of the edited copies of photographs that hashes of this kind can recognise at all, private matching "
        "of near copies finds {near} ({ends} for photographs of another source).",
        {"near": (recalled, words.percent), "ends": (recalled, words.percent_between)},
    )
    yield ledger.sentence(
        "Of all edited copies in this test, where each edit counts alike, it finds {all}; private matching "
        "of exact copies finds {exact}.",
        {"all": (of_all, words.percent), "exact": (exact, words.percent)},
    )
    yield from _say_of_hundred(near, equal, rows, cards, ledger)
    yield from _say_price(near, inputs, ledger)


def _say_of_hundred(
    near: Measured, equal: Measured, rows: Sequence[Measured], cards: Sequence[Card], ledger: Ledger
) -> Iterator[Sentence]:
    provider = next((row for row in rows if not row.design.end_to_end), None)
    keys = {card.id: card.fates.get("found") for card in cards}
    near_key = keys.get(near.id)
    equal_key = keys.get(equal.id)
    provider_key = keys.get(provider.id) if provider is not None else None
    if near_key is None or equal_key is None or provider_key is None:
        return
    yield ledger.sentence(
        "Of 100 known files sent, near copies come to {near} found and exact copies to {equal}, where a "
        "provider that reads all messages finds {provider}. These three are calculated from assumed shares, "
        "of which two alone move the first from {moved}.",
        {
            "near": (near_key, words.value),
            "equal": (equal_key, words.value),
            "provider": (provider_key, words.value),
            "moved": (near_key, words.between),
        },
    )


def _say_price(near: Measured, inputs: Inputs, ledger: Ledger) -> Iterator[Sentence]:
    phone = figure_of(near, "phone_cpu_ms", ledger)
    up = figure_of(near, "query_up_bytes", ledger)
    down = figure_of(near, "query_down_bytes", ledger)
    yield ledger.sentence(
        "For each picture, private matching of near copies costs a phone {phone} of computing, measured on "
        "the processor of a server, {up} sent and {down} received.",
        {"phone": (phone, words.milliseconds), "up": (up, words.size), "down": (down, words.size)},
    )
    key = near.key
    volume = inputs.accounts.number.value * inputs.activity.pictures_a_day.value
    seconds = None if key is None else key_seconds(key.in_all, key.cost, volume)
    if seconds is None:
        return
    life = Evidence(
        title="Life of a key at the EU's volume",
        state=State.CALCULATED,
        value=seconds,
        unit="s",
        why="the limit on all accounts together, over what the pictures of all accounts take in a second",
        source=("population.toml", f"results.json: rows, {near.id}, key"),
    )
    yield ledger.sentence(
        "At the EU's volume this design cannot both answer and keep its list secret: the limit that protects "
        "the list is used up after {life}, and without it modified phones can open the list.",
        {"life": (ledger.add("findings/key-life", life), words.duration)},
    )


def _say_wrong(ledger: Ledger) -> Iterator[Sentence]:
    held = ledger.held()
    if SEEN in held:
        yield ledger.sentence(
            "In this test {seen} photographs matched a picture of another source, which excludes only error "
            "rates above {excluded}.",
            {"seen": (SEEN, words.of_n), "excluded": (EXCLUDED, words.percent)},
        )
    if MIXED in held:
        yield ledger.sentence(
            "The least flattering rate that was measured is of pictures of all kinds, many of them drawings, "
            "against a list of such pictures: {mixed} of them matched ({ends}).",
            {"mixed": (MIXED, words.percent), "ends": (MIXED, words.percent_between)},
        )
    yield ledger.sentence(
        "If {even} innocent pictures matches, half of all matches are wrong, under the assumptions that are "
        "listed below. No test here can tell on which side of that rate reality lies.",
        {"even": (BREAK_EVEN, words.one_in)},
    )


def _say_widened(
    rows: Sequence[Measured], attacks: Sequence[AttackRow | NotPlayed], ledger: Ledger
) -> Iterator[Sentence]:
    played = [row for row in attacks if isinstance(row, AttackRow) and row.id == LEAFLET]
    if not played:
        yield ("This run did not try to put something else on the list.",)
        return
    source = (f"attacks.json: rows, {LEAFLET}",)
    succeeded = ledger.add(
        "findings/leaflet",
        Evidence(
            title="Designs in which a listed leaflet was found like any listed picture",
            state=State.MEASURED,
            value=sum(row.succeeded for row in played),
            unit="designs",
            n=len(played),
            source=source,
        ),
    )
    tried = ledger.add(
        "findings/leaflet-tried",
        Evidence(
            title="Designs in which a harmless leaflet was put on the list",
            state=State.MEASURED,
            value=len(played),
            unit="designs",
            source=source,
        ),
    )
    yield ledger.sentence(
        "A harmless leaflet was put on the list in {tried} designs, and in {found} of them the devices that "
        "sent it were found out. Hiding the comparison changes nothing about this.",
        {"tried": (tried, words.value), "found": (succeeded, words.value)},
    )
    yield (
        "What is on a list cannot be checked from outside; people who look at a report could notice that it "
        "shows something else.",
    )
    yield _say_provable(rows, ledger)


def _say_provable(rows: Sequence[Measured], ledger: Ledger) -> Sentence:
    figures = [row.figures["proof_bytes"] for row in rows if "proof_bytes" in row.figures]
    provable = ledger.add(
        "findings/provable",
        Evidence(
            title="Designs in which an outsider can check that all devices get one list",
            state=State.MEASURED,
            value=sum(figure.value is not None for figure in figures),
            unit="designs",
            n=len(rows),
            why="if independent witnesses sign the public log; those in this test are the suite's own",
            source=("results.json: rows, figures, proof_bytes",),
        ),
    )
    return ledger.sentence(
        "In {provable} designs an outsider can check that everybody gets one and the same list, if "
        "independent witnesses sign its public log.",
        {"provable": (provable, words.value)},
    )
