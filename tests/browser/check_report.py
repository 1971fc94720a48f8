"""Checks a report in headless Chromium with axe-core: narrow and wide, light and dark, and at 200 % zoom.

    python tests/browser/check_report.py REPORT.html AXE.min.js

No test of the suite: it needs a browser. `make test-browser` fetches axe-core and runs it. Exit code 1 on a
violation of WCAG 2.1 A or AA, on a view that is wider than the window, on an error of the page's script, and
if the browser did not show what was asked for: the width, the colours, the zoom, all views of the page.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-component-update", "--disable-background-networking", "--disable-sync",
    "--virtual-time-budget=60000", "--dump-dom", "--allow-file-access-from-files", "--window-size=1400,1000",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
SECTIONS = 11


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
PROBE = """
<script>{axe}</script><script>
window.addEventListener("load", () => {{
  document.querySelectorAll("details").forEach((one, at) => {{ one.open = at % 7 === 0; }});
  axe.run(document, {{runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}).then((found) => {{
    const told = {{
      violations: found.violations.map((v) => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]),
      passes: found.passes.length, errors: window.probeErrors,
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
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
EARLY = """<script>window.probeErrors = [];
window.onerror = (words) => { window.probeErrors.push(String(words)); };</script></head>"""


def main(report: Path, axe: Path) -> int:
    """Check every view; 1 if one is not clean."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print("no browser: install chromium", file=sys.stderr)  # noqa: T201
        return 2
    page = report.read_text("utf-8").replace("</head>", EARLY, 1)
    page = page.replace("</body>", PROBE.format(axe=axe.read_text("utf-8")), 1)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(page, "utf-8")
        for name, view in VIEWS.items():
            bad += not _clean(name, view, _told(browser, Path(folder), view))
    return 1 if bad else 0


def _told(browser: str, folder: Path, view: View) -> dict[str, Any] | None:
    """What the page says of itself in a frame, since a window cannot be as narrow as a phone."""
    style = f"width:{view.width}px;height:900px;border:0"
    (folder / "frame.html").write_text(
        f'<!doctype html><body><iframe src="page.html" style="{style}"></iframe></body>'
    )
    command = [browser, *FLAGS, *view.flags, f"--user-data-dir={folder}/profile"]
    try:
        done = subprocess.run(
            [*command, (folder / "frame.html").as_uri()],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    return dict(json.loads(unescape(found[1]))) if found else None


def _clean(name: str, view: View, told: dict[str, Any] | None) -> bool:
    if told is None:
        print(f"{name}: the page did not answer within {SECONDS} s")  # noqa: T201
        return False
    faults = [*told["violations"], *told["errors"]]
    if told["wide"] > 0:
        faults.append(f"wider than the window by {told['wide']} pixels")
    for what, asked in (("width", view.width), ("dark", view.dark), ("scale", view.scale)):
        if told[what] != asked:
            faults.append(f"{what} is {told[what]}, {asked} was asked for")
    if told["sections"] != SECTIONS:
        faults.append(f"{told['sections']} views on the page, {SECTIONS} expected")
    print(f"{name}: {told['passes']} rules passed, {len(faults)} faults")  # noqa: T201
    for fault in faults:
        print(f"  {fault}")  # noqa: T201
    return not faults


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
