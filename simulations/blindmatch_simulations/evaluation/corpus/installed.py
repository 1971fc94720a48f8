"""A manifest of the pictures that installed packages bring along: hash, quality, package, licence.

Nothing is copied or downloaded. Photographs and clip art are kept apart: their hashes behave differently.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import decode
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.evaluation.corpus.cache import Print
from blindmatch_simulations.evaluation.corpus.hashing import print_of
from blindmatch_simulations.testbed.pictures.crops import LICENCES, PACKAGE

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif")
PHOTOGRAPHS: Final = "photographs"
CLIP_ART: Final = "clip art"
FACES: Final = "faces"
DOCUMENTS: Final = "documents"
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

OTHERS: Final = {
    "horse.png": (CLIP_ART, "CC0 (Andreas Preuss, openclipart)"),
    "text.png": (DOCUMENTS, "public domain (Wikipedia)"),
}
"""Pictures of scikit-image that are no photographs, and what its documentation says of their rights."""
FACES_FILE: Final = "lfw_subset.npy"
FACES_LICENCE: Final = "not stated; 25 x 25 pixels of Labeled Faces in the Wild, for research"
_FACES: Final = 100
_ENLARGED: Final = 8
_LISTS: Final = "var/lib/dpkg/info"
_STATUS: Final = "var/lib/dpkg/status"
_DOCS: Final = "usr/share/doc"
_LEAST_SIDE: Final = 64
NOWHERE: Final = Path("/nonexistent")
"""A root without Debian packages."""


class Found(Struct, frozen=True):
    """A picture of an installed package: a file, or a row of an array of grey pictures, 0 to 1."""

    package: str
    version: str
    kind: str
    licence: str
    path: Path
    name: str
    row: int | None = None

    def pixels(self) -> pdq.Pixels:
        """(h, w, 3) uint8; rows of an array are enlarged eightfold, since nobody sends 25 x 25 pixels;
        `PictureError` if the file is no acceptable picture, `OSError` if it cannot be read."""
        if self.row is None:
            return decode(self.path.read_bytes()).pixels
        grey = np.load(self.path, mmap_mode="r", allow_pickle=False)[self.row]
        small = Image.fromarray((np.asarray(grey) * 255).astype(np.uint8)).convert("RGB")
        size = small.width * _ENLARGED, small.height * _ENLARGED
        return np.asarray(small.resize(size, Image.Resampling.BICUBIC))


class Hashed(Struct, frozen=True):
    """A picture and what it hashes to."""

    found: Found
    print: Print

    def row(self) -> dict[str, Any]:
        """What the manifest says of it."""
        one = self.found
        return {
            "package": one.package,
            "version": one.version,
            "kind": one.kind,
            "licence": one.licence,
            "file": one.name,
            "hash": self.print.hash.hex(),
            "quality": self.print.quality,
        }


def installed(most: int | None = None, root: Path = Path("/")) -> list[Found]:
    """Pictures of scikit-image and of the Debian packages installed below `root`, `most` of each."""
    found = list(islice(_scikit_image(), most))
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
            pixels = one.pixels()
        except (BlindmatchError, OSError):
            continue
        if min(pixels.shape[:2]) >= _LEAST_SIDE:
            found = print_of(pixels)
            made.setdefault(found.hash, Hashed(one, found))
    return list(made.values())


def _scikit_image() -> Iterator[Found]:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return
    version = importlib.metadata.version(PACKAGE)
    folder = Path(spec.origin).parent / "data"
    for name, licence in LICENCES.items():
        if (folder / name).is_file():
            yield Found(PACKAGE, version, PHOTOGRAPHS, licence, folder / name, name)
    for name, (kind, licence) in OTHERS.items():
        if (folder / name).is_file():
            yield Found(PACKAGE, version, kind, licence, folder / name, name)
    for row in range(_FACES if (folder / FACES_FILE).is_file() else 0):
        name = f"{FACES_FILE}[{row}]"
        yield Found(PACKAGE, version, FACES, FACES_LICENCE, folder / FACES_FILE, name, row)


class Dpkg(Struct, frozen=True):
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
