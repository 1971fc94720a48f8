"""Pools the scans of several holders: false matches against the length of the list, and the rates they
exclude.

Holders hand on counts alone. Of one holder, the lengths of a list are parts of one another and the pictures
asked about are the same, so that of the lengths between two powers of two one alone counts, the longest.
Whether two holders have the same pictures cannot be told from counts: the pool takes them for different
ones.

If none of n pictures matched, the interval of Clopper and Pearson excludes rates above 1 - 0.025^(1/n), about
3.69 / n: 10^-5 takes 370,000 pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log10
from pathlib import Path
from typing import Final, Literal
from xml.sax.saxutils import escape

import msgspec
from msgspec.structs import replace

from blindmatch_simulations.evaluation.corpus.list_scan import (
    ALL,
    DISTANCES,
    FORMAT,
    KINDS,
    OTHER,
    Cell,
    ListScan,
)
from blindmatch_simulations.evaluation.corpus.scan import CorpusError
from blindmatch_simulations.measure.intervals import share
from blindmatch_simulations.measure.results import Figure, Strict, encode, sealed

MERGED: Final = "blindmatch-merged-scans"


class Point(Strict, frozen=True):
    """Pooled counts of a kind of picture, a kind of list, a range of lengths and a distance.

    Attributes:
        length: mean length of the lists, by pictures asked about.
        holders: how many scans are in it.
        item: share of pictures that matched, with its interval; `pairs` is pictures times listed ones.
        different: the same of matches that a second hash calls different pictures.
        excludes: the rate above which the interval excludes all, its upper end.
    """

    kind: str
    list_kind: str
    within: int
    length: float
    holders: int
    item: Figure
    different: Figure
    excludes: float


class Merged(Strict, frozen=True, kw_only=True):
    """Version 1 of the file; ``merged-scans-v1.schema.json`` is its schema.

    Attributes:
        scans: digests of the scans that are in it.
        digest: SHA-256 of this file with an empty `digest`.
    """

    format: Literal["blindmatch-merged-scans"] = "blindmatch-merged-scans"
    version: Literal[1] = 1
    scans: tuple[str, ...]
    points: tuple[Point, ...]
    digest: str = ""


def read_scan(path: Path) -> ListScan:
    """Return the scan in a file; `CorpusError` that names the file and the rule if it is none, of another
    version, altered, or its counts cannot be."""
    try:
        data = path.read_bytes()
        head = msgspec.json.decode(data, type=dict)
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorpusError(f"{path}: no JSON object: {error}") from error
    if head.get("format") == MERGED:
        raise CorpusError(f"{path}: already merged: give the scans that it is made of")
    if head.get("format") != FORMAT:
        raise CorpusError(f"{path}: format: must be {FORMAT}, a file of `corpus scan --list --asked --json`")
    if head.get("version") != 1:
        raise CorpusError(f"{path}: version {head.get('version')}; this program reads 1")
    try:
        found = msgspec.json.decode(data, type=ListScan)
    except msgspec.ValidationError as error:
        raise CorpusError(f"{path}: not by its schema: {error}") from error
    if found != sealed(found):
        raise CorpusError(f"{path}: digest: not that of its content: ask its holder for it again")
    _check_cells(path, found)
    return found


def _check_cells(path: Path, scan: ListScan) -> None:
    known = {*KINDS, OTHER, ALL}
    seen = set[tuple[str, str, int, int]]()
    for at, cell in enumerate(scan.cells):
        rules = {
            "kind, list_kind: must be known kinds": {cell.kind, cell.list_kind} <= known,
            f"within: must be one of {', '.join(map(str, DISTANCES))}": cell.within in DISTANCES,
            "length: must be 1 to listed": 1 <= cell.length <= scan.listed,
            "asked: must be 0 to the scan's": 0 <= cell.asked <= scan.asked,
            "matched: must be 0 to asked": 0 <= cell.matched <= cell.asked,
            "different: must be 0 to matched": 0 <= cell.different <= cell.matched,
            "is there twice": (key := (cell.kind, cell.list_kind, cell.length, cell.within)) not in seen,
        }
        seen.add(key)
        broken = next((rule for rule, holds in rules.items() if not holds), None)
        if broken is not None:
            raise CorpusError(f"{path}: cells[{at}]: {broken}")


def merged(paths: Sequence[Path]) -> Merged:
    """Return the pool of scans; `CorpusError` as of `read_scan`, or if one is given twice."""
    scans = list[ListScan]()
    at = dict[str, Path]()
    for path in paths:
        scan = read_scan(path)
        if scan.digest in at:
            raise CorpusError(f"{path}: the same scan as {at[scan.digest]}: give each once")
        at[scan.digest] = path
        scans.append(scan)
    made = Merged(scans=tuple(sorted(at)), points=tuple(_points(scans)))
    return sealed(msgspec.json.decode(encode(made), type=Merged))


def _points(scans: Sequence[ListScan]) -> Iterator[Point]:
    pooled: dict[tuple[str, str, int, int], list[Cell]] = {}
    for scan in scans:
        longest: dict[tuple[str, str, int, int], Cell] = {}
        for cell in scan.cells:
            key = cell.kind, cell.list_kind, cell.within, cell.length.bit_length()
            if cell.asked and (key not in longest or cell.length > longest[key].length):
                longest[key] = cell
        for key, cell in longest.items():
            pooled.setdefault(key, []).append(cell)
    order = {kind: place for place, kind in enumerate((ALL, *KINDS, OTHER))}
    for key in sorted(pooled, key=lambda one: (order[one[0]], order[one[1]], one[2], one[3])):
        cells = pooled[key]
        asked = sum(one.asked for one in cells)
        pairs = sum(one.asked * one.length for one in cells)
        item = _level(share(sum(one.matched for one in cells), asked, pairs))
        different = _level(share(sum(one.different for one in cells), asked, pairs))
        kind, list_kind, within, _ = key
        yield Point(kind, list_kind, within, pairs / asked, len(cells), item, different, item.high or 0.0)


def _level(figure: Figure) -> Figure:
    return replace(figure, why="95 %, Clopper and Pearson, over pictures as if each were drawn for itself")


_WIDE: Final = 640
_HIGH: Final = 400
_MARGIN: Final = 56
_COLOURS: Final = ("#1b6ca8", "#b2541a", "#2e7d4f", "#7a3e9d", "#8a6d00", "#444444")


def drawn(made: Merged, within: int) -> str:
    """Return an SVG of the rates within a distance against the length of the list, both in logarithms: a
    point where pictures matched, with its interval; a bar that ends at the excluded rate where none did."""
    points = [one for one in made.points if one.within == within and one.list_kind in (ALL, "photograph")]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" font-family="sans-serif" '
        'font-size="11" role="img">',
        f"<title>False matches within {within} bits against the length of the list</title>",
    ]
    if points:
        lines += _axes(points) + _marks(points)
    return "\n".join([*lines, "</svg>\n"])


def _ranges(points: Sequence[Point]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the powers of ten of lengths and of rates that are drawn."""
    across = [log10(one.length) for one in points]
    up = [log10(one.item.low or one.item.value or one.excludes) for one in points]
    up += [log10(one.excludes) for one in points]
    return (int(min(across)), int(max(across)) + 1), (int(min(up)) - 1, 0)


