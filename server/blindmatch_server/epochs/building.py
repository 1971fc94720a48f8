"""Builds epochs of a design into a folder, each whole or not at all.

    folder/lock            held while an epoch is built
    folder/current         the epoch that is served, a number and a line end
    folder/3/              a published epoch: manifest.json, epoch.manifest (signed by the curator), its leaf
                           epoch.leaf, and the design's files, all read-only
    folder/.build-4/       a build: plan.json, seed, scratch, result/ (what becomes folder/4)

    build result/ --fsync files--> check, sign --> manifests --fsync folder--> rename to folder/4 --fsync-->
        log it, if there is a log --> replace current in one step --> remove .build-4

The old epoch is served until `current` is replaced. A build that was killed at any point is taken up
again by the same call: the seed in the build's folder makes the second run's randomness that of the
first, so the finished files are those of a run that was never killed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256, sha512
from pathlib import Path
from typing import TypeAlias

import numpy as np
from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_proofs.epoch import NOT_ENDORSED, Endorsement
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    AnyDesign,
    EntrySource,
    Learner,
    Progress,
    Published,
    SetParameters,
    no_progress,
)
from blindmatch_protocol.contract.executor import Executor
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from msgspec import Struct
from msgspec.structs import replace
from pydantic import ValidationError

from blindmatch_server.epochs.published import (
    CURRENT,
    LEAF,
    MANIFEST,
    PROOF,
    SIGNED,
    TREE,
    BuildRunningError,
    EpochPublishedError,
    Manifest,
    Plan,
    Publication,
    current_epoch,
    open_publication,
    read_signed,
)
from blindmatch_server.epochs.signing import Signer
from blindmatch_server.storage.files import (
    RESULT,
    FileRecord,
    FolderWorkspace,
    MappedFile,
    StorageError,
    hold,
    replace_file,
    storage,
    sync_folder,
    write_synced,
)

SEED_BYTES = 32
SEED_TAG = b"blindmatch/publication-seed/v1"


def seed_stream(seed: bytes) -> Randomness:
    """Randomness from a seed: SHA-512 over tag, seed and a counter, block after block."""
    counter, held = 0, b""

    def draw(count: int) -> bytes:
        nonlocal counter, held
        while len(held) < count:
            held += sha512(SEED_TAG + seed + counter.to_bytes(8, "big")).digest()
            counter += 1
        taken, held = held[:count], held[count:]
        return taken

    return Randomness(draw)


LOCK = "lock"
PLAN = "plan.json"
SEED = "seed"
OWN = frozenset({MANIFEST, SIGNED, LEAF, PROOF, TREE})
"""Files of an epoch that are no design's."""


Submit: TypeAlias = Callable[[Path], None]
"""What is done with a finished epoch's folder before it is served: it is logged. Done again after a kill."""
Run: TypeAlias = Callable[[FolderWorkspace, Randomness, Progress], Published]
"""What a design does in a build."""


def not_submitted(folder: Path) -> None:
    """A deployment without a log."""


class Publishing(Redacted, Struct, frozen=True):
    """How epochs of a design are published.

    Attributes:
        design: the design.
        folder: holds all epochs of it; made if it is not there.
        signer: signs an epoch's manifest and leaf, once the set-up was opened and checked.
        executor: where the design computes.
        progress: called with (done, total) entries that are evaluated.
        endorsement: what the list's entries are endorsed by.
        submit: called with an epoch's folder before it is served.
    """

    design: AnyDesign
    folder: Path
    signer: Signer
    executor: Executor | None = None
    progress: Progress = no_progress
    endorsement: Endorsement = NOT_ENDORSED
    submit: Submit = not_submitted


class Job(Struct, frozen=True):
    """A build: what it is for, and how it is done.

    Attributes:
        how: the result is published.
        plan: what it is for.
        run: the design's part.
        work: digest of what the build reads, computed again at its end.
    """

    how: Publishing
    plan: Plan
    run: Run
    work: Callable[[], str]


