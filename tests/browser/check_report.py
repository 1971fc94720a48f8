"""Checks reports in headless Chromium with axe-core: narrow and wide, light and dark, and at 200 % zoom.

    python tests/browser/check_report.py AXE.min.js REPORT.html [COMPARISON.html ...]

No test of the suite: it needs a browser. `make test-browser` fetches axe-core and runs it. Exit code 1 on a
violation of WCAG 2.1 A or AA, with numbers closed and with one opened; on an error of the page's script; on
more words, screens or printed pages than the page may have; and if the browser did not show what was asked
for: the width, the colours, the zoom, all parts of the page. 200 % zoom is a window of 1280 pixels that shows
640 CSS pixels. There, and at every other width, with all folds open, nothing may be wider than its place: not
the page, a part, a table, or the words of a figure. The page must follow its address, keep what is chosen in
it, refuse inputs out of bounds, draw a results file that is handed to it, and refuse an edited one.

The page as it was written is driven from outside, too: every link is clicked and must open something, going
back keeps what was chosen, and of results files with a mark of script in each field nothing runs
(`support.tainted`), drawn by the command or handed to the page, with its Content-Security-Policy and without.

The button that measures this device is pressed in that page, by a real clock: it must give a time for every
design it names, and keep it while the page is drawn again.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from blindmatch_simulations.evaluation.assess.results import Results
from blindmatch_simulations.report.page import report
from blindmatch_simulations.report.printing import BROWSERS
from msgspec import Struct
from msgspec.json import decode, encode

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tainted

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-component-update", "--disable-background-networking", "--disable-sync",
    "--virtual-time-budget=60000", "--allow-file-access-from-files",
    "--disable-ipc-flooding-protection", "--window-size=1400,1000",
)  # fmt: skip
DRIVER = Path(__file__).with_name("driven.js")
PRESSING = Path(__file__).with_name("pressed.js")
OWN_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
DARK = "--blink-settings=preferredColorScheme=0"
REPORT = "report.html"
LEAST_PARTS = 10
PARTS = "#matrix"
MOST_PAGES = 4
"""Pages that the parts print on, at most."""
MOST_SHEET = 2
"""Pages that the sheet prints on, at most."""
SCREEN = 768
"""Pixels of height of a screen."""
PHONE = 800
"""Pixels of height of a phone's screen."""


class View(Struct, frozen=True):
    """How the page is looked at: CSS pixels of width, dark or light, device pixels for each; where on it."""

    width: int
    dark: bool = False
    scale: int = 1
    place: str = ""

    @property
    def flags(self) -> list[str]:
        """What the browser is started with."""
        return [*([DARK] if self.dark else []), f"--force-device-scale-factor={self.scale}"]


