"""Predictions of what is found, and matched by accident, in packages set aside, and how they came out.

``data/predictions.json`` has every interval of recall of photographs and of false matches of photographs that
the evidence publishes, with its width. It was committed before the packages of `ASIDE` were hashed, and is
not changed when a prediction fails: failures are rows of the evidence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from blindmatch_protocol.codec import Rows

from blindmatch_simulations.evaluation.studies.another import LEVEL, PHOTOGRAPHS
from blindmatch_simulations.evaluation.studies.evidence import (
    OF,
    RECALL,
    SIZE,
    Found,
    Matching,
    counted,
    found_of,
    others_of,
    shares_of_photographs,
)
from blindmatch_simulations.evaluation.studies.false_matches import (
    FALSE,
    Matches,
    NearPairs,
    matches_across,
    near_pairs,
    set_apart,
)
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH, Reference
from blindmatch_simulations.measure.results import Figure, ResultsError, Row, Strict, encode

FILE: Final = "predictions.json"
TESTED: Final = "evidence/tested"
FAILED: Final = "evidence/failed"
_RATES: Final = ("item", "item_all", "item_different", "item_by_package")
_PDQ: Final = "pdq"


Key: TypeAlias = tuple[str, str, str, int, str]
"""Row, way to match, what it is of, bits, figure: of a prediction."""


class Prediction(Strict, frozen=True):
    """An interval that the evidence publishes.

    Attributes:
        row: id of the row.
        matching: how it matches, in words; empty for what does not depend on it.
        of: the edit, size, kind of picture or, of false matches, kind of list.
        within: bits, of false matches; else 0.
        figure: name in the row.
        low, high: shares.
        width: `high` less `low`.
    """

    row: str
    matching: str
    of: str
    within: int
    figure: str
    low: float
    high: float
    width: float


class Predictions(Strict, frozen=True, kw_only=True):
    """Version 1 of ``predictions.json``.

    Attributes:
        corpus: digest of the arrays of the corpus that they are made of.
        photographs: of the other package, the least.
        level: of the intervals of recall.
    """

    format: Literal["blindmatch-predictions"] = "blindmatch-predictions"
    version: Literal[1] = 1
    corpus: str
    photographs: int = PHOTOGRAPHS
    level: float = LEVEL
    predictions: tuple[Prediction, ...]


def predictions_of(rows: Iterable[Row]) -> tuple[Prediction, ...]:
    """Return the intervals that rows of the evidence publish of photographs, each once."""
    made: dict[Key, Prediction] = {}
    for row in rows:
        for name, figure in row.figures.items():
            key = _key_of(row, name)
            if key is not None and figure.low is not None and figure.high is not None:
                width = figure.high - figure.low
                made.setdefault(key, Prediction(*key, figure.low, figure.high, width))
    return tuple(made.values())


def _key_of(row: Row, name: str) -> Key | None:
    """Return what a prediction is of; None if there is none of this figure."""
    values = row.parameters
    if row.id == FALSE:
        if values["kind"] != PHOTOGRAPH or name not in _RATES:
            return None
        return FALSE, "", str(values["list"]), int(values["within"]), name
    if row.id not in OF or (row.id == RECALL and values.get("kind") != PHOTOGRAPH):
        return None
    # what PDQ itself finds is in the rows of every way to match
    matching = "" if name == _PDQ else str(values["matching"])
    return row.id, matching, str(values[OF[row.id]]), 0, name


@cache
def committed_predictions() -> Predictions:
    """Return the committed predictions; `ResultsError` if the file is not one of them."""
    try:
        data = files("blindmatch_simulations.data").joinpath(FILE).read_bytes()
        return msgspec.json.decode(data, type=Predictions)
    except (OSError, msgspec.DecodeError) as error:
        raise ResultsError(f"{FILE}: {error}: install blindmatch again") from error


def made(rows: Iterable[Row], corpus: str) -> bytes:
    """Return the file of the predictions of rows of the evidence; `corpus` is the digest of its arrays."""
    return encode(Predictions(corpus=corpus, predictions=predictions_of(rows)))


def tested_rows(
    predicted: Predictions, corpus: Reference, aside: Reference, ways: Iterable[Matching]
) -> list[Row]:
    """Return how the predictions came out in each package that was set aside: how many held, by row and way
    to match, and each failure with what was seen.

    Args:
        predicted: of `corpus`.
        aside: the packages that were set aside.
        ways: to match.
    """
    fill = others_of(corpus, near_pairs(corpus.prints))
    of_edited = aside.packages[aside.edited][aside.photographs]
    ways = list(ways)
    rows = list[Row]()
    for package in sorted(set(of_edited.tolist())):
        seen = dict(_recalls(aside, ways, fill, of_edited == package))
        rows += _judged(predicted, package, seen | dict(_rates(corpus, aside, package)))
    return rows


def _judged(predicted: Predictions, package: str, seen: Mapping[Key, tuple[int, int]]) -> Iterator[Row]:
    held: dict[tuple[str, str], list[bool]] = defaultdict(list)
    failed = list[Row]()
    for one in predicted.predictions:
        key = one.row, one.matching, one.of, one.within, one.figure
        hits, trials = seen.get(key, (0, 0))
        if not trials:
            continue
        value = hits / trials
        # the file has six digits
        is_in = one.low - 1e-6 <= value <= one.high + 1e-6
        held[one.row, one.matching].append(is_in)
        if not is_in:
            named: dict[str, int | float | str] = {
                "package": package,
                "row": one.row,
                "matching": one.matching,
            }
            named |= {"of": one.of, "within": one.within, "figure": one.figure}
            why = f"seen {hits} of {trials}; predicted {one.low:.4g} to {one.high:.4g}"
            figures = {"seen": Figure(value, why, one.low, one.high, trials)}
            failed.append(Row(id=FAILED, parameters=named, figures=figures))
    for (row, matching), which in held.items():
        figures = {"held": Figure(sum(which) / len(which), f"{sum(which)} of {len(which)}", n=len(which))}
        yield Row(
            id=TESTED, parameters={"package": package, "row": row, "matching": matching}, figures=figures
        )
    yield from failed


def _recalls(
    aside: Reference, ways: Iterable[Matching], fill: Rows, mine: Found
) -> Iterator[tuple[Key, tuple[int, int]]]:
    """Yield what is found of the photographs `mine`, of those of `aside`: hits and trials by key."""
    for matching in ways:
        found = found_of(aside, matching, fill)
        for row, of, shares in shares_of_photographs(aside, found):
            hits, trials = counted(shares)
            which = mine & (trials[:, 0] > 0) if row == SIZE else mine
            if which.sum() < PHOTOGRAPHS:
                continue
            for at, name in enumerate(shares):
                words = "" if name == _PDQ else matching.words
                sums = int(hits[which, at].sum()), int(trials[which, at].sum())
                yield (row, words, of, 0, name), sums


def _rates(corpus: Reference, aside: Reference, package: str) -> Iterator[tuple[Key, tuple[int, int]]]:
    """Yield how many photographs of a package match one of the corpus: hits and trials by key."""
    taken = aside.packages == package
    both = Reference(
        (*corpus.rows, *(row for row, is_taken in zip(aside.rows, taken, strict=True) if is_taken)),
        np.concatenate([corpus.prints, aside.prints[taken]]),
        np.concatenate([corpus.quality, aside.quality[taken]]),
        corpus.edited,
        corpus.sides,
        corpus.pairs,
    )
    near = near_pairs(both.prints)
    once = ~set_apart(both, near)
    every = np.ones(len(both.rows), np.bool_)
    for within in (0, 31):
        of_name: dict[str, Matches] = {
            "item": matches_across(both, near, within, once),
            "item_all": matches_across(both, near, within, every),
            "item_different": matches_across(both, _told(near), within, once),
        }
        of_name["item_by_package"] = of_name["item"]
        for name, matches in of_name.items():
            asked = np.flatnonzero(matches.kept & (matches.packages == package))
            for column, listed in enumerate(matches.of):
                hits = int((matches.near[asked, column] > 0).sum())
                yield (FALSE, "", listed, within, name), (hits, len(asked))


def _told(near: NearPairs) -> NearPairs:
    return near.take(~near.same)


def held_share(rows: Iterable[Row]) -> Figure:
    """Return the share of predictions that held, of rows of the evidence; without an interval, since those of
    one package hang together."""
    tested = [row for row in rows if row.id == TESTED]
    counts = [row.figures["held"] for row in tested]
    held = sum(round((one.value or 0) * (one.n or 0)) for one in counts)
    many = sum(one.n or 0 for one in counts)
    packages = len({row.parameters["package"] for row in tested})
    if not many:
        return Figure(None, "no package was set aside")
    return Figure(held / many, f"{held:,} of {many:,}, in {packages} packages", n=many)
