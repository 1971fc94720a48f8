"""Derives the committed evidence again from the committed hashes, and names every value that differs.

A digest in a file shows only that the file is as its last writer left it: whoever alters a recall can write
the digest again. The committed hashes (``data/reference.*``) and the programs of `evidence` give all rows
again, apart from whole sessions. An error of these programs would come out again, too, and nothing here shows
that the hashes are those of the pictures that ``reference.csv`` names: `make corpus` does, from the pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.evaluation.rederived import close
from blindmatch_simulations.evaluation.studies import evidence, predictions, reference
from blindmatch_simulations.measure.intervals import share
from blindmatch_simulations.measure.phases import PhaseProgress
from blindmatch_simulations.measure.results import Results, Row, Status
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design, not_installed

NO_SESSIONS: Final = (
    "evidence: whole sessions do not follow from hashes: `corpus evidence --sessions` runs them"
)
ABSENT: Final = "no such row"
UNCOMPARED: Final = ("figures", "seconds", "conditions")
"""Fields of a row that are not compared as a whole: figures are, part by part; the others are of one run."""

Key: TypeAlias = tuple[str, tuple[tuple[str, Any], ...]]


class EvidenceDifference(NamedTuple):
    """A value of the committed evidence, and what the committed hashes give for it."""

    row: str
    figure: str
    written: object
    derived: object


class EvidenceCheck(Struct, frozen=True):
    """What deriving the evidence again came to.

    Attributes:
        derived: figures that were derived again.
        not_derived: how many were not, by reason.
        differences: every value that is not what was derived.
    """

    derived: int
    not_derived: dict[str, int] = field(default_factory=dict)
    differences: tuple[EvidenceDifference, ...] = ()


def check_evidence(written: Results[Row], phase: PhaseProgress) -> EvidenceCheck:
    """Derive `written` again from the committed hashes and compare it as a whole.

    Takes about 16 CPU seconds the first time in a process.

    Raises:
        ResultsError: the committed hashes are not those that ``reference.json`` names.
        RegistryError: a design of this program cannot be loaded.
    """
    installed = {name for name, one in all_designs().items() if one.source == "built in"}
    lacking = not_installed()
    names = tuple(written.options.get("designs", ()))
    found = list(_compare_designs(names, installed, lacking.keys()))
    found += _compare("options", "corpus", written.options.get("corpus"), reference.about()["arrays_sha256"])
    left_out = Counter[str]()
    own = list[Row]()
    for row in written.rows:
        if row.id == evidence.SESSIONS:
            left_out[NO_SESSIONS] += len(row.figures)
            found += compare_rows([row], [_shares_of(row)])
        elif _is_gap_of(row, lacking.keys()):
            left_out[f"evidence: {'; '.join(sorted(lacking.values()))}"] += 1
        else:
            own.append(row)
    again = derive_rows(tuple(name for name in names if name in installed), phase)
    found += compare_rows(own, again)
    return EvidenceCheck(sum(len(row.figures) for row in again), dict(left_out), tuple(found))


def _compare_designs(
    names: Sequence[str], installed: Collection[str], lacking: Collection[str]
) -> Iterator[EvidenceDifference]:
    """Is each design there of which hashes tell what it finds, and none that this program does not have? A
    design of which they tell nothing has a row without figures, or none."""
    told = {name for name in installed if evidence.matching_of(load_design(name)) is not None}
    wanted = told | (set(names) & ({*installed} | {*lacking}))
    yield from _compare("options", "designs", sorted(names), sorted(wanted))


def _shares_of(row: Row) -> Row:
    """Return a row of counted shares with the intervals that their counts give."""
    known = {name: one for name, one in row.figures.items() if one.value is not None and one.n}
    again = {name: share(round((one.value or 0) * (one.n or 0)), one.n or 0) for name, one in known.items()}
    return replace(row, figures={**row.figures, **again})


def _is_gap_of(row: Row, designs: Collection[str]) -> bool:
    """Does a row only say that these designs were not measured? Anything more must be derived."""
    named = str(row.parameters.get("designs", "")).split(", ")
    return row.status is Status.NOT_MEASURED and not row.figures and set(named) <= set(designs)


def evidence_digests() -> dict[str, str]:
    """Digests of the committed evidence and of the hashes that it is derived from, by file."""
    about = reference.about()
    return {
        evidence.FILE: evidence.committed_results().digest,
        "reference.npz": about["arrays_sha256"],
        "reference.csv": about["rows_sha256"],
    }


def derive_rows(names: tuple[str, ...], phase: PhaseProgress) -> tuple[Row, ...]:
    """Return the rows that the committed hashes give for these designs, without whole sessions."""
    if names not in _DERIVED:
        designs = [load_design(name) for name in names]
        rows = evidence.evidence(reference.read(), designs, 0, phase)
        if reference.is_committed(reference.ASIDE):
            ways = dict.fromkeys(way for one in designs if (way := evidence.matching_of(one)) is not None)
            aside = reference.read(reference.ASIDE)
            rows += predictions.tested_rows(
                predictions.committed_predictions(), reference.read(), aside, ways
            )
        _DERIVED[names] = tuple(rows)
    return _DERIVED[names]


_DERIVED: Final = dict[tuple[str, ...], tuple[Row, ...]]()
"""The committed hashes do not change while a process runs, so neither do their rows."""


def compare_rows(written: Sequence[Row], derived: Sequence[Row]) -> Iterator[EvidenceDifference]:
    """Compare two lists of rows: each row, each of its figures and each part of them, and their order."""
    mine = _by_key(written)
    theirs = _by_key(derived)
    for key in dict.fromkeys([*mine, *theirs]):
        yield from _compare_row(_words(key), mine.get(key), theirs.get(key))
    order = [_words(key) for key in theirs if key in mine]
    yield from _compare("rows", "order", [_words(key) for key in mine if key in theirs], order)
    twice = [_words(key) for key, count in Counter(map(_key, written)).items() if count > 1]
    yield from _compare("rows", "that are there more than once", twice, [])


def _compare_row(
    name: str, written: Mapping[str, Any] | None, derived: Mapping[str, Any] | None
) -> Iterator[EvidenceDifference]:
    if written is None or derived is None:
        yield from _compare(name, "the row", *("a row" if one else ABSENT for one in (written, derived)))
        return
    for part in written.keys() | derived.keys():
        if part not in UNCOMPARED:
            yield from _compare(name, part, written.get(part), derived.get(part))
    for figure in dict.fromkeys([*written["figures"], *derived["figures"]]):
        mine = written["figures"].get(figure, {})
        theirs = derived["figures"].get(figure, {})
        for part in dict.fromkeys([*mine, *theirs]):
            label = figure if part == "value" else f"{figure}: {part}"
            yield from _compare(name, label, mine.get(part), theirs.get(part))


def _compare(row: str, figure: str, written: object, derived: object) -> Iterator[EvidenceDifference]:
    if not close(written, derived):
        yield EvidenceDifference(row, figure, written, derived)


def _by_key(rows: Sequence[Row]) -> dict[Key, dict[str, Any]]:
    return {_key(row): to_builtins(row) for row in rows}


def _key(row: Row) -> Key:
    return row.id, tuple(sorted(row.parameters.items()))


def _words(key: Key) -> str:
    row, parameters = key
    return f"{row}, {', '.join(f'{name} {value}' for name, value in parameters)}" if parameters else row
