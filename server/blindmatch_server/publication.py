"""Publishes epochs of a design into a folder, each whole or not at all, and opens them again.

    folder/lock            held while an epoch is built
    folder/current         the epoch that is served, a number and a line end
    folder/3/              a published epoch: manifest.json, epoch.manifest (signed by the curator) and the
                           design's files, all read-only
    folder/.build-4/       a build: plan.json, seed, scratch, result/ (what becomes folder/4)

    build result/ --fsync files--> check, sign --> manifests --fsync folder--> rename to folder/4 --fsync-->
        current.new --fsync--> rename to current --fsync--> remove .build-4

The old epoch is served until `current` is replaced. A build that was killed at any point is taken up
again by the same call: the seed in the build's folder makes the second run's randomness that of the
first, so the finished files are those of a run that was never killed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import numpy as np
from blindmatch_protocol.contract import (
    AnyDesign,
    EntrySource,
    Progress,
    Published,
    SetParameters,
    no_progress,
)
from blindmatch_protocol.epoch_manifest import SignedManifest
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.randomness import Randomness
from pydantic import ValidationError

from blindmatch_server.curator.signing import CuratorKey, Signer
from blindmatch_server.locking import HeldError, hold
from blindmatch_server.manifest import MANIFEST, SIGNED, Manifest, Plan
from blindmatch_server.mapping import MappedFile
from blindmatch_server.published import (
    CURRENT,
    BuildRunningError,
    DamagedPublicationError,
    EpochPublishedError,
    NoPublicationError,
    Publication,
    PublicationError,
    current_epoch,
    open_publication,
    read_signed,
)
from blindmatch_server.seed_stream import SEED_BYTES, seed_stream
from blindmatch_server.workspace import (
    PRIVATE,
    RESULT,
    FileRecord,
    FolderWorkspace,
    StorageError,
    storage,
    sync_folder,
)

__all__ = [
    "BuildRunningError",
    "DamagedPublicationError",
    "EpochPublishedError",
    "NoPublicationError",
    "Publication",
    "PublicationError",
    "StorageError",
    "current_epoch",
    "open_publication",
    "publish_epoch",
    "publish_update",
]

LOCK = "lock"
PLAN = "plan.json"
SEED = "seed"
LIST_TAG = b"blindmatch/build-list/v1"
LIST_BATCH = 1 << 16
OWN = frozenset({MANIFEST, SIGNED})
"""Files of an epoch that are no design's."""


Run: TypeAlias = Callable[[FolderWorkspace, Randomness, Progress], Published]
"""What a design does in a build."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A build: what it is for, and how it is done.

    Attributes:
        design: the design.
        plan: what it is for.
        run: the design's part.
        work: digest of what the build reads, computed again at its end.
        key: signs the result.
    """

    design: AnyDesign
    plan: Plan
    run: Run
    work: Callable[[], str]
    key: CuratorKey


def publish_epoch(
    design: AnyDesign,
    entries: EntrySource,
    parameters: SetParameters,
    rng: Randomness,
    executor: Executor | None,
    folder: Path,
    signer: Signer,
    progress: Progress = no_progress,
) -> Publication:
    """Build an epoch, or finish an interrupted build of it, and make it the current one.

    Args:
        design: the design.
        entries: the list.
        parameters: the design's parameters, and the epoch.
        rng: gives the 32-byte seed of everything random in the build.
        executor: where the design computes.
        folder: holds all epochs of one design; made if it is not there.
        signer: signs the epoch's manifest, once the set-up was opened and checked.
        progress: called with (done, total) entries.

    Raises:
        BuildRunningError: if another build works in `folder`.
        EpochPublishedError: if the epoch is there already, or a later one.
        StorageError: if the file system refuses; what was computed stays for the next call.
        DesignError: if the list or the parameters cannot be served, or the list changes meanwhile.
    """

    def work() -> str:
        return list_digest(entries)

    def run(out: FolderWorkspace, stream: Randomness, watch: Progress) -> Published:
        return design.publish(entries, parameters, stream, executor, out, watch)

    plan = Plan.of(design.info, parameters, len(entries), work(), signer.validity)
    return _publish(_Job(design, plan, run, work, signer.key), rng, folder, progress)


