"""One HTML file that draws a view model, as the findings page or as the decision sheet; it needs nothing
else, and no network.

In:   a `View`, and what "try one" shows, if it was made.
Out:  the file's text. Its script and styles are the modules in `components/`, which draw text from data; the
      last of them alone knows a document.

The file's own Content-Security-Policy (Level 3) admits this script and these styles by their hashes, and
pictures as data; where a browser knows Trusted Types, HTML comes through one policy. Data are JSON, in which
no `<` stands.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

from blindmatch_simulations.evaluation.assess.results import Results, write_whole
from blindmatch_simulations.evaluation.studies.trying import TRY, read_tried
from blindmatch_simulations.report.markup import policy, text
from blindmatch_simulations.report.view.schema import View
from blindmatch_simulations.report.view.whole import view_of

MODULES: Final = (
    "markup", "words", "evidence", "frame", "bars", "tiles", "findings", "trying", "cards", "glance", "year",
    "hundred", "edits", "logchart", "flagged", "costs", "abuse", "reported", "unknown", "sheet", "page",
    "browser",
)  # fmt: skip
"""In this order; the last one touches the document."""
TITLE: Final = "can known abuse pictures be found in encrypted chats?"
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")

FINDINGS: Final = "findings.html"
SHEET: Final = "sheet.html"


def draw_findings(folder: Path, results: Results) -> Path:
    """Write ``findings.html`` of a run beside its results; its path.

    A ``try.json`` in the folder is drawn with it.

    Raises:
        TryError: ``try.json`` breaks a rule of its form.
    """
    page = folder / FINDINGS
    tried = folder / TRY
    write_whole(
        page, draw_view(view_of(folder, results), read_tried(tried) if tried.exists() else None).encode()
    )
    return page


def write_sheet(folder: Path, results: Results) -> Path:
    """Write ``sheet.html`` of a run beside its results; its path."""
    page = folder / SHEET
    write_whole(page, draw_sheet(view_of(folder, results)).encode())
    return page


def draw_view(view: View, tried: object | None = None) -> str:
    """Return the page of a view model.

    Args:
        view: of one run.
        tried: pictures, edits and answers by design, as ``try.json`` has them; None if they were not made.
    """
    return _drawn(view, tried, kind="whole-page", title=TITLE, style=page_style())


def draw_sheet(view: View) -> str:
    """Return the decision sheet of a view model: its findings and all its designs, laid out for paper."""
    style = page_style() + asset("sheet.css")
    return _drawn(view, None, kind="sheet", title=f"decision sheet: {TITLE}", style=style)


def _drawn(view: View, tried: object | None, *, kind: str, title: str, style: str) -> str:
    """Return a file of a kind, which its script draws by."""
    script = script_of()
    parts = {
        "policy": policy([style], script),
        "title": text(title),
        "kind": kind,
        "style": style,
        "script": script,
        "view": embedded(view),
        "tried": embedded(tried),
    }
    return _PLACE.sub(lambda found: parts[found[1]], asset("shell.html"))


def page_style() -> str:
    """Return the styles of the page, those for narrow screens last."""
    return asset("page.css") + asset("phone.css")


def script_of(*, with_document: bool = True) -> str:
    """Return the script; without what touches the document, it draws text anywhere."""
    modules = MODULES if with_document else MODULES[:-1]
    return "\n".join(asset(f"{name}.js") for name in modules)


def embedded(value: object) -> str:
    """Return JSON that can stand within a script element."""
    plain: Any = msgspec.json.decode(msgspec.json.encode(value))
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def asset(name: str) -> str:
    """Return the text of one of the components."""
    return files("blindmatch_simulations.report").joinpath("components", name).read_text("utf-8")
