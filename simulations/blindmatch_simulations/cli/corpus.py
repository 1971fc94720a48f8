"""Pictures for commands: `blindmatch corpus` and `samples`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from blindmatch_server.hosting.workers import cores
from blindmatch_server.storage.files import replace_file
from msgspec import to_builtins
from rich.table import Table

from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Commands, Found
from blindmatch_simulations.cli.console import ERR, OUT, several, table
from blindmatch_simulations.evaluation.assess.results import rows_of
from blindmatch_simulations.evaluation.corpus.hashing import named
from blindmatch_simulations.evaluation.corpus.list_scan import DISTANCES as LIST_DISTANCES
from blindmatch_simulations.evaluation.corpus.list_scan import scanned_lists
from blindmatch_simulations.evaluation.corpus.merging import drawn, merged
from blindmatch_simulations.evaluation.corpus.scan import CorpusError, Scan, scanned, state_of
from blindmatch_simulations.evaluation.studies import reference
from blindmatch_simulations.evaluation.studies.evidence import RECALL, SESSIONS, differences, matching_of
from blindmatch_simulations.evaluation.studies.evidence import evidence as measured
from blindmatch_simulations.evaluation.studies.false_matches import ALL, FALSE
from blindmatch_simulations.evaluation.studies.predictions import (
    FAILED,
    TESTED,
    committed_predictions,
    held_share,
    tested_rows,
)
from blindmatch_simulations.evaluation.studies.predictions import made as predictions_file
from blindmatch_simulations.evaluation.studies.reference import ASIDE, PHOTOGRAPH
from blindmatch_simulations.measure.output_file import write_file
from blindmatch_simulations.measure.results import Figure, Results, Row, Status, results, short
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, crops

EDITS = ("jpeg-75", "resize-0.75", "brighter", "caption")


def write_samples(
    folder: Annotated[Path, typer.Argument(help="Where the pictures go; made if it is missing.")],
    count: Annotated[int, typer.Option(min=2, max=200, help="How many crops.")] = 8,
) -> None:
    """Write crops of scikit-image's photographs: half into FOLDER/listed, half into FOLDER/other.

    FOLDER/edited has re-encoded, resized, brightened and captioned copies of the listed ones.
    """
    chosen = crops(count, seed=1)
    for at, crop in enumerate(chosen):
        kind = "listed" if at < count // 2 else "other"
        _write(folder / kind / f"{crop.name}.png", crop.data)
        if kind == "listed":
            for edit in EDITS:
                suffix = "jpg" if edit.startswith("jpeg") else "png"
                _write(folder / "edited" / f"{crop.name}.{edit}.{suffix}", BY_NAME[edit].apply(crop.data))
    OUT.print(
        f"{count // 2} pictures in {folder}/listed, {count - count // 2} in {folder}/other", soft_wrap=True
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)


MOST_NAMES: Final = 20

RayOption = Annotated[
    str, typer.Option(metavar="[ADDRESS]", help="Ray cluster: auto or HOST:PORT; without, one started here.")
]


def cache_home() -> Path:
    """Where a user's caches are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


app = Commands(no_args_is_help=True)

DISTANCES: Final = (0, 8, 16, 24, 31, 40, 48, 56, 64)
COLUMNS: Final = ("distance", "items with a match", "at most", "pairs", "at most")


@app.command("scan")
def scan(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of pictures, with folders in it or not.")
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="A folder of pictures that are taken as the list.")
    ] = None,
    asked: Annotated[
        Path | None, typer.Option("--asked", help="A folder of other pictures, asked about with --list.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps fingerprints and counts [default: in the user's cache]."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes [default: one a core].")
    ] = None,
    ray: RayOption = "",
) -> Found:
    """Hash a folder's pictures and compare all pairs: how often different ones would match by accident.

    For millions of pictures; a scan that was interrupted goes on. It takes no list, and the file of --json
    has counts alone, so that it can be handed on: no picture, name or hash, nor which pictures were near.
    Fingerprints stay in --state, which its owner alone can read; remove it when it is needed no more. With
    --ray nodes hold them, too, and must see FOLDER at its path.

    With --list and --asked, in the place of FOLDER: how many of the one folder's pictures match one of the
    other's, by kind and length of list, for `corpus merge`. The kind is the name of the folder below that a
    picture lies in, such as photograph; docs/how-to/corpus.md has the names, others are counted as other.
    """
    if (folder is None) == (listed is None and asked is None) or (listed is None) != (asked is None):
        raise CorpusError("FOLDER: give it alone, or --list and --asked in its place")
    if listed is not None and asked is not None:
        if ray:
            raise CorpusError("--ray: only for a scan of one FOLDER")
        return _lists(listed, asked, state, workers)
    assert folder is not None
    kept = state or state_of(folder, cache_home())
    with phases(ERR) as begin:
        made, broken = scanned(folder, kept, workers or cores(), begin, ray)
    # names of files, for whoever sits here; they go nowhere else
    unusable = [f"no acceptable picture: {line}" for line in named(broken, MOST_NAMES)]
    return Found(made, (*_shown(made), *unusable, f"fingerprints are kept in {kept}"))


