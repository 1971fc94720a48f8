"""Puts the commands together, with an example each, and turns errors into one line and an exit code."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

import typer
from msgspec import Struct

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands
from blindmatch_simulations.cli.console import ERR, complain
from blindmatch_simulations.cli.interrupts import repeated_interrupts
from blindmatch_simulations.data import table_of

BENCH: Final = "bench "


class HelpExample(Struct, frozen=True):
    """`example` follows ``blindmatch``; `needs` and `writes` are half sentences."""

    example: str
    needs: str
    writes: str

    def epilog(self) -> str:
        """Markdown for the end of the help, one item each."""
        items = (f"Example: `blindmatch {self.example}`", f"Needs: {self.needs}", f"Writes: {self.writes}")
        return "\n\n".join(f"- {item}" for item in items)


@cache
def help_examples() -> Mapping[str, HelpExample]:
    """All examples, by the words of the command; most of ``bench`` are made by `help_example_of`."""
    return {words: HelpExample(**fields) for words, fields in table_of("help_examples").items()}


def help_example_of(words: str) -> HelpExample | None:
    """The example of the command called by `words`; those of ``bench`` are alike; None for a group."""
    if words.startswith(BENCH) and words not in help_examples():
        return HelpExample(
            f"{words} --json rows.json", "a machine that does nothing else", "the file of --json, if any"
        )
    return help_examples().get(words)


def add_help_examples(app: typer.Typer, words: str) -> None:
    """Let the help of every command below the group `words` end with its example."""
    for command in app.registered_commands:
        example = help_example_of(f"{words} {command.name}")
        command.epilog = example.epilog() if example else command.epilog
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_help_examples(group.typer_instance, f"{words} {group.name}")


EPILOG = """
A first result: blindmatch demo. By hand, in three terminals: docs/tutorials/by-hand.md.
Exit codes: 0 right, 1 wrong result, 2 usage, 3 port taken, 4 bad file or state, 5 drain timed out,
6 input refused, 7 another party unreachable or refusing, or a message not delivered, 130 interrupted.
"""

HELP = """
Can a device in an end-to-end encrypted messenger find out, privately, that a picture is on a list of known
material, so that only confirmed matches leave it? Runs, measures and audits designs that claim so. For
evaluation only: benign pictures, no real list.
"""


DISTRIBUTIONS: Final = {
    "PIL": "pillow",
    "google": "protobuf",
    "grpc": "grpcio",
    "nacl": "pynacl",
    "skimage": "scikit-image",
}
"""Names to install packages by, where they are not those to import them by."""


Backend: TypeAlias = Literal["auto", "libsodium", "jit"]
"""Values of `blindmatch_protocol.group.Setting`, which takes long to import."""


class Command(NamedTuple):
    """Where a command, or a group of commands, is defined; its line and heading in the list of commands."""

    module: str
    says: str
    attribute: str = "app"
    heading: str = ""


COMMANDS: Final = {name: Command(**fields) for name, fields in table_of("commands").items()}
"""A module is loaded when its command is called: a server needs nothing of an assessment, and the list of
commands needs none."""

LEFT_OUT: Final = dict.fromkeys(((name, "--ray") for name in ("corpus", "assess")), "local")
"""Options whose value may be left out, and what it is then; Typer has none."""


def with_values(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the values that may be left out."""
    made = []
    for word, after in zip(arguments, [*arguments, "-"][1:], strict=True):
        made.append(word)
        usual = LEFT_OUT.get((arguments[0], word))
        if usual is not None and after.startswith("-"):
            made.append(usual)
    return made


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line with the command that `arguments` begin with, or with the list of all, to be shown."""
    app = Commands(
        name="blindmatch",
        help=HELP,
        epilog=EPILOG,
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    called = next((word for word in arguments if word in COMMANDS), "")
    if list(arguments[:2]) == ["report", "verify"]:
        _add(app, called, Command("proof", "Look at the report of a match.", "report_app"))
    elif called:
        _add(app, called, COMMANDS[called])
    else:
        for name, command in COMMANDS.items():
            app.command(name, help=command.says, rich_help_panel=command.heading)(_listed)
    return app


def _add(app: typer.Typer, name: str, of: Command) -> None:
    command = getattr(import_module(f"blindmatch_simulations.cli.{of.module}"), of.attribute)
    if isinstance(command, typer.Typer):
        add_help_examples(command, name)
        app.add_typer(command, name=name, help=of.says)
    else:
        example = help_example_of(name)
        app.command(name, epilog=example.epilog() if example else None)(command)


def _listed() -> None:
    """Stands for a command in the list of all; it is never called, for a call loads the command itself."""
    raise AssertionError("a command was called that was only listed")


def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    group_backend: Annotated[
        Backend | None,
        typer.Option(
            help="What computes batches of the group: libsodium; jit, compiled for this processor's vectors "
            "(make fast, docs/explanation/group.md); auto, jit for large builds and libsodium for the rest. "
            "Or set BLINDMATCH_GROUP_BACKEND.  [default: auto]",
        ),
    ] = None,
) -> None:
    """What stands before a command."""
    if version:
        typer.echo(f"blindmatch {installed_version('blindmatch')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
    # not needed to list the commands, and slow to import
    from blindmatch_simulations.measure.machine import choose_group_backend

    choose_group_backend(group_backend)


BOUNDS: Final = "blindmatch_simulations.testbed.inprocess.plugin_bounds"
"""Slow to import, and of no use where no design was loaded."""


def main() -> None:
    """Run the command; never returns."""
    # both end a command with the servers it has started, also one that was started with SIGINT ignored
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    with repeated_interrupts() as is_interrupted:
        try:
            code = run(sys.argv[1:])
        except BaseException as error:
            if not _is_stopped_call(error):
                raise
            _tell_crash(error)
            code = exit_codes.WRONG
        if is_interrupted() and code != exit_codes.INTERRUPTED:
            ERR.print("interrupted", style="yellow")
            code = exit_codes.INTERRUPTED
    bounds = sys.modules.get(BOUNDS)
    if bounds is not None:  # slow to import, and of no use where no design was loaded
        bounds.end_abandoned(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command with `arguments`; its exit code."""
    try:
        app_for(arguments)(with_values(arguments))
    except SystemExit as leave:
        if "blindmatch_simulations.testbed.inprocess.crashes" in sys.modules:
            from blindmatch_simulations.testbed.inprocess.crashes import is_of_plugin

            if is_of_plugin(leave):
                _tell_crash(leave)
                return exit_codes.WRONG
        if leave.code == exit_codes.INTERRUPTED:
            ERR.print("interrupted", style="yellow")
        return leave.code if isinstance(leave.code, int) else exit_codes.OK
    except KeyboardInterrupt:
        ERR.print("interrupted", style="yellow")
        return exit_codes.INTERRUPTED
    except Exception as error:
        found = _explain(error)
        if found is None:
            # not needed to list the commands, and slow to import
            from blindmatch_simulations.testbed.inprocess.crashes import is_of_plugin

            if not is_of_plugin(error):
                raise
            _tell_crash(error)
            return exit_codes.WRONG
        complain("error: " + " ".join(found[0].split()))  # one line, whatever the text is made of
        return found[1]
    return exit_codes.OK


