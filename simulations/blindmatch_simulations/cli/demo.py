"""`blindmatch demo`: the main job."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from blindmatch_client.cover import CoverSchedule
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.cover import SLOT_SIZES

from blindmatch_simulations.cli import demo_tables as demo_report
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import DesignOption, JsonOption, bars, console_for, write_json
from blindmatch_simulations.demo import checks as demo_checks
from blindmatch_simulations.demo import run as demo
from blindmatch_simulations.deployment.registry import load_design


def run_demo(
    set_size: Annotated[int, typer.Option(min=1, max=20_000_000, help="Random hashes on the list.")] = 20_000,
    design: DesignOption = "oprf-psi",
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Keep the deployment in this new folder [default: a temporary one]."),
    ] = None,
    cover_period: Annotated[
        int,
        typer.Option(min=0, help="Seconds between the slots in which reports leave, with cover; 0: at once."),
    ] = 0,
    json_path: JsonOption = None,
) -> None:
    """Run the main job: a list is published, Alice sends Bob pictures, matches and only those are reported.

    Relay, matcher and centre run as processes of their own on loopback with mutual TLS. At the end what
    left the devices is audited. Exit code 0 only if the result is right.
    """
    cover = CoverSchedule(cover_period, SLOT_SIZES[-1]) if cover_period else None
    console = console_for(json_path)
    load_design(design)  # an unknown one is refused before any work is shown
    with _folder(home) as folder, bars(console) as shown:

        def stage(title: str) -> Progress:
            task = shown.add_task(title, total=None)
            return lambda done, total: shown.update(task, completed=done, total=total)

        run = demo.run(folder, design, set_size, stage, cover)
    for made in demo_report.tables(run):
        console.print(made)
    write_json(demo_report.result(run), json_path)
    wrong = demo_checks.failures(run)
    told = [f"alice was told: {notice}" for notice in demo_checks.unasked(run)]
    for line in (*(f"wrong: {words}" for words in wrong), *told):
        console.print(line, style="red", markup=False, soft_wrap=True)
    for name, audit in run.audits.items():
        for finding in audit.findings[:10]:
            console.print(f"audit of {name}: {finding}", style="red", markup=False, soft_wrap=True)
    if wrong:
        raise typer.Exit(exit_codes.WRONG)
    console.print("right: all messages arrived, every match and nothing else was reported", style="green")


@contextmanager
def _folder(home: Path | None) -> Iterator[Path]:
    if home is not None:
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="blindmatch-") as temporary:
        yield Path(temporary)
