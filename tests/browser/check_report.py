"""Checks a report in headless Chromium with axe-core: narrow and wide, light and dark, and at 200 % zoom.

    python tests/browser/check_report.py REPORT.html AXE.min.js

No test of the suite: it needs a browser. `make test-browser` fetches axe-core and runs it. Exit code 1 on a
violation of WCAG 2.1 A or AA, on a view that is wider than the window, or on an error of the page's script.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-component-update", "--disable-background-networking", "--disable-sync",
    "--virtual-time-budget=60000", "--dump-dom", "--allow-file-access-from-files", "--window-size=1400,1000",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
VIEWS = {
    "wide": ("1280px", ()),
    "wide, dark": ("1280px", (DARK,)),
    "narrow": ("390px", ()),
    "narrow, dark": ("390px", (DARK,)),
    "200 % zoom": ("640px", ("--force-device-scale-factor=2",)),
}
SECONDS = 180
PROBE = """
<script>{axe}</script><script>
window.addEventListener("load", () => {{
  document.querySelectorAll("details").forEach((one, at) => {{ one.open = at % 7 === 0; }});
  axe.run(document, {{runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}).then((found) => {{
    const told = {{
      violations: found.violations.map((v) => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]),
      passes: found.passes.length, errors: window.probeErrors,
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
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
        for name, (width, flags) in VIEWS.items():
            bad += not _clean(name, _told(browser, Path(folder), width, flags))
    return 1 if bad else 0


def _told(browser: str, folder: Path, width: str, flags: tuple[str, ...]) -> dict[str, object] | None:
    """What the page says of itself in a frame of `width`, since a window cannot be as narrow as a phone."""
    frame = (
        f'<!doctype html><body><iframe src="page.html" style="width:{width};height:900px"></iframe></body>'
    )
    (folder / "frame.html").write_text(frame)
    command = [browser, *FLAGS, *flags, f"--user-data-dir={folder}/profile", (folder / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    return dict(json.loads(unescape(found[1]))) if found else None


def _clean(name: str, told: dict[str, object] | None) -> bool:
    if told is None:
        print(f"{name}: the page did not answer")  # noqa: T201
        return False
    faults = [*(told["violations"] or ()), *(told["errors"] or ())]  # type: ignore[misc]
    if int(str(told["wide"])) > 0:
        faults.append(f"wider than the window by {told['wide']} pixels")
    print(f"{name}: {told['passes']} rules passed, {len(faults)} faults")  # noqa: T201
    for fault in faults:
        print(f"  {fault}")  # noqa: T201
    return not faults


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