def publish(job: Job, rng: Randomness) -> Publication:
    """Do a build, or finish an interrupted one, and make its epoch the current one.

    Raises:
        BuildRunningError, EpochPublishedError, StorageError, DesignError: see `publication.publish_epoch`.
    """
    folder = job.how.folder
    with storage(f"making {folder.name}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    epoch = job.plan.epoch
    busy = BuildRunningError(f"another build works in {folder.name}: wait for its end, then try again")
    with hold(folder / LOCK, busy, StorageError):
        build = folder / f".build-{epoch}"
        _clean_other_builds(folder, build)
        if not _renamed_before(folder, build, job.plan):
            plan, seed = _begin(build, job.plan, rng.take(SEED_BYTES))
            result = _build(replace(job, plan=plan), seed_stream(seed), build)
            _move(result, folder / str(epoch))
        job.how.submit(folder / str(epoch))
        _point(folder, epoch)
        shutil.rmtree(build, ignore_errors=True)
    return open_publication(folder, epoch)


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
        write_synced(build / SEED, fresh)
        write_synced(build / PLAN, plan.encode())
    sync_folder(build)
    return plan, fresh


def _read_plan(build: Path) -> Plan | None:
    """The plan of an earlier build, if it got as far as having one; the seed is written before."""
    try:
        return Plan.model_validate_json((build / PLAN).read_bytes())
    except (OSError, ValidationError):
        return None


def _build(job: Job, rng: Randomness, build: Path) -> Path:
    """Run the design in `build`; the folder with its files and manifests, all on the disk."""
    workspace = FolderWorkspace(build)
    try:
        published = _beside(job, workspace, job.run(workspace, rng, _relaxing(workspace, job.how.progress)))
        records = workspace.finish()
    finally:
        workspace.abandon()
    _check_published(job.how.design, published, records)
    if job.work() != job.plan.work:
        raise DesignError("the list changed while the set was built")
    manifest = Manifest.of(job.plan, published, records.values())
    signed = _signed(job, manifest, build)
    signer = job.how.signer
    leaf = signer.key.leaf(signed.manifest, job.how.endorsement, signer.sealing_key)
    with storage(f"writing {MANIFEST}"):
        write_synced(workspace.result / MANIFEST, manifest.encode())
        write_synced(workspace.result / SIGNED, signed.encode())
        write_synced(workspace.result / LEAF, leaf.encode())
        for path in workspace.result.iterdir():
            path.chmod(0o444 if path.name in (*OWN, *published.setup) else 0o400)
    sync_folder(workspace.result)
    return workspace.result


def _beside(job: Job, workspace: FolderWorkspace, published: Published) -> Published:
    """Put the endorsements beside the set: for devices where they learn of matches, else for the centre."""
    if not job.how.endorsement.table:
        return published
    workspace.create(ENDORSEMENT).write(job.how.endorsement.table)
    if Learner.DEVICE in job.how.design.info.learns:
        return replace(published, setup=(*published.setup, ENDORSEMENT))
    return replace(published, opener=(*published.opener, ENDORSEMENT))


def _signed(job: Job, manifest: Manifest, build: Path) -> SignedManifest:
    """Sign what a device would adopt: a set-up that opens, and passes the design's own check."""
    sizes = {file.name: file.size for file in manifest.files}
    own = [name for name in manifest.setup if name != ENDORSEMENT]
    maps = {name: MappedFile(build / RESULT / name, sizes[name]) for name in own}

    def relax(done: int, total: int) -> None:
        for mapped in maps.values():
            mapped.relax()

    design = job.how.design
    setup = design.open_setup({name: mapped.content for name, mapped in maps.items()}, job.plan.epoch)
    design.check_setup(setup, relax)
    folder = build.parent
    before = None
    if (folder / CURRENT).exists():
        before = read_signed(folder / str(current_epoch(folder))).manifest
    return job.how.signer.key.sign(manifest.epoch_manifest(job.plan, design.stated(setup), before))


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
    replace_file(folder / CURRENT, f"{epoch}\n".encode())


LIST_TAG = b"blindmatch/build-list/v1"
LIST_BATCH = 1 << 16


def publish_epoch(
    how: Publishing, entries: EntrySource, parameters: SetParameters, rng: Randomness
) -> Publication:
    """Build an epoch, or finish an interrupted build of it, and make it the current one.

    Args:
        rng: gives the 32-byte seed of everything random in the build.

    Raises:
        BuildRunningError: if another build works in the folder.
        EpochPublishedError: if the epoch is there already, or a later one.
        StorageError: if the file system refuses; what was computed stays for the next call.
        DesignError: if the list or the parameters cannot be served, or the list changes meanwhile.
    """

    def work() -> str:
        return list_digest(entries, (), how.endorsement)

    def run(out: FolderWorkspace, stream: Randomness, watch: Progress) -> Published:
        return how.design.publish(entries, parameters, stream, how.executor, out, watch)

    plan = Plan.of(how.design.info, parameters, len(entries), work(), how.signer.validity)
    return publish(Job(how, plan, run, work), rng)


def publish_update(
    how: Publishing, previous: int, adds: EntrySource, removes: Sequence[int], rng: Randomness
) -> Publication:
    """Publish the epoch after `previous` as what it adds and removes, or finish an interrupted such build.

    Args:
        how: it is published; what is endorsed are the entries of the new list.
        previous: the epoch that is changed; it must be the current one.
        rng: gives the 32-byte seed of everything random in the build.

    Raises:
        BuildRunningError, StorageError: as `publish_epoch`.
        EpochPublishedError, NoPublicationError: if `previous` is not the current epoch, or is none.
        DamagedPublicationError: if a file of it is damaged.
        DesignError: if the design cannot be updated, or not by this; or a full set is due.
    """
    base = _verified(how.folder, previous)

    def work() -> str:
        return list_digest(adds, removes, how.endorsement)

    def run(out: FolderWorkspace, stream: Randomness, watch: Progress) -> Published:
        _check_current(how.folder, previous)
        return how.design.update(base.every_file(), adds, removes, out, stream, how.executor, watch)

    plan = _plan_after(base, how, len(adds) - len(removes), work())
    return publish(Job(how, plan, run, work), rng)


def _verified(folder: Path, epoch: int) -> Publication:
    """The epoch, none of whose files is damaged."""
    base = open_publication(folder, epoch)
    base.verify()
    return base


def _plan_after(base: Publication, how: Publishing, more: int, work: str) -> Plan:
    """Of the epoch after `base`, with so many entries more."""
    parameters = SetParameters(base.manifest.epoch + 1, base.manifest.parameters)
    return Plan.of(how.design.info, parameters, base.manifest.entries + more, work, how.signer.validity)


def _check_current(folder: Path, epoch: int) -> None:
    """Raises `EpochPublishedError` unless it is the epoch that is served."""
    if current_epoch(folder) != epoch:
        raise EpochPublishedError(f"epoch {epoch} is not the one served, {current_epoch(folder)}")


def list_digest(
    entries: EntrySource, removes: Sequence[int] = (), endorsement: Endorsement = NOT_ENDORSED
) -> str:
    """SHA-256 over a list, ids and what is endorsed, in hex."""
    state = sha256(LIST_TAG + len(entries).to_bytes(8, "big"))
    for batch in entries.batches(LIST_BATCH):
        for column in (batch.hashes, batch.ids.astype(">u8"), batch.salts):
            state.update(np.ascontiguousarray(column).data)
    state.update(b"".join(number.to_bytes(8, "big") for number in removes))
    state.update(endorsement.table)
    return state.hexdigest()
