"""The option ``--pictures``: a user's own pictures in the place of installed ones."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_server.hosting.workers import cores
from rich.console import Console

from blindmatch_simulations.cli.console import say, several
from blindmatch_simulations.evaluation.corpus.hashing import named
from blindmatch_simulations.evaluation.corpus.own import OwnPictures, own_pictures
from blindmatch_simulations.measure.phases import PhaseProgress, as_heard

MOST_NAMES: Final = 20

PicturesOption = Annotated[
    Path | None,
    typer.Option(
        "--pictures",
        help="A folder of your own pictures in the place of installed ones. They are not copied, and no row "
        "of a single one is kept (docs/corpus.md).",
    ),
]


def cache_home() -> Path:
    """Where a user's caches are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def chosen(folder: Path, count: int, least: int, seed: int, begin: PhaseProgress) -> OwnPictures:
    """`count` of the folder's pictures, at least `least`, hashed on all cores.

    Raises:
        CorpusError: if there are not as many.
    """
    heard = partial(as_heard(begin), "own pictures hashed")
    return own_pictures(folder, cache_home(), count, least, seed, cores(), heard)


def show_own(console: Console, found: OwnPictures) -> None:
    """What was found, and names of files that are no pictures."""
    console.print(
        f"{len(found.pictures)} of your own pictures are used, of {several(found.files, 'file')}: "
        f"{several(found.apart, 'copy', 'copies')} set apart, {found.poor:,} of low quality, "
        f"{len(found.broken):,} not acceptable",
        highlight=False,
    )
    for line in words_of_broken(found.broken):
        say(line, console)


def words_of_broken(broken: list[str]) -> list[str]:
    """Names of files, for whoever sits here; they go nowhere else."""
    return [f"no acceptable picture: {line}" for line in named(broken, MOST_NAMES)]