def _is_stopped_call(error: BaseException) -> bool:
    """Was a call of a plug-in stopped, where no step of a design was called?"""
    bounds = sys.modules.get(BOUNDS)
    return bounds is not None and isinstance(error, bounds.CallStop)


def _tell_crash(error: BaseException) -> None:
    """Say where a design that was loaded from a file crashed, by its own frames alone."""
    from blindmatch_simulations.testbed.inprocess.crashes import crash_of

    crash = crash_of(error)
    complain(f"error: {crash.words}")
    for frame in crash.trace:
        complain(f"  at {frame}")


def _explain(error: Exception) -> tuple[str, int] | None:
    """What is said of an error, and the exit code; None for a fault that nobody foresaw."""
    # not needed to list the commands, and slow to import
    from blindmatch_protocol.codec.errors import BlindmatchError

    match error:
        case BlindmatchError():
            return str(error), exit_codes.code_of(error)
        case ModuleNotFoundError():
            name = (error.name or "").partition(".")[0]
            words = f"not installed: {name}; pip install {DISTRIBUTIONS.get(name, name)}"
            return None if not name or name.startswith("blindmatch") else (words, exit_codes.BAD_STATE)
        case ImportError(name="rbcl"):  # sodium.CARRIER, which cannot be imported now
            return str(error), exit_codes.BAD_STATE
        case OSError():
            where = error.filename2 or error.filename or "system"
            return f"{where}: {error.strerror or error}", exit_codes.BAD_STATE
    return None
