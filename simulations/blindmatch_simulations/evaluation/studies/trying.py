"""The file behind the report's view "Try one": bundled pictures, edits, and what each design answered.

`make sample` writes ``docs/sample/try.json``; `trying_sessions` asks the designs. A page embeds the file, so
whatever reads it expects hostile content: no text in it can be markup, and its pictures are decoded under
the rules for pictures from strangers. How near two hashes are is nowhere in it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from blindmatch_protocol.codec.errors import BlindmatchError, PictureError
from blindmatch_protocol.picture.decode import decode
from msgspec import Meta

from blindmatch_simulations.measure.results import Strict
from blindmatch_simulations.testbed.pictures.crops import EDITS

FORMAT: Final = "blindmatch-try"
TRY: Final = "try.json"
"""The file's name beside an assessment's results."""
VERSION: Final = 1
"""Goes up when a reader of the earlier schema would misread or refuse a file."""
MOST_BYTES: Final = 450_000
"""Of the file: the page embeds it."""
PICTURE_SIDE: Final = 104
LIKENESS_SIDE: Final = 56
"""Longest sides of the small pictures, in pixels."""

# `$` alone also ends before a line's end
PlainWords: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=300, pattern=r"""^[^<>&"'`\x00-\x1f]+$(?!\n)""")
]
"""Words for people, without the signs that HTML reads."""
Name: TypeAlias = Annotated[str, Meta(max_length=64, pattern=r"^[a-z0-9][a-z0-9.%_-]*$(?!\n)")]
Digest: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Quality: TypeAlias = Annotated[int, Meta(ge=0, le=100)]
DataUri: TypeAlias = Annotated[
    str, Meta(max_length=12_000, pattern=r"^data:image/webp;base64,[A-Za-z0-9+/]+={0,2}$(?!\n)")
]
_URI_HEAD: Final = "data:image/webp;base64,"


class TryError(BlindmatchError):
    """The file is missing, or breaks a rule; the text names the field and the rule."""


class TrialAnswer(StrEnum):
    """What became of one picture that was sent.

    FOUND: the entry of this very picture matched.
    COUNTED: the same, of a design that opens nothing before several pictures match: its voucher counted.
    MADE_UP: the device made the picture's voucher up, as such a design does for some of all pictures, listed
        or not, so that the centre does not see how many match; it counts as nothing.
    ANOTHER: an entry of another picture matched.
    MISSED: the picture is listed, and nothing matched.
    NOTHING: the picture is not listed, and nothing matched.
    FLAGGED, NOT_FLAGGED: what a classifier said, which looks at no list.
    NOT_LOOKED: the design looks at no picture.
    """

    FOUND = "found"
    COUNTED = "counted as a match"
    MADE_UP = "voucher made up"
    ANOTHER = "another entry found"
    MISSED = "missed"
    NOTHING = "nothing to find"
    FLAGGED = "flagged"
    NOT_FLAGGED = "not flagged"
    NOT_LOOKED = "does not look"


ONLY_LISTED: Final = frozenset({TrialAnswer.FOUND, TrialAnswer.COUNTED, TrialAnswer.MISSED})
ONLY_UNLISTED: Final = frozenset({TrialAnswer.NOTHING})


class AnswerSource(StrEnum):
    """Where a design's answers are from.

    DEVICE: a session with all parties, and what the device learnt.
    SERVER: the same, and what a server learnt, which tells the device nothing.
    VOUCHER: a voucher, which a centre tried to open together with others of the same device that are one
        match short of the design's threshold.
    NOBODY: a session with all parties, in which nobody learns anything.
    """

    DEVICE = "asked in a real session; the device learnt the answer"
    SERVER = "asked in a real session; a server learnt the answer, and the device did not"
    VOUCHER = "a real voucher, opened by the centre with others that are one match short of the threshold"
    NOBODY = "asked in a real session; nobody learnt anything"


class TriedPicture(Strict, frozen=True):
    """A bundled photograph.

    Attributes:
        id: key of its answers and shots.
        title, alt: in words; `alt` for people who do not see it.
        package, source: the installed package and the file in it.
        licence: what is known of its rights.
        sha256: of the file.
        hash: its PDQ hash.
    """

    id: Name
    title: PlainWords
    alt: PlainWords
    package: Name
    source: Name
    licence: PlainWords
    sha256: Digest
    hash: Digest


class Shot(Strict, frozen=True):
    """Small pictures of an edited picture.

    Attributes:
        picture: after the edit.
        likeness: redrawn from the hash that a session of `hash-upload` sent.
        finer: redrawn from the numbers that a session of `partial-hash` sent.
    """

    picture: DataUri
    likeness: DataUri
    finer: DataUri


ByPicture: TypeAlias = dict[Name, tuple[TrialAnswer, ...]]


class Trial(Strict, frozen=True):
    """A design's answers.

    Attributes:
        version: of the design's messages and files.
        how: where the answers are from.
        listed: by picture, an answer for each edit; the list has all of the file's pictures.
        unlisted: the same, from a list with all of the others.
    """

    version: int
    how: AnswerSource
    listed: ByPicture
    unlisted: ByPicture


