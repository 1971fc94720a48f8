"""The material of a run: pictures with their edits and one list, made once and shared by all designs.

It lies in a working folder that is removed when the assessment is complete; nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.picture.distance import distances, rows
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import seeded
from blindmatch_server.curator import HashList, list_hashes, open_list, random_hashes

from blindmatch_simulations.assess.plan import Plan
from blindmatch_simulations.pictures.crops import SamplePicture, crops
from blindmatch_simulations.pictures.edits import BY_NAME

INDEX: Final = "items.json"
LIST: Final = "known.list"
_CHUNK: Final = 1 << 16


class MadeItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A picture to be sent.

    Attributes:
        index: its place in the order of sending.
        name: of the crop.
        edit: what was done to it.
        listed: whether the unedited crop is on the list.
        quality: of the edited picture's PDQ hash.
        origin_distance: PDQ distance from the unedited crop.
        list_distance: PDQ distance from the nearest entry of the list.
    """

    index: int
    name: str
    edit: str
    listed: bool
    quality: int
    origin_distance: int
    list_distance: int


@dataclass(frozen=True, slots=True)
class Material:
    """A folder that `make` filled."""

    folder: Path

    def items(self) -> list[MadeItem]:
        """All pictures, in the order of sending."""
        return msgspec.json.decode((self.folder / INDEX).read_bytes(), type=list[MadeItem])

    def data(self, item: MadeItem) -> bytes:
        """A picture's file."""
        return _path(self.folder, item.index).read_bytes()

    def entries(self) -> HashList:
        """The list, open."""
        return open_list(self.folder / LIST)


def make(plan: Plan, folder: Path, progress: Progress) -> Material:
    """Make pictures and list in the new folder; the same plan makes the same material."""
    folder.mkdir(parents=True)
    chosen = crops(plan.pictures.listed + plan.pictures.unlisted, plan.seed)
    listed = chosen[: plan.pictures.listed]
    known = _write_list(plan, folder / LIST, listed)
    jobs = list(_jobs(plan, chosen))
    order = np.random.Generator(np.random.PCG64(plan.seed)).permutation(len(jobs))
    items = []
    for index, at in enumerate(order):
        picture, edit, is_listed = jobs[int(at)]
        items.append(_item(folder, index, picture, edit, is_listed, known))
        progress(index + 1, len(jobs))
    (folder / INDEX).write_bytes(msgspec.json.encode(items))
    return Material(folder)


def _jobs(plan: Plan, chosen: list[SamplePicture]) -> Iterator[tuple[SamplePicture, str, bool]]:
    for at, picture in enumerate(chosen):
        is_listed = at < plan.pictures.listed
        for edit in plan.pictures.edits if is_listed else plan.pictures.unlisted_edits:
            yield picture, edit, is_listed


def _item(
    folder: Path, index: int, picture: SamplePicture, edit: str, is_listed: bool, known: Rows
) -> MadeItem:
    data = BY_NAME[edit].apply(picture.data)
    _path(folder, index).write_bytes(data)
    fingerprint = Picture.from_bytes(data).fingerprint
    row = rows([fingerprint.hash])
    return MadeItem(
        index=index,
        name=picture.name,
        edit=edit,
        listed=is_listed,
        quality=fingerprint.quality,
        origin_distance=int(distances(row, rows([picture.hash]))[0, 0]),
        list_distance=_nearest(row, known),
    )


def _nearest(row: Rows, known: Rows) -> int:
    parts = (known[at : at + _CHUNK] for at in range(0, len(known), _CHUNK))
    return min(int(distances(row, part).min()) for part in parts)


def _write_list(plan: Plan, path: Path, listed: list[SamplePicture]) -> Rows:
    """The listed pictures' hashes first, then random ones; ids and salts follow from the seed."""
    rng = seeded(f"assess/{plan.seed}/list")
    hashes = np.concatenate([rows([one.hash for one in listed]), random_hashes(plan.list.random, rng)])
    list_hashes(hashes, path, rng)
    return hashes


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.bin"
