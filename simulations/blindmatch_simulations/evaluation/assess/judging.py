"""What a figure of the report is: one decorated function, which counts it from a design's run; those of what
a design finds, and its recall by group. All of them together are `figures.FIGURES`.

Nothing is taken on a design's word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE
from msgspec import UNSET, Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.observed import Check, Observed, PictureRow
from blindmatch_simulations.evaluation.assess.results import Recall
from blindmatch_simulations.evaluation.corpus.installed import PHOTOGRAPHS
from blindmatch_simulations.evaluation.studies.evidence import RECALL, committed_figure
from blindmatch_simulations.evaluation.studies.false_matches import ALL, FALSE
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH
from blindmatch_simulations.measure.intervals import share
from blindmatch_simulations.measure.results import Figure, Status

DISTANCES: Final = ((0, 0), (1, 8), (9, 16), (17, 24), (25, 31), (32, 48), (49, 256))
"""Ranges of the distance between an edited picture and its original, both ends included."""

NO_LEARNER: Final = "what whoever learns of matches learnt could not be told apart by picture"
CORPUS: Final = "corpus"  # the rows of what the committed evidence says
DISTURBED: Final = str(Status.DISTURBED)
"""How the reason begins of a time that was taken while other work used the machine."""
NOTHING: Final = "nothing to measure"
"""How the reason begins where there is nothing a figure could be of: no gap in the run."""


class Case(Struct, frozen=True):
    """What figures are counted from.

    Attributes:
        seen: the design's run.
        unchecked: why not all were, if not.
    """

    seen: Observed
    checks: Sequence[Check] = ()
    unchecked: str = ""
    reference: str = ""

    @property
    def rows(self) -> list[PictureRow]:
        """Crops: further kinds have figures of their own."""
        return [row for row in self.seen.pictures if row.kind == PHOTOGRAPHS]

    @property
    def listed(self) -> list[PictureRow]:
        """Those of them that are on the list."""
        return [row for row in self.rows if row.listed]


Judge: TypeAlias = Callable[[Case], Figure]
Reason: TypeAlias = Callable[[Case], str]
"""Why a figure would be of nothing; empty if it would not."""


def matches_nothing(case: Case) -> str:
    """Where the design calls nothing a match, by its declaration and in this run."""
    seen = case.seen
    nothing = seen.design.relation == "nothing" and not any(row.matched for row in seen.pictures)
    return f"{NOTHING}: the design matches nothing" if nothing else ""


def flags_a_category(case: Case) -> str:
    """Where listed pictures need not lead to anything."""
    found = case.seen.design.relation == "category"
    return f"{NOTHING}: it flags a category of its own, of which listed pictures need not be" if found else ""


def tells_no_picture(case: Case) -> str:
    """Where nobody learns of matches by picture; counted of none but the main rows."""
    return NO_LEARNER if any(row.matched is None for row in case.rows) else ""


OF_MATCHES: Final = (matches_nothing, flags_a_category)
OF_LISTED: Final = (*OF_MATCHES, tells_no_picture)


class Kind(Struct, frozen=True):
    """A kind of figure.

    Attributes:
        criterion: one of the five; the part of the page where it stands.
        title: short, for a table's head.
        unit: of the value; ``share`` is of 1.
        rows: the kind of raw rows it is made from.
        column: head of its column in the terminal; empty for none.
        evidence: the figure of the reference corpus that every view shows in its place where it has a value
            (`told`); empty for none.
        timed: the part of the run around which the yardstick was read, if the figure is a time of it; empty
            for none.
        judge: counts it.
    """

    criterion: str
    title: str
    unit: str
    says: str
    rows: str
    column: str
    evidence: str
    timed: str
    judge: Judge


REGISTERED: Final = dict[str, Kind]()
"""In the order of their definition; `figures.FIGURES` has all."""


def figure(
    criterion: str,
    title: str,
    unit: str,
    rows: str = "summary",
    column: str = "",
    blank: Sequence[Reason] = (),
    evidence: str = "",
    timed: str = "",
) -> Callable[[Judge], Judge]:
    """A figure of the report, by the name of the function that counts it; what it says is the docstring.
    `blank` are reasons for which it is not counted, the first one that there is; the rest is as in `Kind`.
    A time of a part that other work disturbed says so in its reason, as a bench's row does in its status."""

    def register(count: Judge) -> Judge:
        def judge(case: Case) -> Figure:
            why = next(filter(None, (reason(case) for reason in blank)), None)
            found = replace(Figure(None, why) if why else count(case), unit=unit)
            mark = _disturbance(case, timed) if found.value is not None else ""
            return replace(found, why="; ".join(filter(None, (mark, found.why))))

        says = " ".join((count.__doc__ or "").split())
        REGISTERED[count.__name__] = Kind(criterion, title, unit, says, rows, column, evidence, timed, judge)
        return judge

    return register


