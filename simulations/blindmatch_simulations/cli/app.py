"""Puts the commands together and turns errors into one line and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Annotated

import typer
from blindmatch_protocol.errors import BlindmatchError

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import ERR

EPILOG = """
A first result: blindmatch demo. By hand, in three terminals: see the README.
Exit codes: 0 right, 1 wrong result, 2 usage, 3 port taken, 4 bad file or state, 5 drain timed out,
6 input refused, 7 another party unreachable or refusing.
"""

HELP = """
Can a device in an end-to-end encrypted messenger find out, privately, that a picture is on a list of known
material, so that only confirmed matches leave it? Runs, measures and audits designs that claim so. For
evaluation only: benign pictures, no real list.
"""

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("demo", "run_demo"),
    "assess": ("assess", "run_assess"),
    "corpus": ("assess", "run_corpus"),
    "report": ("report", "run_report"),
    "conformance": ("conformance", "run_conformance"),
    "doctor": ("doctor", "run_doctor"),
    "designs": ("designs", "show_designs"),
    "samples": ("samples", "write_samples"),
    "certs": ("certs", "app"),
    "list": ("lists", "app"),
    "serve": ("serve", "app"),
    "device": ("device", "app"),
    "centre": ("centre", "app"),
    "bench": ("benches", "app"),
    "design": ("near", "app"),
}
"""Module and name in it of each command, or group of commands. A server needs nothing of an assessment: a
module is loaded when its command is called, and all of them only for the list of commands."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line, with the command that `arguments` begin with, or with all of them."""
    app = typer.Typer(
        name="blindmatch",
        help=HELP,
        epilog=EPILOG,
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    called = arguments[0] if arguments else ""
    for name in [called] if called in COMMANDS else COMMANDS:
        module, attribute = COMMANDS[name]
        command = getattr(import_module(f"blindmatch_simulations.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """What stands before a command."""
    if version:
        typer.echo(f"blindmatch {installed_version('blindmatch')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def main() -> None:
    """Run the command; never returns."""
    # as Ctrl-C does, so that servers a command has started end with it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with `arguments`; its exit code."""
    try:
        app_for(arguments)(arguments)
    except SystemExit as leave:
        if leave.code == exit_codes.INTERRUPTED:
            ERR.print("interrupted", style="yellow")
        return leave.code if isinstance(leave.code, int) else exit_codes.OK
    except BlindmatchError as error:
        _complain(str(error))
        return exit_codes.code_of(error)
    except OSError as error:
        _complain(f"{error.filename or 'system'}: {error.strerror or error}")
        return exit_codes.BAD_STATE
    return exit_codes.OK


def _complain(words: str) -> None:
    """One line on standard error, whatever an error's text is made of."""
    line = "error: " + " ".join(words.split())
    ERR.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
