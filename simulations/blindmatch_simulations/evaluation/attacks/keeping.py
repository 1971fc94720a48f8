"""Attacks that finished, kept in a file as they finish, so that an interrupted run goes on.

    {"version": 1, "played": {KEY: {"figure": ..., "budget": ...}}}

A key follows from all that a figure follows from: attack, design, seed, planted weakness, the code of the
package and of the design, and the machine with its libraries.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import blindmatch_client
import blindmatch_proofs
import blindmatch_protocol
import blindmatch_server
import msgspec
from blindmatch_protocol.contract import AnyDesign
from blindmatch_server.storage.files import PUBLIC, replace_file
from msgspec import Struct

import blindmatch_simulations
from blindmatch_simulations.evaluation.attacks.arena import Pair
from blindmatch_simulations.evaluation.attacks.figure import Budget, Figure
from blindmatch_simulations.evaluation.attacks.run import Ran
from blindmatch_simulations.measure.machine import machine
from blindmatch_simulations.measure.results import Strict, decoded
from blindmatch_simulations.testbed.deployment.registry import is_path, path_of, reference_of

ROOMS: Final = (
    blindmatch_protocol,
    blindmatch_proofs,
    blindmatch_client,
    blindmatch_server,
    blindmatch_simulations,
)


class Played(Struct, frozen=True):
    """What an attack came to, and what it spent."""

    figure: Figure
    budget: Budget


class PlayedFile(Strict, frozen=True):
    """The file, see above."""

    version: Literal[1]
    played: dict[str, Played]


class Keeping:
    """Attacks that finished, in a file; `ResultsError` if there is a file of another kind."""

    def __init__(self, path: Path, weakened: bool, seed: int = 1) -> None:
        self._path = path.resolve()  # a link stays one
        self._run = [weakened, seed, _machine()]
        self._played = decoded(path, PlayedFile).played if path.exists() else {}

    def find(self, pair: Pair) -> Ran | None:
        """Return what the pair came to in an earlier run of the same code; None if it has to be played."""
        held = self._played.get(self._key(pair))
        return None if held is None else Ran(pair.attack, pair.design.info.name, held.figure, held.budget)

    def keep(self, pair: Pair, ran: Ran) -> None:
        """Write the file with one more, beside what another process kept there meanwhile; it is on the disk
        when this returns. `StorageError` if it cannot be written, `ResultsError` if it is damaged."""
        if self._path.exists():
            self._played |= decoded(self._path, PlayedFile).played
        self._played[self._key(pair)] = Played(ran.figure, ran.budget)
        content = msgspec.json.encode(PlayedFile(1, self._played))
        replace_file(self._path, msgspec.json.format(content, indent=1) + b"\n", PUBLIC)

    def _key(self, pair: Pair) -> str:
        info = pair.design.info
        code = package_digest(), design_digest(pair.design)
        parts = [pair.attack.name, info.name, info.version, *code, *self._run]
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def package_digest() -> str:
    """Return SHA-256 over all files of the installed rooms, in hex."""
    folders = [Path(room.__path__[0]) for room in ROOMS]
    return _digest(file for folder in folders for file in folder.rglob("*"))


@cache
def design_digest(design: AnyDesign) -> str:
    """Return SHA-256 over the modules of the folder that a design lies in, in hex."""
    reference = reference_of(design)
    own = path_of(reference) if is_path(reference) else Path(inspect.getfile(type(design)))
    return _digest(own.parent.glob("*.py"))


def _digest(files: Iterable[Path]) -> str:
    kept = [file for file in sorted(files) if file.is_file() and "__pycache__" not in file.parts]
    return sha256(b"".join(sha256(file.read_bytes()).digest() for file in kept)).hexdigest()


def _machine() -> dict[str, object]:
    """Without the memory, which a virtual machine reports differently from day to day."""
    made = msgspec.structs.asdict(machine())
    del made["memory_mib"]
    return made
