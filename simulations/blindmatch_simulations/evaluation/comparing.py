"""Designs and versions of one or several assessments side by side, as a table that can be printed and cited.

Each row of a results file becomes one column, and no two rows are merged. A cell is what was measured, with
its interval, or the words "not measured". What keeps two columns from being compared stands in a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Final, TypeAlias

from blindmatch_protocol.picture.pdq import LEAST_QUALITY
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.observed import Described
from blindmatch_simulations.evaluation.assess.results import (
    ATTACKS,
    AnyResults,
    Measured,
    machine_words,
    results_below,
)
from blindmatch_simulations.evaluation.attacks.run import AttackRow
from blindmatch_simulations.evaluation.studies.evidence import RECALL, Matching, committed
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH
from blindmatch_simulations.measure.results import Figure, Status, csv_of, encode, read, short

NOT_MEASURED: Final = "not measured"
NOTHING_MORE: Final = "nothing more"
NOT_DECLARED: Final = "not declared"
MOST_LETTERS: Final = 1_000
"""Of a cell or a name."""


class Column(Struct, frozen=True):
    """One design of one results file.

    Attributes:
        name: that heads the column, different from that of every other.
        folder: the name of the folder that the file was read from.
        results: the whole file.
        row: the design's row in it.
        attacks: played against designs of this name, of the attacks file beside the results, if there is one.
    """

    name: str
    folder: str
    results: AnyResults
    row: Measured
    attacks: tuple[AttackRow, ...]


class Line(Struct, frozen=True):
    """One row of the comparison: what it is of, and a cell for each column."""

    what: str
    cells: tuple[str, ...]


class Comparison(Struct, frozen=True):
    """A comparison, ready to be written in any form.

    Attributes:
        columns: their names.
        lines: of the table.
        notes: sentences that belong below it.
        facts: what the names of facts in the table stand for.
        sources: by column, the digest of the results file that it is of.
    """

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    facts: dict[str, str]
    sources: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the whole comparison, by which it can be cited."""
        return sha256(encode(to_builtins(self))).hexdigest()


def columns_of(paths: Iterable[Path], designs: Sequence[str] = ()) -> list[Column]:
    """The designs in results files, folders of `assess` and folders of a sweep, each a column.

    Args:
        designs: names of those to take, in this order; empty for all, in the order of the files.

    Raises:
        ResultsError: a file is not whole, or not as it was written.
    """
    found = list[Column]()
    for path in paths:
        for file in results_below(path):
            results: AnyResults = read(file, AnyResults)
            attacks = _attacks_beside(file)
            rows = [row for row in results.rows if isinstance(row, Measured)]
            for row in rows:
                folder = _plain(file.resolve().parent.name)
                name = f"{_plain(row.design.name)} v{row.design.version}"
                found.append(Column(name, folder, results, row, _against(attacks, row)))
    if designs:
        wanted = dict.fromkeys(designs)
        found = [one for name in wanted for one in found if one.row.design.name == name]
    return _told_apart(found)


def _plain(words: str) -> str:
    """Return a file's words as one line that is short and moves no cursor.

    Whoever wrote the file may have sealed it again, so that its words may be anything.
    """
    line = "".join(
        one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in " ".join(words.split())
    )
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}…"


def _attacks_beside(file: Path) -> list[AttackRow]:
    path = file.with_name(ATTACKS)
    if not path.is_file():
        return []
    results: AnyResults = read(path, AnyResults)
    return [row for row in results.rows if isinstance(row, AttackRow)]


def _against(attacks: Sequence[AttackRow], row: Measured) -> tuple[AttackRow, ...]:
    return tuple(one for one in attacks if one.parameters.get("design") == row.design.name)


def _told_apart(columns: Sequence[Column]) -> list[Column]:
    """Give columns of one name their parameters that differ, then their folders, then numbers."""
    named = list(columns)
    for words_of in (_parameters_that_differ, _folder, _number):
        for name in {one.name for one in named}:
            alike = [one for one in named if one.name == name]
            if len(alike) > 1:
                words = {id(one): words_of(one, alike) for one in alike}
                named = [
                    replace(one, name=f"{name} {words[id(one)]}") if words.get(id(one)) else one
                    for one in named
                ]
    return named


