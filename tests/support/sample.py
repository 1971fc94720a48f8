"""Makes docs/sample: `make sample` all of it, `make try-one` and `make picture` a part.

    make sample    assess --quick, attack run all --json, as `make try-one`, then as `make picture`; a step
                   that was made stays
    make try-one   try.json: what each design answers of four pictures, under every edit
    make picture   three recordings, follow.html, and the README's picture: a moment of two of them

What was spent stands in made.json beside the results, from which `block` writes the page's part.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from blindmatch_simulations.evaluation.assess.results import Measured, Results, check_folder, write_whole
from blindmatch_simulations.evaluation.studies.trying import TRY
from blindmatch_simulations.report.follow import Followed, followed
from blindmatch_simulations.report.page import asset
from blindmatch_simulations.testbed.scenario.recording import read_recording
from msgspec import to_builtins

from support.drawn import engine

SAMPLE: Final = Path(__file__).parents[2] / "docs" / "sample"
RUN: Final = Path("build/sample-run")
ANSWERS: Final = Path("build/sample-answers")
"""Answers of the designs that were asked, until `TRY` is written of all of them."""
TRY_ONE: Final = "make try-one"
MADE = "made.json"
PICTURE = "follow.svg"
PAGE = "follow.html"
WHOLE: Final = (
    "results.json",
    "attacks.json",
    "workload.toml",
    "findings.html",
    "report.html",
    TRY,
    MADE,
    "designs",
    "rows",
)
RECORDINGS: Final = {
    "oprf-psi.jsonl": ("oprf-psi", "nobody"),
    "hash-upload.jsonl": ("hash-upload", "nobody"),
    "malicious-matcher.jsonl": ("oprf-psi", "malicious-matcher"),
}
MOMENT: Final = 1
"""The step that the picture shows: the matcher is asked."""
WIDE = 640
TALL = 250
LINE = 19
LETTERS = 78
DRAW: Final = """(runs, at) => {
  const view = {...follow.opening(runs), at, parties: ["matcher"]}, drawn = follow.draw(runs, view);
  return {stages: markup(drawn.stages), panes: markup(drawn.panes), foot: markup(drawn.foot)};
}"""


def command(*words: str) -> None:
    subprocess.run([str(Path(sys.executable).with_name("blindmatch")), *words], check=True)


def ask_designs(out: Path) -> None:
    """Ask every design about the pictures of "Try one", and go on where an interrupted call ended."""
    words = ("-m", "blindmatch_simulations.evaluation.studies.trying_sessions", str(out), str(ANSWERS))
    subprocess.run([sys.executable, *words], check=True)
    shutil.rmtree(ANSWERS)


def spend(made: dict[str, dict[str, float]], name: str, step: Callable[[], None]) -> None:
    """Run a step, and add the seconds on the clock, and of CPU, of the processes that it starts to those of
    earlier tries; it is done when it ends well."""
    earlier = made.get(name, {})
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    at = time.monotonic()
    try:
        step()
    finally:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        made[name] = {
            "seconds": round(time.monotonic() - at) + earlier.get("seconds", 0),
            "cpu_seconds": round(cpu) + earlier.get("cpu_seconds", 0),
            "done": sys.exc_info()[0] is None,
        }


def run() -> None:
    """The assessment and all attacks, in a folder that an interrupted call goes on with."""
    RUN.mkdir(parents=True, exist_ok=True)
    file = RUN / MADE
    made = dict[str, Any]()
    if file.exists():
        made = json.loads(file.read_text("utf-8"))
    attacks = ("--json", str(RUN / "attacks.json"), "--keep", str(RUN / "attacks-kept.json"))
    steps = {
        "assess --quick": partial(command, "assess", "--quick", "--out", str(RUN)),
        "attack run all": partial(command, "attack", "run", "all", *attacks),
        TRY_ONE: partial(ask_designs, RUN / TRY),
    }
    for name, step in steps.items():
        if not made.get(name, {}).get("done"):
            try:
                spend(made, name, step)
            finally:
                file.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    command("report", str(RUN))
    for one in WHOLE:
        shutil.rmtree(SAMPLE / one) if (SAMPLE / one).is_dir() else (SAMPLE / one).unlink(missing_ok=True)
    for one in WHOLE:
        shutil.move(RUN / one, SAMPLE / one)
    shutil.rmtree(RUN)


def try_one() -> None:
    """Ask the designs for the sample that is there, and put what it took in the place of what it took before
    unless that call was interrupted."""
    file = SAMPLE / MADE
    made = json.loads(file.read_text("utf-8"))
    if made.get(TRY_ONE, {}).get("done"):
        del made[TRY_ONE]
    try:
        spend(made, TRY_ONE, partial(ask_designs, SAMPLE / TRY))
    finally:
        file.write_text(json.dumps(made, indent=1) + "\n", "utf-8")


def record() -> None:
    """The recordings, their page, and the README's picture."""
    paths = [SAMPLE / name for name in RECORDINGS]
    for path, (design, attack) in zip(paths, RECORDINGS.values(), strict=True):
        path.unlink(missing_ok=True)
        command("record", str(path), "--design", design, "--attack", attack)
        path.chmod(0o644)
    command("follow", *map(str, paths), "--out", str(SAMPLE / PAGE))
    write_whole(SAMPLE / PICTURE, moment(sample_runs()).encode())


def sample_runs() -> list[Followed]:
    """What the sample's page of followed pictures draws."""
    return [followed(read_recording(SAMPLE / name)) for name in RECORDINGS]


