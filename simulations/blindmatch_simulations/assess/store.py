"""Writes a results folder, and refuses one that was edited, truncated or made by another version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from blindmatch_simulations.assess.errors import ResultsError
from blindmatch_simulations.assess.observed import PictureRow
from blindmatch_simulations.assess.results import FORMAT, VERSION, Design, Results, encode

RESULTS: Final = "results.json"
WORKLOAD: Final = "workload.toml"
DESIGNS: Final = "designs"
ROWS: Final = "rows"

T = TypeVar("T")


def write(path: Path, data: bytes) -> None:
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
    write(path, b"".join(line + b"\n" for line in lines))
    return path


def read_rows(folder: Path, name: str) -> list[PictureRow]:
    """The rows of a design's pictures.

    Raises:
        ResultsError: if there are none, or one is not a row.
    """
    try:
        lines = (folder / ROWS / f"{name}.jsonl").read_bytes().splitlines()
        raw = [msgspec.json.decode(line, type=dict[str, Any]) for line in lines]
        pictures = [{k: v for k, v in one.items() if k != "kind"} for one in raw if one["kind"] == "pictures"]
        return msgspec.convert(pictures, list[PictureRow])
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        raise ResultsError(f"rows of {name}: {error}") from error


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file the results stand on, by path below `folder`."""
    paths = [folder / WORKLOAD, *folder.glob(f"{DESIGNS}/*.json"), *folder.glob(f"{ROWS}/*.jsonl")]
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in sorted(paths)}


def sealed(results: Results) -> Results:
    """`results` as they will be read again, with their own digest."""
    read_again = msgspec.json.decode(encode(results), type=Results)
    return replace(read_again, digest=_digest(read_again))


def read_design(path: Path) -> Design:
    """A design's finished row.

    Raises:
        ResultsError: if it is none.
    """
    return _decoded(path, Design)


def check(path: Path) -> Results:
    """The results in a file or folder, whole and as they were written.

    Raises:
        ResultsError: if not; the text says what is wrong.
    """
    path = path / RESULTS if path.is_dir() else path
    _check_version(path)
    results = _decoded(path, Results)
    if results.digest != _digest(results):
        raise ResultsError(f"{path.name}: edited: its digest is not that of its content")
    if path.read_bytes() != encode(results):
        raise ResultsError(f"{path.name}: edited: not in the form in which it was written")
    _check_files(path.parent, results)
    return results


def _check_version(path: Path) -> None:
    head = _decoded(path, dict[str, Any])
    if head.get("format") != FORMAT:
        raise ResultsError(f"{path.name}: no {FORMAT} file")
    if head.get("version") != VERSION:
        raise ResultsError(f"{path.name}: version {head.get('version')}; this program reads {VERSION}")


def _check_files(folder: Path, results: Results) -> None:
    for name, digest in results.files.items():
        relative = Path(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ResultsError(f"{name}: outside of the folder")
        if not (folder / relative).is_file():
            raise ResultsError(f"{name}: missing")
        if sha256((folder / relative).read_bytes()).hexdigest() != digest:
            raise ResultsError(f"{name}: edited or truncated: its SHA-256 is not the one in {RESULTS}")
    for name in digests(folder).keys() - results.files.keys():
        raise ResultsError(f"{name}: not among the files that {RESULTS} names")


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ResultsError(f"{path.name}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        words = (
            "truncated or no JSON" if not isinstance(error, msgspec.ValidationError) else "not by its schema"
        )
        raise ResultsError(f"{path.name}: {words}: {error}") from error


def _digest(results: Results) -> str:
    return sha256(encode(replace(results, digest=""))).hexdigest()
