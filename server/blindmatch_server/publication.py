"""Publishes epochs of a design: whole lists, and what is added to and removed from one (building.py)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from blindmatch_proofs.epoch_leaf import NOT_ENDORSED, Endorsement
from blindmatch_protocol.contract import (
    AnyDesign,
    EntrySource,
    Progress,
    Published,
    SetParameters,
    no_progress,
)
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.randomness import Randomness

from blindmatch_server.building import Job, Submit, not_submitted, publish
from blindmatch_server.curator.signing import Signer
from blindmatch_server.manifest import Plan
from blindmatch_server.published import (
    EpochPublishedError,
    Publication,
    current_epoch,
    open_publication,
)
from blindmatch_server.workspace import FolderWorkspace

LIST_TAG = b"blindmatch/build-list/v1"
LIST_BATCH = 1 << 16


def publish_epoch(
    design: AnyDesign,
    entries: EntrySource,
    parameters: SetParameters,
    rng: Randomness,
    executor: Executor | None,
    folder: Path,
    signer: Signer,
    progress: Progress = no_progress,
    endorsement: Endorsement = NOT_ENDORSED,
    submit: Submit = not_submitted,
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
        endorsement: what the list's entries are endorsed by.
        submit: has the epoch logged before it is served.

    Raises:
        BuildRunningError: if another build works in `folder`.
        EpochPublishedError: if the epoch is there already, or a later one.
        StorageError: if the file system refuses; what was computed stays for the next call.
        DesignError: if the list or the parameters cannot be served, or the list changes meanwhile.
    """

    def work() -> str:
        return list_digest(entries, (), endorsement)

    def run(out: FolderWorkspace, stream: Randomness, watch: Progress) -> Published:
        return design.publish(entries, parameters, stream, executor, out, watch)

    plan = Plan.of(design.info, parameters, len(entries), work(), signer.validity)
    return publish(Job(design, plan, run, work, signer, endorsement, submit), rng, folder, progress)


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
    endorsement: Endorsement = NOT_ENDORSED,
    submit: Submit = not_submitted,
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
        endorsement: what the new list's entries are endorsed by.
        submit: has the epoch logged before it is served.

    Raises:
        BuildRunningError, StorageError: as `publish_epoch`.
        EpochPublishedError, NoPublicationError: if `previous` is not the current epoch, or is none.
        DamagedPublicationError: if a file of it is damaged.
        DesignError: if the design cannot be updated, or not by this; or a full set is due.
    """
    base = _verified(folder, previous)

    def work() -> str:
        return list_digest(adds, removes, endorsement)

    def run(out: FolderWorkspace, stream: Randomness, watch: Progress) -> Published:
        _check_current(folder, previous)
        return design.update(base.every_file(), adds, removes, out, stream, executor, watch)

    plan = _plan_after(base, design, len(adds) - len(removes), work(), signer)
    return publish(Job(design, plan, run, work, signer, endorsement, submit), rng, folder, progress)


def _verified(folder: Path, epoch: int) -> Publication:
    """The epoch, none of whose files is damaged."""
    base = open_publication(folder, epoch)
    base.verify()
    return base


def _plan_after(base: Publication, design: AnyDesign, more: int, work: str, signer: Signer) -> Plan:
    """Of the epoch after `base`, with so many entries more."""
    parameters = SetParameters(base.manifest.epoch + 1, base.manifest.parameters)
    return Plan.of(design.info, parameters, base.manifest.entries + more, work, signer.validity)


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
