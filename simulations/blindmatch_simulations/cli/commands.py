"""What commands have in common: `--home` opens a deployment, `--json` takes the result, people see tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar

import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from blindmatch_simulations.cli.console import (
    OUT,
    HomeOption,
    JsonOption,
    cell_of,
    complain,
    console_for,
    details,
    say,
    table,
    write_json,
)

F = TypeVar("F", bound=Callable[..., Any])
_PEOPLE: ContextVar[Console] = ContextVar("people", default=OUT)
_JSON: ContextVar[bool] = ContextVar("json", default=False)


class Found(Struct, frozen=True):
    """What a command found.

    Attributes:
        result: for programs, as JSON.
        code: the exit code.
        error: what broke it off, raised once all this is shown.
        complaint: what went wrong, in one line on standard error.
    """

    result: Any
    shown: Sequence[Table | Text | str] = ()
    code: int = 0
    error: BaseException | None = None
    complaint: str = ""


def found(
    title: str, result: dict[str, Any], shown: dict[str, Any] | None = None, *lines: str, code: int = 0
) -> Found:
    """One thing, as a table of two columns; `shown` is what people read of it, if that is not all."""
    return Found(result, (details(title, result if shown is None else shown), *lines), code)


def listed(
    title: str, columns: Mapping[str, str], result: Sequence[Mapping[str, Any]], *lines: str, code: int = 0
) -> Found:
    """Several things of one kind, as a table: `columns` are keys of each, with their headings."""
    rows = [tuple(cell_of(key, one[key]) for key in columns) for one in result]
    return Found(list(result), (table(title, tuple(columns.values()), rows), *lines), code)


def people() -> Console:
    """Where this command's bars go: standard error, if its JSON goes to standard output."""
    return _PEOPLE.get()


def asks_for_json() -> bool:
    """Is this command's result also written as JSON, at its end?"""
    return _JSON.get()


class Commands(typer.Typer):
    """A group of commands.

    A command that returns `Found` has the option `--json`; one that takes a `deployment` has `--home`. One
    that yields it goes on once all of it is shown, and written out of this process.
    """

    def command(self, name: str | None = None, **more: Any) -> Callable[[F], F]:
        register = super().command(name, **more)

        def add(function: F) -> F:
            register(_with_options(function))
            return function

        return add


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    declared = signature(function, eval_str=True)
    takes = dict(declared.parameters)
    opens, shows_then_goes_on = takes.pop("deployment", None), declared.return_annotation == Iterator[Found]
    answers = shows_then_goes_on or declared.return_annotation is Found
    added: dict[str, Any] = {"home": HomeOption} if opens else {}
    added |= {"json_path": JsonOption} if answers else {}

    @wraps(function)
    def command(**given: Any) -> None:
        json_path: Path | None = given.pop("json_path") if answers else None
        _PEOPLE.set(console_for(json_path))
        _JSON.set(json_path is not None)
        if opens:
            # not needed to list the commands, and slow to import
            from blindmatch_simulations.testbed.deployment.folder import Deployment, home_from

            given["deployment"] = Deployment.open(home_from(given.pop("home")))
        running = contextmanager(function)(**given) if shows_then_goes_on else nullcontext(function(**given))
        with running as made:
            if not answers:
                return
            _show(made, json_path)
        if made.error is not None:
            raise made.error
        if made.code:
            raise typer.Exit(made.code)

    kind = Parameter.KEYWORD_ONLY
    takes |= {name: Parameter(name, kind, default=None, annotation=one) for name, one in added.items()}
    command.__signature__ = declared.replace(parameters=list(takes.values()))  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in takes.values()}
    return command


def _show(made: Found, json_path: Path | None) -> None:
    for one in made.shown:
        if isinstance(one, Table):
            people().print(one)
        else:
            say(one, people())
    write_json(made.result, json_path)
    # what standard output still holds would be lost with this process
    sys.stdout.flush()
    if made.complaint:
        complain(made.complaint)
