"""Results of `assess`, `bench` and `attack run`, as flat rows and as data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_simulations.evaluation.assess.results import AnyResults, figures, results_in, rows_of
from blindmatch_simulations.measure.results import read

__all__ = ["FramesError", "figures", "frame", "load_results", "table"]


class FramesError(BlindmatchError):
    """The package for data frames is not installed; the text says how it is."""


def load_results(path: Path | str) -> AnyResults:
    """A results file, or the one in a folder, whole and as it was written.

    Raises:
        ResultsError: if it is not there, edited, truncated or of another version.
    """
    loaded: AnyResults = read(results_in(Path(path)), AnyResults)
    return loaded


def table(*paths: Path | str) -> list[dict[str, Any]]:
    """Rows of `figures` of many results: files, folders of `assess`, or folders of a sweep.

    Raises:
        ResultsError: if one is not there, edited, truncated or of another version.
    """
    return [row for path in paths for row in rows_of(Path(path))]


def frame(rows: Iterable[Mapping[str, Any]], library: str = "pandas") -> Any:
    """Flat rows as a data frame of `library`: `pandas` or `polars`.

    Raises:
        FramesError: if it is not installed.
    """
    try:
        frames = import_module(library)
    except ImportError:
        raise FramesError(f"{library} is not installed: pip install {library}") from None
    return frames.DataFrame(list(rows))