class Tried(Strict, frozen=True, kw_only=True):
    """Version 1 of ``try.json``.

    Attributes:
        fillers: random hashes on each list beside the pictures.
        edits: names of the suite's, in its order, as in everything below that is by edit.
        quality: PDQ's, by picture, for each edit.
        answers: by design.
        not_covered: designs that could not be asked, each with the reason.
        shots: by picture, for each edit.
    """

    format: Literal["blindmatch-try"] = "blindmatch-try"
    version: Literal[1] = 1
    fillers: Annotated[int, Meta(ge=0, le=1000)]
    pictures: Annotated[tuple[TriedPicture, ...], Meta(min_length=1, max_length=8)]
    edits: tuple[Name, ...]
    quality: dict[Name, tuple[Quality, ...]]
    answers: dict[Name, Trial]
    not_covered: dict[Name, PlainWords]
    shots: dict[Name, tuple[Shot, ...]]


def encode(tried: Tried) -> bytes:
    """Return the one form of the file: JSON on one line, with its keys in order."""
    return msgspec.json.encode(tried, order="sorted") + b"\n"


def read_tried(path: Path) -> Tried:
    """Return what a file holds; `TryError` naming the field and the rule if it breaks one."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TryError(f"{path.name}: cannot be read: {error.strerror}") from error
    try:
        return decode_tried(raw)
    except TryError as error:
        raise TryError(f"{path.name}: {error}") from error


def decode_tried(raw: bytes) -> Tried:
    """Return what the content of a file says; `TryError` naming the field and the rule if it breaks one."""
    if len(raw) > MOST_BYTES:
        raise TryError(f"file: must have at most {MOST_BYTES:,} bytes")
    head = _decoded(raw, dict[str, Any])
    if head.get("format") != FORMAT:
        raise TryError(f"format: must be {FORMAT}")
    # in Python, True is 1
    if type(head.get("version")) is not int or head["version"] != VERSION:
        raise TryError(f"version: must be {VERSION}, which is the one that this program reads")
    tried = _decoded(raw, Tried)
    if encode(tried) != raw:
        raise TryError("file: must be in the form in which it was written, each key once and in order")
    for rule in _broken_rules(tried):
        raise TryError(rule)
    return tried


T = TypeVar("T")


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        rule, _, at = str(error).partition(" - at ")
        # of a key, msgspec names the place of the whole
        field = at.strip("`").removeprefix("$").removeprefix(".") or "file"
        raise TryError(f"{field}: {rule}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TryError("file: truncated or no JSON") from error


def _broken_rules(tried: Tried) -> Iterator[str]:
    """Yield each rule between fields that the file breaks, with the field's name."""
    names = [one.id for one in tried.pictures]
    if len(set(names)) != len(names):
        yield "pictures: must have an id of their own each"
    if tried.edits != tuple(edit.name for edit in EDITS):
        yield "edits: must be the suite's, in its order"
    yield from _misfits("quality", tried.quality, names)
    yield from _misfits("shots", tried.shots, names)
    for design, trial in tried.answers.items():
        for field, answers, others in (
            ("listed", trial.listed, ONLY_UNLISTED),
            ("unlisted", trial.unlisted, ONLY_LISTED),
        ):
            place = f"answers.{design}.{field}"
            yield from _misfits(place, answers, names)
            wrong = {one for row in answers.values() for one in row} & others
            if wrong:
                yield f"{place}: must not have `{min(wrong)}`, which contradicts its name"
    for design in tried.answers.keys() & tried.not_covered.keys():
        yield f"not_covered.{design}: must not be among the answers"
    for picture, shots in tried.shots.items():
        yield from _undrawable(picture, shots)


def _misfits(place: str, by_picture: Mapping[str, Sequence[object]], names: Collection[str]) -> Iterator[str]:
    """Yield where a table is not one row for each picture and one cell for each edit."""
    if set(by_picture) != set(names):
        yield f"{place}: must have the ids of the pictures as keys"
    for name, row in by_picture.items():
        if len(row) != len(EDITS):
            yield f"{place}.{name}: must have {len(EDITS)} values, one for each edit, not {len(row)}"


def _undrawable(picture: str, shots: Sequence[Shot]) -> Iterator[str]:
    for at, shot in enumerate(shots):
        sides = {"picture": PICTURE_SIDE, "likeness": LIKENESS_SIDE, "finer": LIKENESS_SIDE}
        for field, most in sides.items():
            place = f"shots.{picture}[{at}].{field}"
            try:
                found = decode(b64decode(getattr(shot, field).removeprefix(_URI_HEAD), validate=True))
            except (PictureError, ValueError):
                yield f"{place}: must be a WebP picture"
                continue
            if found.format != "WEBP" or max(found.pixels.shape[:2]) > most:
                yield f"{place}: must be a WebP picture of at most {most} pixels a side"
