"""Checks the page that is drawn of a view model in headless Chromium, with axe-core and by hand of a script.

    python tests/browser/check_view.py AXE.min.js [--tried try.json] [RUN]

No test of the suite: it needs a browser. Exit code 1 on a violation of WCAG 2.1 A or AA, on an error of the
page's script, on something that is wider than its place, and where the page does not do what its controls
say: wide, narrow (390 pixels) and at 200 % zoom, light and dark. The page is driven as it was written, with
its Content-Security-Policy: figures open their evidence, designs open their cards, sliders move what depends
on them, the address keeps what was chosen, tabs follow the keyboard, and a view is saved as a picture. A page
whose every text holds markup is opened with that policy and without it, and nothing of it runs. The decision
sheet is looked at in the same way, opens its evidence, and prints on two pages.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
from blindmatch_simulations.evaluation.assess.results import check_folder
from blindmatch_simulations.report.page_of_view import draw_sheet, draw_view
from blindmatch_simulations.report.printing import BROWSERS
from blindmatch_simulations.report.view.schema import View
from blindmatch_simulations.report.view.whole import view_of

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.drawn_view import SAMPLE
from support.marked_view import marked

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-component-update", "--disable-background-networking", "--disable-sync",
    "--virtual-time-budget=60000", "--allow-file-access-from-files", "--window-size=1400,1000",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
DRIVER = Path(__file__).with_name("view.js")
OWN_POLICY = re.compile(r'<meta\s+http-equiv="Content-Security-Policy"[^>]*>')
SECONDS = 300
VIEWS: dict[str, tuple[int, bool, int]] = {
    "wide": (1366, False, 1),
    "wide, dark": (1366, True, 1),
    "narrow": (390, False, 1),
    "narrow, dark": (390, True, 1),
    "200 % zoom": (640, False, 2),
}
"""CSS pixels of width, whether it is dark, device pixels for each."""
SHEET_PAGES = 2
"""On which the sheet of the sample prints."""
PAGE_MARKS = 300
SHEET_MARKS = 150
"""So many marks of markup are shown at least: a page that shows none is no safe one."""


def main() -> int:
    """Check every view; 1 if one is not clean."""
    parser = argparse.ArgumentParser()
    parser.add_argument("axe", type=Path)
    parser.add_argument("run", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--tried", type=Path)
    asked = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print("no browser: install chromium", file=sys.stderr)  # noqa: T201
        return 2
    view = view_of(asked.run, check_folder(asked.run))
    tried = json.loads(asked.tried.read_text("utf-8")) if asked.tried else None
    page = draw_view(view, tried)
    axe = asked.axe.read_text("utf-8")
    faults = 0
    for name, (width, is_dark, scale) in VIEWS.items():
        flags = [*([DARK] if is_dark else []), f"--force-device-scale-factor={scale}"]
        told = looked_at(browser, OWN_POLICY.sub("", page), width, flags, {"axe": axe})
        faults += said(name, told)
    faults += said("as it was written", looked_at(browser, page, 1280, [], {"drive": True}))
    hostile_view = msgspec.convert(marked(msgspec.json.decode(msgspec.json.encode(view))), View)
    hostile = draw_view(hostile_view, tried)
    faults += said("marked", looked_at(browser, hostile, 1280, [], {"marked": PAGE_MARKS}))
    bare = OWN_POLICY.sub("", hostile)
    faults += said("marked, no policy", looked_at(browser, bare, 1280, [], {"marked": PAGE_MARKS}))
    faults += printed(browser, "page", page)
    sheet = draw_sheet(view)
    faults += printed(browser, "sheet", sheet, SHEET_PAGES)
    for name, (width, is_dark, scale) in VIEWS.items():
        flags = [*([DARK] if is_dark else []), f"--force-device-scale-factor={scale}"]
        told = looked_at(browser, OWN_POLICY.sub("", sheet), width, flags, {"axe": axe})
        faults += said(f"sheet, {name}", told)
    faults += said("sheet, as it was written", looked_at(browser, sheet, 1280, [], {"sheet": True}))
    marked_sheet = draw_sheet(hostile_view)
    faults += said("sheet, marked", looked_at(browser, marked_sheet, 1280, [], {"marked": SHEET_MARKS}))
    return 1 if faults else 0


def looked_at(
    browser: str, page: str, width: int, flags: list[str], asked: dict[str, Any]
) -> dict[str, Any] | None:
    """What a script finds that looks at the page in a frame; a window cannot be as narrow as a phone."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "page.html").write_text(page, "utf-8")
        held = json.dumps(asked).replace("<", "\\u003c")
        (folder / "frame.html").write_text(
            f'<!doctype html><body><iframe src="page.html" style="width:{width}px;height:900px;border:0">'
            f'</iframe><script type="application/json" id="asked">{held}</script>'
            f"<script>{DRIVER.read_text('utf-8')}</script>",
            "utf-8",
        )
        shown = ran(browser, folder, [*flags, "--dump-dom", (folder / "frame.html").as_uri()])
    found = re.search(r'<pre id="told">(.*?)</pre>', shown, re.DOTALL)
    return dict(json.loads(unescape(found[1]))) if found else None


def said(name: str, told: dict[str, Any] | None) -> int:
    """Print what was found; 1 if it is not clean."""
    if told is None:
        print(f"{name}: the page did not answer")  # noqa: T201
        return 1
    print(f"{name}: {told['done']}, {len(told['faults'])} faults")  # noqa: T201
    for fault in told["faults"]:
        print(f"  {fault}")  # noqa: T201
    return 1 if told["faults"] else 0


def printed(browser: str, name: str, page: str, wanted: int | None = None) -> int:
    """Print the page; 1 if there is no paper, or if it has another number of pages than is wanted."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "page.html").write_text(page, "utf-8")
        paper = folder / "page.pdf"
        ran(browser, folder, [f"--print-to-pdf={paper}", (folder / "page.html").as_uri()])
        pages = len(re.findall(rb"/Type */Page\b", paper.read_bytes())) if paper.exists() else 0
    print(f"print of the {name}: {pages} pages, wanted {wanted or 'any'}")  # noqa: T201
    return 0 if pages and wanted in {None, pages} else 1


def ran(browser: str, folder: Path, arguments: list[str]) -> str:
    command = [browser, *FLAGS, f"--user-data-dir={folder}/profile", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    except subprocess.TimeoutExpired:
        return ""


if __name__ == "__main__":
    sys.exit(main())
