"""An assessment as one file that needs nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
from blindmatch_protocol.contract import Severity
from blindmatch_server.centre.notices import statute
from msgspec.structs import asdict, replace
from PIL import Image, ImageDraw, ImageFilter

from blindmatch_simulations.data import committed, table_of, volumes
from blindmatch_simulations.evaluation.assess.figures import FIGURES
from blindmatch_simulations.evaluation.assess.results import Measured, Results, Studied, write_whole
from blindmatch_simulations.evaluation.attacks.adversary import Actor, Left
from blindmatch_simulations.evaluation.attacks.needs import SAME
from blindmatch_simulations.evaluation.attacks.run import NOTHING_PLAYED
from blindmatch_simulations.evaluation.studies.evidence import DIFFERENCE, EDIT, RECALL, SESSIONS
from blindmatch_simulations.evaluation.studies.evidence import committed as committed_evidence
from blindmatch_simulations.evaluation.studies.false_matches import ALL, FALSE
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH
from blindmatch_simulations.measure.results import Figure, Row
from blindmatch_simulations.report.device import device_requests
from blindmatch_simulations.report.markup import mark, number, policy, text, thumbnail
from blindmatch_simulations.report.printing import ReportError
from blindmatch_simulations.report.view.whole import attacks_in
from blindmatch_simulations.report.yearly import Input, inputs, year_behaviours, year_inputs
from blindmatch_simulations.testbed.pictures.crops import EDITS, encoded

_SIZE: Final = (336, 252)
_SHOWN: Final = (112, 112)
DRAWN: Final = (RECALL, EDIT, FALSE, DIFFERENCE, SESSIONS)
_LISTS: Final = (ALL, PHOTOGRAPH)
"""Kinds of lists that are drawn."""
TOLD: Final = ("criterion", "title", "unit", "says", "rows", "evidence")
"""What the page is told of a figure."""


def sources() -> dict[str, Any]:
    """All that is the same for every run."""
    catalogue = committed("options")
    return {
        **committed("plain"),
        "options": catalogue["options"],
        "introduced": catalogue["introduced"],
        "volumes": volumes(),
        "form": msgspec.to_builtins(statute().statistics_form),
        "law": statute().law.words,
        "claims": committed("claimed-rates"),
        "assumptions": committed("assumptions")["assumptions"],
        "severities": [str(one) for one in Severity],
        "figures": {name: {part: getattr(kind, part) for part in TOLD} for name, kind in FIGURES.items()},
        "inputs": [asdict(one) for one in inputs()],
        "year": year_inputs(),
        "evidence": evidence(),
        "edits": edits(),
        "actors": [str(one) for one in Actor],
        "nothing_played": NOTHING_PLAYED,
        "nobody": Left.NOTHING.notices,
        "same": SAME,
        "said": table_of("follow")["plain"],
    }


@cache
def evidence() -> list[dict[str, Any]]:
    """Rows of the committed evidence that are drawn beside a run's, parameters and figures together."""
    return [
        {"id": row.id, **row.parameters, **{name: asdict(one) for name, one in row.figures.items()}}
        for row in committed_evidence()
        if row.id in DRAWN and row.parameters.get("list", ALL) in _LISTS
    ]


@cache
def edits() -> dict[str, dict[str, str]]:
    """The standard edits: note, and a generated picture after the edit as a data URI."""
    plain = encoded(_scene())
    return {one.name: {"note": one.note, "picture": thumbnail(one.apply(plain), _SHOWN, 60)} for one in EDITS}


def _scene() -> Image.Image:
    """Hills, a house and a sun, so that every edit can be seen."""
    image = Image.linear_gradient("L").resize(_SIZE).convert("RGB")
    image = Image.blend(image, Image.new("RGB", _SIZE, "#7fb2e5"), 0.7)
    draw = ImageDraw.Draw(image)
    draw.ellipse((240, 24, 292, 76), "#ffd75e")
    draw.polygon([(0, 190), (90, 90), (190, 190)], "#6b7f5a")
    draw.polygon([(90, 200), (230, 110), (336, 200)], "#8fa06a")
    draw.rectangle((0, 186, 336, 252), "#4f7a3a")
    draw.rectangle((60, 150, 130, 214), "#c9553d")
    draw.polygon([(50, 152), (95, 112), (140, 152)], "#5a2d22")
    draw.rectangle((84, 178, 104, 214), "#2b1b14")
    return image.filter(ImageFilter.GaussianBlur(0.6))


def measured(results: Results) -> list[Measured]:
    """Rows that were measured, with the catalogue's figures; one that came into it after them is absent."""
    absent = Figure(None, "not in this results file")
    rows = [one for one in results.rows if isinstance(one, Measured)]
    return [replace(one, figures={name: one.figures.get(name, absent) for name in FIGURES}) for one in rows]


def failed(results: Results) -> list[Row]:
    return [one for one in results.rows if not isinstance(one, Measured | Studied)]


