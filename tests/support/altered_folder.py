"""Results folders that a test alters as somebody who wants to deceive would, digests and all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from support.pages import ROOT

SAMPLE: Final = ROOT / "docs" / "sample"
Edit = Callable[[Any], object]


def dumped(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def seal(folder: Path, results: dict[str, Any]) -> None:
    """Write results with digests of its files and of itself, as whoever alters a folder would."""
    files = [*folder.glob("designs/*.json"), *folder.glob("rows/*.jsonl"), folder / "workload.toml"]
    results["files"] = {str(one.relative_to(folder)): sha256(one.read_bytes()).hexdigest() for one in files}
    results["digest"] = ""
    results["digest"] = sha256(dumped(results)).hexdigest()
    (folder / "results.json").write_bytes(dumped(results))


def small_folder(folder: Path, kept: Sequence[str]) -> Path:
    """Make a folder with the sample's rows of these designs alone."""
    for name in ("designs", "rows"):
        (folder / name).mkdir(parents=True)
        for one in kept:
            (found,) = (SAMPLE / name).glob(f"{one}.json*")
            shutil.copy(found, folder / name)
    shutil.copy(SAMPLE / "workload.toml", folder)
    results = json.loads((SAMPLE / "results.json").read_bytes())
    results["rows"] = [row for row in results["rows"] if row["id"] in kept]
    results["options_measured"] = len(kept)
    seal(folder, results)
    return folder


def row_of(results: Any, name: str) -> dict[str, Any]:
    return next(one for one in results["rows"] if one["id"] == name)


def altered(folder: Path, edit: Edit, sealed: bool = True) -> None:
    """Alter results.json, and with it the design's own file and the digests, unless these shall tell."""
    results = json.loads((folder / "results.json").read_bytes())
    edit(results)
    if not sealed:
        (folder / "results.json").write_bytes(dumped(results))
        return
    for row in results["rows"]:
        (folder / "designs" / f"{row['id']}.json").write_bytes(dumped(row))
    seal(folder, results)


def rows_altered(folder: Path, name: str, edit: Callable[[list[Any]], object], sealed: bool = True) -> None:
    path = folder / "rows" / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    edit(rows)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    if sealed:
        seal(folder, json.loads((folder / "results.json").read_bytes()))
