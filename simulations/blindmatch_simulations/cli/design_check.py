"""`blindmatch design check`: the verdicts on one design, on one screen, and where to look next."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer
from blindmatch_protocol.contract import Adversary, AnyDesign
from blindmatch_protocol.contract.design import told
from msgspec import to_builtins
from rich.table import Table
from rich.text import Text

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import ERR, table
from blindmatch_simulations.cli.corpus import cache_home
from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.evaluation.conformance.run import as_json
from blindmatch_simulations.evaluation.design_check import DesignCheck, Part, check_whole, in_u
from blindmatch_simulations.measure.results import Figure, short
from blindmatch_simulations.report import draw_report
from blindmatch_simulations.testbed.demo.run import DemoRun, failures, missed, undeclared, verified_reports
from blindmatch_simulations.testbed.deployment.registry import load_design, portable_reference
from blindmatch_simulations.testbed.inprocess.plugin_bounds import Bounds, bounded_plugins
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

RESULT_VERSION: Final = 1
PARTS: Final = ("part", "verdict", "what it came to", "u")
FIGURES: Final = {
    "recall": "recall of listed pictures, edited",
    "query_up_bytes": "bytes up a picture",
    "query_down_bytes": "bytes down a picture",
    "setup_bytes": "set-up bytes a device",
    "device_u": "device's CPU a picture, u",
    "server_u": "servers' CPU a picture, u",
}
"""Figures that designs are set side by side by, in words: all of this run, on the same pictures."""
IN_U: Final = {"device_u": "device_cpu_ms", "server_u": "matcher_cpu_ms"}
"""Figures that rows have in CPU milliseconds."""
SHOWN_PROBLEMS: Final = 3


@bounded_plugins(Bounds(400_000, 200_000))
def check_design(file: str, out: Path | None) -> Found:
    """Check a design: path.py, path.py:NAME or a name; keep its assessment in `out`, if that is given."""
    reference = f"{file}:DESIGN" if file.endswith(".py") else file
    load_design(reference)  # one that is not there is refused before any work is shown
    if out is not None:
        _refuse_unusable(out)
    with (
        tempfile.TemporaryDirectory(prefix="blindmatch-check-") as work,
        phases(ERR) as begin,
    ):
        made = check_whole(reference, begin, Path(work), out, cache_home() / "blindmatch")
        report = str(draw_report(out, made.assessed)) if out is not None and made.assessed is not None else ""
    code = exit_codes.OK if made.is_as_declared else exit_codes.WRONG
    return Found(_result(made, report), list(_shown(made, report)), code)


def _refuse_unusable(out: Path) -> None:
    """Refuse a folder that nothing could be kept in, before any work is done."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise typer.BadParameter(f"--out: {out} must be a folder that is empty or not there yet")
    place = out if out.exists() else out.absolute().parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise typer.BadParameter(f"--out: {out} must be in a folder that exists and can be written to")


def _result(made: DesignCheck, report: str) -> dict[str, Any]:
    return {
        "result_version": RESULT_VERSION,
        "design": made.design.info.name,
        "design_version": made.design.info.version,
        "reference": made.reference,
        "beside": made.beside or None,
        "as_declared": made.is_as_declared,
        "not_comparable": made.uncompared,
        "u_us": made.u_us,
        "parts": [to_builtins(part) for part in made.parts],
        "figures": {
            row.design.name: {name: to_builtins(_figure(row, name)) for name in FIGURES} for row in made.rows
        },
        "report": report or None,
        "demo": None if made.run is None else _demo_result(made.run),
        "conformance": None
        if made.report is None
        else as_json(made.report, ["blindmatch", "conformance", portable_reference(made.reference)]),
        "attacks": None if made.attacks is None else to_builtins(made.attacks),
    }


def _demo_result(run: DemoRun) -> dict[str, Any]:
    return {
        "sent": len(run.sent),
        "matches": run.matches,
        "missed": missed(run),
        "reports_verified": verified_reports(run),
        "undeclared_egress": str(undeclared(run)),
        "failures": failures(run),
    }


def _shown(made: DesignCheck, report: str) -> Iterator[Table | Text | str]:
    info = made.design.info
    rows = [(part.name, str(part.verdict), part.says, part.work_u) for part in made.parts]
    yield table(f"{info.name}, version {info.version}: {info.relation.words}", PARTS, rows, whole=PARTS[:2])
    if made.rows:
        pictures = made.rows[0].copies
        sent = f"the same {pictures.sent} pictures" if pictures else "the same pictures"
        title = f"figures of this run, on {sent}; brackets: intervals"
        cells = [
            (words, *(_cell(_figure(row, name)) for row in made.rows)) for name, words in FIGURES.items()
        ]
        yield table(title, ("figure", *(row.design.name for row in made.rows)), cells, whole=("figure",))
    yield from _told_words(made)
    for part in made.parts:
        yield from _look(part)
    total = sum(part.cpu_seconds for part in made.parts)
    yield f"{total:.0f} CPU seconds, where u is {made.u_us:.0f} microseconds"
    if report:
        yield f"look: {report}"
    if made.is_as_declared:
        less = f"; {' and '.join(made.uncompared)} had nothing to compare with" if made.uncompared else ""
        yield Text(
            f"as declared: no part failed{less}. A pass is no proof (docs/reference/conformance.md)",
            style="green",
        )


def _told_words(made: DesignCheck) -> Iterator[str]:
    """Say what is declared to the parties with roles, each alone and honest, of each design that is
    measured."""
    designs = [made.design, *([load_design(made.beside)] if made.beside else [])]
    for design in designs:
        yield f"{design.info.name} tells {_told(design)}"


def _told(design: AnyDesign) -> str:
    parties = dict.fromkeys(design.info.roles.values())
    facts = {one: told(design, frozenset({one}), Adversary.SEMI_HONEST) for one in parties}
    said = [
        f"{party}: {', '.join(fact.name for fact in known) or 'nothing'}" for party, known in facts.items()
    ]
    return "; ".join(said) or "nobody anything: it asks nobody"


def _look(part: Part) -> Iterator[Text | str]:
    if part.verdict is Verdict.PASSED:
        return
    for line in part.problems[:SHOWN_PROBLEMS]:
        yield Text(f"{part.name}: {line}", style="red" if part.verdict is Verdict.FAILED else "yellow")
    if (more := len(part.problems) - SHOWN_PROBLEMS) > 0:
        yield f"{part.name}: and {more} more"
    if part.verdict is not Verdict.NOT_COMPARABLE:
        yield f"look: {part.again}"


def _figure(row: Measured, name: str) -> Figure:
    return in_u(row, IN_U[name]) if name in IN_U else row.figures[name]


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return "not measured"
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return short(figure.value)
    return f"{short(figure.value)} ({short(figure.low)} to {short(figure.high)})"