MOST_FOLLOWED: Final = 3_000_000
REPORT: Final = "report.html"
COMPARISON: Final = "compare.html"
LISTS: Final = ("iwf_list", "iwf_list_2024", "ncmec_list")
"""Lists outside whose lengths can be chosen."""
SCHEMA: Final = "results-v4.schema.json"
WORDS: Final = ("description", "title")
"""Of a schema, for people alone."""
DRAWING: Final = (
    "core", "sees", "scale", "matrix", "missed", "kinds", "flagged", "cost", "abuse", "actors", "client",
    "unmeasured", "learns", "rights", "sheet", "year", "runs", "picture",
)  # fmt: skip
"""In this order; they draw text from data, and know of no document."""
SCRIPTS: Final = (*DRAWING, "device", "browser")
"""All that this program brings, in this order; the last two need a browser."""
NOBLE: Final = "noble-curves.js"
"""What `device.js` computes with: a bundle that others wrote (`make noble`)."""


def draw_report(folder: Path, *runs: Results) -> Path:
    """Write ``report.html``, of several runs ``compare.html``; its path."""
    page = folder / (COMPARISON if len(runs) > 1 else REPORT)
    write_whole(page, report(folder, runs).encode())
    return page


def report(folder: Path, runs: Sequence[Results]) -> str:
    """The page; attacks are those beside the first run."""
    held = data(folder, runs)
    title = text("options on the same work")
    return _page("shell.html", asset("page.css"), script(), held, title=title, fields=_fields())


def follow_page(recordings: Sequence[msgspec.Struct]) -> str:
    """The page that follows a picture through recordings; `ReportError` above `MOST_FOLLOWED` bytes."""
    held = msgspec.to_builtins(recordings)
    style = asset("page.css") + asset("follow.css")
    title = text(" and ".join(dict.fromkeys(one["design"] for one in held)))
    made = _page("follow.html", style, asset("core.js") + asset("follow.js"), held, title=title)
    if (size := len(made.encode())) > MOST_FOLLOWED:
        raise ReportError(f"the page would be {size} bytes, at most {MOST_FOLLOWED}: fewer recordings")
    return made


def _page(shell: str, style: str, code: str, held: object, **parts: str) -> str:
    parts |= {"policy": policy([style], code), "style": style, "script": code}
    parts["data"] = json.dumps(held, separators=(",", ":")).replace("<", "\\u003c")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], asset(shell))


def data(folder: Path, runs: Sequence[Results]) -> dict[str, Any]:
    """What the script draws, and the schema that it holds runs to."""
    schema = files("blindmatch_simulations.measure").joinpath(SCHEMA).read_text("utf-8")
    return {
        "runs": _plain(runs), "attacks": _plain(attacks_in(folder)), "sources": sources(),
        "schema": json.loads(schema, object_hook=_ruling),
        "behaviours": {one.digest: year_behaviours(one) for one in runs},
        "requests": device_requests(),
    }  # fmt: skip


def _ruling(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in rule.items() if name not in WORDS or isinstance(one, dict)}


def script(drawing_alone: bool = False) -> str:
    """The script; `drawing_alone` without what needs a browser."""
    drawing = [asset(f"{name}.js") for name in DRAWING]
    if drawing_alone:
        return "\n".join(drawing)
    # not before the page's own scripts, whose first statement makes all of them strict
    rest = [asset(f"{name}.js") for name in SCRIPTS[len(DRAWING) :]]
    return "\n".join([*drawing, vendored(NOBLE), *rest])


def vendored(name: str) -> str:
    """Return a file that others wrote and that is copied into reports."""
    return files("blindmatch_simulations.report").joinpath("vendored", name).read_text("utf-8")


def asset(name: str) -> str:
    return files("blindmatch_simulations.report").joinpath("drawing", name).read_text("utf-8")


def _plain(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _fields() -> str:
    rest = map(_field, inputs())
    slides = "".join(_slide(one) for one in inputs() if one.slide)
    shown = '<p><label for="in-shown">of</label> <select id="in-shown"></select></p>'
    sizes = "".join(f'<option value="{n}">{text(words)}</option>' for n, words in _lists())
    lists = f'<p><label for="lists">list</label> <select id="lists">{sizes}</select></p>'
    run = '<p><label for="in-run">run</label> <select id="in-run" name="run"></select></p>'
    opened = (
        '<p><label for="in-files">other runs: a results.json, chosen here or dropped on the page</label> '
        '<input id="in-files" type="file" accept=".json" multiple></p>'
    )
    return (
        f'<fieldset class="slides"><legend>A year</legend>{shown}{slides}</fieldset>'
        '<p id="scale-says" role="alert"></p><p id="files-say" role="status"></p><details id="assumed">'
        f"<summary>Runs, and other assumptions</summary>{run}{lists}{opened}{''.join(rest)}</details>"
    )


def _slide(one: Input) -> str:
    return (
        f'<p><label for="at-{one.ident}">{text(one.short)}</label> <input id="at-{one.ident}" type="range" '
        f'min="0" max="1000" data-of="{one.ident}"><output for="at-{one.ident}"></output></p>'
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
