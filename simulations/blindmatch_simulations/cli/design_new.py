"""`blindmatch design new`: a design of one's own and its test, from a base of the documentation.

The bases are complete designs (`data/bases`), which the tests of this repository run. A new design is its
base under another name: no part of it is generated.
"""

from __future__ import annotations

import keyword
import os
import re
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_server.storage.files import PUBLIC, StorageError, replace_file
from msgspec import Struct

from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.data import text_of
from blindmatch_simulations.testbed.deployment.registry import all_designs, not_installed

RESULT_VERSION: Final = 1
NAME_RULE: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MOST_CHARACTERS: Final = 40
TEST: Final = "test_design.py"
TESTED: Final = "base_design"
"""How the test calls its design's module."""


class BaseName(StrEnum):
    """What `--base` takes."""

    PLAIN = "plain"
    VOPRF = "voprf"
    TWO_SERVER = "two-server"
    BUCKET = "bucket"


class Base(Struct, frozen=True):
    """A base: its file, what it calls its design and the design's class, and what it shows to whom."""

    file: str
    design: str
    kind: str
    says: str


BASES: Final = {
    BaseName.PLAIN: Base(
        "plain.py", "exact-upload", "ExactUpload",
        "the matcher sees every hash: it protects nothing, and declares that",
    ),
    BaseName.VOPRF: Base(
        "voprf.py", "base-voprf", "BaseVoprf", "the matcher evaluates a blinded hash and learns nothing of it"
    ),
    BaseName.TWO_SERVER: Base(
        "two_server.py", "base-two-server", "BaseTwoServer",
        "two parties give a part of the list (PIR); neither learns which, unless they collude",
    ),
    BaseName.BUCKET: Base(
        "bucket.py", "base-bucket", "BaseBucket", "the matcher sees a few bits of the hash's digest"
    ),
}  # fmt: skip


class NewDesignError(BlindmatchError):
    """A new design's files cannot be written."""


def new_design(
    name: Annotated[
        str, typer.Argument(help="Of the design and its file: a-z, 0-9 and single _, a letter first.")
    ],
    base: Annotated[
        BaseName,
        typer.Option("--base", help="; ".join(f"{one}: {base.says}" for one, base in BASES.items()) + "."),
    ],
    folder: Annotated[Path, typer.Option("--folder", help="Where the files go; it must exist.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files of these names.")] = False,
) -> Found:
    """Write a design of your own, NAME.py, and its test, test_NAME.py, from a base.

    The file is a whole design with comments: it runs, passes conformance and is yours to change. Edit it,
    then check it with `blindmatch design check NAME.py`; docs/reference/contract.md explains its parts.
    Its `info.name` is NAME with - for _.

    Exit code 2 for a name or base that cannot be used, 4 for a file that is there already or a
    folder that cannot be written to.
    """
    paths = [folder / f"{name}.py", folder / f"test_{name}.py"]
    check_name(name, paths[0])
    if not folder.is_dir():
        raise NewDesignError(f"--folder: {folder} must be a folder that exists") from FileNotFoundError()
    there = [str(path) for path in paths if os.path.lexists(path)]
    if there and not force:
        words = f"already there: {', '.join(there)}; choose another NAME, or give --force to replace"
        raise NewDesignError(words) from FileExistsError()
    if blocked := [str(path) for path in paths if path.is_dir()]:
        raise NewDesignError(f"{blocked[0]} is a folder: choose another NAME") from IsADirectoryError()
    texts = (design_text(BASES[base], name), test_text(name))
    try:
        for path, text in zip(paths, texts, strict=True):
            replace_file(path, text.encode(), PUBLIC)
    except StorageError as error:
        raise NewDesignError(f"--folder: {folder} cannot be written to: {error}") from error.__cause__
    written = [str(path) for path in paths]
    then = [f"blindmatch design check {paths[0]}", f"python -m pytest {paths[1]}"]
    result = {"result_version": RESULT_VERSION, "name": design_name(name), "base": str(base)}
    result |= {"files": written, "next": then}
    lines = [
        f"written: {written[0]}, the design {design_name(name)} (base {base}: {BASES[base].says})",
        f"written: {written[1]}, its test",
        f"next: edit it, then: {then[0]}",
    ]
    return Found(result, lines)


def check_name(name: str, path: Path) -> None:
    """Make sure that a design, its file and its class can be called `name`; `BadParameter` says the rule."""
    if not NAME_RULE.fullmatch(name) or len(name) > MOST_CHARACTERS:
        like = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:MOST_CHARACTERS].strip("_")
        hint = f"; for example {like}" if NAME_RULE.fullmatch(like) else ""
        rule = f"must be 1 to {MOST_CHARACTERS} of a-z, 0-9 and single _, begin with a letter, not end with _"
        raise typer.BadParameter(f"NAME: {name[:80]!r} {rule}{hint}")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise typer.BadParameter(f"NAME: {name} is a word of Python's own: choose another")
    if name.startswith("test_"):
        raise typer.BadParameter(f"NAME: {name} must not begin with test_, which is what its test is called")
    design = design_name(name)
    if design in {*all_designs(), *not_installed()} or design.startswith("carried-"):
        raise typer.BadParameter(
            f"NAME: {design} is the name of a design that exists (blindmatch design list)"
        )
    spec = find_spec(name)
    if spec is not None and (spec.origin is None or Path(spec.origin).resolve() != path.resolve()):
        raise typer.BadParameter(
            f"NAME: {name} is a module that Python has: a file of this name would hide it"
        )


def design_name(name: str) -> str:
    """Return what the design in a file is called."""
    return name.replace("_", "-")


def design_text(base: Base, name: str) -> str:
    """Return the base's file with the design and its class under other names."""
    text = text_of(f"bases/{base.file}")
    kind = "".join(part.capitalize() for part in name.split("_"))
    if re.search(rf"\b{kind}\b", text) and kind != base.kind:
        kind += "Design"
    return re.sub(rf"\b{base.kind}\b", kind, text.replace(base.design, design_name(name)))


def test_text(name: str) -> str:
    """Return the test of a design's file."""
    return text_of(f"bases/{TEST}").replace(TESTED, name)
