"""`blindmatch assess`, `report` and `results`: every design on the same work, drawn and as one table."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from blindmatch_server.hosting.workers import TaskError, WorkerError, cores
from msgspec import to_builtins
from msgspec.json import decode, encode
from msgspec.structs import replace

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Commands, Found, people
from blindmatch_simulations.cli.console import (
    ERR,
    OUT,
    JsonOption,
    parts,
    say,
    table,
    target,
    write_json,
)
from blindmatch_simulations.cli.corpus import RayOption, cache_home
from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.assess.figures import FIGURES
from blindmatch_simulations.evaluation.assess.judging import DISTURBED, NOTHING, told
from blindmatch_simulations.evaluation.assess.observed import COMMITTED, described
from blindmatch_simulations.evaluation.assess.plan import (
    FULL,
    QUICK,
    STANDARD,
    AssessError,
    Plan,
    Sweep,
    plan_text,
    read_plan,
)
from blindmatch_simulations.evaluation.assess.results import (
    RESULTS,
    Design,
    Measured,
    Results,
    Studied,
    as_csv,
    check_folder,
    rows_of,
    write_whole,
)
from blindmatch_simulations.evaluation.assess.running import Assessment, measured_there
from blindmatch_simulations.evaluation.assess.subjects import STUDIES, Point, points
from blindmatch_simulations.evaluation.studies.evidence import FILE, committed_results
from blindmatch_simulations.evaluation.studies.evidence import committed as committed_evidence
from blindmatch_simulations.measure.cluster import completed, room
from blindmatch_simulations.measure.output_file import write_file
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.measure.results import Figure, short
from blindmatch_simulations.report import (
    draw_briefing,
    draw_findings,
    draw_report,
    print_page,
    view_of,
    write_sheet,
)
from blindmatch_simulations.report.page import failed
from blindmatch_simulations.testbed.deployment.registry import built_in_designs, is_path, not_installed
from blindmatch_simulations.testbed.inprocess.plugin_bounds import bounded_plugins

if TYPE_CHECKING:
    from blindmatch_simulations.evaluation.verifying import Folder

SHOWN: Final = sorted(
    (name for name, kind in FIGURES.items() if kind.column),
    key=lambda name: FIGURES[name].criterion == "feasibility",
)
"""Figures with a column in the terminal, costs last."""
COLUMNS: Final = ("design", *(FIGURES[name].column for name in SHOWN))
COSTS: Final = 1 + [FIGURES[name].criterion for name in SHOWN].index("feasibility")
NOT_MEASURED = "not measured"
FEWER = "of fewer pictures"

QuickOption = Annotated[bool, typer.Option("--quick", help="A smaller workload: minutes, wide intervals.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of designs, as NAME=VALUE or NAME=V1,V2: measured on each."),
]


@bounded_plugins()
def run_assess(
    out: Annotated[Path, typer.Option("--out", help="The results folder; an interrupted run goes on.")],
    designs: Annotated[
        str, typer.Option("--designs", help="Names or path.py:NAME, separated by commas [default: all].")
    ] = "",
    quick: QuickOption = False,
    full: Annotated[
        bool, typer.Option("--full", help="2^20 entries: tens of minutes, 2 GiB of disk below --out.")
    ] = False,
    workload: Annotated[
        Path | None, typer.Option("--workload", help="A workload file of your own (TOML).")
    ] = None,
    values: SetOption = None,
    list_sizes: Annotated[
        str, typer.Option("--list-sizes", help="Random hashes of the list, V1,V2: measured on each.")
    ] = "",
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds of the workload, V1,V2.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Make again what no design changes.")] = False,
    ray: RayOption = "",
) -> None:
    """Measure every design on the same work, over real gRPC in processes of their own, and draw the report,
    which has every row as soon as it is there.

    A design that crashes, hangs, eats memory or lies spoils its own row alone. Exit code 1 if a row failed.
    Several values of --set, --list-sizes or --seeds make a grid, with a folder in --out for each point;
    `results to-csv` puts them into one table. With --ray each point takes a whole node of a cluster. Edited
    pictures are kept in the user's cache.
    """
    if quick + full + (workload is not None) > 1:
        raise typer.BadParameter("--quick, --full, --workload: each chooses the workload; name one")
    committed = QUICK if quick else FULL if full else STANDARD
    references = [name.strip() for name in designs.split(",") if name.strip()]
    text = plan_text(workload, committed)
    plan = read_plan(text)
    swept = _sweep(plan.sweep or Sweep(), values or (), list_sizes, seeds)
    words = _command(quick, full, workload)
    cache = None if fresh else cache_home() / "blindmatch"
    if ray and any(map(is_path, references)):
        raise typer.BadParameter("--ray: nodes have designs by name alone")
    if ray:
        found = _on_nodes(out, points(replace(plan, sweep=swept), references), words, cache, ray)
    elif swept == Sweep() and not plan.parameters:
        found = [_measured(out, references, words, text, cache)]
    else:
        found = list(_points(out, replace(plan, sweep=swept), references, words, cache))
    if not references:
        for line in not_installed().values():
            OUT.print(line, highlight=False)
    if any(map(failed, found)):
        raise typer.Exit(exit_codes.WRONG)


def _points(
    out: Path, plan: Plan, references: list[str], command: str, cache: Path | None
) -> Iterator[Results]:
    found = points(plan, references)
    for number, one in enumerate(found, 1):
        ERR.print(f"point {number} of {len(found)}: {one.name or 'the only one'}", highlight=False)
        words = shlex.join([*shlex.split(command), *one.words])
        yield _measured(out / one.name, one.references, words, one.text, cache)


def _on_nodes(out: Path, found: Sequence[Point], command: str, cache: Path | None, ray: str) -> list[Results]:
    """Every point on a node of its own, since timings share cores; those that are done are not measured."""
    calls = dict[str, tuple[Any, ...]]()
    for one in found:
        words = shlex.join([*shlex.split(command), *one.words])
        if not Assessment(out / one.name, one.text, one.references, words, silent).is_done():
            calls[one.name] = measured_there, one.text, one.references, words, cache
    pool, most = room(cores(), ray, whole=True)
    try:
        for name, files in completed(pool, calls, most):
            for path, content in sorted(files.items(), key=lambda one: one[0] == RESULTS):
                write_whole(out / name / path, content)
            ERR.print(f"measured: {name or 'the only point'}", highlight=False)
    except (WorkerError, TaskError) as error:
        raise AssessError(f"--ray: {error}; points that are done are kept: run it again to go on") from error
    finally:
        pool.end()
    return [_show(out / one.name, check_folder(out / one.name)) for one in found]


def _sweep(given: Sweep, values: Sequence[str], list_sizes: str, seeds: str) -> Sweep:
    axes = dict(given.set)
    for pair in values:
        name, _, listed = pair.partition("=")
        axes[name] = _numbers("--set", pair, listed)
    random = _numbers("--list-sizes", list_sizes, list_sizes) if list_sizes else given.random
    return Sweep(axes, random, _numbers("--seeds", seeds, seeds) if seeds else given.seeds)


def _numbers(option: str, given: str, listed: str) -> tuple[int, ...]:
    parts = listed.split(",")
    if not all(one.isascii() and one.isdecimal() for one in parts):
        raise typer.BadParameter(f"{option}: {given!r} must have whole numbers, separated by commas")
    return tuple(map(int, parts))


def _measured(out: Path, references: Sequence[str], command: str, text: str, cache: Path | None) -> Results:
    with phases(ERR) as begin:
        assessment = Assessment(out, text, references, command, begin, partial(draw_report, out), cache)
        try:
            results = assessment.run()
        except KeyboardInterrupt:
            say(assessment.kept(), ERR)
            raise
    return _show(out, results)


def _show(out: Path, results: Results) -> Results:
    rows = [_row(one) for one in results.rows]
    OUT.print(*parts(f"{results.workload} workload, seed {results.seed}", COLUMNS, rows, COSTS))
    OUT.print("recall, false matches: of the reference corpus where the committed evidence has the design")
    checks = [check for one in results.rows if isinstance(one, Measured) for check in one.checks]
    taken = sum(COMMITTED in check.figures for check in checks)
    OUT.print(f"checks: {taken} of committed evidence, {len(checks) - taken} of this run", highlight=False)
    for one in failed(results):
        OUT.print(f"{one.id} failed: {one.why}", highlight=False)
    for path in (draw_findings(out, results), draw_report(out, results)):
        OUT.print(f"written: {path}", soft_wrap=True, highlight=False)
    return results


def _command(quick: bool, full: bool, workload: Path | None) -> str:
    """The command with its workload, without folders of this machine."""
    words = ["blindmatch", "assess"]
    words += ["--quick"] if quick else ["--full"] if full else []
    words += ["--workload", workload.name] if workload else []
    return shlex.join(words)


def _row(one: Design) -> tuple[object, ...]:
    if not isinstance(one, Measured):
        words = "in process" if isinstance(one, Studied) else "failed"
        return (one.id, words, *[""] * (len(COLUMNS) - 2))
    fewer = bool(one.copies and one.copies.why)
    shown = (told(name, one.figures) for name in SHOWN)
    return (one.design.name, *(_cell(name, one.figures[name], fewer) for name in shown))


def _cell(name: str, figure: Figure, fewer: bool) -> str:
    kind = FIGURES[name]
    if fewer and figure.value is not None and (kind.unit, kind.rows) == ("share", "pictures"):
        return FEWER
    if figure.value is None:
        return NOTHING if figure.why.startswith(NOTHING) else NOT_MEASURED
    if figure.low is not None and figure.high is not None and figure.pairs is not None:
        return f"{short(figure.value)} (at most {short(figure.high)})"
    return short(figure.value) + (f" ({DISTURBED})" if figure.why.startswith(DISTURBED) else "")


app = Commands(no_args_is_help=True)
ResultsArgument = Annotated[
    list[Path], typer.Argument(help="Results files, folders of assess, or folders of a sweep.")
]


class Form(StrEnum):
    """How a comparison is written to a file."""

    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


@app.callback()
def results() -> None:
    """Put results of many runs into one table; compare designs; derive figures again."""


@app.command("to-csv")
def to_csv(
    paths: ResultsArgument,
    out: Annotated[
        Path, typer.Option("--out", callback=target, help="Write the table here; - for output.")
    ] = Path("-"),
) -> Found:
    """Write one row a figure: design, parameters, seed, list size, workload and machine stand in every one.

    Files are checked first; what was edited is refused. A value that was not measured is an empty cell.
    """
    rows = [row for path in paths for row in rows_of(path)]
    if str(out) != "-":
        write_file(out, as_csv(rows).encode())
    elif people() is OUT:
        sys.stdout.write(as_csv(rows))
    ERR.print(f"{len(rows):,} figures", highlight=False)
    return Found(rows)


@app.command("verify")
def verify_(
    folder: Annotated[Path, typer.Argument(help="A results folder of assess.")],
    digest: Annotated[
        list[str],
        typer.Option(help="Digest that a file of the output was published with (repeatable)."),
    ] = [],  # noqa: B006
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence/--no-evidence",
            help="Derive the committed evidence again from the committed hashes, about 16 CPU seconds; "
            "without, its figures are taken as the file has them.",
        ),
    ] = True,
) -> Found:
    """Derive figures again from the folder's raw rows, by code of its own, and name what differs.

    Figures of the reference corpus are compared with the committed evidence, which is itself derived again
    from the committed hashes by the programs that made it. Exit code 1 if anything differs. The output gives
    the number of figures that could not be derived, and why. Not compared: why a figure is missing, machine,
    command, times, nor the pages drawn from it and README.md. A published digest shows any later change to
    results, attacks, evidence or hashes, also one that no figure hangs on; a digest within a file does not,
    since whoever alters the file can write it again (ARTIFACT.md).
    """
    # slow to import
    from blindmatch_simulations.evaluation.studies.evidence_check import evidence_digests
    from blindmatch_simulations.evaluation.verifying import Difference, Folder

    held = Folder(folder, table_of("rederived"), to_builtins(committed_evidence()), declarations())
    held.digests |= evidence_digests()
    held.verify(digest)
    lines = _add_evidence(held) if evidence else [EVIDENCE_TAKEN]
    made = table("what differs", Difference._fields, [tuple(map(str, one)) for one in held.differences])
    counted = f"{held.derived} figures derived again, {sum(held.not_derived.values())} not:"
    lines += [counted, *(f"{count} x {why}" for why, count in sorted(held.not_derived.items()))]
    lines += [f"digest of {name}: {said}" for name, said in held.digests.items()]
    result = {"differences": [one._asdict() for one in held.differences], "derived": held.derived}
    result |= {"not_derived": held.not_derived, "digests": held.digests}
    result["evidence_derived"] = evidence
    code = exit_codes.WRONG if held.differences else exit_codes.OK
    return Found(result, [made, *lines] if held.differences else lines, code)


EVIDENCE_TAKEN: Final = (
    "evidence: not derived again (--no-evidence): figures of the reference corpus are compared with its file "
    "alone"
)


def _add_evidence(held: Folder) -> list[str]:
    """Derive the committed evidence again and add what that came to; return the lines that say so."""
    # slow to import
    from blindmatch_simulations.evaluation.studies.evidence_check import check_evidence
    from blindmatch_simulations.evaluation.verifying import Difference

    with phases(ERR) as begin:
        checked = check_evidence(committed_results(), begin)
    for one in checked.differences:
        held.differences.append(Difference(FILE, one.row, one.figure, one.written, one.derived))
    held.not_derived.update(checked.not_derived)
    again = (
        f"{checked.derived} figures derived again from the committed hashes, by the programs that made them"
    )
    return [f"evidence: {again}; {len(checked.differences)} differ"]


def declarations() -> dict[str, Any]:
    """What the program says of figures, designs and attacks, as plain data."""
    # slow to import
    from blindmatch_simulations.evaluation.attacks.run import described as attack
    from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs

    known = [one.design for one in built_in_designs()]
    said = {
        "designs": {one.info.name: described(one, {}) for one in known},
        "attacks": {name: attack(one) for name, one in ATTACKS.items()},
        "unplayed": [(one.attack.name, one.design.info.name) for one in pairs(known) if one.unplayed],
    }
    plain: dict[str, Any] = decode(encode(said))
    return {**plain, "units": {name: one.unit for name, one in FIGURES.items()}, "studies": list(STUDIES)}


@app.command("compare")
def compare_(
    paths: ResultsArgument,
    design: Annotated[
        list[str], typer.Option(help="Name of a design to compare (repeatable); all, if none is named.")
    ] = [],  # noqa: B006
    form: Annotated[
        Form, typer.Option("--format", help="The form of what is written to --out.")
    ] = Form.MARKDOWN,
    out: Annotated[
        Path | None, typer.Option("--out", callback=target, help="Also write the table here; - for output.")
    ] = None,
) -> Found:
    """Set designs, and versions of one design, side by side: a table that can be printed and cited.

    Each design of each file is a column, and no two are merged: recall of the run and of the reference
    corpus, bytes, CPU in u, what each party and coalition learns by declaration, and what attacks came to
    (attacks.json beside the results). Workloads, machines and versions that differ are named below the
    table. The digest at the end is of the whole comparison; the file of --json holds the digests of what it
    was made from.
    """
    # slow to import
    from blindmatch_simulations.evaluation.comparing import FORMS, columns_of, compare

    columns = columns_of(paths, design)
    lacking = [name for name in design if name not in {one.row.design.name for one in columns}]
    if lacking:
        raise AssessError(f"--design: {', '.join(lacking)}: not among the measured designs of these files")
    if not columns:
        raise AssessError("paths: none of these files has a design that was measured")
    made = compare(columns)
    written = FORMS[form](made)
    if out is not None and str(out) != "-":
        write_file(out, written.encode())
    elif out is not None and people() is OUT:
        sys.stdout.write(written)
    result = {"result_version": COMPARISON_VERSION, **to_builtins(made), "digest": made.digest}
    if out is not None and str(out) == "-":
        return Found(result)
    tables = []
    for first in range(0, len(made.columns), COLUMNS_AT_ONCE):
        part = slice(first, first + COLUMNS_AT_ONCE)
        rows = [(line.what, *line.cells[part]) for line in made.lines]
        tables.append(table("side by side", ("", *made.columns[part]), rows))
    facts = [f"{name}: {says}" for name, says in made.facts.items()]
    return Found(result, [*tables, *facts, *made.notes, f"sha256:{made.digest}"])


COMPARISON_VERSION: Final = 1
"""Of the keys of its result (CHANGELOG)."""
COLUMNS_AT_ONCE: Final = 3
"""Designs beside each other in a terminal."""


def run_report(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of blindmatch assess.")],
    sheet: Annotated[
        bool,
        typer.Option("--sheet", help="Also draw a decision sheet, sheet.html, and print it as sheet.pdf."),
    ] = False,
    briefing: Annotated[
        bool, typer.Option("--briefing", help="Also draw eight captioned figures, as SVG and PNG.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Draw findings.html and report.html of a results folder again; it is checked first.

    findings.html is the page to begin with; report.html has all tables. An attacks.json in the folder
    (blindmatch attack run --json) is drawn with them. Of several folders, compare.html in the first shows
    each figure that differs over runs and versions. --sheet draws the findings and all designs for two A4
    pages, as sheet.html, and prints them with Chromium. --briefing needs the extra `report`.

    --json writes the view model of the first folder: findings, a card for each design, charts and tables as
    data, each number with its evidence (schema: report/view/view-v1.schema.json of the package).

    What the file of a report of a match shows: blindmatch report verify FILE.
    """
    folder = folders[0]
    results, *others = map(check_folder, folders)
    paths = [draw_findings(folder, results), draw_report(folder, results)]
    if others:
        paths.append(draw_report(folder, results, *others))
    if sheet:
        page = write_sheet(folder, results)
        paths += [page, print_page(page)]
    if briefing:
        paths.append(draw_briefing(folder, results))
    if json is not None:
        write_json(view_of(folder, results), json)
    for path in paths:
        (ERR if str(json) == "-" else OUT).print(f"written: {path}", soft_wrap=True, highlight=False)
