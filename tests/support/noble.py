"""Bundles the part of @noble/curves that the report's measurement on the reader's device uses.

    make noble                  write the bundle, its licence and its record again
    make noble ARGS=--check     build it, and fail if it is not what is committed, bit by bit

`requirements/noble` has the versions, with their hashes, and the names that are exported. What is not reached
from those names is left out by esbuild, which also shortens what remains. The licence stands at the top of
the bundle, since the bundle is copied into every report.
"""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = ROOT / "requirements" / "noble"
VENDORED: Final = ROOT / "simulations" / "blindmatch_simulations" / "report" / "vendored"
BUNDLE: Final = "noble-curves.js"
LICENCE: Final = "noble-curves.LICENSE"
RECORD: Final = "noble-curves.json"
PACKAGES: Final = ("@noble/curves", "@noble/hashes")
OPTIONS: Final = (
    "--bundle",
    "--minify",
    "--format=iife",
    "--global-name=noble",
    "--target=es2020",
    "--charset=ascii",
    "--legal-comments=none",
)
"""Of esbuild. The packages' own short licence comments are left out: their whole licence is put on top."""


class BundleError(Exception):
    """The bundle cannot be made, or is another one than the committed."""


def versions() -> dict[str, str]:
    """Return the locked version of both packages and of esbuild."""
    lock = json.loads((SOURCE / "package-lock.json").read_text("utf-8"))
    return {name: lock["packages"][f"node_modules/{name}"]["version"] for name in (*PACKAGES, "esbuild")}


def build(folder: Path) -> dict[str, bytes]:
    """Return the bundle, its licence and its record by name, made of what npm installed in `folder`;
    `BundleError` if the packages have no common licence, or esbuild fails."""
    modules = folder / "node_modules"
    licences = {(modules / name / "LICENSE").read_text("utf-8").strip() for name in PACKAGES}
    if len(licences) != 1:
        raise BundleError("the packages have different licences: put both at the top of the bundle")
    (licence,) = licences
    command = [str(modules / ".bin" / "esbuild"), "entry.js", *OPTIONS]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if done.returncode:
        raise BundleError(done.stderr.decode("utf-8", "replace"))
    held = versions()
    title = " and ".join(f"{name} {held[name]}" for name in PACKAGES)
    bundle = f"/*! Part of {title}\n\n{licence}\n*/\n".encode() + done.stdout
    record = {
        "packages": {name: held[name] for name in PACKAGES},
        "source": "https://github.com/paulmillr/noble-curves",
        "licence": "MIT",
        "made_by": "make noble",
        "esbuild": held["esbuild"],
        "options": list(OPTIONS),
        "bytes": len(bundle),
        "sha256": sha256(bundle).hexdigest(),
    }
    return {
        BUNDLE: bundle,
        LICENCE: f"{licence}\n".encode(),
        RECORD: (json.dumps(record, indent=1) + "\n").encode(),
    }


def difference(made: dict[str, bytes]) -> list[str]:
    """Return the names of the files that are not the committed ones."""
    committed: dict[str, Any] = {name: VENDORED / name for name in made}
    return [name for name, path in committed.items() if not path.exists() or path.read_bytes() != made[name]]


def main(arguments: list[str]) -> int:
    """Write the files, or compare them; 1 if the compared ones differ or they cannot be made."""
    folder, *options = arguments
    try:
        made = build(Path(folder).resolve())
    except BundleError as error:
        print(f"noble: {error}", file=sys.stderr)  # noqa: T201
        return 1
    differing = difference(made)
    if "--check" in options:
        print(f"noble: not as committed: {', '.join(differing)}" if differing else "noble: as committed")  # noqa: T201
        return int(bool(differing))
    VENDORED.mkdir(exist_ok=True)
    for name, content in made.items():
        (VENDORED / name).write_bytes(content)
    print(f"noble: {len(made[BUNDLE])} bytes; changed: {', '.join(differing) or 'nothing'}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
