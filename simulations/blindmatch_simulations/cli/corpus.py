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
from rich.table import Table

from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Commands, Found, people
from blindmatch_simulations.cli.console import OUT, several, table
from blindmatch_simulations.evaluation.corpus.hashing import named
from blindmatch_simulations.evaluation.corpus.scan import Scan, scanned, state_of
from blindmatch_simulations.evaluation.studies import reference
from blindmatch_simulations.evaluation.studies.evidence import RECALL, SESSIONS, matching_of
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
from blindmatch_simulations.measure.results import Figure, Results, Row, Status, results
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
    folder: Annotated[Path, typer.Argument(help="A folder of pictures, with folders in it or not.")],
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
    """
    kept = state or state_of(folder, cache_home())
    with phases(people()) as begin:
        made, broken = scanned(folder, kept, workers or cores(), begin, ray)
    # names of files, for whoever sits here; they go nowhere else
    unusable = [f"no acceptable picture: {line}" for line in named(broken, MOST_NAMES)]
    return Found(made, (*_shown(made), *unusable, f"fingerprints are kept in {kept}"))


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
    with phases(people()) as begin:
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
    yield from _tested(rows)


def _false(row: Row) -> list[str]:
    item, length = row.figures["item"], row.figures["length"]
    long = "-" if length.value is None else f"{length.value:,.0f}"
    return [
        *map(str, row.parameters.values()),
        long,
        _percent(item),
        _percent(row.figures["item_by_package"]),
    ]


def _tested(rows: Sequence[Row]) -> Iterator[Table | str]:
    tested = [row for row in rows if row.id == TESTED]
    if not tested:
        return
    shown = [[*map(str, row.parameters.values()), row.figures["held"].why] for row in tested]
    yield table("predictions, in packages set aside", ("package", "of", "way to match", "held"), shown)
    yield f"predictions that held: {_percent(held_share(rows))}"
    for row in rows:
        if row.id == FAILED:
            named = ", ".join(str(one) for one in row.parameters.values() if one)
            yield f"failed: {named}: {row.figures['seen'].why}"


def _percent(figure: Figure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "not measured"
    return f"{100 * figure.value:.2f} ({100 * figure.low:.2f} to {100 * figure.high:.2f}) %, n {figure.n:,}"


def _shown(made: Scan) -> Iterator[Table | str]:
    of, same, pairs = made.counts, sum(made.counts.same), sum(made.counts.histogram)
    yield (
        f"{several(of.files, 'file')}: {several(of.pictures, 'different picture')}, "
        f"{several(of.repeated, 'copy', 'copies')}, {of.poor:,} of too low a quality, "
        f"{of.broken:,} not acceptable"
    )
    yield (
        f"{several(pairs, 'pair')}, {same:,} of them the same picture edited, set apart; "
        f"{several(of.items, 'item')} against {several(of.listed, 'listed picture')}"
    )
    ends = [made.bounds[distance] for distance in DISTANCES]
    rows = [(one.distance, *_cells(one.item), *_cells(one.pair)) for one in ends]
    yield table("false matches by distance, 95 % intervals over pictures", COLUMNS, rows)
    all_ = made.bounds[MATCH_DISTANCE]
    yield (
        f"with none set apart, within {MATCH_DISTANCE} bits: items {_words(all_.item_all)}, "
        f"pairs {_words(all_.pair_all)}"
    )
    if made.tail.value is not None:
        yield (
            f"share of pairs within 31 bits, by a model: 10^{made.tail.value:.1f}, 10^{made.tail.low:.1f} to "
            f"10^{made.tail.high:.1f}; {made.tail.why}"
        )
    else:
        yield f"no model of the tail: {made.tail.why}"


def _words(figure: Figure) -> str:
    return " at most ".join(filter(None, _cells(figure)))


def _cells(figure: Figure) -> tuple[str, str]:
    if figure.value is None:
        return "not measured", ""
    return f"{figure.value:.3g}", f"{figure.high:.3g}"