def publish_update(
    design: AnyDesign,
    previous: int,
    adds: EntrySource,
    removes: Sequence[int],
    rng: Randomness,
    executor: Executor | None,
    folder: Path,
    signer: Signer,
    progress: Progress = no_progress,
) -> Publication:
    """Publish the epoch after `previous` as what it adds and removes, or finish an interrupted such build.

    Args:
        design: the design.
        previous: the epoch that is changed; it must be the current one.
        adds: entries to add.
        removes: ids of entries to remove.
        rng: gives the 32-byte seed of everything random in the build.
        executor: where the design computes.
        folder: holds the epochs.
        signer: signs the epoch's manifest, once the set-up was opened and checked.
        progress: called as additions are evaluated.

    Raises:
        BuildRunningError: if another build works in `folder`.
        EpochPublishedError: if `previous` is not the current epoch.
        NoPublicationError: if there is no such epoch.
        DamagedPublicationError: if a file of it is damaged.
        StorageError: if the file system refuses.
        DesignError: if the design cannot be updated, or not by this; or a full set is due.
    """
    base = open_publication(folder, previous)
    base.verify()

    def work() -> str:
        return list_digest(adds, removes)

    def run(out: FolderWorkspace, stream: Randomness, watch: Progress) -> Published:
        if current_epoch(folder) != previous:
            raise EpochPublishedError(f"epoch {previous} is not the one served, {current_epoch(folder)}")
        return design.update(base.every_file(), adds, removes, out, stream, executor, watch)

    parameters = SetParameters(previous + 1, base.manifest.parameters)
    entries = base.manifest.entries + len(adds) - len(removes)
    plan = Plan.of(design.info, parameters, entries, work(), signer.validity)
    return _publish(_Job(design, plan, run, work, signer.key), rng, folder, progress)


def list_digest(entries: EntrySource, removes: Sequence[int] = ()) -> str:
    """SHA-256 over a list and ids, in hex."""
    state = sha256(LIST_TAG + len(entries).to_bytes(8, "big"))
    for batch in entries.batches(LIST_BATCH):
        for column in (batch.hashes, batch.ids.astype(">u8"), batch.salts):
            state.update(np.ascontiguousarray(column).data)
    state.update(b"".join(number.to_bytes(8, "big") for number in removes))
    return state.hexdigest()


