"""The first two pages: what was measured, and what it says, in plain words."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from blindmatch_simulations.assess import severity
from blindmatch_simulations.assess.catalogue import FIGURES
from blindmatch_simulations.assess.corpus import DEBIAN
from blindmatch_simulations.assess.judging import NOTHING
from blindmatch_simulations.assess.results import Failed, Figure, Measured, Results
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.report import outside
from blindmatch_simulations.report.markup import (
    Evidence,
    bullets,
    interval,
    number,
    paragraph,
    section,
    shown,
    text,
)


def measured(results: Results) -> list[Measured]:
    """Rows that were measured, with the catalogue's figures; one that came into it after them is absent."""
    absent = Figure(None, "not in this results file")
    rows = [one.measured for one in results.designs if one.measured is not None]
    return [replace(one, figures={name: one.figures.get(name, absent) for name in FIGURES}) for one in rows]


def failed(results: Results) -> list[Failed]:
    """Rows that were not."""
    return [one.failed for one in results.designs if one.failed is not None]


def evidence(results: Results, one: Measured) -> Evidence:
    """Where the figures of a row come from."""
    return Evidence(f"rows/{one.name}.jsonl", results.command)


def counts(results: Results) -> tuple[set[str], set[str], int]:
    """Options measured as they are; those only by a design nearest to them; options in the catalogue."""
    known = {row["id"] for row in outside.options()}
    exact = {one.design.option for one in measured(results) if not one.design.differs} & known
    near = {one.design.option for one in measured(results)} & known - exact
    return exact, near, len(known)


def headline(results: Results) -> str:
    """How many options were measured."""
    exact, near, known = counts(results)
    words = f"{len(exact)} of {known} options measured"
    return f"{words}, {len(near)} more by a design that is nearest to it" if near else words


def summary_view(results: Results) -> str:
    """The view."""
    rows = measured(results)
    parts = [f'<p class="headline">{text(headline(results))}</p>', *_what_this_is(results)]
    cards = [_design(one) for one in rows]
    cards += [
        f'<div class="card failed"><h3>{text(one.name)}</h3><p>Failed: {text(one.reason)}</p></div>'
        for one in failed(results)
    ]
    parts.append(f'<div class="cards">{"".join(cards)}</div>')
    parts += ["<h3>What this run is too small to show</h3>", paragraph(_too_small(results))]
    parts += ["<h3>What no run here covers</h3>", bullets((*NOT_COVERED, *_limits(rows)))]
    return section("summary", "Summary", *parts)


NOT_COVERED = (
    "Video: no design here takes one, and frames would need a rule of their own for what counts as a match.",
    (
        "Unknown material and grooming: they need a classifier, whose errors are of another order; no "
        "design here has one."
    ),
    "Live streams: there is nothing to hash before it is seen.",
    "Whether an entry of a list shows what it should: lists here are random hashes and benign pictures.",
    "What people at a centre decide: the calculator counts their work, it does not judge it.",
)
SETS_APART: Final = (
    "One evaluated set for all: each design encodes the same list in its own way, most under a key of "
    "its own, "
    "so that sets are not shared between designs, and each pays for a build of its own."
)
NO_PROOFS: Final = (
    "Proofs to the public: not measured for any design, since no run here publishes to a log. What an "
    "outsider "
    "can check about a list is therefore not known from this page."
)


def _limits(rows: list[Measured]) -> tuple[str, ...]:
    """What no design of this run has, and where the same work is not the same."""
    proven = any(one.figures["proof_bytes"].value is not None for one in rows)
    return (SETS_APART,) if proven else (NO_PROOFS, SETS_APART)


def _what_this_is(results: Results) -> list[str]:
    plan = results.plan["pictures"]
    sent = plan["listed"] * len(plan["edits"])
    return [
        paragraph(
            "Every design below was run on the same work: a messenger with end-to-end encryption, servers in "
            "processes of their own, the same pictures and the same list. Every number is of that run, with "
            "95 % intervals in brackets. What was not measured says so; that is neither good nor bad. "
            "Nothing here "
            "rates a design, and no design here is a recommendation."
        ),
        paragraph(_without_design(results)),
        paragraph(
            f"The work: {plan['listed']} listed crops of photographs (PDQ quality 50 or more, hashes more "
            f"than 60 bits apart), each sent with {len(plan['edits'])} edits ({sent} pictures), "
            f"{plan['unlisted']} photographs that are not listed, and a list with "
            f"{number(results.plan['list']['random'])} "
            "further entries that are random. "
            f"The catalogue carried here has {len(outside.options())} options. {outside.options_note()}"
        ),
    ]


