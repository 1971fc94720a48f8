"""The release files, in dist/: wheels that are built twice with the same bits, and a bill of materials.

``python -m support.wheel build`` makes the wheel of blindmatch, ``vectors`` that of its vectors, and
``sbom`` lists what is locked for the first (in an environment of requirements/sbom.txt). Only the standard
library is imported until an SBOM is validated.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

ROOT: Final = Path(__file__).resolve().parents[2]
DIST: Final = ROOT / "dist"
LOCK: Final = ROOT / "requirements" / "lock.txt"


@dataclass(frozen=True)
class Package:
    """A wheel that is released.

    Attributes:
        folder: that of its pyproject.toml, from the root of the repository.
        file: what the name of its wheel begins with.
        made_of: paths of what it is made of, from the root.
    """

    folder: str
    file: str
    made_of: tuple[str, ...]


BLINDMATCH: Final = Package(
    ".",
    "blindmatch",
    (
        *("client", "server", "protocol", "proofs", "simulations", "docs/sample/results.json"),
        *("pyproject.toml", "README.md", "LICENSE", ".gitignore"),
    ),
)
VECTORS: Final = Package(
    "tests/vectors/package",
    "blindmatch_vectors",
    (
        *("tests/vectors", "protocol/blindmatch_protocol/rpc", "docs/reference/wire.md"),
        *("docs/reference/set-format.md", "docs/designs", "LICENSE", ".gitignore"),
    ),
)
GIT: Final = shutil.which("git") or "git"
WITHOUT_GIT: Final = "1580601600"
"""Hatchling's own time for reproducible builds, where there is no history."""
LOCK_DIGEST: Final = "blindmatch:lock-sha256"
"""Property of the SBOM: the SHA-256 of the lock that it was made from."""


class WheelError(Exception):
    """The wheel cannot be made, or is not reproducible."""


def project(package: Package = BLINDMATCH) -> dict[str, Any]:
    """The table `project` of a package's pyproject.toml."""
    text = (ROOT / package.folder / "pyproject.toml").read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def wheel_path(package: Package = BLINDMATCH) -> Path:
    """Where the wheel of this version lies."""
    return DIST / f"{package.file}-{project(package)['version']}-py3-none-any.whl"


def sbom_path() -> Path:
    """Where the bill of materials of this version lies."""
    return DIST / f"blindmatch-{project()['version']}.cdx.json"


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def epoch(package: Package = BLINDMATCH) -> str:
    """SOURCE_DATE_EPOCH: as it is set, else when what the wheel is made of was last committed."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    said = subprocess.run(
        [GIT, "log", "-1", "--format=%at", "--", *package.made_of], cwd=ROOT, capture_output=True, text=True
    )
    return said.stdout.strip() or WITHOUT_GIT


def _tracked(package: Package) -> list[str]:
    command = [GIT, "ls-files", "--", *package.made_of]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.splitlines()


def _built(package: Package, source: Path, into: Path, umask: int) -> Path:
    """The wheel that hatchling builds of a tree, with another umask, folder and hash seed each time."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch(package), "PYTHONHASHSEED": str(umask)}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    made = subprocess.run(
        command,
        cwd=source / package.folder,
        env=environment,
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise WheelError(made.stderr)
    (found,) = into.glob("*.whl")
    return found


def differing(one: Path, other: Path) -> list[str]:
    """Names of the files in two wheels whose bytes, times or rights differ, and of those in one alone."""
    with ZipFile(one) as first, ZipFile(other) as second:
        held = [
            {
                info.filename: (archive.read(info), info.date_time, info.external_attr)
                for info in archive.infolist()
            }
            for archive in (first, second)
        ]
    return sorted(name for name in held[0] | held[1] if held[0].get(name) != held[1].get(name))


def build(root: Path = ROOT, package: Package = BLINDMATCH) -> Path:
    """A package's wheel, built here and of a copy of what git tracks; raises `WheelError` if they differ."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "elsewhere" / "copy"
        for name in _tracked(package):
            if (root / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, copy / name)
        here = _built(package, root, Path(folder, "1"), 0o022)
        there = _built(package, copy, Path(folder, "2"), 0o077)
        if digest(here) != digest(there):
            names = ", ".join(differing(here, there)) or "their order or compression"
            raise WheelError(
                f"not reproducible: a build here and one of a copy of what git tracks differ in: {names}"
            )
        DIST.mkdir(exist_ok=True)
        for old in DIST.glob(f"{package.file}-*.whl"):
            old.unlink()
        return Path(shutil.move(here, wheel_path(package)))


def build_vectors() -> Path:
    """The wheel of the vectors, built as `build` does."""
    return build(package=VECTORS)


def sbom() -> Path:
    """The bill of materials of the lock, CycloneDX 1.6, validated; `amended` says what it adds."""
    from cyclonedx.schema import OutputFormat, SchemaVersion  # in requirements/sbom.txt's environment alone
    from cyclonedx.validation import make_schemabased_validator

    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", str(LOCK)]
    command += [
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--output-reproducible",
        "--sv",
        "1.6",
        "--of",
        "JSON",
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch(), "PYTHONWARNINGS": "ignore"}
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    text = amended(json.loads(said))
    wrong = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text)
    if wrong:
        raise WheelError(f"the SBOM is not by its schema: {wrong}")
    DIST.mkdir(exist_ok=True)
    sbom_path().write_text(text, "utf-8")
    return sbom_path()


def amended(bill: dict[str, Any]) -> str:
    """A bill of the lock with its dependency on what pyproject.toml names, under refs that name packages."""
    renamed = {one["bom-ref"]: f"{one['name']}@{one['version']}" for one in bill["components"]}
    for one in bill["components"]:
        one["bom-ref"] = renamed[one["bom-ref"]]
        one.pop("description", None)  # the line of the lock, hashes and all, which stand beside it
    root = bill["metadata"]["component"]["bom-ref"]
    direct = {re.split(r"[^\w.-]", line)[0].lower() for line in project()["dependencies"]}
    named = sorted(ref for ref in renamed.values() if ref.split("@")[0] in direct)
    bill["dependencies"] = [
        {"ref": root, "dependsOn": named},
        *({"ref": ref} for ref in sorted(renamed.values())),
    ]
    bill["metadata"].setdefault("properties", []).append({"name": LOCK_DIGEST, "value": digest(LOCK)})
    return json.dumps(bill, indent=1, sort_keys=True) + "\n"


def lock_of(path: Path) -> str:
    """SHA-256 of the lock that a bill of materials was made from; empty if it says none."""
    properties = json.loads(path.read_text("utf-8"))["metadata"].get("properties", [])
    return next((str(one["value"]) for one in properties if one["name"] == LOCK_DIGEST), "")


def main() -> None:
    try:
        made = {"build": build, "vectors": build_vectors, "sbom": sbom}[sys.argv[1]]()
    except WheelError as error:
        sys.exit(f"wheel: {error}")
    sys.stdout.write(f"{digest(made)}  {made.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
