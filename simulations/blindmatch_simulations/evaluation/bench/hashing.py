"""`blindmatch bench pdq`: PDQ of photographs of 640 by 480 pixels, and `pdqhash` on the same ones."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from PIL import Image

from blindmatch_simulations.evaluation.bench.peers.runner import PeerMissingError, Peers, runs_of
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.row import BenchRow
from blindmatch_simulations.measure.yardstick import cost_figures
from blindmatch_simulations.testbed.pictures.crops import LICENCES, photograph

SIZE: Final = (640, 480)
LEAST_SAME: Final = 0.9
"""Share of hashes that must be the same as the peer's, or the two do not do the same work."""


def bench_pdq(meter: Meter, folder: Path, peers: Peers) -> None:
    """Measure a batch of photographs; files for the peer go to `folder`."""
    pixels = photographs()
    files = [_jpeg(picture) for picture in pixels]
    size = "{}x{}".format(*SIZE)
    ours = meter.time("pdq/pixels", lambda: [_hash(one) for one in pixels], count=len(pixels), size=size)
    meter.time(
        "pdq/file", lambda: [Picture.from_bytes(data).hash for data in files], count=len(files), size=size
    )
    path = folder / "photographs.npy"
    np.save(path, np.stack(pixels), allow_pickle=False)
    try:
        found = peers.run("pdqhash", path, meter.runs)
        _check_same(found["hashes"], pixels)
    except PeerMissingError as error:
        for row in ("pdq/pdqhash", "pdq/against-pdqhash"):
            meter.missing(row, str(error))
        return
    _compare(meter, ours, found, size)


def _compare(meter: Meter, row: BenchRow, found: dict[str, Any], size: str) -> None:
    """The peer's row, and ours over it; that one is disturbed if one of the two is."""
    ours, theirs = meter.taken[row.id], runs_of(found["measured"])
    figures = cost_figures(theirs, found["measured"]["count"])
    meter.record("pdq/pdqhash", figures, theirs, size=size, version=str(found["version"]))
    times = (row.figures["cpu_u"].value or 0.0) / figures["cpu_u"]
    worse = max((ours, theirs), key=lambda runs: sum(run.disturbed for run in runs) / len(runs))
    meter.record("pdq/against-pdqhash", {"times": times}, worse, size=size)


def photographs() -> list[pdq.Pixels]:
    """The installed photographs, scaled to 640 by 480."""
    return [np.asarray(Image.fromarray(photograph(name)).convert("RGB").resize(SIZE)) for name in LICENCES]


def _hash(pixels: pdq.Pixels) -> bytes:
    return pdq.fingerprint(pdq.luminance(pixels)).hash


def _jpeg(pixels: pdq.Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def _check_same(theirs: list[str], pixels: list[pdq.Pixels]) -> None:
    same = np.mean([_hash(one).hex() == other for one, other in zip(pixels, theirs, strict=True)])
    if same < LEAST_SAME:
        raise PeerMissingError(f"only {same:.0%} of its hashes are those computed here")
