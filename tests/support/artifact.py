"""What checks each claim, and what it costs: the table of ARTIFACT.md.

    make artifact                       measure the commands that have no figure yet
    make artifact ARGS="'make interop'"   measure these again

CPU seconds go to docs/artifact.json; those of the sample are its own. A command that fails has no figure.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from blindmatch_simulations.evaluation.rederived import CLOSE
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE
from blindmatch_simulations.measure.machine import machine

from support import sample
from support.page_tables import table
from support.wheel import ROOT

DATA: Final = ROOT / "docs" / "artifact.json"
FORMAT: Final = "blindmatch-artifact"
DEAR: Final = "dear"
"""Measured by name alone."""


class Claim(NamedTuple):
    """What is claimed, the command that checks it, and by how much its figures may differ elsewhere.

    Attributes:
        of: the entry of the sample's made.json with the CPU time; `DEAR`; else empty.
    """

    claim: str
    command: str
    tolerance: str
    of: str = ""


GAMES: Final = f"intervals of {100 * GAME_CONFIDENCE:g} %"
CLAIMS: Final = (
    Claim("the sample's figures follow from its raw rows", "blindmatch results verify docs/sample",
          f"{CLOSE:g} of each number"),
    Claim("each number of the sample's first two views follows from committed data, by other code",
          "make first-views", "stated beside each number"),
    Claim("every message arrives; matches alone are reported", "blindmatch demo", "none"),
    Claim("`none` does what it declares, as far as checks see", "blindmatch conformance none", GAMES),
    Claim("so does `oprf-psi`", "blindmatch conformance oprf-psi", GAMES),
    Claim("so do all, in large games", "make checks", GAMES, DEAR),
    Claim("checks catch every planted cheat", "make mutation-score", "none", DEAR),
    Claim("designs compare as in the sample", "blindmatch assess --quick --out DIR",
          "intervals of 95 %; timings in u", "assess --quick"),
    Claim("attacks come to what the pages claim", "blindmatch attack run all --json FILE", GAMES,
          "attack run all"),
    Claim("recall and false matches on the reference corpus", "blindmatch corpus evidence", "none"),
    Claim("the projected year", "blindmatch population --json FILE", "none for one seed"),
    Claim("how costs grow", "make growth", "intervals of 95 %", DEAR),
    Claim("costs beside peers'", "make peers", "least and largest of repeats", DEAR),
    Claim("the wheel is the same twice", "make wheel", "none"),
    Claim("the wheel runs outside the repository", "make wheel-check", "none"),
    Claim("programs of others agree", "make counterparts", "none"),
    Claim("a device in JavaScript agrees", "make interop", "none"),
)  # fmt: skip


def kept() -> dict[str, Any]:
    """What was measured: CPU seconds by command, each with its processor."""
    return dict(json.loads(DATA.read_text("utf-8"))["measured"]) if DATA.exists() else {}


def minutes(claim: Claim) -> str:
    """CPU minutes of a command, to two digits; `not measured` without a figure."""
    file = sample.SAMPLE / sample.MADE
    made = json.loads(file.read_text("utf-8")) if claim.of not in ("", DEAR) and file.exists() else kept()
    seconds = made.get(claim.of if claim.of not in ("", DEAR) else claim.command, {}).get("cpu_seconds")
    return "not measured" if seconds is None else f"{seconds / 60:.2g}"


def claims() -> str:
    """A row for each claim."""
    rows = [(one.claim, f"`{one.command}`", minutes(one), one.tolerance) for one in CLAIMS]
    return table(("claim", "command", "CPU-minutes", "tolerance"), rows)


def spent(command: str) -> float:
    """CPU seconds of a command in the repository; its placeholders stand for files of a folder of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        places = {"DIR": f"{folder}/dir", "FILE": f"{folder}/file"}
        words = [places.get(word, word) for word in shlex.split(command)]
        environment = {**os.environ, "BLINDMATCH_HOME": f"{folder}/home"}
        if words[0] == "blindmatch":
            words[0] = str(Path(sys.executable).with_name("blindmatch"))
        subprocess.run(words, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(asked: Sequence[str]) -> int:
    """Measure, and keep each figure as soon as it is there; 1 if a command failed."""
    open_ = [one.command for one in CLAIMS if not one.of and one.command not in kept()]
    failed = 0
    for command in asked or open_:
        sys.stderr.write(f"{command}\n")
        held = kept()
        try:
            figure = {"cpu_seconds": round(spent(command), 1), "processor": machine().processor}
        except (subprocess.CalledProcessError, OSError) as error:
            sys.stderr.write(f"artifact: no figure: {error}\n")
            held.pop(command, None)
            failed = 1
        else:
            held[command] = figure
        made = {"format": FORMAT, "version": 1, "measured": dict(sorted(held.items()))}
        DATA.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