def _lists(listed: Path, asked: Path, state: Path | None, workers: int | None) -> Found:
    kept = state or state_of(listed, cache_home()) / state_of(asked, Path()).name
    with phases(ERR) as begin:
        made = scanned_lists(listed, asked, kept, workers or cores(), begin)
    cells = [cell for cell in made.cells if cell.within == MATCH_DISTANCE]
    rows = [
        [
            cell.kind,
            cell.list_kind,
            f"{cell.length:,}",
            f"{cell.matched} of {cell.asked:,}",
            f"{cell.different}",
        ]
        for cell in cells
        if cell.asked
    ]
    title = f"pictures within {MATCH_DISTANCE} bits of a listed one"
    columns = ("pictures", "list", "length", "matched", "another picture by the second hash")
    said = (
        f"{several(made.listed, 'listed picture')}, {several(made.asked, 'other')}; "
        f"{made.in_both:,} in both, left out; {made.left:,} files left"
    )
    return Found(made, (said, table(title, columns, rows), f"fingerprints are kept in {kept}"))


@app.command("merge")
def merge(
    scans: Annotated[list[Path], typer.Argument(help="Files of `corpus scan --list --asked --json`.")],
    svg: Annotated[
        Path | None, typer.Option(help="Draw rates against lengths of lists to this file.")
    ] = None,
    within: Annotated[
        int, typer.Option(help="Bits, of what is shown and drawn: 0, 16 or 31.")
    ] = MATCH_DISTANCE,
) -> Found:
    """Pool scans of several holders: false matches against list length, and the rates they exclude.

    Scans are counts alone; no hash leaves a holder. Pictures that two holders have are counted twice. With no
    match, 370,000 photographs exclude rates above 1 in 100,000.
    """
    if within not in LIST_DISTANCES:
        raise CorpusError(f"--within: must be one of {', '.join(map(str, LIST_DISTANCES))}")
    made = merged(scans)
    if svg is not None:
        replace_file(svg, drawn(made, within).encode(), 0o644)
    rows = [
        [
            point.kind,
            point.list_kind,
            f"{point.length:,.0f}",
            str(point.holders),
            f"{round((point.item.value or 0) * (point.item.n or 0))} of {point.item.n:,}",
            _percent(point.item),
            f"{100 * point.excludes:.2g} %",
        ]
        for point in made.points
        if point.within == within
    ]
    columns = ("pictures", "list", "length", "holders", "matched", "share", "excluded: rates above")
    return Found(made, (table(f"{several(len(scans), 'scan')}, within {within} bits", columns, rows),))


@app.command("evidence")
def evidence(
    designs: Annotated[
        str | None, typer.Option("--designs", help="Names, with commas between them [default: all].")
    ] = None,
    sessions: Annotated[
        int, typer.Option(min=0, help="Whole sessions of each design; 0 takes hashes alone.")
    ] = 0,
    predict: Annotated[
        Path | None, typer.Option(help="Write the intervals as predictions for other packages to this file.")
    ] = None,
) -> Found:
    """Measure recall and false matches of designs on the reference corpus, by its hashes; about a minute.

    The corpus is fingerprints of pictures in packages of Debian, npm and PyPI and of their edits; no picture
    is needed. Intervals of what is found of photographs are for another package; false matches are counted
    across packages. The committed predictions are tested on the packages that were set aside. --sessions
    runs whole protocols on a sample, half of it near the distance.
    """
    names = designs.split(",") if designs else sorted(all_designs())
    chosen = [load_design(name) for name in names]
    with phases(ERR) as begin:
        rows = measured(reference.read(), chosen, sessions, begin)
        if reference.is_committed(ASIDE):
            ways = dict.fromkeys(way for one in chosen if (way := matching_of(one)) is not None)
            rows += tested_rows(committed_predictions(), reference.read(), reference.read(ASIDE), ways)
    if predict is not None:
        replace_file(predict, predictions_file(rows, reference.about()["arrays_sha256"]), 0o644)
    options = {"designs": names, "sessions": sessions, "corpus": reference.about()["arrays_sha256"]}
    made = results(Results[Row], "blindmatch corpus evidence", options, rows)
    return Found(made, list(_evidence(rows)))


