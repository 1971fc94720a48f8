"""The reference corpus as committed data: fingerprints of pictures in packages that anybody can install, and
of every edit of some; never a picture. `make corpus` makes the files, `read` gives what is in them. `ASIDE`
is a second one in files of its name, of packages that were set aside before they were hashed, to test
predictions.

    reference.json     how it was made: versions, counts and licences of packages, edits, digests
    reference.csv.xz   a line for each original: package, kind, path, SHA-256 of the picture
    reference.npz.xz   arrays in the order of those lines; `_ARRAYS` says which

Coefficients, which soft probing needs, are there as float16 where a copy lies 4 to 64 bits from its original:
nearer ones agree in most bands whatever is probed, farther ones are no match.
"""

from __future__ import annotations

import csv
import io
import lzma
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.corpus.pairs import Prints
from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs, Fingerprints
from blindmatch_simulations.measure.results import ResultsError

REFERENCE: Final = "reference"
ASIDE: Final = "reference-aside"
PHOTOGRAPH: Final = "photograph"
LEAST_KEPT: Final = 4
MOST_KEPT: Final = 64
"""Bits from the original, from the least to the most, at which a copy's coefficients are kept."""
_FIELDS: Final = ("package", "kind", "path", "sha256")
_ARRAYS: Final = (
    "prints",  # (n, 64) uint8: PDQ and second hash of each original, as the file is
    "quality",  # (n,) uint8
    "edited",  # (m,) uint32: which originals are edited
    "sides",  # (m, 2) uint16: width and height of the file that is edited
    "sent",  # (m, 64) uint8: fingerprint of that file, which is the listed one
    "sent_quality",  # (m,) uint8
    "copies",  # (m, edits, 64) uint8: each copy's, XOR that of `sent`
    "copy_quality",  # (m, edits) uint8
    "coefficients",  # (2, 256, c) uint8: low and high byte of |float16|, copies at 4 to 64 bits in order
)


class Row(NamedTuple):
    """An original: where it comes from, of what kind it is, SHA-256 of its file in hex."""

    package: str
    kind: str
    path: str
    sha256: str


class Reference(Redacted, Struct, frozen=True):
    """The corpus: `n` originals, of which `m` have every edit.

    Attributes:
        prints: (n, 64) uint8, PDQ and second hash.
        quality: (n,) uint8, 50 or more.
        edited: (m,) places in `rows`.
        sides: (m, 2) width and height in pixels of the files that are edited.
        pairs: listed originals and their copies, m times the edits, in order.
    """

    rows: tuple[Row, ...]
    prints: Prints
    quality: npt.NDArray[np.uint8]
    edited: npt.NDArray[np.intp]
    sides: npt.NDArray[np.uint16]
    pairs: EditedPairs

    @property
    def kinds(self) -> npt.NDArray[np.str_]:
        """The kind of each original, (n,)."""
        return np.array([row.kind for row in self.rows])

    @property
    def photographs(self) -> npt.NDArray[np.bool_]:
        """Which of the edited ones are photographs, (m,)."""
        return np.array([self.rows[at].kind == PHOTOGRAPH for at in self.edited])

    @property
    def packages(self) -> npt.NDArray[np.str_]:
        """The package of each original, (n,)."""
        return np.array([row.package for row in self.rows])


def about(name: str = REFERENCE) -> dict[str, Any]:
    """Return how a corpus was made, the content of its JSON file."""
    found: dict[str, Any] = committed(name)
    return found


@cache
def read(name: str = REFERENCE) -> Reference:
    """Return a committed corpus; `ResultsError` if the files are not those that its JSON file names."""
    return unpacked(*_bytes_of(name), about(name)["edits"])


def is_committed(name: str) -> bool:
    """Return whether the package holds a corpus of this name."""
    return files("blindmatch_simulations.data").joinpath(f"{name}.json").is_file()


def parts_of(name: str) -> tuple[list[Row], dict[str, npt.NDArray[Any]]]:
    """Return the lines and arrays of a committed corpus as they were packed; errors as of `read`."""
    lines, arrays = _bytes_of(name)
    return _lines(lines), _arrays(arrays)


