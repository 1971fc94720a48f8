"""`blindmatch record` and `blindmatch follow`: runs to be watched, and the page that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import to_builtins

from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import OUT, DesignOption, target
from blindmatch_simulations.evaluation.attacks.followed import EDIT, STAGINGS, record
from blindmatch_simulations.measure.output_file import write_file
from blindmatch_simulations.report.follow import followed
from blindmatch_simulations.report.page import follow_page
from blindmatch_simulations.testbed.pictures.crops import BY_NAME
from blindmatch_simulations.testbed.scenario.recording import read_recording


def run_record(
    file: Annotated[Path, typer.Argument(help="A new file for the recording.")],
    design: DesignOption = "oprf-psi",
    attack: Annotated[
        str, typer.Option("--attack", help=f"What is attacked: {', '.join(STAGINGS)}.")
    ] = "nobody",
    edit: Annotated[str, typer.Option("--edit", help="The standard edit that the copy went through.")] = EDIT,
) -> None:
    """Record a run to follow: one picture as it is, edited, and another one; honest, or under an attack.

    Servers run on loopback, in this process. The recording holds keys and randomness: it is for you alone.
    """
    if attack not in STAGINGS or edit not in BY_NAME:
        raise typer.BadParameter(
            f"--attack: one of {', '.join(STAGINGS)}; --edit: one of {', '.join(BY_NAME)}"
        )
    record(file, design, attack, edit)
    OUT.print(f"written: {file}", soft_wrap=True, highlight=False)


def run_follow(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings (blindmatch record).")],
    out: Annotated[Path, typer.Option("--out", callback=target, help="Where the page is written.")] = Path(
        "follow.html"
    ),
) -> Found:
    """Write one page that follows a picture through recordings: what reaches each party, step by step.

    It needs nothing else, and holds no keys, sessions or randomness; nor does --json, which has the same
    steps. Only pictures near a bundled one are shown.
    """
    if out.resolve() in [path.resolve() for path in recordings]:
        raise typer.BadParameter(f"--out: {out} is a recording")
    found = [followed(read_recording(path)) for path in recordings]
    write_file(out, follow_page(found).encode())
    return Found(to_builtins(found), (f"written: {out}",))
