"""Results of every kind of measurement: one file, one type of row, version 4; docs/reference/results.md."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, cast
from unicodedata import normalize

import msgspec
from blindmatch_protocol.codec.errors import BlindmatchError
from msgspec import Meta
from msgspec.structs import replace

from blindmatch_simulations.measure.machine import Machine, machine

FORMAT: Final = "blindmatch-results"
VERSION: Final = 4
"""Goes up when a reader of the earlier schema would misread or refuse a file."""

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


class ResultsError(BlindmatchError):
    """A results file is missing, truncated, edited or of another version."""


class Status(StrEnum):
    """How far a row's figures can be trusted."""

    MEASURED = "measured"
    DISTURBED = "disturbed"
    NOT_MEASURED = "not measured"
    FAILED = "failed"


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Strict and frozen."""


class Figure(Strict, frozen=True):
    """A number with its interval; `value` is None if it was not measured, and `why` says why then.

    Attributes:
        low, high: interval of a share or an estimate, of 95 % unless `why` names another level, or the lowest
            and highest of repeated timings.
        n: trials, pictures or repetitions behind it.
        pairs: pairs of a picture and an entry behind it, for false matches.
        resolution: of an advantage's upper bound: what guessing alone gives over as many runs.
        unit: of the value; a share is of 1.
    """

    value: float | None
    why: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    pairs: int | None = None
    resolution: float | None = None
    unit: str = ""


class Conditions(Strict, frozen=True):
    """Under what conditions a row was measured.

    Attributes:
        runs: how many there were.
        clean_runs: how many of them were undisturbed.
        u_us: median unit of the runs that count, CPU microseconds.
        u_moved: the most that u moved over one of them, as a share.
        load: the highest load around one of them.
    """

    runs: int
    clean_runs: int
    u_us: float
    u_moved: float
    load: float

    @property
    def disturbed(self) -> bool:
        """Are fewer than half of the runs undisturbed?"""
        return 2 * self.clean_runs < self.runs


class Row(Strict, frozen=True, kw_only=True, tag_field="kind", tag="row"):
    """What was measured of one thing.

    Attributes:
        id: unique in a file together with the parameters.
        what: words for people; may be empty.
        status: whether it was measured.
        parameters: what it was measured of and with.
        figures: by name; empty if nothing was measured.
        conditions: of the run; None if the yardstick was not read.
        why: why it was not measured or failed, or an explanation; may be empty.
        seconds: wall time that it took; None if nobody looked.
    """

    id: str
    what: str = ""
    status: Status = Status.MEASURED
    parameters: dict[str, int | float | str] = {}
    figures: dict[str, Figure] = {}
    conditions: Conditions | None = None
    why: str = ""
    seconds: float | None = None


R = TypeVar("R", bound=Row)


def _whole(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "integer"} for name in names}}


OPTIONS: Final = {
    "properties": {"pictures": _whole("listed", "unlisted"), "update": _whole("adds", "removes")}
}
"""Types of those options that a reader calculates with: an assessment's."""


class Results(Strict, Generic[R], frozen=True, kw_only=True):
    """A results file.

    Attributes:
        command: what was measured, as it would be typed.
        options: of the command; a workload as a whole.
        files: SHA-256 of the files beside it that rows stand on, by path.
        digest: SHA-256 of this file with an empty `digest`.
        options_measured, options_in_all: of the option catalogue, those that a row is of, as it is or by a
            design that is nearest to it; None where rows are of no option.
    """

    format: Literal["blindmatch-results"]
    version: Literal[4]
    made_at: str
    command: str
    machine: Machine
    options: Annotated[dict[str, Any], Meta(extra_json_schema=OPTIONS)]
    rows: tuple[R, ...]
    seed: int | None = None
    workload: str = ""
    files: dict[str, str] = {}
    digest: str = ""
    options_measured: int | None = None
    options_in_all: int | None = None


def results(kind: type[T], command: str, options: Mapping[str, Any], rows: Sequence[Row], **more: Any) -> T:
    """A results file of this moment and machine, with its digest, as it will be read again; `kind` is
    ``Results[...]`` of the rows' type, `more` are further fields."""
    made = Results(
        format=FORMAT,
        version=VERSION,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        machine=machine(),
        options=dict(options),
        rows=tuple(rows),
        **more,
    )
    again: Any = msgspec.json.decode(encode(made), type=kind)
    whole: Any = sealed(again)
    return cast(T, whole)


def significant(value: float) -> float:
    """A measured number to six significant digits; one that was counted as it is."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def short(value: float) -> str:
    """A number for people: three significant digits, or whole numbers where those are more."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shortest(value: float) -> str:
    """A number for narrow columns: three digits that count, with k, M, G or T for thousands."""
    power = 0
    while abs(value) >= 999.5 and power < 4:
        value = value / 1000
        power = power + 1
    return f"{value:.3g}{' kMGT'[power].strip()}"


def csv_of(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, None as an empty cell. A text that a spreadsheet takes for a formula gets an apostrophe
    in front of it (OWASP, "CSV Injection")."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([_cell(cell) for cell in row] for row in (head, *rows))
    return file.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    line = value.replace("\r", " ")  # which begins a row to some readers, and is not quoted
    # wide and small forms of these signs are folded into them, but for the minus sign
    begins = normalize("NFKC", line).lstrip()
    return f"'{line}" if begins.startswith(("=", "+", "-", "@", "\N{MINUS SIGN}")) else line


def encode(value: Any) -> bytes:
    """Indented JSON with a line end, in one form for one value."""
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n"


def sealed(made: S) -> S:
    """`made`, which has a field `digest`, with the digest of itself without one."""
    return replace(made, digest=sha256(encode(replace(made, digest=""))).hexdigest())


def read(path: Path, kind: type[T]) -> T:
    """The results in a file, of type ``Results[...]``, whole and as they were written; `ResultsError` if not;
    the text says what is wrong."""
    head = decoded(path, dict[str, Any])
    if head.get("format") != FORMAT:
        raise ResultsError(f"{path.name}: no {FORMAT} file")
    if head.get("version") != VERSION:
        found_version = str(head.get("version"))[:40]  # of a file that may hold anything
        raise ResultsError(f"{path.name}: version {found_version}; this program reads {VERSION}")
    found: Any = decoded(path, kind)
    if found != sealed(found):
        raise ResultsError(f"{path.name}: edited: its digest is not that of its content")
    if path.read_bytes() != encode(found):
        raise ResultsError(f"{path.name}: edited: not in the form in which it was written")
    return cast(T, found)


def decoded_or_none(path: Path, kind: type[T]) -> T | None:
    """What an interrupted program left, or None if it is not there whole."""
    try:
        return decoded(path, kind)
    except ResultsError:
        return None


def decoded(path: Path, kind: type[T]) -> T:
    """A JSON file as a value of `kind`; raises `ResultsError` if it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        last = Path(*path.parts[-2:])
        raise ResultsError(f"{last}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        by_schema = isinstance(error, msgspec.ValidationError)
        words = "not by its schema" if by_schema else "truncated or no JSON"
        raise ResultsError(f"{path.name}: {words}: {error}") from error
