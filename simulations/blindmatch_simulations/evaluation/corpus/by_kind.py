"""Recall and false matches of PDQ itself by kind of picture: installed ones and generated ones, apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE, Pixels, distance
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.evaluation.corpus.bounds import share_within
from blindmatch_simulations.evaluation.corpus.cache import Print
from blindmatch_simulations.evaluation.corpus.hashing import fingerprint_of, print_of
from blindmatch_simulations.evaluation.corpus.installed import hashed, installed
from blindmatch_simulations.evaluation.corpus.pairs import Prints, Tally, block_of, blocks_of
from blindmatch_simulations.evaluation.corpus.tail import groups_of, tail
from blindmatch_simulations.measure.intervals import bounded_mean, share
from blindmatch_simulations.measure.results import ByKind, Figure, PairDistances
from blindmatch_simulations.testbed.pictures.crops import EDITS, SamplePicture, encoded
from blindmatch_simulations.testbed.pictures.pool import GENERATED

INSTALLED: Final = "installed"
MADE: Final = "generated"
NOWHERE: Final = Path("/nonexistent")
"""A root without Debian packages."""
_IN_MANIFEST: Final = 8
_OF_A_SEED: Final = 100_000
_MOST_SIDE: Final = 512
"""Pictures are made smaller to this before they are edited, as a messenger makes them smaller."""


class Sample(Redacted, Struct, frozen=True):
    """Pictures of one kind: fingerprints of all, files of those that are edited."""

    kind: str
    origin: str
    packages: tuple[str, ...]
    prints: tuple[Print, ...]
    files: tuple[bytes, ...]


def by_kind(
    most: int, compared: int, edited: int, progress: Progress
) -> tuple[tuple[PairDistances, ...], tuple[ByKind, ...]]:
    """Pair distances and what PDQ finds, kind by kind.

    Args:
        most: pictures of each installed package.
        compared: generated pictures of each kind.
        edited: pictures of each kind that get every edit.
    """
    samples = [
        *_installed(most, edited, progress),
        *(_generated(compared, edited, progress) if compared else ()),
    ]
    return tuple(map(_distances, samples)), tuple(_measured(one, progress) for one in samples)


def of_kind(kind: str, count: int, seed: int) -> list[SamplePicture]:
    """Up to `count` pictures of a generated kind, or of installed faces, to be sent."""
    return [_sample(kind, number, pixels) for number, pixels in enumerate(_pixels(kind, count, seed))]


def _pixels(kind: str, count: int, seed: int) -> Iterator[Pixels]:
    if kind in GENERATED:
        yield from (np.asarray(GENERATED[kind](seed * _OF_A_SEED + number)) for number in range(count))
    else:
        mine = [one for one in installed(root=NOWHERE) if one.kind == kind]
        yield from (one.pixels() for one in mine[:count])


def _sample(kind: str, number: int, pixels: Pixels) -> SamplePicture:
    data, (height, width) = _file(pixels), pixels.shape[:2]
    found, name = fingerprint_of(data), f"{kind.replace(' ', '-')}-{number:04d}"
    return SamplePicture(name, kind, (0, 0, height, width), "", data, found.hash, found.quality)


def manifest() -> list[dict[str, Any]]:
    """Pictures of scikit-image, and the first generated ones of each kind; ``data/corpus.json`` is this."""
    rows = [one.row() for one in hashed(installed(root=NOWHERE), no_progress)]
    for kind, make in GENERATED.items():
        for number in range(_IN_MANIFEST):
            found = print_of(np.asarray(make(number)))
            named = {"package": MADE, "kind": kind, "licence": "Apache-2.0", "file": f"{kind} {number}"}
            rows.append({**named, "hash": found.hash.hex(), "quality": found.quality})
    return rows


def _installed(most: int, edited: int, progress: Progress) -> Iterator[Sample]:
    every = hashed(installed(most), progress)
    for kind in dict.fromkeys(one.found.kind for one in every):
        mine = [one for one in every if one.found.kind == kind]
        packages = tuple(sorted({one.found.package for one in mine}))
        files = tuple(_file(one.found.pixels()) for one in mine[:edited])
        yield Sample(kind, INSTALLED, packages, tuple(one.print for one in mine), files)


def _generated(compared: int, edited: int, progress: Progress) -> Iterator[Sample]:
    for kind, make in GENERATED.items():
        prints, files = list[Print](), list[bytes]()
        for number in range(compared):
            pixels = np.asarray(make(number))
            prints.append(print_of(pixels))
            files += [_file(pixels)] if number < edited else []
            progress(number + 1, compared)
        yield Sample(kind, MADE, (), tuple(prints), tuple(files))


def _good(sample: Sample) -> Prints:
    good = [one.hash + one.second for one in sample.prints if one.quality >= LEAST_QUALITY]
    return np.unique(np.frombuffer(b"".join(good), np.uint8).reshape(-1, 64), axis=0) if good else _NOTHING


_NOTHING: Final = np.zeros((0, 64), np.uint8)


def _distances(sample: Sample) -> PairDistances:
    prints = _good(sample)
    tally = Tally.empty(len(prints))
    for number in range(blocks_of(len(prints))):
        tally = tally.add(block_of(prints, number))
    histogram = tally.histogram.copy()
    if sample.origin != MADE:  # generated ones are all different, however alike
        histogram[: len(tally.same)] -= tally.same
    found = tuple(map(int, histogram))
    return PairDistances(sample.kind, sample.packages, len(prints), sum(found), found, sample.origin)


def _measured(sample: Sample, progress: Progress) -> ByKind:
    edited = list(_edited(sample.files, progress))
    poor = sum(one.quality < LEAST_QUALITY for one in sample.prints)
    prints = _good(sample)
    return ByKind(
        kind=sample.kind,
        origin=sample.origin,
        packages=sample.packages,
        pictures=len(sample.prints),
        poor=share(poor, len(sample.prints)),
        recall=_mean(edited),
        recall_by_edit={
            edit.name: share(sum(one[at] for one in edited), len(edited)) for at, edit in enumerate(EDITS)
        },
        false_matches=false_matches(_distances(sample)),
        tail=tail(groups_of(prints)),
    )


def false_matches(found: PairDistances) -> Figure:
    """The share of pairs within PDQ's distance, bounded over pictures as docs/corpus.md says."""
    return share_within([(found.histogram, found.pictures // 2)], MATCH_DISTANCE)


def _mean(edited: Sequence[Sequence[bool]]) -> Figure:
    """The mean over pictures of the share of edits found; pictures are independent, edits of one are not."""
    if not edited:
        return Figure(None, "no picture of this kind was edited")
    mean = float(np.mean(edited))
    low, high = bounded_mean(mean, len(edited))
    return Figure(mean, "", low, high, len(edited))


def _edited(files: Sequence[bytes], progress: Progress) -> Iterator[list[bool]]:
    """Which edits of each picture PDQ calls a match; pictures that are poor as they are are left out."""
    for done, data in enumerate(files, 1):
        original = fingerprint_of(data)
        if original.quality >= LEAST_QUALITY:
            yield [_matches(edit.apply(data), original.hash) for edit in EDITS]
        progress(done, len(files))


def _matches(data: bytes, original: bytes) -> bool:
    try:
        found = fingerprint_of(data)
    except PictureError:
        return False
    return found.quality >= LEAST_QUALITY and distance(found.hash, original) <= MATCH_DISTANCE


def _file(pixels: Pixels) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((_MOST_SIDE, _MOST_SIDE))
    return encoded(image, compress_level=1)


def main() -> None:
    """Print the manifest (python -m blindmatch_simulations.evaluation.corpus.by_kind)."""
    rows = ",\n".join(map(json.dumps, manifest()))
    print(f'{{"pictures": [\n{rows}\n]}}')


if __name__ == "__main__":
    main()
