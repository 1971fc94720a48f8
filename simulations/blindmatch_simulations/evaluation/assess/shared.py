"""Work of an assessment that no design changes, made once and kept in the user's cache.

CACHE/assess/WHAT-CODE-GIVEN    SHA-256 of the rest, 32 bytes; files by name, as MessagePack
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations import data
from blindmatch_simulations.evaluation.assess import material
from blindmatch_simulations.evaluation.assess.keeping import code_of
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.evaluation.assess.results import write_whole
from blindmatch_simulations.evaluation.corpus.installed import Found, installed
from blindmatch_simulations.measure.machine import machine

FOLDER: Final = "assess"
MOST: Final = 16
"""Entries that are kept of one thing; those used longest ago go."""


class Shared(Struct, frozen=True):
    """What a module makes of parameters and pictures; without a cache nothing is taken, and nothing kept."""

    cache: Path | None
    what: str
    module: str
    given: Any
    pictures: Iterable[Found]

    def fill(self, folder: Path, make: Callable[[Path], object]) -> None:
        """Fill an empty folder with what is kept, or by `make`, whose files are then kept."""
        if self.cache is None:
            make(folder)
            return
        kept = self.cache / FOLDER / self.name
        files = _kept(kept)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        if not files:
            make(folder)
        with suppress(OSError):  # without room for a cache there is none
            if files:
                os.utime(kept)
                return
            raw = msgspec.msgpack.encode({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(kept, sha256(raw).digest() + raw)
            entries = sorted(kept.parent.glob(f"{self.what}-*"), key=lambda one: one.stat().st_mtime)
            for old in entries[:-MOST]:
                old.unlink(missing_ok=True)

    @property
    def name(self) -> str:
        """What all of it follows from."""
        ours = Path(str(data.__file__)).parent
        files = {one.path for one in self.pictures} | {one for one in ours.iterdir() if one.is_file()}
        here = msgspec.to_builtins(replace(machine(), memory_mib=0, cores=0))  # no bit depends on these
        packages = sorted({f"{one.name} {one.version}" for one in distributions()})
        digests = sorted((str(path), sha256(path.read_bytes()).hexdigest()) for path in files)
        parts = json.dumps([msgspec.to_builtins(self.given), here, packages, digests], sort_keys=True)
        code = code_of(self.module, ("blindmatch_",))
        given = sha256(parts.encode()).hexdigest()
        return f"{self.what}-{code[:16]}-{given[:16]}"


def of_pictures(plan: Plan, cache: Path | None) -> Shared:
    given = (plan.pictures, plan.seed)
    pictures = list(installed())
    return Shared(cache, "pictures", material.__name__, given, pictures)


def _kept(path: Path) -> dict[str, bytes]:
    with suppress(OSError, msgspec.DecodeError):
        raw = path.read_bytes()
        if sha256(raw[32:]).digest() == raw[:32]:
            return msgspec.msgpack.decode(raw[32:], type=dict[str, bytes])
    return {}
