"""What the help of each command ends with: an example, what it needs, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import typer
from msgspec import Struct

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