def _disturbance(case: Case, part: str) -> str:
    """Return the mark of a time of this part of the run, or nothing if the machine was ours alone."""
    timed = case.seen.timed
    run = timed.get(part) if part and timed is not UNSET else None
    if run is None or not run.disturbed:
        return ""
    return f"{DISTURBED}: load {run.load:.3g}, u moved by {100 * run.moved:.0f} %"


def told(name: str, held: Mapping[str, Figure]) -> str:
    """The figure that every view shows for `name`: that of the reference corpus where it has a value."""
    other = REGISTERED[name].evidence
    return other if other and held[other].value is not None else name


effective = partial(figure, "effectiveness")


@effective("Found, of copies sent", "share", "pictures", "recall", OF_LISTED, "corpus_recall")
def recall(case: Case) -> Figure:
    """Of all listed pictures that were sent, each once with every edit of the suite, those that led to a
    match. The crops were chosen: PDQ quality 50 or more, hashes more than 60 bits apart.
    """
    return share_found(case.listed)


@effective("Found, of PDQ's pairs sent", "share", "pictures", blank=OF_LISTED, evidence="corpus_recall_pairs")
def recall_pairs(case: Case) -> Figure:
    """The same of those alone whose hash is within 31 bits of an entry, with quality 50 or more: what PDQ
    itself finds.
    """
    return share_found(
        [one for one in case.listed if one.list_distance <= MATCH_DISTANCE and one.quality >= LEAST_QUALITY]
    )


@effective("Found when unedited", "share", "pictures", blank=OF_LISTED)
def recall_identical(case: Case) -> Figure:
    """Of listed pictures sent as they are, those that led to a match."""
    return share_found([row for row in case.listed if row.edit == "identical"])


@effective("False matches per item sent", "share", "pictures", "false matches", OF_LISTED, "corpus_false")
def false_matches(case: Case) -> Figure:
    """Of pictures that are not on the list, those that led to a match."""
    others = [row for row in case.rows if not row.listed]
    false = sum(row.matched is True for row in others)
    return share(false, len(others), len(others) * case.seen.entries, units_of(others))


@effective("Found, of the corpus's copies", "share", CORPUS, blank=OF_MATCHES)
def corpus_recall(case: Case) -> Figure:
    """Of photographs of the reference corpus with every edit, those that the design's matching finds by their
    hashes. From the committed evidence: not measured in this run.
    """
    return _of_evidence(case, RECALL, PHOTOGRAPH, "found")


@effective("Found, of the corpus's PDQ pairs", "share", CORPUS, blank=OF_MATCHES)
def corpus_recall_pairs(case: Case) -> Figure:
    """The same of those alone that PDQ itself finds. From the committed evidence."""
    return _of_evidence(case, RECALL, PHOTOGRAPH, "of_pdq")


@effective("Found, of the corpus's far pairs", "share", CORPUS, blank=OF_MATCHES)
def corpus_recall_far(case: Case) -> Figure:
    """The same of PDQ's pairs beyond 24 bits, the hard ones. From the committed evidence."""
    return _of_evidence(case, RECALL, PHOTOGRAPH, "beyond_24")


