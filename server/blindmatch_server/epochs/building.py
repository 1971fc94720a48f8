"""Builds epochs of a design into a folder, each whole or not at all.

The section "Storage" of docs/explanation/architecture.md draws the folder.

    build result/ --fsync files--> check, sign --> manifest --fsync folder--> rename to folder/4 --fsync-->
        log it, if there is a log --> replace current in one step --> remove .build-4

A build that was killed at any point is taken up again by the same call: the seed in the build's folder makes
the second run's randomness that of the first.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256, sha512
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_proofs.endorsement import TREE_FILE, EndorsedTable, EndorsementPolicy, Terms, write_trees
from blindmatch_proofs.epoch import NOT_ENDORSED, Endorsement
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.errors import DesignError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.publishing import Executor, check_entries
from blindmatch_protocol.messages import epoch_manifest
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_server.epochs.published import (
    CURRENT,
    FILES,
    LEAF,
    OWN,
    SIGNED,
    Contents,
    Publication,
    PublicationError,
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
    counter = 0
    held = b""

    def draw(count: int) -> bytes:
        nonlocal counter, held
        blocks = [held]
        had = len(held)
        while had < count:
            blocks.append(sha512(SEED_TAG + seed + counter.to_bytes(8, "big")).digest())
            counter = counter + 1
            had = had + 64
        whole = b"".join(blocks)
        held = whole[count:]
        return whole[:count]

    return Randomness(draw)


LOCK = "lock"
PLAN = "plan"
SEED = "seed"
DIGITS: Final = 64
"""Of a SHA-256 in hex."""


Submit: TypeAlias = Callable[[Path], None]
"""What is done with a finished epoch's folder before it is served: it is logged. Done again after a kill."""
Run: TypeAlias = Callable[[FolderWorkspace, Randomness, bm.Progress], bm.Published]
"""What a design does in a build."""


class Publishing(Redacted, Struct, frozen=True):
    """How epochs of a design are published.

    Attributes:
        folder: holds all epochs of it; made if it is not there.
        signer: signs an epoch's manifest and leaf, once the set-up was opened and checked.
        progress: called with (done, total) entries that are evaluated.
        endorsement: what the list's entries are endorsed by.
        submit: called with an epoch's folder before it is served.
    """

    design: bm.AnyDesign
    folder: Path
    signer: Signer
    executor: Executor | None = None
    progress: bm.Progress = bm.no_progress
    endorsement: Endorsement = NOT_ENDORSED
    submit: Submit = lambda folder: None


class Plan(Struct, frozen=True):
    """What a build is for; a build is taken up again only for the same plan.

    Attributes:
        draft: the epoch's manifest, as yet without keys, files and a predecessor.
        work: SHA-256, in hex, over the list, or over what an update adds and removes.
    """

    draft: epoch_manifest.EpochManifest
    work: str

    @classmethod
    def of(cls, how: Publishing, parameters: bm.SetParameters, entries: int, work: str) -> Plan:
        """The plan of a build; `DesignError` if a parameter is unknown or out of its range, or a time."""
        info = how.design.info
        signer = how.signer
        names = {*parameters.values, *(parameter.name for parameter in info.parameters)}
        draft = epoch_manifest.EpochManifest(
            design=info.name,
            version=info.version,
            epoch=parameters.epoch,
            predecessor_epoch=0,
            predecessor=epoch_manifest.NO_PREDECESSOR,
            valid_from=signer.valid_from,
            valid_until=signer.valid_from + signer.valid_seconds,
            entries=entries,
            parameters=epoch_manifest.parameters_of({name: parameters.value(info, name) for name in names}),
            role_keys=(),
            files=(),
        )
        try:
            draft.check()
            draft.encode()
        except (ProtocolError, ValueError) as error:
            raise DesignError(f"a set of {info.name} cannot be built: {error}") from error
        return cls(draft, work)

    def continues(self, other: Plan | None) -> bool:
        if other is None:
            return False
        mine = self.draft
        begin = other.draft.valid_from
        moved = replace(mine, valid_from=begin, valid_until=begin + mine.valid_until - mine.valid_from)
        return (moved, self.work) == (other.draft, other.work)

    @classmethod
    def read(cls, build: Path) -> Plan | None:
        """The plan of an earlier build, if it got as far as having one; the seed is written before."""
        try:
            raw = (build / PLAN).read_bytes()
            return cls(epoch_manifest.EpochManifest.decode(raw[DIGITS:]), raw[:DIGITS].decode("ascii"))
        except (OSError, ProtocolError, UnicodeDecodeError):
            return None


class Job(Struct, frozen=True):
    """A build: what it is for, and how it is done; `work` digests what it reads, once more at its end."""

    how: Publishing
    plan: Plan
    run: Run
    work: Callable[[], str]