VIEWS = {
    "wide": View(1366, place=PARTS),
    "wide, dark": View(1366, dark=True, place=PARTS),
    "narrow": View(360, place=PARTS),
    "narrow, dark": View(360, dark=True, place=PARTS),
    "200 % zoom": View(640, scale=2, place=PARTS),
    "sheet": View(1366),
    "sheet, narrow, dark": View(360, dark=True),
}
SECONDS = 600
"""After this time a browser counts as hung."""
AT_ONCE = 2
"""Pages looked at side by side."""
MOST_ASKED = 3
"""How often a page is asked that does not answer, each time by a new browser."""
PROBE = """
<script>{axe}</script><script>
const tooWide = () => {{
  const found = [], page = document.documentElement, name = (one) => one.id || one.getAttribute("aria-label");
  const told = (what, by) => {{
    if (by > 0) found.push(`${{what}} is wider than its place by ${{by}} pixels`);
  }};
  told("the page", page.scrollWidth - page.clientWidth);
  for (const one of document.querySelectorAll("main > section, .scroll, .edit, dl, nav"))
    if (one.checkVisibility()) told(name(one) || one.className, one.scrollWidth - one.clientWidth);
  for (const one of document.querySelectorAll("svg text")) {{
    if (!one.checkVisibility()) continue;
    const place = one.ownerSVGElement.getBoundingClientRect(), own = one.getBoundingClientRect();
    const sides = Math.max(place.left - own.left, own.right - place.right);
    const over = Math.max(sides, place.top - own.top, own.bottom - place.bottom);
    told(`"${{one.textContent}}" in ${{name(one.ownerSVGElement)}}`, Math.floor(over));
  }}
  return found;
}};
const by = (id) => document.getElementById(id);
// turns of the event loop, since the browser's virtual time runs ahead of what it waits for
const turn = () => new Promise((resolve) => {{
  const channel = new MessageChannel();
  channel.port1.onmessage = resolve;
  channel.port2.postMessage(0);
}});
// a dialog tells its close with a drawn frame, which a busy machine draws late: so some frames must pass
const until = async (holds) => {{
  let frames = 0, at = 0;
  const frame = () => {{ if (++frames < 10) requestAnimationFrame(frame); }};
  requestAnimationFrame(frame);
  for (; !holds() && (at < 100000 || (frames < 10 && at < 4000000)); at++) await turn();
  return holds();
}};
const FOR = {{runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}};
const words = () => {{
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), parts = [];
  let last = null;
  while (walker.nextNode()) {{
    const one = walker.currentNode, within = one.parentElement;
    if (!within.closest("script, style, option, caption, title") && within.checkVisibility()) {{
      const block = within.closest("text, td, th, li, p, h1, h2, dt, dd, summary, label, button");
      parts.push(block === last ? "" : " ", one.data);
      last = block;
    }}
  }}
  return parts.join("").split(/[ \\n]+/).filter(Boolean).length;
}};
const misled = async () => {{
  const found = [], told = (good, what) => {{ if (!good) found.push(what); }};
  const place = document.querySelectorAll("#matrix td a.n")[2].getAttribute("href").slice(1);
  const evidence = by("evidence"), body = by("evidence-body");
  location.hash = place;
  const shows = () => evidence.open && body.textContent.includes("results.json");
  told(await until(shows), `${{place}} opens nothing`);
  const opened = await axe.run(document, FOR);
  told(!opened.violations.length, `opened: ${{opened.violations.map((one) => [one.id, one.nodes[0].html])}}`);
  evidence.close();
  told(await until(() => !location.hash.includes(place)), "a closed number stays in the address");
  const field = by("in-volume"), was = field.value;
  const cell = () => document.querySelector("#matrix tbody tr td:nth-child(5)").textContent;
  const before = cell(), counted = () => by("year").textContent;
  for (const bad of ["-1", "", "1e300"]) {{
    field.value = bad;
    field.dispatchEvent(new Event("input", {{bubbles: true}}));
    told(by("scale-says").textContent.includes("must be"), `volume: ${{bad || "nothing"}} was taken`);
    told(cell() === before, "figures follow what was refused");
  }}
  field.value = 1000;
  field.dispatchEvent(new Event("input", {{bubbles: true}}));
  told(cell() !== before && location.hash.includes("volume=1000"), `not kept: ${{location.hash}}`);
  told(counted().includes("Not computed"), "more known files than pictures are counted");
  location.hash = "year";
  await until(() => field.value === was);
  const slide = by("at-errors"), year = counted();
  const first = slide.getAttribute("aria-valuetext");
  told(first === "not known" && year.includes(" to "), "a slider does not say where it is");
  slide.value = 500;
  slide.dispatchEvent(new Event("input", {{bubbles: true}}));
  told(await until(() => location.hash.includes("errors=")), `a slider is not kept: ${{location.hash}}`);
  told(counted() !== year && counted().includes("as chosen"), "the year does not follow its slider");
  told(slide.getAttribute("aria-valuetext").startsWith("one in"), "a moved slider says where it was");
  location.hash = "missed&open=missed-tables";
  told(await until(() => field.value === was && cell() === before), "the address is not followed");
  told(by("missed-tables").open, "a fold of the address is closed");
  location.hash = "term-PDQ";
  told(await until(() => by("glossary").open), "a term's place stays folded");
  const run = JSON.parse(by("data").textContent).runs[0], files = async (text) => {{
    const list = new DataTransfer();
    list.items.add(new File([text], "results.json"));
    by("files-say").textContent = "";
    by("in-files").files = list.files;
    by("in-files").dispatchEvent(new Event("input", {{bubbles: true}}));
    await until(() => by("files-say").textContent);
    return by("files-say").textContent;
  }};
  told((await files("{{}}")).includes("refused"), "another file was drawn");
  told((await files(JSON.stringify(run))).includes("edited"), "an edited file was drawn");
  const said = await files(JSON.stringify({{...run, digest: ""}}));
  told(said.includes(": drawn") && by("runs"), `a results file was not drawn: ${{said}}`);
  return found;
}};
window.addEventListener("load", async () => {{
  const shown = {{words: words(), height: document.documentElement.scrollHeight}};
  const evidence = document.querySelectorAll("details");
  const closed = tooWide();
  evidence.forEach((one) => {{ one.open = true; }});
  const opened = tooWide();
  evidence.forEach((one, at) => {{ one.open = at % 7 === 0; }});
  const found = await axe.run(document, FOR);
  const sections = document.querySelectorAll("main > section").length;
  const links = by("nav").querySelectorAll("a").length;
  const told = {{
    violations: found.violations.map((v) => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]),
    passes: found.passes.length, errors: window.probeErrors, wide: [...new Set([...closed, ...opened])],
    counted: by("sheet") ? [] : await misled().catch((error) => [String(error)]), sections, links, ...shown,
    dark: matchMedia("(prefers-color-scheme: dark)").matches, scale: devicePixelRatio, width: innerWidth,
  }};
  const place = parent.document.createElement("pre");
  place.id = "told";
  place.textContent = JSON.stringify(told);
  parent.document.body.append(place);
}});
</script></body>"""
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