def _folder(column: Column, alike: Sequence[Column]) -> str:
    return column.folder if len({one.folder for one in alike}) > 1 else ""


def _number(column: Column, alike: Sequence[Column]) -> str:
    (at,) = (at for at, one in enumerate(alike, 1) if one is column)
    return f"({at})"


def _parameters_that_differ(column: Column, alike: Sequence[Column]) -> str:
    own = column.row.design.parameters
    others = [one.row.design.parameters for one in alike]
    return _plain(
        " ".join(
            f"{key}={value}" for key, value in own.items() if any(one.get(key) != value for one in others)
        )
    )


def compare(columns: Sequence[Column]) -> Comparison:
    """The comparison of these columns."""
    described = [one.row.design for one in columns]
    lines = [Line(what, tuple(map(cell, columns))) for what, cell in _FIGURES]
    lines += _leakage_lines(described)
    lines += [Line(what, tuple(map(cell, columns))) for what, cell in _ATTACKS]
    return Comparison(
        tuple(one.name for one in columns),
        tuple(Line(_plain(line.what), tuple(map(_plain, line.cells))) for line in lines),
        tuple(_notes(columns)),
        {_plain(name): _plain(says) for name, says in _facts(described).items()},
        {one.name: one.results.digest for one in columns},
    )


# ---- cells


def _relation(column: Column) -> str:
    design = column.row.design
    return f"{design.relation}, {design.distance} bits" if design.distance else design.relation


def _list_size(column: Column) -> str:
    return f"{column.row.entries:,}"


