"""`blindmatch demo`: the main job."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_client.settings import Consequence, CoverSchedule
from blindmatch_protocol.messages.cover import SLOT_SIZES
from blindmatch_protocol.messages.franking_mode import DEFAULT_MODE
from rich.console import Console

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import (
    DesignOption,
    FrankingOption,
    JsonOption,
    console_for,
    phases,
    write_json,
)
from blindmatch_simulations.cli.demo_tables import demo_result, demo_tables
from blindmatch_simulations.cli.pictures import PicturesOption, chosen, show_own
from blindmatch_simulations.measure.phases import PhaseProgress
from blindmatch_simulations.testbed.demo.checks import failures, not_audited, not_compared, unasked
from blindmatch_simulations.testbed.demo.run import WITNESSES, DemoRun, play_demo
from blindmatch_simulations.testbed.deployment.devices import Options
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.pictures.crops import SamplePicture
from blindmatch_simulations.testbed.pictures.workload import LISTED, UNLISTED, demo_workload

RIGHT: Final = {
    Consequence.REPORT: "all messages arrived, every match and nothing else was reported",
    Consequence.WARN: "all messages arrived, nothing was reported",
    Consequence.REFUSE: "all messages but those with a match were sent and arrived; nothing was reported",
}

SetSizeOption = Annotated[int, typer.Option(min=1, max=20_000_000, help="Random hashes on the list.")]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Keep the deployment in this new folder [default: a temporary one]."),
]
CoverPeriodOption = Annotated[
    int,
    typer.Option(min=0, help="Seconds between the slots in which reports leave, with cover; 0: at once."),
]
ConsequenceOption = Annotated[Consequence, typer.Option(help="What follows on the devices from a match.")]
RecordOption = Annotated[
    Path | None, typer.Option(help="Write a recording of the run to this new file (docs/results.md).")
]
EndorsementOption = Annotated[
    bool,
    typer.Option("--endorsement/--no-endorsement", help="Entries need two of three organisations, or none."),
]
LogOption = Annotated[
    bool, typer.Option("--log/--no-log", help="Epochs are logged, and two witnesses cosign, or none.")
]


def run_demo(
    set_size: SetSizeOption = 20_000,
    design: DesignOption = "token-psi",
    home: HomeOption = None,
    cover_period: CoverPeriodOption = 0,
    consequence: ConsequenceOption = Consequence.REPORT,
    record: RecordOption = None,
    endorsement: EndorsementOption = True,
    pictures: PicturesOption = None,
    franking: FrankingOption = DEFAULT_MODE,
    log: LogOption = True,
    json_path: JsonOption = None,
) -> None:
    """Run the main job: a list is published, Alice sends Bob pictures, matches and only those are reported.

    Log, witnesses, relay, matcher and centre run as processes of their own on loopback with mutual TLS. At
    the end what left the devices is audited. Exit code 0 only if the result is right. Your own pictures are
    compared with no others: bundled ones are audited beside them; exit code 8 if these cannot be compared.
    """
    if pictures is not None and (home is not None or record is not None):
        raise typer.BadParameter("--pictures: --home and --record would keep copies of them")
    cover = CoverSchedule(cover_period, SLOT_SIZES[-1]) if cover_period else None
    console = console_for(json_path)
    load_design(design)  # an unknown one is refused before any work is shown
    options = Options(cover=cover, consequence=consequence)
    with _folder(home) as folder, phases(console) as begin:
        own = () if pictures is None else _own(pictures, begin, console)
        workload = demo_workload(own) if own else None
        witnesses = WITNESSES if log else 0
        run = play_demo(
            folder, design, set_size, begin, options, record, endorsement, workload, franking, witnesses
        )
    write_json(demo_result(run), json_path)
    _show(run, console)
    _show_not_compared(run, {one.name: Path(one.source).name for one in own}, console)


def _own(pictures: Path, begin: PhaseProgress, console: Console) -> Sequence[SamplePicture]:
    """Twelve listed and sixteen other pictures of the user's own."""
    found = chosen(pictures, LISTED + UNLISTED, LISTED + UNLISTED, 1, begin)
    show_own(console, found)
    return found.pictures


def _show(run: DemoRun, console: Console) -> None:
    """The tables, and what is wrong; exit code 1 if something is."""
    for made in demo_tables(run):
        console.print(made)
    wrong = failures(run)
    told = [f"alice was told: {notice}" for notice in unasked(run)]
    for line in (*(f"wrong: {words}" for words in wrong), *told):
        console.print(line, style="red", markup=False, soft_wrap=True)
    for name, audit in run.audits.items():
        for finding in audit.findings[:10]:
            console.print(f"audit of {name}: {finding}", style="red", markup=False, soft_wrap=True)
    if wrong:
        raise typer.Exit(exit_codes.WRONG)
    console.print(f"right: {RIGHT[run.consequence]}", style="green")


def _show_not_compared(run: DemoRun, files: Mapping[str, str], console: Console) -> None:
    """Where own pictures were sent: which of them were compared with no other; exit code 8 if the design
    could not be audited on bundled ones either."""
    names = [files.get(name, name) for name in not_compared(run)]
    if run.bundled is None or not names:
        return
    words = f"{len(names)} pictures were compared with no other one: {', '.join(names)}"
    console.print(f"not audited: {words}", markup=False, soft_wrap=True, style="yellow")
    if not_audited(run):
        reasons = ", ".join(dict.fromkeys(one.reason for one in run.bundled.comparisons if one.reason))
        console.print(f"not audited: nor was the design on bundled pictures: {reasons}", style="yellow")
        raise typer.Exit(exit_codes.NOT_AUDITED)
    words = f"{run.bundled.pictures} bundled pictures were audited instead: no undeclared byte"
    console.print(words, style="green")


@contextmanager
def _folder(home: Path | None) -> Iterator[Path]:
    if home is not None:
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="blindmatch-") as temporary:
        yield Path(temporary)