def publish(job: Job, rng: Randomness) -> Publication:
    """Do a build, or finish an interrupted one, and make its epoch the current one; as `publish_epoch`."""
    folder = job.how.folder
    with storage(f"making {folder.name}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    epoch = job.plan.draft.epoch
    busy = PublicationError(f"another build works in {folder.name}: wait for its end, then try again")
    with hold(folder / LOCK, busy, StorageError):
        build = folder / f".build-{epoch}"
        for stale in set(folder.glob(".build-*")) - {build}:  # with the lock held, none of them is running
            shutil.rmtree(stale, ignore_errors=True)
        if not _renamed_before(folder, build, job.plan):
            plan, seed = _begin(build, job.plan, rng.take(SEED_BYTES))
            result = _build(replace(job, plan=plan), seed_stream(seed), build)
            with storage(f"renaming epoch {epoch} into place"):
                result.rename(folder / str(epoch))
            sync_folder(folder)
        job.how.submit(folder / str(epoch))
        replace_file(folder / CURRENT, f"{epoch}\n".encode())
        shutil.rmtree(build, ignore_errors=True)
    return open_publication(folder, epoch)


def _renamed_before(folder: Path, build: Path, plan: Plan) -> bool:
    """Was this epoch's build interrupted after its files were in place?"""
    served = current_epoch(folder) if (folder / CURRENT).exists() else 0
    epoch = plan.draft.epoch
    if (folder / str(epoch)).exists():
        if build.is_dir() and (served == epoch or plan.continues(Plan.read(build))):
            return True
        raise PublicationError(f"epoch {epoch} is published already in {folder.name}")
    if epoch <= served:
        raise PublicationError(f"epoch {epoch} is not later than the one served, {served}")
    return False


def _begin(build: Path, plan: Plan, fresh: bytes) -> tuple[Plan, bytes]:
    """Make the build's folder, or take up an interrupted build's; the plan and the seed of it."""
    with storage(f"preparing {build.name}"):
        begun = Plan.read(build)
        if begun is not None and plan.continues(begun):
            return begun, (build / SEED).read_bytes()
        if build.exists():
            shutil.rmtree(build)
        build.mkdir(mode=0o700)
        write_synced(build / SEED, fresh)
        write_synced(build / PLAN, plan.work.encode() + plan.draft.encode())
    sync_folder(build)
    return plan, fresh


def _build(job: Job, rng: Randomness, build: Path) -> Path:
    """Run the design in `build`; the folder with its files and its manifest, all on the disk."""
    workspace = FolderWorkspace(build)

    def report(done: int, total: int) -> None:
        workspace.relax()  # else the scratch's pages pile up in the process
        job.how.progress(done, total)

    try:
        published = _beside(job, workspace, job.run(workspace, rng, report))
        records = workspace.finish()
        if job.how.endorsement.table:
            del records[TREE_FILE]  # nobody's to read but whoever makes proofs
    finally:
        workspace.abandon()
    _check_published(job.how.design, published, records)
    if job.work() != job.plan.work:
        raise DesignError("the list changed while the set was built")
    contents = Contents.of(published, records.values())
    listed = contents.encode()
    try:
        Contents.decode(listed)
    except ValueError as error:
        raise DesignError(f"design {job.how.design.info.name} names files wrongly: {error}") from error
    signed = _signed(job, contents, build)
    signer = job.how.signer
    leaf = signer.key.leaf(signed.manifest, job.how.endorsement, signer.sealing_key)
    with storage(f"writing {FILES}"):
        write_synced(workspace.result / FILES, listed)
        write_synced(workspace.result / SIGNED, signed.encode())
        write_synced(workspace.result / LEAF, leaf.encode())
        for path in workspace.result.iterdir():
            path.chmod(0o444 if path.name in (*OWN, *published.setup) else 0o400)
    sync_folder(workspace.result)
    return workspace.result


def _beside(job: Job, workspace: FolderWorkspace, published: bm.Published) -> bm.Published:
    """Put the endorsements beside the set: for devices where they learn of matches or make vouchers, else for
    the centre."""
    if not job.how.endorsement.table:
        return published
    workspace.create(ENDORSEMENT).write(job.how.endorsement.table)
    info = job.how.design.info
    policy = EndorsementPolicy.decode(job.how.endorsement.policy)
    epoch = job.plan.draft.epoch
    keys = len(policy.organisations)
    table = EndorsedTable(job.how.endorsement.table, info, epoch, keys)
    terms = Terms(job.how.signer.key.public, info.name, policy)
    write_trees(workspace.create(TREE_FILE), info, table, terms)
    if bm.Learner.DEVICE in info.learns or job.how.design.vouchers:
        return replace(published, setup=(*published.setup, ENDORSEMENT))
    return replace(published, opener=(*published.opener, ENDORSEMENT))


def _signed(job: Job, contents: Contents, build: Path) -> epoch_manifest.SignedManifest:
    """Sign what a device would adopt: a set-up that opens, and passes the design's own check."""
    files = contents.setup_files()
    own = [file for file in files if file.name != ENDORSEMENT]
    maps = {file.name: MappedFile(build / RESULT / file.name, file.size) for file in own}

    def relax(done: int, total: int) -> None:
        for mapped in maps.values():
            mapped.relax()

    design = job.how.design
    draft = job.plan.draft
    setup = design.open_setup({name: mapped.content for name, mapped in maps.items()}, draft.epoch)
    design.check_setup(setup, relax)
    folder = build.parent
    if (folder / CURRENT).exists():
        before = read_signed(folder / str(current_epoch(folder))).manifest
        draft = replace(draft, predecessor_epoch=before.epoch, predecessor=before.digest)
    keys = epoch_manifest.role_keys_of(design.stated(setup).role_keys)
    return job.how.signer.key.sign(replace(draft, role_keys=keys, files=files))


def _check_published(
    design: bm.AnyDesign, published: bm.Published, records: Mapping[str, FileRecord]
) -> None:
    named = {*published.setup, *published.opener, *(n for names in published.roles.values() for n in names)}
    if named != records.keys():
        raise DesignError(f"design {design.info.name} does not name the files it wrote")
    if not published.roles.keys() <= design.info.roles.keys():
        raise DesignError(f"design {design.info.name} wrote files for a role it does not declare")
    for name in OWN & records.keys():
        raise DesignError(f"design {design.info.name} wrote {name}, which is not its own")


LIST_TAG = b"blindmatch/build-list/v1"
LIST_BATCH = 1 << 16


def publish_epoch(
    how: Publishing, entries: bm.EntrySource, parameters: bm.SetParameters, rng: Randomness
) -> Publication:
    """Build an epoch, or finish an interrupted build of it, and make it the current one; `rng` gives the
    32-byte seed of everything random in the build. `PublicationError` if another build works in the folder,
    or the epoch is there already, or a later one; `StorageError` if the file system refuses; what was
    computed stays for the next call; `DesignError` if the list or the parameters cannot be served, an entry
    bears a reserved id or salt, or the list changes meanwhile."""

    def work() -> str:
        return list_digest(entries, (), how.endorsement)

    def run(out: FolderWorkspace, stream: Randomness, watch: bm.Progress) -> bm.Published:
        return how.design.publish(entries, parameters, stream, how.executor, out, watch)

    return publish(Job(how, Plan.of(how, parameters, len(entries), work()), run, work), rng)


def publish_update(
    how: Publishing, previous: int, adds: bm.EntrySource, removes: Sequence[int], rng: Randomness
) -> Publication:
    """Publish the epoch after `previous` as what it adds and removes, or finish an interrupted such build.
    What is endorsed are the entries of the new list. Raises as `publish_epoch`, if `previous` is not the
    current epoch, or if the design cannot be updated, or not by this: a full set is due then."""
    base = open_publication(how.folder, previous)
    base.verify()

    def work() -> str:
        return list_digest(adds, removes, how.endorsement)

    def run(out: FolderWorkspace, stream: Randomness, watch: bm.Progress) -> bm.Published:
        if (served := current_epoch(how.folder)) != previous:
            raise PublicationError(f"epoch {previous} is not the one served, {served}")
        return how.design.update(base.every_file(), adds, removes, out, stream, how.executor, watch)

    parameters = bm.SetParameters(previous + 1, base.parameters)
    entries = base.manifest.entries + len(adds) - len(removes)
    return publish(Job(how, Plan.of(how, parameters, entries, work()), run, work), rng)


def list_digest(
    entries: bm.EntrySource, removes: Sequence[int] = (), endorsement: Endorsement = NOT_ENDORSED
) -> str:
    """Digest a list, ids and what is endorsed: SHA-256 in hex. `DesignError` if an entry bears a reserved id
    or salt: every build begins with this pass over the whole list."""
    state = sha256(LIST_TAG + len(entries).to_bytes(8, "big"))
    for batch in entries.batches(LIST_BATCH):
        check_entries(batch)
        for column in (batch.hashes, batch.ids.astype(">u8"), batch.salts):
            state.update(np.ascontiguousarray(column).data)
    state.update(b"".join(number.to_bytes(8, "big") for number in removes))
    state.update(endorsement.table)
    return state.hexdigest()
