"""Tables of the corpus's page: what is in the reference corpus, and what designs find of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import fill
from typing import Final

from blindmatch_simulations.data import committed as data
from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.evaluation.population.bands import calibrated
from blindmatch_simulations.evaluation.population.false_matches import break_even
from blindmatch_simulations.evaluation.population.fates import FATES, declared
from blindmatch_simulations.evaluation.population.inputs import YEAR, read_inputs
from blindmatch_simulations.evaluation.population.model import LITERATURE, model
from blindmatch_simulations.evaluation.population.running import known_false, read_results, subjects
from blindmatch_simulations.evaluation.studies import reference
from blindmatch_simulations.evaluation.studies.evidence import (
    DIFFERENCE,
    EDIT,
    RECALL,
    SESSIONS,
    SIZE,
    committed,
)
from blindmatch_simulations.evaluation.studies.false_matches import ALL, FALSE, GROWTH
from blindmatch_simulations.evaluation.studies.predictions import TESTED, committed_predictions
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH
from blindmatch_simulations.measure.results import Figure

from support.page_tables import table


def _percent(figure: Figure, places: int = 1) -> str:
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.{places}f}"
    ends = (f"{100 * one:.{places}f}" for one in (figure.value, figure.low, figure.high))
    return "{} ({} to {})".format(*ends)


def claims() -> str:
    """Rates that others state; none was measured here."""
    rows = [
        (
            f"{one['of']} ({one['status']})",
            one["says"],
            one["unit"],
            one["list"],
            one["pictures"],
            one["source"],
        )
        for one in data("claimed-rates")["rows"]
    ]
    return table(("whose", "what is said", "of each", "list", "pictures", "source"), rows)


def contents() -> str:
    """Originals and edited ones by kind."""
    corpus = reference.read()
    kinds = corpus.kinds.tolist()
    edited = corpus.kinds[corpus.edited].tolist()
    rows = []
    for kind in sorted(set(kinds), key=lambda one: (one != PHOTOGRAPH, -kinds.count(one))):
        packages = {row.package for row in corpus.rows if row.kind == kind}
        rows.append((kind, f"{kinds.count(kind):,}", str(edited.count(kind)), str(len(packages))))
    packages = {row.package for row in corpus.rows}
    rows.append(("all", f"{len(kinds):,}", str(len(edited)), str(len(packages))))
    return table(("kind", "originals", "with every edit", "packages"), rows)


def recall() -> str:
    """Photographs by way to match."""
    rows = [row for row in committed() if row.id == RECALL and row.parameters.get("kind") == PHOTOGRAPH]
    agreed = {row.parameters["design"]: row.figures["agreed"] for row in committed() if row.id == SESSIONS}
    head = (
        "designs",
        "of all copies",
        "of PDQ's own pairs",
        "of those beyond 24 bits",
        "sessions that agree",
    )
    lines = []
    for row in rows:
        names = str(row.parameters["designs"]).split(", ")
        left = [name for name in names if name not in agreed or agreed[name].value is None]
        of = [agreed[name] for name in names if name in agreed and agreed[name].value is not None]
        same = sum(round(one.value * one.n) for one in of if one.value is not None and one.n)
        lines.append(
            (
                ", ".join(names),
                _percent(row.figures["found"]),
                _percent(row.figures["of_pdq"], 2),
                _percent(row.figures["beyond_24"]),
                f"{same} of {sum(one.n or 0 for one in of)}"
                + (f"; not run: {', '.join(left)}" if left else ""),
            )
        )
    return table(head, lines)


def false_matches() -> str:
    """Return kind of picture by kind of list, within PDQ's distance."""
    lists = (ALL, PHOTOGRAPH)
    rows = [row for row in committed() if row.id == FALSE and row.parameters["within"] == 31]
    lines = []
    for row in (one for one in rows if one.parameters["list"] in lists):
        item, every, length = (row.figures[name] for name in ("item", "item_all", "length"))
        assert item.value is not None and item.n is not None and every.n is not None
        lines.append(
            (
                str(row.parameters["kind"]),
                str(row.parameters["list"]),
                f"{length.value:,.0f}",
                f"{round(item.value * item.n)} of {item.n:,}",
                _percent(item, 2),
                _percent(row.figures["item_by_package"], 2),
                f"{_percent(every, 2)}, n {every.n:,}",
            )
        )
    head = (
        "pictures",
        "list",
        "length",
        "matches",
        "%",
        "packages drawn again, %",
        "near-duplicates left in, %",
    )
    return table(head, lines)


