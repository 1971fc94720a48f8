"""`make wheel-check`: installs the wheel of dist/ into empty environments, and runs it in an empty folder.

What is installed is what requirements/lock.txt pins, by its hashes, and the wheel. Nothing of the repository
may be opened: an audit hook in each environment writes down what is. Verdicts go to docs/wheel-check.json.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from support.wheel import LOCK, ROOT, digest, project, wheel_path

KEPT: Final = ROOT / "docs" / "wheel-check.json"
VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
ELSEWHERE: Final = {
    "macOS": "no machine; tenseal has no wheel for every Mac",
    "Linux on ARM": "no machine; the lock has wheels for it",
}
"""Systems that are named and not run, and why."""
NO_PYTHON: Final = "no such Python here"
SAMPLE: Final = ("results.json", "attacks.json", "workload.toml", "designs", "rows")
COMMANDS: Final = (
    (0, "--version"),
    (0, "demo --json demo.json"),
    (4, "doctor"),  # in an empty folder, where it says what to do
    (0, "certs init"),
    (0, "list random 50 known"),
    (0, "list build known"),
    (7, "doctor"),  # servers do not run
    (0, "conformance none"),
    (0, "report sample"),
)
"""Exit codes and command lines, run one after the other."""
HOOK: Final = """
import os, sys
def _seen(event, arguments, root={root!r}, into={into!r}):
    if event in ("open", "os.listdir", "os.scandir") and arguments and isinstance(arguments[0], (str, bytes)):
        if os.fsdecode(arguments[0]).startswith(root + os.sep):
            file = os.open(into, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, (os.fsdecode(arguments[0]) + "\\n").encode())
            os.close(file)
sys.addaudithook(_seen)
"""


def made_of() -> str:
    """SHA-256 of what decides whether the wheel installs: the lock, pyproject.toml's metadata and build, and
    what is run. Not of the code, nor of the version."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    parts = [{**table["project"], "version": ""}, table["build-system"], table["tool"]["hatch"]]
    run = [digest(LOCK), COMMANDS, HOOK, SAMPLE, VERSIONS]
    return sha256(json.dumps([parts, run], sort_keys=True).encode()).hexdigest()


class CheckError(Exception):
    """A step in an environment failed; the text says which, and how."""


def pythons(version: str) -> Iterator[str]:
    """Interpreters of this version that may run, those of pyenv included: a shim of the path may not."""
    name = f"python{version}"
    for folder in os.get_exec_path():
        if found := shutil.which(name, path=folder):
            yield found
    yield from map(str, sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}")))


def interpreter(version: str) -> str | None:
    """One that runs, is of this version and can make environments; None if there is none."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for one in pythons(version):
        said = subprocess.run([one, "-c", code], capture_output=True, text=True, check=False)
        if said.returncode == 0 and said.stdout.strip() == version:
            return one
    return None


def _run(command: Sequence[str | Path], cwd: Path, environment: dict[str, str], code: int = 0) -> str:
    said = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if said.returncode != code:
        end = (said.stderr or said.stdout).strip().splitlines()[-3:]
        words = " ".join(map(str, command[-3:]))
        raise CheckError(f"{words}: exit code {said.returncode}, not {code}: {' | '.join(end)}")
    return said.stdout


def clean_environment(folder: Path) -> dict[str, str]:
    """Return the variables that programs need and no others, with `folder` as their home."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", "TMPDIR": str(folder)}


INSTALLING: Final = (
    "make an empty environment",
    "install what is locked",
    "install the wheel",
    "check what packages require of each other",
)


class Progress:
    """Says which step of an environment begins, of how many, and after how many seconds.

    Args:
        name: of the environment.
        clock: seconds that go up.
        write: takes each line.
    """

    def __init__(
        self,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], object] = sys.stderr.write,
    ) -> None:
        self._name = name
        self._clock = clock
        self._write = write
        self._started = clock()
        self._step = 0

    def begin(self, what: str) -> None:
        self._step += 1
        seconds = self._clock() - self._started
        steps = len(INSTALLING) + len(COMMANDS)
        self._write(f"{self._name}: {self._step} of {steps}, after {seconds:.0f} s: {what}\n")


def check(python: str, wheel: Path, folder: Path, progress: Progress) -> None:
    """Install the wheel into an empty environment in `folder` and run it there; raises `CheckError`."""
    outside = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "HTTP"))}
    clean = clean_environment(folder)
    place = folder / "env"
    there = folder / "empty"
    opened = folder / "opened"
    pip = [place / "bin" / "python", "-m", "pip"]
    install = [*pip, "install", "--quiet", "--disable-pip-version-check"]
    commands: tuple[list[str | Path], ...] = (
        [python, "-m", "venv", place],
        [*install, "--only-binary", ":all:", "--require-hashes", "-r", LOCK],
        [*install, "--no-deps", shutil.copy(wheel, folder)],
        [*pip, "check"],
    )
    for what, command in zip(INSTALLING, commands, strict=True):
        progress.begin(what)
        _run(command, folder, clean | outside)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "sitecustomize.py").write_text(HOOK.format(root=str(ROOT), into=str(opened)))
    (there / "sample").mkdir(parents=True)
    for name in SAMPLE:
        one = ROOT / "docs" / "sample" / name
        (shutil.copytree if one.is_dir() else shutil.copy)(one, there / "sample" / name)
    try_all(place / "bin" / "blindmatch", there, clean, progress)
    if opened.exists():
        raise CheckError(
            f"opened files of the repository: {sorted(set(opened.read_text().splitlines()))[:5]}"
        )


def try_all(command: Path, there: Path, environment: dict[str, str], progress: Progress) -> None:
    """Run every command line of `COMMANDS` in a folder, and look at what they leave."""
    for code, words in COMMANDS:
        progress.begin(f"blindmatch {words}")
        said = _run([command, *words.split()], there, environment, code)
        if words == "--version" and said != f"blindmatch {project()['version']}\n":
            raise CheckError(f"--version says {said!r}")
    if json.loads((there / "demo.json").read_text())["failures"]:
        raise CheckError("the demo's result has failures")
    if not (there / "sample" / "report.html").read_text("utf-8").startswith("<!doctype html>"):
        raise CheckError("report drew no page")


def main() -> None:
    wheel = wheel_path()
    chosen = sys.argv[1:] or VERSIONS
    found = {}
    for version in chosen:
        python = interpreter(version)
        verdict = f"not run: {NO_PYTHON}" if python is None else "passed"
        if python is not None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    check(python, wheel, Path(folder), Progress(f"Python {version}"))
                except CheckError as error:
                    verdict = f"failed: {error}".replace(folder, "")
        found[f"Python {version}"] = verdict
        sys.stderr.write(f"Python {version}: {verdict}\n")
    if chosen == VERSIONS:
        rest = {name: f"not run: {why}" for name, why in ELSEWHERE.items()}
        kept = {
            "version": project()["version"],
            "wheel": digest(wheel),
            "of": made_of(),
            "system": f"{platform.system()} {platform.machine()}",
            "commands": [words for _, words in COMMANDS],
            "verdicts": found | rest,
        }
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    if any(one.startswith("failed") for one in found.values()) or "passed" not in found.values():
        sys.exit(1)


if __name__ == "__main__":
    main()
