"""Puts results and the drawing script together into one file that needs nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

from blindmatch_simulations.data import volumes
from blindmatch_simulations.evaluation.assess.results import Results, write_whole
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed
from blindmatch_simulations.measure import results as measure
from blindmatch_simulations.report.inputs import Input, inputs
from blindmatch_simulations.report.markup import mark, number, policy, text
from blindmatch_simulations.report.material import sources
from blindmatch_simulations.report.tables import figure_files

REPORT: Final = "report.html"
COMPARISON: Final = "compare.html"
LISTS: Final = ("iwf_list", "iwf_list_2024", "ncmec_list")
"""Lists outside whose lengths can be chosen."""
ATTACKS: Final = "attacks.json"
"""What ``blindmatch attack run --json`` wrote, if it lies beside the results."""
SCHEMA: Final = "results-v4.schema.json"
WORDS: Final = ("description", "title")
"""Of a schema, for people alone."""
SCRIPTS: Final = (
    "core", "sees", "scale", "matrix", "missed", "kinds", "flagged", "cost", "abuse", "client",
    "unmeasured", "learns", "rights", "runs", "picture", "browser",
)  # fmt: skip
"""In this order; all but the last draw text from data, and know of no document."""


def draw_report(folder: Path, results: Results) -> list[Path]:
    """Write ``report.html`` and the files of `tables.files`; their paths."""
    made = {REPORT: report(folder, [results]), **figure_files(results)}
    for name, content in made.items():
        write_whole(folder / name, content.encode())
    return [folder / REPORT, folder / "figures"]


def draw_comparison(folder: Path, runs: Sequence[Results]) -> Path:
    """Write ``compare.html``, the page of several runs; its path."""
    write_whole(folder / COMPARISON, report(folder, runs).encode())
    return folder / COMPARISON


def report(folder: Path, runs: Sequence[Results]) -> str:
    """The page; attacks are those beside the first run."""
    style, drawing = asset("page.css"), script()
    parts = {
        "policy": policy([style], drawing),
        "title": text("options on the same work"),
        "style": style,
        "fields": _fields(),
        "data": json.dumps(data(folder, runs), separators=(",", ":")).replace("<", "\\u003c"),
        "script": drawing,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], asset("shell.html"))


def data(folder: Path, runs: Sequence[Results]) -> dict[str, Any]:
    """What the script draws, and the schema that it holds runs to."""
    attacks = folder / ATTACKS
    rows = measure.read(attacks, measure.Results[AttackRow | NotPlayed]).rows if attacks.exists() else ()
    return {"runs": _plain(runs), "attacks": _plain(rows), "sources": sources(), "schema": _schema()}


def _schema() -> dict[str, Any]:
    """Of results files, without the words for people."""
    text = files("blindmatch_simulations.measure").joinpath(SCHEMA).read_text("utf-8")
    made: dict[str, Any] = json.loads(text, object_hook=_ruling)
    return made


def _ruling(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in rule.items() if name not in WORDS or isinstance(one, dict)}


def script(drawing_alone: bool = False) -> str:
    """The script; `drawing_alone` without what needs a browser."""
    return "\n".join(asset(f"{name}.js") for name in SCRIPTS[: -1 if drawing_alone else None])


def asset(name: str) -> str:
    """A file of the page."""
    return files("blindmatch_simulations.report").joinpath("drawing", name).read_text("utf-8")


def _plain(value: object) -> Any:
    """As the results file has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _fields() -> str:
    """The form: the run, the scale, files."""
    first, *rest = map(_field, inputs())
    sizes = "".join(f'<option value="{n}">{text(words)}</option>' for n, words in _lists())
    run = '<p><label for="in-run">run</label> <select id="in-run" name="run"></select></p>'
    opened = (
        '<p><label for="in-files">other runs: a results.json, chosen here or dropped on the page</label> '
        '<input id="in-files" type="file" accept=".json" multiple></p>'
    )
    return (
        f'{first}<p><label for="lists">list</label> <select id="lists">{sizes}</select></p>'
        '<p id="scale-says" role="alert"></p><p id="files-say" role="status"></p><details id="assumed">'
        f"<summary>Runs, and other assumptions</summary>{run}{opened}{''.join(rest)}</details>"
    )


def _field(one: Input) -> str:
    return (
        f'<p><label for="in-{one.ident}">{text(one.label)}</label> <input id="in-{one.ident}" '
        f'name="{one.ident}" type="number" required min="{one.least:.17g}" max="{one.most:.17g}" step="any" '
        f'title="{text(one.source)}"> {mark(one.provenance)}</p>'
    )


def _lists() -> list[tuple[int, str]]:
    known = volumes()
    sized = (
        (row.get("value") or max(row["values"].values()), row["source"]) for row in (known[i] for i in LISTS)
    )
    return [(0, "this run's"), *((n, f"{source}: {number(n)}") for n, source in sized)]
