"""Writes a results folder, and refuses one that was edited, truncated or made by another version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from blindmatch_simulations.evaluation.assess.results import Design, Results
from blindmatch_simulations.measure.results import ResultsError, decoded, read

RESULTS: Final = "results.json"
WORKLOAD: Final = "workload.toml"
DESIGNS: Final = "designs"
ROWS: Final = "rows"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(data)
    draft.replace(path)


def write_rows(folder: Path, name: str, rows: Mapping[str, Iterable[Any]]) -> Path:
    """A design's raw rows as JSON lines, each with its kind."""
    lines = [
        msgspec.json.encode({"kind": kind, **msgspec.to_builtins(row)}, order="deterministic")
        for kind, group in rows.items()
        for row in group
    ]
    path = folder / ROWS / f"{name}.jsonl"
    write_whole(path, b"".join(line + b"\n" for line in lines))
    return path


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file the results stand on, by path below `folder`."""
    paths = [folder / WORKLOAD, *folder.glob(f"{DESIGNS}/*.json"), *folder.glob(f"{ROWS}/*.jsonl")]
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in sorted(paths)}


def read_design(path: Path) -> Design:
    """A design's finished row.

    Raises:
        ResultsError: if it is none.
    """
    row: Design = decoded(path, Design)  # type: ignore[arg-type]
    return row


def results_in(path: Path) -> Path:
    """The results file in a folder; a file is itself."""
    return path / RESULTS if path.is_dir() else path


def check_folder(path: Path) -> Results:
    """The results in a file or folder, whole and as they were written.

    Raises:
        ResultsError: if not; the text says what is wrong.
    """
    path = results_in(path)
    results: Results = read(path, Results)
    _check_files(path.parent, results)
    return results


def _check_files(folder: Path, results: Results) -> None:
    for name, digest in results.files.items():
        relative = Path(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ResultsError(f"{name}: outside of the folder")
        if not (folder / relative).is_file():
            raise ResultsError(f"{name}: missing")
        if sha256((folder / relative).read_bytes()).hexdigest() != digest:
            raise ResultsError(f"{name}: edited or truncated: its SHA-256 is not the one in {RESULTS}")
    for name in file_digests(folder).keys() - results.files.keys():
        raise ResultsError(f"{name}: not among the files that {RESULTS} names")