def _percent(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return NOT_MEASURED
    words = f"{short(100 * figure.value)} %"
    if figure.low is None or figure.high is None:
        return words
    return f"{words} ({short(100 * figure.low)} to {short(100 * figure.high)})"


def _recall_of_run(column: Column) -> str:
    figure = column.row.figures.get("recall")
    counted = f", {figure.n} copies" if figure is not None and figure.n else ""
    return _percent(figure) + counted


def _recall_of_corpus(column: Column) -> str:
    """The committed figure of the design; else that of its relation, if it is one of hashes."""
    figure = column.row.figures.get("corpus_recall")
    if figure is not None and figure.value is not None:
        return _percent(figure)
    of_relation = corpus_recall_of_relation(column.row.design)
    return NOT_MEASURED if of_relation is None else f"{_percent(of_relation)}, of the relation"


def corpus_recall_of_relation(design: Described) -> Figure | None:
    """Recall on the reference corpus of a design that finds all that its relation says, from the committed
    evidence; None for a relation that hashes do not tell, or a distance that the evidence does not have."""
    if design.relation not in ("equal", "near") or design.distance is None:
        return None
    words = Matching(design.distance, LEAST_QUALITY).words
    for row in committed():
        of_relation = row.id == RECALL and row.parameters.get("matching") == words
        if of_relation and row.parameters.get("kind") == PHOTOGRAPH:
            return row.figures["found"]
    return None


def _bytes(name: str) -> Callable[[Column], str]:
    def cell(column: Column) -> str:
        figure = column.row.figures.get(name)
        return NOT_MEASURED if figure is None or figure.value is None else f"{figure.value:,.0f}"

    return cell


def _work(name: str) -> Callable[[Column], str]:
    """CPU time of a figure in milliseconds as u of the same run, lowest and highest of its repeats."""

    def cell(column: Column) -> str:
        figure = column.row.figures.get(name)
        conditions = column.row.conditions
        if figure is None or figure.value is None or conditions is None or conditions.u_us <= 0:
            return NOT_MEASURED
        u_ms = conditions.u_us / 1000
        words = f"{short(figure.value / u_ms)} u"
        if figure.low is not None and figure.high is not None:
            words += f" ({short(figure.low / u_ms)} to {short(figure.high / u_ms)})"
        return f"{words}, disturbed" if figure.why.startswith(Status.DISTURBED) else words

    return cell


def _attacks(wanted: Callable[[AttackRow], bool]) -> Callable[[Column], str]:
    def cell(column: Column) -> str:
        if not column.attacks:
            return "none played"
        found = [row.id for row in column.attacks if wanted(row)]
        return ", ".join(found) or f"none of {len(column.attacks)} played"

    return cell


def _withstood(column: Column) -> str:
    if not column.attacks:
        return "none played"
    return f"{sum(not one.succeeded for one in column.attacks)} of {len(column.attacks)} played"


_FIGURES: Final[tuple[tuple[str, Callable[[Column], str]], ...]] = (
    ("relation", _relation),
    ("entries of the list", _list_size),
    ("recall of the run", _recall_of_run),
    ("recall of the corpus", _recall_of_corpus),
    ("bytes up, a picture", _bytes("query_up_bytes")),
    ("bytes down, a picture", _bytes("query_down_bytes")),
    ("set-up, bytes", _bytes("setup_bytes")),
    ("device, CPU a picture", _work("device_cpu_ms")),
    ("matcher, CPU a query", _work("matcher_cpu_ms")),
)
_ATTACKS: Final[tuple[tuple[str, Callable[[Column], str]], ...]] = (
    ("attacks that succeeded against a claim", _attacks(lambda one: one.succeeded and one.claimed)),
    ("attacks that succeeded as declared", _attacks(lambda one: one.succeeded and not one.claimed)),
    ("attacks withstood", _withstood),
)


# ---- leakage

_SEMI_HONEST: Final = "semi-honest"
_Who: TypeAlias = tuple[tuple[str, ...], str]
_Names: TypeAlias = dict[str, None]
"""Names of facts, in the order in which they are declared."""


def _leakage_lines(designs: Sequence[Described]) -> list[Line]:
    """One line for each party, for what it learns more by cheating, and for each coalition.

    A coalition's cell has what none of its members learns alone in the same way. Lines of coalitions and of
    cheating that say nothing in any column are left out, which a note says.
    """
    held = [_learned(one) for one in designs]
    everybody = {who for one in held for who in one}
    order = sorted(everybody, key=lambda who: (len(who[0]), who[0], who[1] != _SEMI_HONEST))
    lines = list[Line]()
    for parties, adversary in order:
        cells = tuple(_more_than_known(one, parties, adversary) for one in held)
        alone = len(parties) == 1 and adversary == _SEMI_HONEST
        if alone or set(cells) - {NOTHING_MORE, NOT_DECLARED}:
            by_cheating = "" if adversary == _SEMI_HONEST else ", more by cheating"
            together = ", more together" if len(parties) > 1 else ""
            lines.append(Line(f"learned by {' and '.join(parties)}{together}{by_cheating}", cells))
    return lines


def _more_than_known(learned: Mapping[_Who, _Names], parties: tuple[str, ...], adversary: str) -> str:
    """What parties learn that another line does not already say of them: of the honest, or of a member."""
    names = learned.get((parties, adversary))
    if names is None:
        return NOT_DECLARED
    known = set[str]()
    if adversary != _SEMI_HONEST:
        known.update(learned.get((parties, _SEMI_HONEST), {}))
    if len(parties) > 1:
        for party in parties:
            known.update(learned.get(((party,), _SEMI_HONEST), {}))
            known.update(learned.get(((party,), adversary), {}))
    if not known and not names:
        return "nothing"
    return ", ".join(name for name in names if name not in known) or NOTHING_MORE


def _learned(design: Described) -> dict[_Who, _Names]:
    found = dict[_Who, _Names]()
    for one in design.declared:
        names = found.setdefault((one.parties, one.adversary), {})
        names.update((fact.name, None) for fact in one.facts)
    return found


def _facts(designs: Iterable[Described]) -> dict[str, str]:
    said = dict[str, list[str]]()
    for design in designs:
        for fact in (fact for one in design.declared for fact in one.facts):
            meanings = said.setdefault(fact.name, [])
            if fact.says not in meanings:
                meanings.append(fact.says)
    return {name: "; or: ".join(meanings) for name, meanings in sorted(said.items())}


# ---- notes


def _notes(columns: Sequence[Column]) -> list[str]:
    """What keeps columns from being compared, and what the cells mean."""
    notes = list[str]()
    for what, of, consequence in _CONDITIONS:
        groups = dict[str, list[str]]()
        for one in columns:
            groups.setdefault(of(one), []).append(one.name)
        if len(groups) > 1:
            shown = "; ".join(f"{', '.join(names)}: {_plain(words)}" for words, names in groups.items())
            notes.append(f"The columns differ in {what} ({shown}). {consequence}")
    lines = " ".join(_recall_of_corpus(one) for one in columns)
    if "of the relation" in lines:
        notes.append(
            'Recall of the corpus "of the relation" is that of a design that finds all hashes within its '
            "distance. The design itself was not run on the corpus."
        )
    notes.append(
        "Recall: 95 % intervals for the run, those of the committed evidence for the corpus. CPU: u is one "
        "libsodium multiplication in the same run; in brackets the lowest and the highest repeat."
    )
    if any(one.attacks for one in columns):
        notes.append(
            "Attacks: of attacks.json beside the results, by the design's name alone. It names neither "
            "version nor parameters, so that they may be of others than the column's."
        )
    notes.append(
        "What is learned is what designs and messenger declare; it was not derived from these runs. Lines of "
        "coalitions and of cheating in which no column has anything more are left out."
    )
    return notes


def _workload(column: Column) -> str:
    kept = {key: value for key, value in column.results.options.items() if key not in ("name", "parameters")}
    return f"{column.results.workload or 'no workload'} {sha256(encode(kept)).hexdigest()[:8]}"


_CONDITIONS: Final[tuple[tuple[str, Callable[[Column], str], str], ...]] = (
    ("workload", _workload, "Recall, bytes and CPU of the runs are not of the same work."),
    ("seed", lambda one: str(one.results.seed), "The runs drew different pictures."),
    ("machine", lambda one: machine_words(one.results.machine), "u is of each machine."),
    (
        "the program's version",
        lambda one: one.results.machine.packages.get("blindmatch", "unknown"),
        "Contract, corpus and attacks may have changed between them.",
    ),
)


# ---- forms


def as_csv(made: Comparison) -> str:
    """As CSV; notes and the digest stand below the table, in the first column."""
    rows: list[Sequence[object]] = [(line.what, *line.cells) for line in made.lines]
    rows += [(note,) for note in (*made.notes, f"sha256:{made.digest}")]
    return csv_of(("", *made.columns), rows)


_MARKDOWN: Final = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]()#|~$!"})


