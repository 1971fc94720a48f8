"""Checks the page that follows a picture in headless Chromium with axe-core: wide, on a phone, dark, at rest.

    python tests/browser/check_follow.py AXE.min.js

No test of the suite: it needs a browser. `make test-browser` runs it. It records two runs, an honest one and
one under attack. Exit code 1 on a violation of WCAG 2.1 A or AA or of axe-core's best practice, on an error
of the script, on a part that is wider than its place, if keys do not step, go back, choose and play, if a
step back is not the page as it was, or if a recording's words run.
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
from typing import Any

import msgspec
from blindmatch_simulations.evaluation.attacks.followed import record
from blindmatch_simulations.report.follow import Followed, followed
from blindmatch_simulations.report.page import follow_page
from blindmatch_simulations.report.printing import BROWSERS
from blindmatch_simulations.testbed.scenario.recording import read_recording
from msgspec.structs import replace

DARK = "--blink-settings=preferredColorScheme=0"
VIEWS: dict[str, tuple[int, list[str]]] = {
    "wide": (1366, []),
    "phone": (360, []),
    "phone, dark": (360, [DARK]),
    "wide, dark, no motion": (1366, [DARK, "--force-prefers-reduced-motion"]),
}
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
BAD = (
    "</script><script>parent.tainted=1</script><img src=x onerror=parent.tainted=1>"
    "javascript:parent.tainted=1"
)
LONG = "x" * 600
"""A word that no line is wide enough for."""
PROBE = Path(__file__).with_name("followed.js")


def main(axe: Path) -> int:
    """Check every view; 1 if one is not clean."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print("no browser: install chromium", file=sys.stderr)  # noqa: T201
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = list[Followed]()
        for attack in ("malicious-matcher", "nobody"):
            record(folder / f"{attack}.jsonl", "oprf-psi", attack)
            told.append(followed(read_recording(folder / f"{attack}.jsonl")))
        scripts = "</script><script>".join((axe.read_text("utf-8"), PROBE.read_text("utf-8")))
        probe = f"<script>{scripts}</script></body>"
        bad = 0
        page = POLICY.sub("", follow_page(told)).replace("</body>", probe)
        for view, (width, flags) in VIEWS.items():
            bad += not _clean(view, width, _seen(browser, folder, page, width, flags))
        marked = "<script>window.marked = true</script></head>"
        made = POLICY.sub("", follow_page([_marked(told[0], LONG)])).replace("</body>", probe)
        # `_marked` adds a party, on the one side that is drawn
        made = made.replace("</head>", "<script>window.boxes = 7</script></head>")
        for view in ("wide", "phone"):
            width, flags = VIEWS[view]
            bad += not _clean(f"{view}, long words", width, _seen(browser, folder, made, width, flags))
        for view, made in (("marked", follow_page([_marked(told[0])])), ("marked, no policy", "")):
            made = made or POLICY.sub("", follow_page([_marked(told[0])]))
            if "no policy" in view:
                made = made.replace("</head>", marked).replace("</body>", probe)
            bad += not _clean(view, 1366, _seen(browser, folder, made, 1366, []))
        whole = folder / "whole.html"
        whole.write_text(follow_page(told), "utf-8")
        shown = _dom(browser, whole, [])
        good = (
            len(re.findall(r'class="box( has)?" role', shown)) == 12 and "Drawn from recorded runs" in shown
        )
        print(f"{'as written, with its policy':28} {'clean' if good else 'NOT DRAWN'}")  # noqa: T201
    return 1 if bad or not good else 0


def _marked(told: Followed, word: str = BAD) -> Followed:
    """Return a run with `word`, by default marks of script, wherever a recording has words."""
    made: Any = msgspec.to_builtins(told)
    made |= dict.fromkeys(("design", "option", "summary", "made_at"), word) | {"left_out": [word]}
    made["attack"] = {"name": word, "holds": ["matcher"], "does": word}
    for row in made["declared"]:
        row["facts"] = [{**one, "says": word} for one in row["facts"]]
    for one in made["steps"]:
        one |= {"says": word, "notices": [[word, word]]}
    made["scenes"] = [{**one, "picture": word, "sender": word, "what": word} for one in made["scenes"]]
    made["parties"] = [[word, "device"], *made["parties"]]
    return replace(told, **{name: getattr(msgspec.convert(made, Followed), name) for name in made})


LATER = """<script>setTimeout(() => {
  if (document.getElementById("told")) return;
  const place = document.createElement("pre");
  place.id = "told";
  place.textContent = JSON.stringify({tainted: !!window.tainted});
  document.body.append(place);
}, 8000)</script>"""
"""For a page as it was written, which tells nothing."""


def _dom(browser: str, page: Path, flags: list[str]) -> str:
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=30000",
        "--allow-file-access-from-files",
        "--window-size=1500,900",
        *flags,
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, check=False, timeout=600).stdout.decode()


def _seen(browser: str, folder: Path, page: str, width: int, flags: list[str]) -> dict[str, Any]:
    (folder / "inner.html").write_text(page, "utf-8")
    frame = f'<iframe src="inner.html" width="{width}" height="768" style="border:0"></iframe>'
    (folder / "outer.html").write_text(f"<!doctype html><body>{frame}{LATER}", "utf-8")
    found = re.search(r'<pre id="told">(.*?)</pre>', _dom(browser, folder / "outer.html", flags), re.DOTALL)
    made: dict[str, Any] = json.loads(unescape(found[1])) if found else {"errors": ["nothing was drawn"]}
    return made


def _clean(view: str, width: int, told: dict[str, Any]) -> bool:
    wrong = [*told.get("violations", ()), *told.get("wrong", ()), *told.get("errors", ())]
    if told.get("tainted"):
        wrong.append("words of a recording ran")
    if "dark" in view and not told.get("dark"):
        wrong.append("not shown dark")
    if "width" in told and told["width"] != width:
        wrong.append(f"shown {told['width']} pixels wide")
    print(f"{view:28} {wrong or 'clean'} {told.get('words', '')}")  # noqa: T201
    return not wrong


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
