"""Publishes epochs of a design: whole lists, and what is added to and removed from one (building.py)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from blindmatch_proofs.epoch_leaf import NOT_ENDORSED, Endorsement
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import EntrySource, Progress, Published, SetParameters

from blindmatch_server.epochs.building import Job, Publishing, publish
from blindmatch_server.epochs.manifest import Plan
from blindmatch_server.epochs.published import (
    EpochPublishedError,
    Publication,
    current_epoch,
    open_publication,
)
from blindmatch_server.storage.workspace import FolderWorkspace

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