def sizes() -> str:
    """Return what is found of photographs by their size, by way to match."""
    lines = []
    for row in committed():
        if row.id == SIZE and row.figures:
            of = row.figures["found"].why.rpartition("of ")[0].rpartition(" copies of ")[2]
            packages = row.figures["found"].why.rpartition("of ")[2]
            lines.append(
                (
                    str(row.parameters["designs"]).split(", ")[0],
                    str(row.parameters["size"]),
                    f"{of.strip()} of {packages}",
                    _percent(row.figures["found"]),
                    _percent(row.figures["of_pdq"], 2),
                )
            )
    return table(("design", "longer side", "of", "of all copies", "of PDQ's own pairs"), lines)


def predicted() -> str:
    """Return how many predictions held in each package set aside, and how wide they are."""
    told = committed_predictions().predictions
    lines = []
    for name, row in PREDICTED.items():
        mine = sorted(one.width for one in told if one.row == row)
        counts: dict[str, list[int]] = {}
        for one in committed():
            if one.id == TESTED and one.parameters["row"] == row:
                held = one.figures["held"]
                assert held.value is not None and held.n is not None
                counts.setdefault(str(one.parameters["package"]), []).append(held.n)
                counts.setdefault(f"held {one.parameters['package']}", []).append(round(held.value * held.n))
        cells = [
            f"{sum(counts.get(f'held {package}', []))} of {sum(counts.get(package, []))}"
            for package in sorted(table_of("reference")["set_aside"])
        ]
        widths = f"{100 * mine[len(mine) // 2]:.1f} ({100 * mine[0]:.1f} to {100 * mine[-1]:.1f})"
        lines.append((name, str(len(mine)), widths, *cells))
    head = (
        "predictions of",
        "number",
        "width, points: median, least to most",
        *sorted(table_of("reference")["set_aside"]),
    )
    return table(head, lines)


PREDICTED: Final = {
    "recall of all copies": RECALL,
    "recall by edit": EDIT,
    "recall by size": SIZE,
    "false matches": FALSE,
}


def growth() -> str:
    """Return how false matches within PDQ's distance grow with the list."""
    parts = (64, 8, 2, 1)
    lines = []
    for row in committed():
        if row.id == GROWTH and row.parameters["within"] == 31:
            exponent = row.figures["exponent"]
            whole = row.figures["part_1"]
            assert whole.pairs and whole.n and exponent.value is not None
            shown = f"{exponent.value:.2f}"
            if exponent.low is not None:
                shown += f" ({exponent.low:.2f} to {exponent.high:.2f})"
            rates = (f"{100 * (row.figures[f'part_{part}'].value or 0):.4f}" for part in parts)
            kinds = str(row.parameters["kind"]), str(row.parameters["list"])
            lines.append((*kinds, f"{whole.pairs / whole.n:,.0f}", *rates, shown))
    head = ("pictures", "list", "length", "1/64 of it, %", "1/8, %", "1/2, %", "all, %", "exponent")
    return table(head, lines)


def differences() -> str:
    """Pairs of ways to match, each named by its first design: points that the first finds more of."""
    lines = []
    for row in committed():
        if row.id == DIFFERENCE:
            first, second = (str(row.parameters[name]).split(", ")[0] for name in ("first", "second"))
            cells = []
            for name in ("found", "of_pdq", "beyond_24"):
                needed = row.figures.get(f"{name}_needed")
                open_ = "" if needed is None else f"; not resolved, {needed.value:.0f} needed"
                cells.append(_percent(row.figures[name], 2) + open_)
            lines.append((first, second, *cells))
    return table(("first", "second", "of all copies", "of PDQ's own pairs", "of those beyond 24 bits"), lines)


def residuals() -> str:
    """What was counted beside what is foretold, each residual with its cause."""
    rows = []
    for one in calibrated(read_inputs(None), 1):
        causes = dict(
            part.split(": ", 1) for part in one["note"].replace("; forwarded", "\nforwarded").split("\n")
        )
        for what in ("received", "forwarded"):
            if found := one.get(what):
                share = f"{100 * found['residual_share']:+.0f} %"
                rows.append(
                    (
                        one["name"],
                        what,
                        f"{found['expected']:,}",
                        f"{found['counted']:,}",
                        share,
                        causes[what],
                    )
                )
    return table(("year", "reports", "foretold", "counted", "residual", "cause"), rows)


def fates() -> str:
    """What becomes of 100 known files sent in each design of the sample, by the year's model; designs alike
    together; and the mix of edits that is assumed."""
    inputs = read_inputs(None)
    rows: dict[tuple[str, ...], list[str]] = {}
    for one in subjects(read_results(None), inputs, []):
        if one.behaviour is not None and one.design != LITERATURE:
            told = declared(model(inputs, one.behaviour, int(inputs.accounts.number.value), YEAR))
            low, high = told["found_by_two_assumed_shares"]
            cells = (*(f"{told['fates'][name]:.1f}" for name in FATES), f"{low:.0f} to {high:.0f}")
            rows.setdefault(cells, []).append(f"`{one.design}`")
    moved = "found, with shares of videos and clients that never ask at their ends"
    heads = ("designs", *FATES.values(), moved)
    made = table(heads, [(", ".join(names), *cells) for cells, names in rows.items()])
    mix = [(name, f"{100 * share:.0f} %") for name, share in inputs.edits.mix.items()]
    said = f"The mix of edits is assumed; it has {inputs.edits.source}."
    return f"{made}\n{said}\n\n{table(('edit', 'share'), mix)}"


