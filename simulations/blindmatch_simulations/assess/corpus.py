"""A manifest of the pictures that installed packages bring along: hash, quality, package, licence.

Nothing is copied or downloaded. Photographs and clip art are kept apart: their hashes behave differently.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.errors import BlindmatchError
from blindmatch_protocol.picture import distance, pdq
from blindmatch_protocol.picture.item import Picture

from blindmatch_simulations.assess.plan import Plan
from blindmatch_simulations.assess.results import PairDistances
from blindmatch_simulations.pictures.crops import LICENCES, PACKAGE

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif")
PHOTOGRAPHS: Final = "photographs"
CLIP_ART: Final = "clip art"
_MIXED: Final = "pictures of several kinds"

DEBIAN: Final = {
    "openclipart-png": CLIP_ART,
    "visp-images-data": _MIXED,
    "gnome-backgrounds": PHOTOGRAPHS,
    "mate-backgrounds": PHOTOGRAPHS,
    "plasma-workspace-wallpapers": PHOTOGRAPHS,
    "ubuntu-wallpapers": PHOTOGRAPHS,
}
"""Packages that are looked for, and what kind of pictures they hold."""

_LISTS: Final = "var/lib/dpkg/info"
_STATUS: Final = "var/lib/dpkg/status"
_DOCS: Final = "usr/share/doc"
_LEAST_SIDE: Final = 64
_BITS: Final = 256


@dataclass(frozen=True, slots=True)
class Found:
    """A picture of an installed package."""

    package: str
    version: str
    kind: str
    licence: str
    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Hashed:
    """A picture and what it hashes to."""

    found: Found
    hash: bytes
    quality: int

    def row(self) -> dict[str, Any]:
        """What the manifest says of it."""
        one = self.found
        return {
            "package": one.package,
            "version": one.version,
            "kind": one.kind,
            "licence": one.licence,
            "file": one.name,
            "hash": self.hash.hex(),
            "quality": self.quality,
        }


def installed(most: int | None = None, root: Path = Path("/")) -> list[Found]:
    """Pictures of scikit-image and of the Debian packages installed below `root`, `most` of each."""
    found = list(_scikit_image())[:most]
    dpkg = Dpkg(root)
    for package, kind in DEBIAN.items():
        found += islice(dpkg.pictures(package, kind), most)
    return found


def hashed(pictures: Sequence[Found], progress: Progress) -> list[Hashed]:
    """Those that can be decoded and are not tiny; one of each hash."""
    made: dict[bytes, Hashed] = {}
    for at, one in enumerate(pictures, 1):
        progress(at, len(pictures))
        try:
            picture = Picture.from_bytes(one.path.read_bytes())
            if min(picture.luminance.shape) < _LEAST_SIDE:
                continue
            fingerprint = picture.fingerprint
        except (BlindmatchError, OSError):
            continue
        made.setdefault(fingerprint.hash, Hashed(one, fingerprint.hash, fingerprint.quality))
    return list(made.values())


def pair_distances(plan: Plan, progress: Progress) -> tuple[PairDistances, ...]:
    """Distances of all pairs of different pictures, kind by kind; those of low quality are left out."""
    good = [
        one
        for one in hashed(installed(plan.corpus.most_pictures), progress)
        if one.quality >= pdq.LEAST_QUALITY
    ]
    return tuple(
        _pairs(kind, [one for one in good if one.found.kind == kind])
        for kind in dict.fromkeys(one.found.kind for one in good)
    )


def _pairs(kind: str, pictures: Sequence[Hashed]) -> PairDistances:
    rows = distance.rows([one.hash for one in pictures])
    upper = np.triu_indices(len(rows), 1)
    found = distance.distances(rows, rows)[upper] if len(rows) > 1 else np.zeros(0, np.int64)
    histogram = np.bincount(found.astype(np.int64), minlength=_BITS + 1)
    packages = tuple(sorted({one.found.package for one in pictures}))
    return PairDistances(kind, packages, len(pictures), len(found), tuple(int(n) for n in histogram))


def _scikit_image() -> Iterator[Found]:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return
    version = importlib.metadata.version(PACKAGE)
    folder = Path(spec.origin).parent / "data"
    for name, licence in LICENCES.items():
        if (folder / name).is_file():
            yield Found(PACKAGE, version, PHOTOGRAPHS, licence, folder / name, name)


@dataclass(frozen=True, slots=True)
class Dpkg:
    """What dpkg has installed below `root`: files, version and licence of a package, by its own records."""

    root: Path = Path("/")

    def pictures(self, package: str, kind: str) -> Iterator[Found]:
        """Pictures in the list of a package's files, by name; none if it is not installed."""
        try:
            lines = (self.root / _LISTS / f"{package}.list").read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        version, licence = self.version(package), self.licence(package)
        for line in sorted(lines):
            path = self.root / line.lstrip("/")
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink():
                yield Found(package, version, kind, licence, path, line)

    def licence(self, package: str) -> str:
        """The short names of licences in a package's copyright file; if there are none, where to look."""
        try:
            lines = (self.root / _DOCS / package / "copyright").read_text("utf-8", "replace").splitlines()
        except OSError:
            return "unknown: the package has no copyright file"
        names = dict.fromkeys(
            line.partition(":")[2].strip() for line in lines if line.lower().startswith("license:")
        )
        return ", ".join(name for name in names if name) or f"see the copyright file of {package}"

    def version(self, package: str) -> str:
        """From dpkg's status file; empty if it does not say."""
        try:
            blocks = (self.root / _STATUS).read_text("utf-8", "replace").split("\n\n")
        except OSError:
            return ""
        for block in blocks:
            lines = block.strip("\n").splitlines()
            if lines[:1] == [f"Package: {package}"]:
                return next((line[9:] for line in lines if line.startswith("Version: ")), "")
        return ""