def _faulty(browser: str, folder: Path, axe: str, file: Path) -> int:
    """How many views of a report are not clean."""
    plain = file.read_text("utf-8")
    page = OWN_POLICY.sub("", plain).replace("</head>", EARLY, 1).replace("</body>", PROBE.format(axe=axe), 1)
    print(file.name)  # noqa: T201
    # a page of several runs has the same style, and its sheet is the same
    views = VIEWS if file.name == REPORT else {name: VIEWS[name] for name in ("wide", "narrow, dark")}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(lambda view: _told(browser, folder, page, view), views.values()))
    for at, (name, view) in enumerate(views.items()):
        told[at] = told[at] or _at_last(name, partial(_told, browser, folder, page, view))
    bad = sum(not _clean(name, views[name], one) for name, one in zip(views, told, strict=True))
    bad += not _printed(browser, folder, file)
    bad += not _measured(browser, folder, plain)
    return bad + (_driven(browser, folder, plain) if file.name == REPORT else 0)


def _driven(browser: str, folder: Path, plain: str) -> int:
    """How many of the driven pages, each as it was written, are not clean."""
    made = tainted.whole()
    words = tainted.with_marked_words(made)
    keys = tainted.with_marked_keys(made)
    handed = [("plain", tainted.as_file(made).decode(), "drawn")]
    for row in words["rows"]:
        row["id"] = row["id"].replace(tainted.MARK, "") if row["kind"] == "design" else row["id"]
    marked = [
        (name, tainted.as_file(one).decode(), "drawn") for name, one in (("words", words), ("keys", keys))
    ]
    single = [
        (".".join(map(str, at)), tainted.as_file(tainted.with_mark(made, at)).decode(), "refused: ")
        for at in tainted.places(made)
        if not (isinstance(tainted.value_at(made, at), str) or {"options", "parameters", "checks"} & {*at})
    ]
    bare = OWN_POLICY.sub("", plain)
    drawn = _drawn(folder, words)
    jobs: dict[str, tuple[str, dict[str, Any]]] = {
        "links": (plain, {"links": True, "back": True, "files": [], "guarded": True}),
        "marked files": (plain, {"files": [*handed, *marked, *single]}),
        "marked files, no policy": (bare, {"files": [*marked, *single]}),
        "drawn with marks": (drawn, {"files": [], "links": True, "guarded": True}),
        "drawn with marks, no policy": (OWN_POLICY.sub("", drawn), {"files": [], "links": True}),
        "drawn with a wrong field": (
            plain.replace('"pictures":{"edits"', '"pictures":{"listed":"<b>","edits"', 1).replace(
                '"listed":4,', "", 1
            ),
            {"files": [], "refused": "options.pictures.listed: must be a whole number"},
        ),
    }
    bad = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda job: _asked(browser, folder, *job), jobs.values()))
    for at, (name, job) in enumerate(jobs.items()):
        answers[at] = answers[at] or _at_last(name, partial(_asked, browser, folder, *job))
    for name, told in zip(jobs, answers, strict=True):
        faults = told["faults"] if told else [f"no answer, asked {MOST_ASKED} times"]
        print(f"{name}: {told['links'] if told else 0} links clicked, {len(faults)} faults")  # noqa: T201
        for fault in faults:
            print(f"  {fault}")  # noqa: T201
        bad += bool(faults)
    return bad


