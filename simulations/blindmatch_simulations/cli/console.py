"""What the command prints: tables and progress for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from blindmatch_simulations.measure.output_file import prepare_file, write_file

# names and paths may have what rich takes for an emoji: path.py:X: is one
OUT = Console(emoji=False)
ERR = Console(stderr=True, emoji=False)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The deployment's folder [default: $BLINDMATCH_HOME or ./blindmatch-home]."),
]


def writable(path: Path | None) -> Path | None:
    """Refuse a file that could not be written, before any work is done."""
    if path is None or str(path) == "-":
        return path
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"{path}: must be a file in a folder that exists")
    return path


def target(path: Path | None) -> Path | None:
    """Open a file that is written at the end, or refuse it before any work is done."""
    if writable(path) is None or str(path) == "-":
        return path
    assert path is not None
    try:
        prepare_file(path)
    except OSError as error:
        raise typer.BadParameter(f"{path}: cannot be written: {error.strerror}") from error
    return path


JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        callback=target,
        help="Also write the result as JSON to this file; - for standard output.",
    ),
]
DesignOption = Annotated[
    str, typer.Option("--design", help="A design's name (see: blindmatch design list) or path.py:NAME.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter, as NAME=VALUE; may be given again.")
]
DeployedDesignOption = Annotated[
    str | None,
    typer.Option(
        "--design",
        help="A design's name or path.py:NAME [default: that of the last `list build`, else oprf-psi].",
    ),
]


def write_json(result: Any, path: Path | None) -> None:
    """Write `result` to `path`, to standard output for ``-``, nowhere for None; if it cannot be written, to
    standard output, so that it is not lost, and raises `OSError`."""
    if path is None:
        return
    if isinstance(result, dict | list):
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    else:
        from blindmatch_simulations.measure.results import encode

        text = encode(result).decode()
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        write_file(path, text.encode())
    except OSError:
        sys.stdout.write(text)
        raise


def say(line: str | Text, console: Console = OUT) -> None:
    """A line as it is, since it may quote other parties; the terminal alone breaks it."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def several(count: int, one: str, many: str = "") -> str:
    """A count with its noun; `many` where that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def complain(line: str) -> None:
    """What is wrong, in red on standard error."""
    ERR.print(line, style="red", soft_wrap=True, markup=False, highlight=False)


def console_for(json_path: Path | None) -> Console:
    """Where tables go: standard output, or standard error if JSON goes there."""
    return ERR if json_path is not None and str(json_path) == "-" else OUT


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], whole: Sequence[str] = ()
) -> Table:
    """A table; numbers are set to the right, and the lines of columns in `whole` are not broken.

    Cells are shown as they are: some quote other parties.
    """
    made = Table(title=escape(title), title_justify="left", title_style="bold")
    for at, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        made.add_column(Text(name), justify=justify, overflow="fold", no_wrap=name in whole)
    for row in rows:
        made.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    return made


def parts(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], at: int) -> Iterator[Table]:
    """A table that would be too wide, as two with the first column each: up to column `at`, and from it."""
    for part in (slice(1, at), slice(at, None)):
        cells = [(row[0], *row[part]) for row in rows]
        yield table(title, (columns[0], *columns[part]), cells, whole=columns[:1])


TIME = "_at_ms"
"""What keys of milliseconds since 1970 end with; people read a time."""


def details(title: str, pairs: Mapping[str, object]) -> Table:
    """A table of two columns without a head."""
    made = Table(title=escape(title), title_justify="left", title_style="bold", show_header=False)
    made.add_column(overflow="fold")
    made.add_column(overflow="fold")
    for key, value in pairs.items():
        made.add_row(Text(key.removesuffix(TIME).replace("_", " ")), Text(_shown(key, value)))
    return made


def moment(at_ms: int) -> str:
    """A time to the second, in UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def day(at_ms: int) -> str:
    return moment(at_ms)[:10]


def cell_of(key: str, value: object) -> object:
    """What a table shows of a value; numbers stay numbers, which are set to the right."""
    counted = isinstance(value, int | float) and not isinstance(value, bool) and not key.endswith(TIME)
    return value if counted else _shown(key, value)


def _shown(key: str, value: object) -> str:
    if value is None or value in ({}, [], (), "") or (key.endswith(TIME) and value == 0):
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and key.endswith(TIME):
        return moment(value)
    if isinstance(value, int) and not key.endswith("_id"):
        return f"{value:,}"
    return str(value)


def values_of(pairs: Sequence[str] | None) -> dict[str, int]:
    """Parameters of a design by name, from ``NAME=VALUE`` each."""
    found: dict[str, int] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not (equals and value.isascii() and value.isdecimal() and len(value) < 20):
            raise typer.BadParameter(f"--set: {pair[:80]!r} is not NAME=VALUE with a whole number")
        if name in found:
            raise typer.BadParameter(f"--set: {name!r} is given twice")
        found[name] = int(value)
    return found
