"""The real store of the benches: a list of random hashes, built and published as a curator does, and kept.

    DIR/entries.list     the list
    DIR/published/       the publication, with the matcher's key
    DIR/build.json       what building it cost, and on what machine

A folder that holds a whole store is used again, after every byte was compared with its digest. One in which
the list was still being made begins anew; a build that was interrupted goes on where it stopped, and is then
no measurement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.designs.token_psi import DESIGN, Tokening
from blindmatch_server.curator import open_list, random_list, traces
from blindmatch_server.epochs.published import CURRENT, Publication, open_publication
from blindmatch_server.hosting.worker_pool import cores
from msgspec import Struct, to_builtins
from msgspec.structs import asdict

from blindmatch_simulations.measure.machine import machine
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.yardstick import Cost, Reading, Run
from blindmatch_simulations.testbed.deployment.building import built_alone

FORMAT: Final = 1
"""Version of build.json."""
LIST, PUBLISHED, RECORD = "entries.list", "published", "build.json"
_ELSE: Final = ": ask for that one, name another folder, or remove this one"


class StoreError(BlindmatchError):
    """A folder holds another store than the one that was asked for, or something else."""


class Store(Struct, frozen=True):
    """A published set and what its building cost, if that was measured on this machine.

    Attributes:
        publication: the set and the matcher's key.
        folder: with `current` in it, as a matcher is given it.
        run: the build, between readings of the yardstick; None if it was not measured.
        peak_mib: the most memory that was resident; None if it was not measured.
        why: when it was measured, or why it was not.
    """

    publication: Publication
    folder: Path
    run: Run | None
    peak_mib: float | None
    why: str
    backend: str

    @property
    def entries(self) -> int:
        """Of the set."""
        return self.publication.manifest.entries


def opened_store(meter: Meter, folder: Path, entries: int, tokening: Tokening) -> Store:
    """The store in `folder`, which is built if it is not there.

    Raises:
        StoreError: if the folder holds another set, or something else.
        BlindmatchError: if a published file was altered, or the build fails.
    """
    published = folder / PUBLISHED
    if not (published / CURRENT).exists():
        _build(meter, folder, entries, tokening)
    publication = open_publication(published)
    _check(publication, folder, entries, tokening)
    publication.verify()
    return Store(publication, published, *_recorded(folder / RECORD))


def _check(publication: Publication, folder: Path, entries: int, tokening: Tokening) -> None:
    manifest, info = publication.manifest, DESIGN.info
    built_for = {name: manifest.parameters.get(name) for name in tokening.values()}
    if (manifest.design, manifest.version) != (info.name, info.version):
        raise StoreError(f"{folder}: holds a set of {manifest.design} version {manifest.version}{_ELSE}")
    _check_entries(folder, manifest.entries, entries)
    if built_for != tokening.values():
        raise StoreError(f"{folder}: holds a set for other parameters, {built_for}{_ELSE}")


def _check_entries(folder: Path, found: int, wanted: int) -> None:
    if found != wanted:
        raise StoreError(f"{folder}: holds a set of {found:,} entries, not of {wanted:,}{_ELSE}")


def _build(meter: Meter, folder: Path, entries: int, tokening: Tokening) -> None:
    """Build in a process of its own, whose memory is the build's alone."""
    listed, fresh = folder / LIST, _is_fresh(folder)
    if fresh:
        random_list(entries, listed, system_randomness())
    with open_list(listed) as opened:
        _check_entries(folder, len(opened), entries)
    meter.phase(f"building a set of {entries:,} entries")(0, 1)
    with meter.around(cores()) as around:
        found = built_alone(DESIGN.info.name, listed, folder / PUBLISHED, tokening.values())
    (run,) = around.runs
    if fresh:
        _record(folder / RECORD, found, run)


def _is_fresh(folder: Path) -> bool:
    """Make the folder if it is not there; is its list still to be made?

    A list that an interrupted run did not finish is made again.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = set(folder.iterdir()) - traces(folder / LIST)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be used: {error.strerror}") from error
    if found and folder / LIST not in found:
        raise StoreError(f"{folder}: must be new, empty, or hold a store: name another folder")
    return not found


def _record(path: Path, found: Mapping[str, Any], run: Run) -> None:
    kept = {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": to_builtins(machine()),
        **found,
        "before": asdict(run.before),
        "after": asdict(run.after),
    }
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def _recorded(path: Path) -> tuple[Run | None, float | None, str, str]:
    """The build's run, its peak memory, and words; it is nobody's figure on another machine."""
    if not path.exists():
        return None, None, "the build was interrupted, or made without measuring it", ""
    try:
        kept = json.loads(path.read_text())
        if kept["format"] != FORMAT:
            raise StoreError(f"{path}: format {kept['format']}; this program knows {FORMAT}")
        if kept["machine"]["processor"] != machine().processor or kept["machine"]["cores"] != cores():
            return None, None, "built on another machine", ""
        readings = Reading(**kept["before"]), Reading(**kept["after"])
        run = Run(Cost(float(kept["wall_s"]), float(kept["cpu_s"])), *readings)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{path}: is damaged; remove it to go on without the build's figures") from error
    computed = kept["machine"].get("group_backend", "libsodium")
    return run, kept["peak_mib"], f"built {kept['made_at']}", computed