@effective("False matches, photographs of the corpus", "share", CORPUS, blank=OF_MATCHES)
def corpus_false_photographs(case: Case) -> Figure:
    """Of photographs of the reference corpus, those within the design's distance of a picture of another
    package; tokens find no more. From the committed evidence, with a mixed list of the corpus's length.
    """
    return _of_evidence(case, FALSE, PHOTOGRAPH, "item")


@effective("False matches, all of the corpus", "share", CORPUS, blank=OF_MATCHES)
def corpus_false(case: Case) -> Figure:
    """The same of pictures of every kind: clip art, cards, flags and screenshots match by accident, and some
    drawings lie in two packages. Near-duplicates of one package are set apart. The interval resamples
    packages, then pictures of each, since those of one package are alike.
    """
    return _of_evidence(case, FALSE, ALL, "item_by_package")


@effective("False matches, near-duplicates left in", "share", CORPUS, blank=OF_MATCHES)
def corpus_false_all(case: Case) -> Figure:
    """The same with near-duplicates of one package left in: each is asked about and listed, but not against
    its own package. The interval takes pictures as independent.
    """
    return _of_evidence(case, FALSE, ALL, "item_all")


def _of_evidence(case: Case, row: str, kind: str, name: str) -> Figure:
    design = case.seen.design
    of = case.reference or design.name  # a file's design may have the name of a built-in one
    return committed_figure(row, kind, name, of, design.distance, design.parameters)


@effective("Outcomes other than the design's own rule", "share", "pictures", blank=[tells_no_picture])
def wrong_outcomes(case: Case) -> Figure:
    """Of all pictures sent, those whose outcome was not what the design's relation gives in the clear."""
    sent = case.seen.pictures
    return share(sum(row.matched is not row.expected for row in sent), len(sent), units=units_of(sent))


def share_found(rows: Sequence[PictureRow]) -> Figure:
    return share(sum(row.matched is True for row in rows), len(rows), units=units_of(rows))


def units_of(rows: Sequence[PictureRow]) -> int | None:
    """Copies of one picture count once: copies over the most of one picture, the number of pictures if all
    have as many."""
    copies = Counter(row.name for row in rows)
    return len(rows) // max(copies.values()) if copies else None


def recall_by_edit(case: Case, edits: Iterable[str]) -> tuple[Recall, ...]:
    return tuple(_recall_of(case, name, [row for row in case.listed if row.edit == name]) for name in edits)


def recall_by_distance(case: Case) -> tuple[Recall, ...]:
    """Listed pictures found, by how far the edit moved their hash."""
    found = []
    for low, high in DISTANCES:
        rows = [row for row in case.listed if low <= row.origin_distance <= high]
        found.append(_recall_of(case, str(low) if low == high else f"{low} to {high}", rows))
    return tuple(found)


def found_by_kind(case: Case, listed: bool) -> tuple[Recall, ...]:
    """Listed pictures found, or others that led to a match, kind by kind; nothing if one kind was sent."""
    kinds = sorted({row.kind for row in case.seen.pictures})
    rows = [row for row in case.seen.pictures if row.listed is listed]
    each = [_recall_of(case, kind, [row for row in rows if row.kind == kind]) for kind in kinds]
    return tuple(each) if len(each) > 1 else ()


def _recall_of(case: Case, name: str, rows: Sequence[PictureRow]) -> Recall:
    why = matches_nothing(case) or flags_a_category(case)
    if not why and any(row.matched is None for row in rows):
        why = NO_LEARNER
    if why:
        return Recall(name, len(rows), None, Figure(None, why))
    return Recall(name, len(rows), sum(row.matched is True for row in rows), share_found(rows))


def tries_until_hidden(rows: Sequence[PictureRow], edits: Sequence[str]) -> tuple[int, ...]:
    """For each listed picture: the suite's edits tried, in order, until one did not match; 0 if none."""
    listed = [row for row in rows if row.listed]
    found = []
    for name in sorted({row.name for row in listed}):
        outcome = {row.edit: row.matched for row in listed if row.name == name}
        hidden = (at for at, edit in enumerate(edits, 1) if outcome.get(edit) is False)
        found.append(next(hidden, 0))
    return tuple(found)
