"""Puts the commands together and turns errors into one line and an exit code."""

from __future__ import annotations

import signal
import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer
from blindmatch_protocol.errors import BlindmatchError

from blindmatch_simulations.cli import (
    assess,
    bench,
    centre,
    certs,
    conformance,
    demo,
    designs,
    device,
    doctor,
    exit_codes,
    lists,
    near,
    report,
    samples,
    serve,
)
from blindmatch_simulations.cli.console import ERR

EPILOG = """
A first result: blindmatch demo. By hand, in three terminals: see the README.
Exit codes: 0 right, 1 wrong result, 2 usage, 3 port taken, 4 bad file or state, 5 drain timed out,
6 input refused, 7 another party unreachable or refusing.
"""

app = typer.Typer(
    name="blindmatch",
    help=(
        "Can a device in an end-to-end encrypted messenger find out, privately, that a picture is on a list "
        "of known material, so that only confirmed matches leave it? Runs, measures and audits designs that "
        "claim so. For evaluation only: benign pictures, no real list."
    ),
    epilog=EPILOG,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(certs.app, name="certs")
app.add_typer(lists.app, name="list")
app.add_typer(serve.app, name="serve")
app.add_typer(device.app, name="device")
app.add_typer(centre.app, name="centre")
app.add_typer(bench.app, name="bench")
app.add_typer(near.app, name="design")
bench.app.command("near")(near.bench_near)
app.command("demo")(demo.run_demo)
app.command("assess")(assess.run_assess)
app.command("corpus")(assess.run_corpus)
app.command("report")(report.run_report)
app.command("conformance")(conformance.run_conformance)
app.command("doctor")(doctor.run_doctor)
app.command("designs")(designs.show_designs)
app.command("samples")(samples.write_samples)


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
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
        app(arguments)
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