def _filled(*paragraphs: str) -> str:
    """Paragraphs, or items of a list, in lines as pages have them."""
    return "".join(
        fill(
            " ".join(one.split()), 118, break_on_hyphens=False, break_long_words=False,
            subsequent_indent="  " * one.startswith("- "),
        )
        + "\n"
        for one in paragraphs
    )  # fmt: skip


def _row_of(name: str) -> Measured:
    return next(one for one in read_results(None).rows if isinstance(one, Measured) and one.id == name)


def known_of_false_matches() -> str:
    """The three parts, of a design for near copies."""
    inputs = read_inputs(None)
    known = known_false(_row_of("token-psi"))
    even = break_even(inputs)
    assert known is not None and known.seen.value is not None and known.seen.n and known.seen.pairs
    most = 100 * (known.seen.high or 1)
    excluded = "" if known.seen.value else f" This excludes only rates above {most:.2f} %."
    lists = []
    for one in known.lists:
        assert one.item.value is not None and one.item.low is not None and one.item.high is not None
        value, low, high = (f"{100 * end:.2f}" for end in (one.item.value, one.item.low, one.item.high))
        kind = "photographs" if one.list == "photographs" else "pictures of all kinds"
        length = (one.item.pairs or 0) / (one.item.n or 1)
        lists.append(f"{value} % ({low} to {high} %) against a list of {length:,.0f} {kind}")
    files = inputs.material.files.value * inputs.accounts.number.value / 1e6
    seen = round(known.seen.value * known.seen.n)
    return _filled(
        f"""- **Seen**: {seen} of {known.seen.n} photographs matched a picture of another source, in a list of
        {known.seen.pairs / known.seen.n:,.0f}.{excluded}""",
        f"""- **The least flattering rates that can be defended**, of pictures of all kinds that designs for
        near copies match: {", and ".join(lists)}. Both are against pictures of other sources.""",
        f"""- **The break-even**: half of all matches are wrong at one error in {even.pictures:,.0f} pictures.
        A matcher that finds every known picture has as many right matches as known files are sent, less
        videos. It has as many wrong ones at `e = K (1 - v) / V`, for K known files sent by an account in
        a year, a share v of videos, and V pictures. The numbers are assumed: {files:.3g} million known
        files, {100 * inputs.material.video.value:.0f} % videos, {inputs.activity.pictures_a_day.value}
        pictures for each of {inputs.accounts.number.value / 1e6:.0f} million accounts and day. A matcher
        that finds a part of the known pictures is there at that part of this rate already.""",
    )


def measured_ratio() -> str:
    """What near and equal matching find of what the provider's own matcher does, and of which mix."""
    inputs = read_inputs(None)
    found = {one.design: one.behaviour for one in subjects(read_results(None), inputs, [])}

    def mixed(name: str) -> float:
        one = found[name]
        whole = found["provider-scan"]
        assert one is not None and whole is not None
        return 100 * one.recall.value / whole.recall.value

    def alike(name: str) -> float:
        return 100 * (_row_of(name).figures["corpus_recall_pairs"].value or 0)

    edits = [
        (figure.value, str(one.parameters["edit"]), figure.n)
        for one in committed()
        if one.id == EDIT and "token-psi" in str(one.parameters["designs"]).split(", ")
        if (figure := one.figures.get("of_pdq", Figure(None))).value is not None
    ]
    least, edit, n = min(edits)
    return _filled(
        f"""The measured finding is a ratio: of the copies that the provider's own matcher finds, private near
        matching (`token-psi`) finds {alike("token-psi"):.1f} % if each edit counts alike,
        {mixed("token-psi"):.1f} % of the mix below, and at least {100 * (least or 0):.1f} % of any one
        edit ({edit}, {n} copies). Equal hashes (`oprf-psi`) find {alike("oprf-psi"):.1f} %, and
        {mixed("oprf-psi"):.1f} % of that mix."""
    )


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "the reference corpus: make pages": contents,
    "recall on the reference corpus: make pages": recall,
    "false matches of the reference corpus: make pages": false_matches,
    "growth of false matches with the list: make pages": growth,
    "recall by size: make pages": sizes,
    "predictions for packages set aside: make pages": predicted,
    "differences on the reference corpus: make pages": differences,
    "the claims of others: make pages": claims,
    "the residuals of counted years: make pages": residuals,
    "the fates of 100 known files: make pages": fates,
    "what is known of false matches: make pages": known_of_false_matches,
    "the measured ratio: make pages": measured_ratio,
}