def _publish(job: _Job, rng: Randomness, folder: Path, progress: Progress) -> Publication:
    with storage(f"making {folder.name}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    epoch = job.plan.epoch
    with _locked(folder):
        build = folder / f".build-{epoch}"
        _clean_other_builds(folder, build)
        if not _renamed_before(folder, build, job.plan):
            plan, seed = _begin(build, job.plan, rng.take(SEED_BYTES))
            result = _build(replace(job, plan=plan), seed_stream(seed), build, progress)
            _move(result, folder / str(epoch))
        _point(folder, epoch)
        shutil.rmtree(build, ignore_errors=True)
    return open_publication(folder, epoch)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock."""
    try:
        lock = hold(folder / LOCK)
    except HeldError as error:
        raise BuildRunningError(
            f"another build works in {folder.name}: wait for its end, then try again"
        ) from error
    except sqlite3.Error as error:
        raise StorageError(f"locking {folder.name}: {error}") from error
    with lock:
        yield


def _clean_other_builds(folder: Path, build: Path) -> None:
    """Remove what builds of other epochs left; with the lock held, none of them is running."""
    for stale in folder.glob(".build-*"):
        if stale != build:
            shutil.rmtree(stale, ignore_errors=True)


def _renamed_before(folder: Path, build: Path, plan: Plan) -> bool:
    """Was this epoch's build interrupted after its files were in place?"""
    served = current_epoch(folder) if (folder / CURRENT).exists() else 0
    if (folder / str(plan.epoch)).exists():
        if build.is_dir() and (served == plan.epoch or plan.continues(_read_plan(build))):
            return True
        raise EpochPublishedError(f"epoch {plan.epoch} is published already in {folder.name}")
    if plan.epoch <= served:
        raise EpochPublishedError(f"epoch {plan.epoch} is not later than the one served, {served}")
    return False


def _begin(build: Path, plan: Plan, fresh: bytes) -> tuple[Plan, bytes]:
    """Make or take up the build's folder; plan and seed in force."""
    with storage(f"preparing {build.name}"):
        begun = _read_plan(build)
        if begun is not None and plan.continues(begun):
            return begun, (build / SEED).read_bytes()
        if build.exists():
            shutil.rmtree(build)
        build.mkdir(mode=0o700)
        _write_synced(build / SEED, fresh)
        _write_synced(build / PLAN, plan.encode())
    sync_folder(build)
    return plan, fresh


def _read_plan(build: Path) -> Plan | None:
    """The plan of an earlier build, if it got as far as having one; the seed is written before."""
    try:
        return Plan.model_validate_json((build / PLAN).read_bytes())
    except (OSError, ValidationError):
        return None


def _build(job: _Job, rng: Randomness, build: Path, progress: Progress) -> Path:
    """Run the design in `build`; the folder with its files and manifests, all on the disk."""
    workspace = FolderWorkspace(build)
    try:
        published = job.run(workspace, rng, _relaxing(workspace, progress))
        records = workspace.finish()
    finally:
        workspace.abandon()
    _check_published(job.design, published, records)
    if job.work() != job.plan.work:
        raise DesignError("the list changed while the set was built")
    manifest = Manifest.of(job.plan, published, records.values())
    signed = _signed(job, manifest, build)
    with storage(f"writing {MANIFEST}"):
        _write_synced(workspace.result / MANIFEST, manifest.encode())
        _write_synced(workspace.result / SIGNED, signed.encode())
        for path in workspace.result.iterdir():
            path.chmod(0o444 if path.name in (*OWN, *published.setup) else 0o400)
    sync_folder(workspace.result)
    return workspace.result


def _signed(job: _Job, manifest: Manifest, build: Path) -> SignedManifest:
    """Sign what a device would adopt: a set-up that opens, and passes the design's own check."""
    sizes = {file.name: file.size for file in manifest.files}
    files = {name: MappedFile(build / RESULT / name, sizes[name]).content for name in manifest.setup}
    setup = job.design.open_setup(files, job.plan.epoch)
    job.design.check_setup(setup, no_progress)
    folder = build.parent
    before = None
    if (folder / CURRENT).exists():
        before = read_signed(folder / str(current_epoch(folder))).manifest
    return job.key.sign(manifest.epoch_manifest(job.plan, job.design.stated(setup), before))


def _relaxing(workspace: FolderWorkspace, progress: Progress) -> Progress:
    """Report progress, and keep the scratch's pages from piling up in the process."""

    def report(done: int, total: int) -> None:
        workspace.relax()
        progress(done, total)

    return report


def _check_published(design: AnyDesign, published: Published, records: Mapping[str, FileRecord]) -> None:
    named = {*published.setup, *published.opener, *(n for names in published.roles.values() for n in names)}
    if named != records.keys():
        raise DesignError(f"design {design.info.name} does not name the files it wrote")
    if not published.roles.keys() <= design.info.roles.keys():
        raise DesignError(f"design {design.info.name} wrote files for a role it does not declare")
    for name in OWN & records.keys():
        raise DesignError(f"design {design.info.name} wrote {name}, which is not its own")


def _move(result: Path, home: Path) -> None:
    with storage(f"renaming epoch {home.name} into place"):
        result.rename(home)
    sync_folder(home.parent)


def _point(folder: Path, epoch: int) -> None:
    """Replace the pointer in one step."""
    with storage(f"replacing {CURRENT}"):
        new = folder / f"{CURRENT}.new"
        new.unlink(missing_ok=True)
        _write_synced(new, f"{epoch}\n".encode())
        new.replace(folder / CURRENT)
    sync_folder(folder)


def _write_synced(path: Path, content: bytes) -> None:
    """Write a small file and bring it to the disk."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