def _bytes_of(name: str) -> tuple[bytes, bytes]:
    data = files("blindmatch_simulations.data")
    try:
        lines, arrays = (
            lzma.decompress(data.joinpath(f"{name}.{end}.xz").read_bytes()) for end in ("csv", "npz")
        )
        named = [about(name)["rows_sha256"], about(name)["arrays_sha256"]]
    except (lzma.LZMAError, EOFError, ValueError, KeyError) as error:
        raise ResultsError(f"the reference corpus is broken: {error}: install blindmatch again") from error
    if [sha256(part).hexdigest() for part in (lines, arrays)] != named:
        raise ResultsError(f"{name}: rows or arrays are not those of {name}.json: run `make corpus`")
    return lines, arrays


def _lines(rows: bytes) -> list[Row]:
    return list(map(Row._make, list(csv.reader(io.StringIO(rows.decode())))[1:]))


def _arrays(arrays: bytes) -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(arrays), allow_pickle=False) as held:
        return {name: held[name] for name in _ARRAYS}


def packed(rows: list[Row], arrays: dict[str, npt.NDArray[Any]]) -> tuple[bytes, bytes]:
    """Rows and arrays as the bytes that are compressed, the same for the same content."""
    lines = io.StringIO()
    file = io.BytesIO()
    csv.writer(lines, lineterminator="\n").writerows([_FIELDS, *rows])
    if sorted(arrays) != sorted(_ARRAYS):
        raise ValueError(f"arrays: must be {', '.join(_ARRAYS)}")
    np.savez(file, allow_pickle=False, **{name: arrays[name] for name in _ARRAYS})
    return lines.getvalue().encode(), file.getvalue()


def unpacked(rows: bytes, arrays: bytes, edits: list[str]) -> Reference:
    """Return the corpus of lines and arrays; `edits` names what the copies of one picture are, in order.
    `ResultsError` if they are not that many."""
    found = _arrays(arrays)
    if len(edits) != found["copies"].shape[1]:
        raise ResultsError(f"edits: {len(edits)} names of {found['copies'].shape[1]} copies of a picture")
    sent = found["sent"]
    moved = found["copies"]
    copies = (moved ^ sent[:, None]).reshape(-1, 64)
    m, many = moved.shape[:2]
    kept = near(moved)
    coefficients = np.zeros((m * many, 256), np.float32)
    halves = np.ascontiguousarray(found["coefficients"].transpose(2, 1, 0)).view("<f2")[:, :, 0]
    signs = np.unpackbits(copies[kept.ravel(), :32], axis=1).astype(np.float32) * 2 - 1
    coefficients[kept.ravel()] = halves.astype(np.float32) * signs
    nothing = np.zeros((m, 256), np.float32)
    pairs = EditedPairs(
        Fingerprints(sent[:, :32], nothing, found["sent_quality"].astype(np.int32)),
        Fingerprints(copies[:, :32], coefficients, found["copy_quality"].astype(np.int32).ravel()),
        np.repeat(np.arange(m), many),
        np.tile(np.arange(many), m),
        tuple(edits),
    )
    edited = found["edited"].astype(np.intp)
    return Reference(tuple(_lines(rows)), found["prints"], found["quality"], edited, found["sides"], pairs)


def near(moved: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Of copies XOR originals, (m, edits, 64): which have their coefficients kept, (m, edits)."""
    apart = np.bitwise_count(moved[:, :, :32]).sum(axis=2, dtype=np.int32)
    return np.asarray((apart >= LEAST_KEPT) & (apart <= MOST_KEPT))


def planes(coefficients: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Their magnitudes as float16, (c, 256), byte by byte, which compresses better: (2, 256, c)."""
    most = np.finfo(np.float16).max
    halves = np.minimum(np.abs(coefficients), most).astype("<f2").reshape(-1, 256)
    return np.ascontiguousarray(halves.view(np.uint8).reshape(-1, 256, 2).transpose(2, 1, 0))
