"""Checks reports in headless Chromium with axe-core: narrow and wide, light and dark, and at 200 % zoom.

    python tests/browser/check_report.py AXE.min.js REPORT.html [COMPARISON.html ...]

No test of the suite: it needs a browser. `make test-browser` fetches axe-core and runs it. Exit code 1 on a
violation of WCAG 2.1 A or AA, on an error of the page's script, on a summary of more than two printed pages,
and if the browser did not show what was asked for: the width, the colours, the zoom, all views of the page.
200 % zoom is a window of 1280 pixels that shows 640 CSS pixels. There, and at every other width, with all
evidence open, nothing may be wider than its place: not the page, a view, a table, or the words of a figure.
The calculator's script must give the cells that the page was drawn with, and refuse what Python refuses.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-component-update", "--disable-background-networking", "--disable-sync",
    "--virtual-time-budget=60000", "--allow-file-access-from-files", "--window-size=1400,1000",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
SECTIONS = {"report.html": 11, "compare.html": 1}
"""Views on a page, by the name of its file."""


@dataclass(frozen=True)
class View:
    """How the page is looked at: CSS pixels of width, dark or light, device pixels for each."""

    width: int
    dark: bool = False
    scale: int = 1

    @property
    def flags(self) -> list[str]:
        """What the browser is started with."""
        return [*([DARK] if self.dark else []), f"--force-device-scale-factor={self.scale}"]


VIEWS = {
    "wide": View(1280),
    "wide, dark": View(1280, dark=True),
    "narrow": View(360),
    "narrow, dark": View(360, dark=True),
    "200 % zoom": View(640, scale=2),
}
SECONDS = 60
AT_ONCE = 2
PROBE = """
<script>{axe}</script><script>
const tooWide = () => {{
  const found = [], page = document.documentElement, name = (one) => one.id || one.getAttribute("aria-label");
  const told = (what, by) => {{
    if (by > 0) found.push(`${{what}} is wider than its place by ${{by}} pixels`);
  }};
  told("the page", page.scrollWidth - page.clientWidth);
  for (const one of document.querySelectorAll("main > section, .scroll, .card, dl, nav"))
    told(name(one) || one.className || one.tagName, one.scrollWidth - one.clientWidth);
  for (const one of document.querySelectorAll("svg text")) {{
    const place = one.ownerSVGElement.getBoundingClientRect(), own = one.getBoundingClientRect();
    const sides = Math.max(place.left - own.left, own.right - place.right);
    const over = Math.max(sides, place.top - own.top, own.bottom - place.bottom);
    told(`"${{one.textContent}}" in ${{name(one.ownerSVGElement)}}`, Math.floor(over));
  }}
  return found;
}};
const miscounts = () => {{
  const found = [], by = (id) => document.getElementById(id), calc = by("calc");
  if (!calc) return found;
  const cells = () => [...document.querySelectorAll("#calc-table tbody td")].map((one) => one.textContent);
  const told = (field) => field.dispatchEvent(new Event("input", {{bubbles: true}}));
  const before = cells();
  told(calc.querySelector("input"));
  cells().forEach((words, at) => {{
    const was = before[at];
    if (words !== was) found.push(`calculator: "${{words}}" by the script, "${{was}}" without it`);
  }});
  const fields = [...calc.querySelectorAll("input"), by("items"), by("rate")];
  for (const field of fields) for (const bad of ["-1", "", "1e300"]) {{
    const good = field.value, says = by(field.form === calc ? "calc-says" : "threshold-says");
    field.value = bad;
    told(field);
    if (!says.textContent.includes("must be")) found.push(`${{field.id}}: ${{bad || "nothing"}} was taken`);
    if (field.form === calc && cells().some((words, at) => words === before[at] && words !== "not measured"))
      found.push(`${{field.id}}: figures are left for ${{bad || "nothing"}}`);
    field.value = good;
    told(field);
  }}
  return found;
}};
window.addEventListener("load", () => {{
  const evidence = document.querySelectorAll("details");
  const closed = tooWide();
  evidence.forEach((one) => {{ one.open = true; }});
  const opened = tooWide();
  evidence.forEach((one, at) => {{ one.open = at % 7 === 0; }});
  const counted = miscounts();
  axe.run(document, {{runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}).then((found) => {{
    const told = {{
      violations: found.violations.map((v) => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]),
      passes: found.passes.length, errors: window.probeErrors, wide: [...new Set([...closed, ...opened])],
      counted,
      dark: matchMedia("(prefers-color-scheme: dark)").matches, scale: devicePixelRatio,
      width: innerWidth, sections: document.querySelectorAll("main > section").length,
    }};
    const place = parent.document.createElement("pre");
    place.id = "told";
    place.textContent = JSON.stringify(told);
    parent.document.body.append(place);
  }});
}});
</script></body>"""
SUMMARY_ALONE = "<style>main > section:not(#summary), footer {display: none !important}</style></head>"
SUMMARY_PAGES = 2
EARLY = """<script>window.probeErrors = [];
window.onerror = (words) => { window.probeErrors.push(String(words)); };</script></head>"""


def main(axe: Path, reports: list[Path]) -> int:
    """Check every view of every report; 1 if one is not clean."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print("no browser: install chromium", file=sys.stderr)  # noqa: T201
        return 2
    with tempfile.TemporaryDirectory() as folder:
        bad = sum(_faulty(browser, Path(folder), axe.read_text("utf-8"), report) for report in reports)
    return 1 if bad else 0


