"""Which list the current epoch was published from, so that no other takes its place by mistake.

    HOME/curator/sources/DESIGN/EPOCH/NAME.list    the entries of that epoch, as list NAME had them

It is the curator's alone. It is written before the epoch is served; the one of the epoch before goes once
that is done. Epochs of older versions have none, and then it is not known what a list would remove.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from blindmatch_protocol.contract import EntryBatch, EntrySource
from blindmatch_protocol.contract.publishing import whole
from blindmatch_server.curator import HashList, ListError, ListFileError, open_list
from blindmatch_server.curator.entry_ids import is_counted, round_up, take_ids
from blindmatch_server.curator.hashlist import FIRST_ID, write_entries
from blindmatch_server.curator.inspection import group_rows
from blindmatch_server.epochs.published import (
    CURRENT,
    NoPublicationError,
    Publication,
    current_epoch,
    read_signed,
)
from blindmatch_server.storage.files import storage, sync_folder
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.folder import Deployment

_SUFFIX: Final = ".list"
_BATCH: Final = 1 << 16


class Succession(Struct, frozen=True):
    """What publishing a list as the next epoch does to the current one.

    Attributes:
        name: of the list.
        epoch: the current one; 0 if nothing is published.
        entries: how many the current epoch has.
        source: the list that the current epoch was published from; None if that is not known.
        removed: entries of the current epoch that the list lacks; None if that is not known.
        lost: entries of a list file of this name that no epoch was published from and that is to be written
            over.
    """

    name: str
    epoch: int = 0
    entries: int = 0
    source: str | None = None
    removed: int | None = 0
    lost: int = 0

    @property
    def removes_most(self) -> bool:
        """Are more than half of the entries removed, as far as is known?"""
        return self.removed is not None and 2 * self.removed > self.entries


def succession(deployment: Deployment, design: str, name: str, entries: EntryBatch) -> Succession:
    """Compare list `name` with the entries of the current epoch; `ListError` if an id is of another entry."""
    folder = deployment.published(design)
    try:
        epoch = current_epoch(folder)
    except NoPublicationError:
        return Succession(name)
    count = read_signed(folder / str(epoch)).manifest.entries
    path = _path(deployment, design, epoch)
    if path is None:
        return Succession(name, epoch, count, removed=None)
    with open_list(path) as before:
        _check_ids(epoch, before, entries)
        return Succession(name, epoch, count, path.stem, _count_removed(before, entries))


def check_is_source(deployment: Deployment, design: str, current: Publication, listed: HashList) -> None:
    """Refuse a list as what the current epoch is to be updated from, unless it is; `ListError` says why."""
    epoch = current.manifest.epoch
    name = listed.path.stem
    path = _path(deployment, design, epoch)
    if path is None:
        if current.manifest.entries != len(listed):
            raise ListError(
                f"epoch {epoch} has {current.manifest.entries} entries, the list {name} has {len(listed)}: "
                "name the list that the epoch was built from"
            )
        return
    with open_list(path) as before:
        if before.footer.digest() != listed.footer.digest():
            raise ListError(
                f"epoch {epoch} was built from {path.stem} with {len(before)} entries, and not from {name} "
                "as it is now: name the list that the epoch was built from, or build a full set without "
                "--from"
            )


def is_as_published(deployment: Deployment, design: str, epoch: int, listed: HashList) -> bool:
    """Are its entries those of an epoch that was published from the list of its name?"""
    path = _path(deployment, design, epoch)
    if path is None or path.stem != listed.path.stem:
        return False
    with open_list(path) as before:
        return before.footer.digest() == listed.footer.digest()


def keep_source(deployment: Deployment, design: str, epoch: int, name: str, entries: EntrySource) -> None:
    """Note that an epoch was published from list `name`; durable on return."""
    home = deployment.sources / design / str(epoch)
    with storage(f"writing what epoch {epoch} is published from"):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for other in home.glob(f"*{_SUFFIX}"):
            if other.stem != name:
                other.unlink()
        deployment.lists.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = in_memory(entries)
    next_id = take_ids(deployment.lists, 0, int(held.ids.max(initial=0)) + 1)
    write_entries(home / f"{name}{_SUFFIX}", held, next_id)
    sync_folder(home.parent)


def in_memory(entries: EntrySource) -> EntryBatch:
    """All entries in the order of their ids; those of a list file stay in its map."""
    if isinstance(entries, HashList):
        return EntryBatch(entries.hashes, entries.ids, entries.salts)
    held = whole(entries, _BATCH)
    return held.take(np.argsort(held.ids, kind="stable"))


def forget_sources(deployment: Deployment, design: str, epoch: int) -> None:
    """Remove what epochs before `epoch` were published from."""
    for home in (deployment.sources / design).glob("*"):
        if home.name.isdecimal() and int(home.name) < epoch:
            shutil.rmtree(home, ignore_errors=True)


def prepare_ids(deployment: Deployment) -> None:
    """Before entries get ids: keep those above every id that was published, by older versions too, and also
    where the lists were put back from a copy that does not know of it."""
    lists = deployment.lists
    lists.mkdir(parents=True, exist_ok=True, mode=0o700)
    sources = list(deployment.sources.glob(f"*/*/*{_SUFFIX}"))
    if is_counted(lists):
        if sources:
            take_ids(lists, 0, _after(sources))
        return
    published = any(deployment.published("").glob(f"*/{CURRENT}"))
    if published or sources:
        take_ids(lists, 0, round_up(_after([*lists.glob(f"*{_SUFFIX}"), *sources])))


def _after(paths: Iterable[Path]) -> int:
    """The id after those that these lists, as far as they can be read, know of."""
    after = FIRST_ID
    for path in paths:
        with suppress(ListFileError), open_list(path, verify=False) as listed:
            after = max(after, listed.footer.next_id)
    return after


def _path(deployment: Deployment, design: str, epoch: int) -> Path | None:
    found = sorted((deployment.sources / design / str(epoch)).glob(f"*{_SUFFIX}"))
    return found[0] if len(found) == 1 else None


def _count_removed(before: HashList, entries: EntryBatch) -> int:
    """Entries whose hash the new list lacks."""
    group, _ = group_rows(np.concatenate((before.hashes, entries.hashes)))
    return int((~np.isin(group[: len(before)], group[len(before) :])).sum())


def _check_ids(epoch: int, before: HashList, entries: EntryBatch) -> None:
    """An id stands for one entry for ever: reports, removals and endorsements name entries by it."""
    shared, old, new = np.intersect1d(before.ids, entries.ids, assume_unique=True, return_indices=True)
    other = (before.hashes[old] != entries.hashes[new]).any(axis=1)
    if other.any():
        raise ListError(
            f"id {shared[other][0]} is of another entry in epoch {epoch}: the list was made elsewhere; "
            "export its hashes there and import them here"
        )
