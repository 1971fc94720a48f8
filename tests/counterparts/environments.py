"""Environments of foreign programs: virtual environments, npm's, and what Debian packages hold."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from support.wheel import ROOT
from support.wheel_check import interpreter

HERE: Final = Path(__file__).resolve().parent
BUILD: Final = ROOT / "build" / "counterparts"
LOCKS: Final = ROOT / "requirements"
BUILD_TOOLS: Final = LOCKS / "pdq.txt"
SECONDS: Final = 600


def sources() -> str:
    """SHA-256 of how the programs are run: of what is in this folder, and of the locks it installs from."""
    ours = (*HERE.glob("*.py"), *HERE.glob("foreign/*.*"), *HERE.glob("node/package*.json"))
    locks = (BUILD_TOOLS, *LOCKS.glob("counterparts-*.txt"), *LOCKS.glob("peers/*.txt"))
    return sha256(b"".join(sha256(one.read_bytes()).digest() for one in sorted((*ours, *locks)))).hexdigest()


class NotRunError(Exception):
    """A program is not to be had here; the text says why."""


class DisagreementError(Exception):
    """A program that ran says something else than this one does; the text says what."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def check(holds: bool, rule: str) -> None:
    """Raises `DisagreementError` with the rule unless it holds."""
    if not holds:
        raise DisagreementError(rule)


def run(command: Sequence[object], given: Any = None, **more: Any) -> str:
    """What a program prints that is handed `given` as JSON; `DisagreementError` if it fails."""
    text = None if given is None else json.dumps(given)
    ran = subprocess.run(
        list(map(str, command)),
        input=text,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        **more,
    )
    if ran.returncode:
        raise DisagreementError(
            f"{Path(str(command[0])).name} ended with {ran.returncode}: {last_line(ran.stderr)}"
        )
    return ran.stdout


def asked(command: Sequence[object], given: Any, **more: Any) -> Any:
    """What a program answers in JSON to what it is handed in JSON."""
    return json.loads(run(command, given, **more))


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no words"])[-1][:200]


def install(command: Sequence[object], **more: Any) -> None:
    """Say and run a command that fetches something; `NotRunError` if it fails."""
    say(f"  {' '.join(map(str, command))}")
    try:
        ran = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=SECONDS, check=False, **more
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRunError(f"could not be installed: {type(error).__name__}") from error
    if ran.returncode:
        raise NotRunError(f"could not be installed: {last_line(ran.stderr)}")


@dataclass(frozen=True)
class Environment:
    """Where a program is, and which version."""

    folder: Path
    version: str

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


def virtual(lock: str, package: str, python: str = "", build: Sequence[str] = ()) -> Environment:
    """A virtual environment with what ``requirements/LOCK.txt`` locks.

    Args:
        package: whose version is told.
        python: the version it needs, ``3.13``; by default this one's.
        build: packages without wheels, which are built with `BUILD_TOOLS`.
    """
    folder = BUILD / Path(lock).name
    locked = LOCKS / f"{lock}.txt"
    uv = shutil.which("uv")
    if build and not (shutil.which("c++") or shutil.which("g++")):
        raise NotRunError("its package has no wheels, and there is no C++ compiler")
    stamp = folder / sha256(locked.read_bytes()).hexdigest()
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        interpreter = _interpreter(python)
        install(
            [uv, "venv", "--quiet", "--python", interpreter, folder]
            if uv
            else [interpreter, "-m", "venv", folder]
        )
        if build:
            install(
                [*_installer(uv, folder), "--only-binary", ":all:", "--require-hashes", "-r", BUILD_TOOLS]
            )
        from_source = [part for one in build for part in ("--no-binary", one)]
        more = [*from_source, "--no-build-isolation"] if build else []
        install([*_installer(uv, folder), "--only-binary", ":all:", *more, "--require-hashes", "-r", locked])
        stamp.touch()
    script = f"import importlib.metadata as m; print(m.version({package!r}))"
    return Environment(folder, run([folder / "bin" / "python", "-c", script]).strip())


def _installer(uv: str | None, folder: Path) -> list[object]:
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
    return [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _interpreter(version: str) -> str:
    """One of a version, or this one if it is empty; `NotRunError` if there is none."""
    found = interpreter(version) if version else sys.executable
    if found is None:
        raise NotRunError(f"needs python{version}, which is not here")
    return found


def node_packages(package: str) -> Environment:
    """What tests/counterparts/node/package-lock.json locks, installed without its scripts."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NotRunError("needs Node and npm, which are not here")
    folder = BUILD / "node"
    source = HERE / "node"
    stamp = folder / sha256((source / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules"))
        install(["npm", "ci", "--ignore-scripts", "--loglevel=error"], cwd=folder)
        stamp.touch()
    held = json.loads((folder / "node_modules" / package / "package.json").read_text())
    for script in (HERE / "foreign").glob("*.mjs"):
        shutil.copy(script, folder)
    return Environment(folder, held["version"])


def debian(package: str, program: str) -> Environment:
    """The program of the path, else the one of Debian's package, unpacked but not installed."""
    if (found := shutil.which(program)) is not None:
        return Environment(Path(found).parent, "of the path")
    folder = BUILD / package
    bare = folder / "usr" / "bin" / program
    if not bare.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise NotRunError(f"{program} is not on the path, and there is no apt-get")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(["apt-get", "download", "-q", package], cwd=folder)
        (archive,) = folder.glob("*.deb")
        install(["dpkg-deb", "-x", archive.name, "."], cwd=folder)
        (folder / "version").write_text(run(["dpkg-deb", "-f", archive, "Version"]))
    return Environment(bare.parent, (folder / "version").read_text().strip())