def _measured(browser: str, folder: Path, plain: str) -> bool:
    """Does the button measure this device, by a real clock, in the page as it was written? What it found is
    printed."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    (folder / "page.html").write_text(plain, "utf-8")
    pressing = PRESSING.read_text("utf-8")
    (folder / "frame.html").write_text(
        '<!doctype html><body><iframe src="page.html" style="width:1280px;height:900px;border:0"></iframe>'
        f'<img src="held" alt=""><script>{pressing}</script></body>'
    )
    with _holding(folder) as address:
        # in the browser's virtual time computing takes no time
        real = [one for one in FLAGS if not one.startswith("--virtual-time-budget")]
        shown = _run(browser, folder, ["--dump-dom", f"{address}/frame.html"], real)
    found = re.search(r'<pre id="told">(.*?)</pre>', shown or "", re.DOTALL)
    told = json.loads(unescape(found[1])) if found else {"faults": ["no answer"], "said": []}
    print(f"measured on this device: {'; '.join(told['said'])}; {len(told['faults'])} faults")  # noqa: T201
    for fault in told["faults"]:
        print(f"  {fault}")  # noqa: T201
    return not told["faults"]


@contextmanager
def _holding(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; the file `held` is answered once `release` was asked for, so that a page
    with it counts as loading until then."""
    released = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/release":
                released.set()
            elif self.path == "/held":
                released.wait(SECONDS)
            super().do_GET()

        def log_message(self, *words: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        released.set()
        server.shutdown()
        server.server_close()


def _drawn(folder: Path, made: dict[str, Any]) -> str:
    """The page that the command draws of a marked file."""
    rows = [row for row in made["rows"] if row["kind"] != "attack"]
    return report(folder, [decode(encode({**made, "rows": rows}), type=Results)])


def _asked(browser: str, folder: Path, page: str, asked: dict[str, Any]) -> dict[str, Any] | None:
    folder = Path(tempfile.mkdtemp(dir=folder))
    (folder / "page.html").write_text(page, "utf-8")
    held = json.dumps(asked).replace("<", "\\u003c")
    style = "width:1280px;height:900px;border:0"
    driver = DRIVER.read_text("utf-8")
    (folder / "frame.html").write_text(
        f'<!doctype html><body><iframe src="page.html" style="{style}"></iframe>'
        f'<script type="application/json" id="asked">{held}</script><script>{driver}</script>'
    )
    shown = _run(
        browser, folder, ["--virtual-time-budget=100000000", "--dump-dom", (folder / "frame.html").as_uri()]
    )
    found = re.search(r'<pre id="told">(.*?)</pre>', shown or "", re.DOTALL)
    return dict(json.loads(unescape(found[1]))) if found else None


def _printed(browser: str, folder: Path, report: Path) -> bool:
    """Do the parts print on `MOST_PAGES`, and the sheet on `MOST_SHEET`?"""
    pages, sheet = (_pages(browser, folder, report.resolve().as_uri() + place) for place in (PARTS, ""))
    print(f"print: {pages} pages, at most {MOST_PAGES}; sheet: {sheet}, at most {MOST_SHEET}")  # noqa: T201
    return (1 < pages <= MOST_PAGES and sheet <= MOST_SHEET) or report.name != REPORT


def _pages(browser: str, folder: Path, address: str) -> int:
    paper = folder / "page.pdf"
    paper.unlink(missing_ok=True)
    _run(browser, folder, [f"--print-to-pdf={paper}", address])
    return len(re.findall(rb"/Type */Page\b", paper.read_bytes())) if paper.exists() else 0


def _run(browser: str, folder: Path, arguments: list[str], flags: Sequence[str] = FLAGS) -> str | None:
    """What the browser wrote; None if it took too long."""
    command = [browser, *flags, f"--user-data-dir={folder}/profile", *arguments]
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
        f'<!doctype html><body><iframe src="page.html{view.place}" style="{style}"></iframe></body>'
    )
    shown = _run(browser, folder, [*view.flags, "--dump-dom", (folder / "frame.html").as_uri()])
    found = re.search(r'<pre id="told">(.*?)</pre>', shown or "", re.DOTALL)
    return dict(json.loads(unescape(found[1]))) if found else None


def _at_last(name: str, ask: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """What a page says that did not answer at first: asked of new browsers, with nothing beside them."""
    for _ in range(MOST_ASKED - 1):
        print(f"{name}: no answer, asked again of a new browser")  # noqa: T201
        if told := ask():
            return told
    return None


def _clean(name: str, view: View, told: dict[str, Any] | None) -> bool:
    """Is a view clean?"""
    if told is None:
        print(f"{name}: the page did not answer, asked {MOST_ASKED} times")  # noqa: T201
        return False
    faults = [*told["violations"], *told["errors"], *told["wide"], *told["counted"]]
    for what, asked in (("width", view.width), ("dark", view.dark), ("scale", view.scale)):
        if told[what] != asked:
            faults.append(f"{what} is {told[what]}, {asked} was asked for")
    expected = max(LEAST_PARTS, told["links"] - 1) if view.place else 1
    if told["sections"] != expected:
        faults.append(f"{told['sections']} parts on the page, not {expected}")
    phone = view.width <= 360
    screens = told["height"] / (PHONE if phone else SCREEN)
    print(f"{name}: {told['words']} words, {screens:.1f} screens")  # noqa: T201
    print(f"{name}: {told['passes']} rules passed, {len(faults)} faults")  # noqa: T201
    for fault in faults:
        print(f"  {fault}")  # noqa: T201
    return not faults


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