def _design(one: Measured) -> str:
    info, figures = one.design, one.figures
    names = {row["id"]: row["name"] for row in outside.options()}
    option = f"{info.option}, {names[info.option]}" if info.option in names else info.option
    near = f" (nearest to option {option}; but {info.differs})" if info.differs else f" (option {option})"
    lines = [
        _share("Found", figures["recall"], "of all edited listed pictures"),
        _share("Found", figures["recall_pairs"], "of those that PDQ itself finds"),
        _false(figures["false_matches"]),
        _learnt(one),
        _cost(figures),
        _skipped(one),
    ]
    return (
        f'<div class="card"><h3>{text(info.name)}<span class="soft">{text(near)}</span></h3>'
        f"<p>{text(info.summary)}</p>{bullets(list(dict.fromkeys(lines)))}</div>"
    )


def _skipped(one: Measured) -> str:
    found = one.offence
    words = (
        f"Of {found.sent} listed pictures sent by a modified client that never asks, "
        f"{found.delivered} arrived."
    )
    if not one.design.roles:
        return "Nobody is asked, so that no client has to be modified to avoid it."
    if not one.design.sends_content:
        return words
    return f"{words} A provider that reads the messages themselves would still see them."


def _share(verb: str, figure: Figure, of: str) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return _unknown(verb, figure)
    return f"{verb} {_percent(figure.value)} {of} ({_percent(figure.low)} to {_percent(figure.high)})."


def _unknown(what: str, figure: Figure) -> str:
    words = figure.why if figure.why.startswith(NOTHING) else f"not measured ({figure.why})"
    return f"{what}: {words}."


def _false(figure: Figure) -> str:
    if figure.value is None or figure.high is None:
        return _unknown("False matches", figure)
    count = round(figure.value * (figure.n or 0))
    seen = (
        f"{count or 'No'} false {'match' if count == 1 else 'matches'} among {figure.n} pictures, "
        f"{number(figure.pairs or 0)} pairs of picture and entry: "
    )
    if count:
        spread = interval(figure, "share")
        return f"{seen}{_percent(figure.value)} of items ({spread})."
    return f"{seen}this run rules out rates above {_percent(figure.high)} of items, and nothing finer."


def _learnt(one: Measured) -> str:
    facts = "; ".join(_clause(fact.says) for fact in severity.told_to_servers(one.design))
    undeclared = shown("undeclared_bytes", one.figures["undeclared_bytes"])
    audited = f"Undeclared, in an audit of {one.audit.sessions} sessions: {undeclared}."
    return f"Servers learn, by declaration: {facts or 'nothing'}. {audited}"


def _clause(sentence: str) -> str:
    """A fact's words inside a sentence."""
    words = sentence.strip().rstrip(".")
    return words[:1].lower() + words[1:] if words[1:2].islower() else words


def _cost(figures: dict[str, Figure]) -> str:
    names = ("device_cpu_ms", "hash_ms", "query_up_bytes", "query_down_bytes", "setup_bytes")
    device, hashing, up, down, setup = (figures[name].value for name in names)
    if device is None or hashing is None or up is None or down is None or setup is None:
        return "Cost: not measured."
    return (
        f"A picture costs the device {number(device)} ms of CPU after {number(hashing)} ms to decode and "
        "hash it, "
        f"and {number(round(up))} bytes up and {number(round(down))} down; "
        f"the set-up is {number(setup)} bytes for a list of this size."
    )


def _too_small(results: Results) -> str:
    known = [one.figures["false_matches"] for one in measured(results)]
    trials = max((one.n or 0 for one in known), default=0)
    apart = "; ".join(
        f"{one.pictures} {one.kind} ({', '.join(one.packages)}): {number(one.pairs)} pairs, "
        f"{number(sum(one.histogram[:32]))} within distance 31"
        for one in results.distances
    )
    finest = (
        f"With {trials} pictures that are not listed, no false-match rate below about "
        f"{_percent(clopper_pearson(0, trials)[1])} of items can be told from zero; rates that matter at "
        "the volume of a messenger are many orders smaller. "
    )
    return (
        f"{finest if trials else 'No false-match rate was measured. '}The crops come from a handful of "
        "photographs, so their errors hang together and intervals are too narrow for other pictures. "
        f"Different pictures in installed packages: {apart or 'none were compared'}."
        f"{_not_installed(results)}"
    )


def _without_design(results: Results) -> str:
    """Options of the catalogue that this run says nothing about."""
    exact, near, _ = counts(results)
    rest = [f"{row['id']} {row['name']}" for row in outside.options() if row["id"] not in exact | near]
    return f"Not measured, since no design of it was measured: {'; '.join(rest) or 'none'}."


def _not_installed(results: Results) -> str:
    """Packages that are looked for and gave no picture; nothing if none was looked for."""
    seen = {package for one in results.distances for package in one.packages}
    missing = [package for package in DEBIAN if package not in seen]
    if not missing or not results.plan.get("corpus", {}).get("most_pictures"):
        return ""
    return f" Not installed where this was run, so without a part in it: {', '.join(missing)}."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
