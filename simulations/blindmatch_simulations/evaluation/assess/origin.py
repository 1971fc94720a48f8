"""What a design's row was measured with: a row of another machine, or of other code, is no row of this run.

DIR/.origins/NAME.json      machine and source of the row designs/NAME.json
"""

from __future__ import annotations

import inspect
from hashlib import sha256
from pathlib import Path
from typing import Final

import blindmatch_protocol
import msgspec
from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.evaluation.assess.plan import AssessError
from blindmatch_simulations.evaluation.assess.store import DESIGNS, write_whole
from blindmatch_simulations.measure.machine import Machine, machine
from blindmatch_simulations.measure.results import Strict, decoded_or_none
from blindmatch_simulations.testbed.deployment.registry import is_path, load_design

ORIGINS: Final = ".origins"
SETS: Final = ".sets"


class Origin(Strict, frozen=True):
    """Where a row comes from: the machine, and SHA-256 of the source as `source_of` takes it."""

    machine: Machine
    source: str


def source_of(folder: Path) -> str:
    """SHA-256 over the modules in a design's folder and over those that designs are made from, in hex."""
    beside = sorted(folder.glob("*.py"))
    below = sorted(Path(blindmatch_protocol.__path__[0]).rglob("*.py"))
    return sha256(b"".join(sha256(file.read_bytes()).digest() for file in (*beside, *below))).hexdigest()


def folder_of(design: AnyDesign) -> Path:
    """Where the module of a design lies."""
    return Path(inspect.getfile(type(design))).parent


def origin_of(reference: str) -> Origin:
    """What a row of this design would be measured with now. A file is read and not loaded: what it does when
    it is loaded is for its own process."""
    path = Path(reference.rpartition(":")[0])
    folder = path.resolve().parent if is_path(reference) else folder_of(load_design(reference))
    return Origin(machine(), source_of(folder))


def note_origin(out: Path, name: str, reference: str) -> None:
    """Write down what the row of design `name` is measured with."""
    write_whole(_path(out, name), msgspec.json.encode(origin_of(reference)))


def is_same_origin(out: Path, name: str, reference: str) -> bool:
    """Would the row of design `name` be measured with the same code now?"""
    kept = decoded_or_none(_path(out, name), Origin)
    return kept is not None and kept.source == origin_of(reference).source


def check_machine(out: Path) -> None:
    """Refuse a folder with rows of another machine, or of other versions of what they were measured with.

    Raises:
        AssessError: naming what differs.
    """
    here = msgspec.structs.asdict(machine())
    for path in sorted((out / ORIGINS).glob("*.json")):
        kept = decoded_or_none(path, Origin)
        there = here if kept is None else msgspec.structs.asdict(kept.machine)
        differs = [key for key, value in here.items() if key != "memory_mib" and there[key] != value]
        if differs and ((out / DESIGNS / path.name).exists() or (out / SETS / path.stem).exists()):
            raise AssessError(
                f"{out} holds what was measured of {path.stem} elsewhere: other {', '.join(differs)}; "
                "choose another --out"
            )


def _path(out: Path, name: str) -> Path:
    return out / ORIGINS / f"{name}.json"
