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
    """A group of commands; each gets the options that its signature asks for (`with_options`)."""

    def command(self, name: str | None = None, **more: Any) -> Callable[[F], F]:
        """Register the decorated function as a command, as Typer does."""
        register = super().command(name, **more)

        def add(function: F) -> F:
            register(with_options(function))
            return function

        return add


def with_options(function: Callable[..., Any]) -> Callable[..., None]:
    """Return the command that Typer calls for `function`, with the options that its signature asks for.

    - One that returns `Found` gets ``--json``; what it found is shown, and its error or exit code follows.
    - One that yields `Found` gets the same, and goes on once all of it is shown and written.
    - One that takes a `deployment` gets ``--home`` in its place, and the deployment that is opened there.
    """
    declared = signature(function, eval_str=True)
    yields_found = declared.return_annotation == Iterator[Found]
    has_json = yields_found or declared.return_annotation is Found
    has_home = "deployment" in declared.parameters

    @wraps(function)
    def command(**given: Any) -> None:
        json_path: Path | None = given.pop("json_path") if has_json else None
        _PEOPLE.set(console_for(json_path))
        _JSON.set(json_path is not None)
        if has_home:
            # not needed to list the commands, and slow to import
            from blindmatch_simulations.testbed.deployment.folder import Deployment, home_from

            given["deployment"] = Deployment.open(home_from(given.pop("home")))
        running = contextmanager(function)(**given) if yields_found else nullcontext(function(**given))
        with running as found:
            if not has_json:
                return
            _show(found, json_path)
        if found.error is not None:
            raise found.error
        if found.code:
            raise typer.Exit(found.code)

    # Typer reads the options from here, not from the function that is wrapped
    parameters = [parameter for name, parameter in declared.parameters.items() if name != "deployment"]
    if has_home:
        parameters.append(_option("home", HomeOption))
    if has_json:
        parameters.append(_option("json_path", JsonOption))
    command.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _option(name: str, annotation: Any) -> Parameter:
    """Return the parameter of an option that may be left out."""
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


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