def moment(runs: Sequence[Followed]) -> str:
    """The first two runs at `MOMENT` as one SVG: the stages, the step in words, what the matcher has."""
    script = engine(asset("core.js") + asset("follow.js"))
    asked = json.dumps([to_builtins(runs), MOMENT])
    drawn = json.loads(script.eval(f"JSON.stringify(({DRAW})(...{asked}))"))
    stages = drawn["stages"].split("<section")[1:]
    panes = drawn["panes"].split("<section")[1:]
    tall = 62 + TALL + 4 * LINE
    parts = [_side(at, *both, runs[at].design) for at, both in enumerate(zip(stages, panes, strict=True))]
    title = "One innocent picture, followed through two designs: what the matcher has once it is asked"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDE + 20} {tall}" role="img" '
        f'aria-label="{title}"><title>{title}</title><style>{_style()}</style>'
        f'<rect width="{2 * WIDE + 20}" height="{tall}" style="fill:var(--bg)"/>'
        f'<text class="say big" x="16" y="30">{title}</text>{"".join(parts)}</svg>\n'
    )


def _side(at: int, stage: str, pane: str, design: str) -> str:
    (svg,) = re.findall(r"<svg viewBox[^>]*>(.*?)</svg>", stage, re.DOTALL)
    svg = re.sub(r' (?:id|data-\w+|role|tabindex|aria-\w+)="[^"]*"', "", svg)
    name = _words(re.findall(r"<h2>(.*?)<span", stage)[0])
    level = re.findall(r'<ul class="level">(.*?)</ul>', pane, re.DOTALL)[0]
    has = " ".join(_words(one) for one in re.findall(r"<b>(.*?)</b>", level))
    step = _words(re.findall(r'<p class="step">(.*?)</p>', stage, re.DOTALL)[0])
    lines = [f"The matcher: {has}", *_wrapped(step)]
    below = "".join(
        f'<text class="say{" big" * (not row)}" x="16" y="{62 + TALL + LINE * (row + 1)}">{one}</text>'
        for row, one in enumerate(lines)
    )
    return (
        f'<g transform="translate({at * (WIDE + 20)} 0)"><text class="say big" x="16" y="60">{name} '
        f'<tspan class="soft">{design}</tspan></text><svg class="stage" y="62" width="{WIDE}" '
        f'height="{TALL}" viewBox="0 0 {WIDE} {TALL}">{svg}</svg>{below}</g>'
    )


def _words(html: str) -> str:
    return " ".join(re.sub("<[^>]*>", "", html).split())


def _wrapped(words: str) -> list[str]:
    lines = [""]
    for word in words.split():
        # an entity is one letter
        if len(re.sub("&#?\\w+;", "x", f"{lines[-1]} {word}")) > LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _style() -> str:
    """The rules of the page for its stage, with its colours, light and dark."""
    rules = (asset("page.css") + asset("follow.css")).splitlines()
    kept = [one for one in rules if one.startswith((":root", ".stage .", ".k-", ".mk ")) or "{:root" in one]
    dark = [one.replace("@media screen and", "@media") for one in kept]
    return (
        "".join(dark) + ".say{font:15px system-ui,sans-serif;fill:var(--fg)}.big{font-weight:600}"
        ".soft{font-weight:400;fill:var(--soft)}"
    )


def block(folder: Path = SAMPLE) -> str:
    """What the sample's page says of its run: figures of its own files alone."""
    results: Results = check_folder(folder)
    designs = [one for one in results.rows if isinstance(one, Measured)]
    checks = [(one.id, check) for one in designs for check in one.checks]
    kept = sum(bool(check.figures.get("committed")) for _, check in checks)
    open_ = [f"`{check.check}` of {name}" for name, check in checks if check.verdict == "not checked"]
    failed = [f"`{check.check}` of {name}" for name, check in checks if check.verdict == "failed"]
    studies = len(results.rows) - len(designs)
    rows = json.loads((folder / "attacks.json").read_text("utf-8"))["rows"]
    played = sum(one["kind"] == "attack" for one in rows)
    told = [
        f"The run has {len(designs)} designs and {studies} study, made on {results.made_at[:10]} on "
        f"{results.machine.cores} cores of {results.machine.processor}.",
        *_times(folder),
        f"{kept:,} of the {len(checks):,} checks are committed evidence; the rest ran here."
        f" Failed: {', '.join(failed) or 'none'}; not checked, since the budget ended: "
        f"{', '.join(open_) or 'none'}.",
        f"{played:,} attacks were played; {len(rows) - played:,} were not, each for a reason given.",
    ]
    lines = [wrap(f"- {one}", 118, subsequent_indent="  ", break_on_hyphens=False) for one in told]
    return "".join(f"{line}\n" for some in lines for line in some)


def _times(folder: Path) -> list[str]:
    file = folder / MADE
    if not file.exists():
        return []
    made = json.loads(file.read_text("utf-8"))
    return [
        "; ".join(
            f"`{name}` took {_minutes(one['seconds'])}"
            + (f", and {_minutes(one['cpu_seconds'])} of CPU" if "cpu_seconds" in one else "")
            for name, one in made.items()
        )
        + "."
    ]


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


if __name__ == "__main__":
    if sys.argv[1:] == ["try"]:
        try_one()
        sys.exit()
    if sys.argv[1:] == ["all"]:
        run()
    record()
