"""`blindmatch assess` and `blindmatch corpus`: every design on the same work, and the pictures there are."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.contract import Progress

from blindmatch_simulations.assess import corpus as pictures
from blindmatch_simulations.assess import store
from blindmatch_simulations.assess.judging import NOTHING
from blindmatch_simulations.assess.plan import FULL, QUICK, STANDARD, plan_text
from blindmatch_simulations.assess.results import Design, Figure, Results
from blindmatch_simulations.assess.running import Assessment
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import OUT, bars, console_for, table, write_json
from blindmatch_simulations.report import draw_report

COLUMNS = (
    "design",
    "recall",
    "false matches",
    "device CPU ms",
    "query bytes",
    "set-up bytes",
    "undeclared bytes",
    "checks failed",
)
SHOWN = (
    "recall",
    "false_matches",
    "device_cpu_ms",
    "query_up_bytes",
    "setup_bytes",
    "undeclared_bytes",
    "checks_failed",
)
NOT_MEASURED = "not measured"


def run_assess(
    out: Annotated[
        Path | None, typer.Option("--out", help="The results folder; an interrupted run goes on.")
    ] = None,
    designs: Annotated[
        str, typer.Option("--designs", help="Names or path.py:NAME, separated by commas [default: all].")
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="A smaller workload: minutes, wide intervals.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="2^20 entries: tens of minutes, 2 GiB of disk below --out.")
    ] = False,
    workload: Annotated[
        Path | None, typer.Option("--workload", help="A workload file of your own (TOML).")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Only check this results file or folder.")
    ] = None,
) -> None:
    """Measure every design on the same work, over real gRPC in processes of their own, and draw the report.

    A design that crashes, hangs, eats memory or lies spoils its own row alone. Exit code 1 if a row failed.
    """
    if check is not None:
        results = store.check(check)
        OUT.print(f"whole and unchanged: {len(results.designs)} designs, made at {results.made_at}")
        return
    if out is None:
        raise typer.BadParameter("--out: name a folder for the result, or a result with --check")
    if quick + full + (workload is not None) > 1:
        raise typer.BadParameter("--quick, --full, --workload: each chooses the workload; name one")
    references = [name.strip() for name in designs.split(",") if name.strip()]
    with bars(OUT) as shown:

        def stage(title: str) -> Progress:
            task = shown.add_task(title, total=None)
            return lambda done, total: shown.update(task, completed=done, total=total or None)

        command = _command(quick, full, workload)
        text = plan_text(workload, QUICK if quick else FULL if full else STANDARD)
        results = Assessment(out, text, references, command, stage).run()
    OUT.print(table(f"{results.workload} workload, seed {results.seed}", COLUMNS, _rows(results)))
    for one in results.designs:
        if one.failed is not None:
            OUT.print(f"{one.failed.name} failed: {one.failed.reason}", highlight=False)
    for path in draw_report(out, results):
        OUT.print(f"written: {path}", soft_wrap=True, highlight=False)
    if any(one.failed for one in results.designs):
        raise typer.Exit(exit_codes.WRONG)


def run_corpus(
    out: Annotated[Path | None, typer.Option("--out", help="Write the manifest here; - for output.")] = None,
    most: Annotated[int | None, typer.Option("--most", min=1, help="Pictures of each package.")] = None,
) -> None:
    """List the pictures that installed packages bring along, with hash and licence; none is copied."""
    console = console_for(out)
    with bars(console) as shown:
        task = shown.add_task("pictures hashed", total=None)
        found = pictures.hashed(
            pictures.installed(most), lambda done, total: shown.update(task, completed=done, total=total)
        )
    groups: dict[tuple[str, str], list[str]] = {}
    for one in found:
        groups.setdefault((one.found.package, one.found.kind), []).append(one.found.licence)
    rows = [(p, kind, len(each), "; ".join(dict.fromkeys(each))) for (p, kind), each in groups.items()]
    console.print(table("pictures of installed packages", ("package", "kind", "pictures", "licence"), rows))
    manifest: dict[str, Any] = {"corpus": 1, "pictures": [one.row() for one in found]}
    write_json(manifest, out)


def _command(quick: bool, full: bool, workload: Path | None) -> str:
    """The command with its workload, without folders of this machine."""
    words = ["blindmatch", "assess"]
    words += ["--quick"] if quick else ["--full"] if full else []
    words += ["--workload", workload.name] if workload else []
    return shlex.join(words)


def _rows(results: Results) -> list[tuple[object, ...]]:
    return [_row(one) for one in results.designs]


def _row(one: Design) -> tuple[object, ...]:
    if one.failed is not None:
        return (one.failed.name, "failed", *[""] * (len(COLUMNS) - 2))
    assert one.measured is not None
    return (one.measured.design.name, *(_cell(one.measured.figures[name]) for name in SHOWN))


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return NOTHING if figure.why.startswith(NOTHING) else NOT_MEASURED
    if figure.low is not None and figure.high is not None and figure.pairs is not None:
        return f"{figure.value:.3g} (at most {figure.high:.3g})"
    return f"{figure.value:,.4g}" if figure.value < 1e4 else f"{figure.value:,.0f}"