def _place(points: Sequence[Point], length: float, rate: float) -> tuple[float, float]:
    (left, right), (low, high) = _ranges(points)
    x = _MARGIN + (log10(length) - left) / (right - left) * (_WIDE - 2 * _MARGIN)
    y = _MARGIN + (high - log10(rate)) / (high - low) * (_HIGH - 2 * _MARGIN)
    return round(x, 1), round(y, 1)


def _axes(points: Sequence[Point]) -> list[str]:
    (left, right), (low, high) = _ranges(points)
    lines = []
    for power in range(int(left), int(right) + 1):
        x, y = _place(points, 10.0**power, 10.0**low)
        lines.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{10**power:,}</text>')
    for power in range(int(low), int(high) + 1):
        x, y = _place(points, 10.0**left, 10.0**power)
        end = _place(points, 10.0**right, 10.0**power)[0]
        lines.append(f'<line x1="{x}" y1="{y}" x2="{end}" y2="{y}" stroke="#dddddd"/>')
        lines.append(f'<text x="{x - 4}" y="{y + 4}" text-anchor="end">10^{power}</text>')
    lines.append(f'<text x="{_WIDE / 2}" y="{_HIGH - 8}" text-anchor="middle">pictures of the list</text>')
    lines.append('<text x="8" y="16">share of pictures that match; a bar: excluded above its end</text>')
    return lines


def _marks(points: Sequence[Point]) -> list[str]:
    names = list(dict.fromkeys(f"{one.kind} against {one.list_kind}" for one in points))
    floor = 10.0 ** _ranges(points)[1][0]
    lines = []
    for one in points:
        name = f"{one.kind} against {one.list_kind}"
        colour = _COLOURS[names.index(name) % len(_COLOURS)]
        x, top = _place(points, one.length, one.excludes)
        bottom = _place(points, one.length, one.item.low or floor)[1]
        lines.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{bottom}" stroke="{colour}"/>')
        lines.append(f'<line x1="{x - 4}" y1="{top}" x2="{x + 4}" y2="{top}" stroke="{colour}"/>')
        if one.item.value:
            y = _place(points, one.length, one.item.value)[1]
            lines.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
    for at, name in enumerate(names):
        colour = _COLOURS[at % len(_COLOURS)]
        y = _MARGIN + 14 * at
        lines.append(
            f'<text x="{_WIDE - _MARGIN}" y="{y}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
        )
    return lines
