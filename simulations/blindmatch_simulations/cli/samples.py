"""`blindmatch samples`: benign pictures to try things with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blindmatch_simulations.cli.console import OUT
from blindmatch_simulations.testbed.pictures.crops import crops
from blindmatch_simulations.testbed.pictures.edits import BY_NAME

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
    path.write_bytes(data)