def _faulty(browser: str, folder: Path, axe: str, report: Path) -> int:
    """How many views of a report are not clean."""
    plain = report.read_text("utf-8")
    page = plain.replace("</head>", EARLY, 1).replace("</body>", PROBE.format(axe=axe), 1)
    print(report.name)  # noqa: T201
    sections = SECTIONS.get(report.name, SECTIONS["report.html"])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(lambda view: _told(browser, folder, page, view), VIEWS.values()))
    bad = sum(not _clean(name, VIEWS[name], one, sections) for name, one in zip(VIEWS, told, strict=True))
    if 'id="summary"' in plain:
        bad += not _printed(browser, folder, plain)
    return bad


def _printed(browser: str, folder: Path, page: str) -> bool:
    """Does the summary print on two pages of A4 or letter paper, whichever the browser takes?"""
    (folder / "summary.html").write_text(page.replace("</head>", SUMMARY_ALONE, 1), "utf-8")
    paper = folder / "summary.pdf"
    _run(browser, folder, [f"--print-to-pdf={paper}", (folder / "summary.html").as_uri()])
    pages = len(re.findall(rb"/Type */Page\b", paper.read_bytes())) if paper.exists() else 0
    print(f"print: the summary takes {pages} pages, {SUMMARY_PAGES} at the most")  # noqa: T201
    return 0 < pages <= SUMMARY_PAGES


def _run(browser: str, folder: Path, arguments: list[str]) -> str | None:
    """What the browser wrote; None if it took too long."""
    command = [browser, *FLAGS, f"--user-data-dir={folder}/profile", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout


def _told(browser: str, folder: Path, page: str, view: View) -> dict[str, Any] | None:
    """What the page says of itself in a frame, since a window cannot be as narrow as a phone."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    (folder / "page.html").write_text(page, "utf-8")
    style = f"width:{view.width}px;height:900px;border:0"
    (folder / "frame.html").write_text(
        f'<!doctype html><body><iframe src="page.html" style="{style}"></iframe></body>'
    )
    shown = _run(browser, folder, [*view.flags, "--dump-dom", (folder / "frame.html").as_uri()])
    found = re.search(r'<pre id="told">(.*?)</pre>', shown or "", re.DOTALL)
    return dict(json.loads(unescape(found[1]))) if found else None


def _clean(name: str, view: View, told: dict[str, Any] | None, sections: int) -> bool:
    if told is None:
        print(f"{name}: the page did not answer within {SECONDS} s")  # noqa: T201
        return False
    faults = [*told["violations"], *told["errors"], *told["wide"], *told["counted"]]
    for what, asked in (("width", view.width), ("dark", view.dark), ("scale", view.scale)):
        if told[what] != asked:
            faults.append(f"{what} is {told[what]}, {asked} was asked for")
    if told["sections"] != sections:
        faults.append(f"{told['sections']} views on the page, {sections} expected")
    print(f"{name}: {told['passes']} rules passed, {len(faults)} faults")  # noqa: T201
    for fault in faults:
        print(f"  {fault}")  # noqa: T201
    return not faults


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