def as_markdown(made: Comparison) -> str:
    """As a table in Markdown, with facts, notes and the digest below it.

    Names and facts are a plug-in's words: none of them is a tag, a link, a picture or a formula, ends a cell
    or begins a line.
    """

    def plain(words: str) -> str:
        # "://" is what makes a bare address a link
        escaped = escape(words.translate(_MARKDOWN), quote=False).replace("://", ":&#47;&#47;")
        return " ".join(escaped.split())

    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(map(plain, cells)) + " |"

    table = [row(("", *made.columns)), "|" + " --- |" * (1 + len(made.columns))]
    table += [row((line.what, *line.cells)) for line in made.lines]
    facts = [f"- {plain(name)}: {plain(says)}" for name, says in made.facts.items()]
    return "\n".join([*table, "", *facts, "", *map(plain, made.notes), "", f"sha256:{made.digest}"]) + "\n"


_LATEX: Final = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\n": " ",
    }
)


def as_latex(made: Comparison) -> str:
    """As a `tabular` of booktabs' rules, with facts and notes in a paragraph below it. Needs the package
    `booktabs`, and UTF-8."""

    def row(cells: Iterable[str]) -> str:
        return " & ".join(one.translate(_LATEX) for one in cells) + r" \\"

    width = f"{0.8 / (1 + len(made.columns)):.3f}\\linewidth"
    frame = "".join(f"p{{{width}}}" for _ in range(1 + len(made.columns)))
    lines = [rf"\begin{{tabular}}{{{frame}}}", r"\toprule", row(("", *made.columns)), r"\midrule"]
    lines += [row((line.what, *line.cells)) for line in made.lines]
    lines += [r"\bottomrule", r"\end{tabular}", ""]
    lines += [
        rf"\texttt{{{name.translate(_LATEX)}}}: {says.translate(_LATEX)}."
        for name, says in made.facts.items()
    ]
    lines += [note.translate(_LATEX) for note in made.notes]
    lines += [rf"\texttt{{sha256:{made.digest}}}"]
    return "\n".join(lines) + "\n"


FORMS: Final[Mapping[str, Callable[[Comparison], str]]] = {
    "csv": as_csv,
    "latex": as_latex,
    "markdown": as_markdown,
}
"""By name, how a comparison is written for others than a terminal."""