def _evidence(rows: Sequence[Row]) -> Iterator[Table | str]:
    found = [row for row in rows if row.id == RECALL and row.parameters.get("kind") == PHOTOGRAPH]
    names = ("found", "of_pdq", "beyond_24")
    columns = ("design", "of all copies", "of PDQ's own", "of those beyond 24 bits")
    shown = [[row.parameters["designs"], *(_percent(row.figures[name]) for name in names)] for row in found]
    yield table("copies of photographs found, with intervals for another package", columns, shown)
    for row in rows:
        if row.id == RECALL and row.status is Status.NOT_MEASURED:
            yield f"{row.parameters['designs']}: not measured: {row.why}"
    agreed = [(row.parameters["design"], row.figures["agreed"]) for row in rows if row.id == SESSIONS]
    if agreed:
        shown = [[name, found.why if found.value is None else _percent(found)] for name, found in agreed]
        yield table("whole sessions that end as the hashes foretell", ("design", "sessions"), shown)
    false = [row for row in rows if row.id == FALSE and row.parameters["list"] in (ALL, PHOTOGRAPH)]
    counted = [_false(row) for row in false]
    titles = ("within", "pictures", "list", "length", "matches across packages", "packages drawn again")
    yield table("pictures within a distance of a listed one of another package", titles, counted)
    yield from _list_tested(rows)


def _false(row: Row) -> list[str]:
    item = row.figures["item"]
    length = row.figures["length"]
    long = "-" if length.value is None else f"{length.value:,.0f}"
    return [
        *map(str, row.parameters.values()),
        long,
        _percent(item),
        _percent(row.figures["item_by_package"]),
    ]


def _list_tested(rows: Sequence[Row]) -> Iterator[Table | str]:
    tested = [row for row in rows if row.id == TESTED]
    if not tested:
        return
    shown = [[*map(str, row.parameters.values()), row.figures["held"].why] for row in tested]
    yield table("predictions, in packages set aside", ("package", "of", "way to match", "held"), shown)
    yield f"predictions that held: {held_share(rows).why}"
    for row in rows:
        if row.id == FAILED:
            named = ", ".join(str(one) for one in row.parameters.values() if one)
            yield f"failed: {named}: {row.figures['seen'].why}"


def _percent(figure: Figure) -> str:
    if figure.value is None:
        return "not measured"
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.2f} %, n {figure.n:,}"
    return f"{100 * figure.value:.2f} ({100 * figure.low:.2f} to {100 * figure.high:.2f}) %, n {figure.n:,}"


@app.command("compare")
def compare(
    paths: Annotated[
        list[Path], typer.Argument(help="Results files, folders of assess, or folders of a sweep.")
    ],
) -> Found:
    """Show what designs find more than others of the same copies, and which differences are resolved.

    Of the committed evidence (`corpus evidence`), for designs that it has as the results have them; of others
    the reason is told. An interval without 0 resolves a difference; else so many pictures would.
    """
    held = [row for path in paths for row in rows_of(path) if row["figure"] == "corpus_recall"]
    rows = differences({row["design"] for row in held if row["value"] is not None})
    lacking = {row["design"]: row["why"] for row in held if row["value"] is None}
    shown = [(*row.parameters.values(), *(_difference(row, name) for name in COPIES)) for row in rows]
    made = table(
        "percentage points that the first finds more, 95 % intervals",
        ("first", "second", *COPIES.values()),
        shown,
    )
    lines = [f"{design}: not compared: {why}" for design, why in lacking.items()]
    return Found({"differences": to_builtins(rows), "not_compared": lacking}, [made, *lines])


COPIES: Final = {"found": "all copies", "of_pdq": "PDQ's own pairs", "beyond_24": "those beyond 24 bits"}


def _difference(row: Row, name: str) -> str:
    one = row.figures[name]
    needed = row.figures.get(f"{name}_needed")
    assert one.value is not None and one.low is not None and one.high is not None
    words = f"{100 * one.value:.2f} ({100 * one.low:.2f} to {100 * one.high:.2f})"
    if needed is None:
        return words
    return f"{words}, not resolved; {'no number' if needed.value is None else short(needed.value)} needed"


def _shown(made: Scan) -> Iterator[Table | str]:
    counts = made.counts
    same = sum(counts.same)
    pairs = sum(counts.histogram)
    yield (
        f"{several(counts.files, 'file')}: {several(counts.pictures, 'different picture')}, "
        f"{several(counts.repeated, 'copy', 'copies')}, {counts.poor:,} of too low a quality, "
        f"{counts.broken:,} not acceptable"
    )
    yield (
        f"{several(pairs, 'pair')}, {same:,} of them the same picture edited, set apart; "
        f"{several(counts.items, 'item')} against {several(counts.listed, 'listed picture')}"
    )
    ends = [made.bounds[distance] for distance in DISTANCES]
    rows = [(one.distance, *_cells(one.item), *_cells(one.pair)) for one in ends]
    yield table("false matches by distance, 95 % intervals over pictures", COLUMNS, rows)
    all_ = made.bounds[MATCH_DISTANCE]
    yield (
        f"with none set apart, within {MATCH_DISTANCE} bits: items {_words(all_.item_all)}, "
        f"pairs {_words(all_.pair_all)}"
    )


def _words(figure: Figure) -> str:
    return " at most ".join(filter(None, _cells(figure)))


def _cells(figure: Figure) -> tuple[str, str]:
    if figure.value is None:
        return "not measured", ""
    return f"{figure.value:.3g}", f"{figure.high:.3g}"
