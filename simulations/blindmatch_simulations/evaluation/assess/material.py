"""The material of a run: pictures with their edits and one list, made once and shared by all designs.

It lies in a working folder that is removed when the assessment is complete; nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import Pixels, distances, rows
from blindmatch_server.curator import HashList, list_hashes, open_list, random_hashes
from msgspec import Struct
from msgspec.structs import replace
from PIL import Image

from blindmatch_simulations.evaluation.assess.observed import Item
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.evaluation.corpus.hashing import fingerprint_of
from blindmatch_simulations.evaluation.corpus.installed import FACES, PHOTOGRAPHS, installed
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.measure.results import Strict
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, SamplePicture, crops, encoded
from blindmatch_simulations.testbed.pictures.pool import GENERATED

INDEX: Final = "items.json"
EDITED: Final = "edited.json"
LIST: Final = "known.list"
NOT_COMPARED: Final = -1
_CHUNK: Final = 1 << 16
_OF_A_SEED: Final = 100_000
_MOST_SIDE: Final = 512
"""Pictures of further kinds are made smaller to this before they are edited, as a messenger does it."""


class MadeItem(Item, frozen=True):
    """A picture to be sent; its kind is photographs (crops) or a further one."""

    kind: str


class Material(Struct, frozen=True):
    """A folder that `make` filled."""

    folder: Path

    def __len__(self) -> int:
        with self.entries() as entries:
            return len(entries)

    def items(self) -> list[MadeItem]:
        """All pictures, in the order of sending."""
        return msgspec.json.decode((self.folder / INDEX).read_bytes(), type=list[MadeItem])

    def data(self, item: MadeItem) -> bytes:
        return _path(self.folder, item.index).read_bytes()

    def entries(self, most: int | None = None) -> HashList:
        """The list, open; its first `most` entries, of which the listed pictures are the first."""
        path = self.folder / LIST
        if most is None:
            return open_list(path)
        fewer = self.folder / f"{most}-{LIST}"
        if not fewer.exists():
            with open_list(path) as whole:
                (batch,) = islice(whole.batches(most), 1)
                list_hashes(batch.hashes, fewer, seeded(f"assess/fewer/{most}"))
        return open_list(fewer)


class Group(Struct, frozen=True):
    """Pictures of one kind, of which the first `listed` are on the list."""

    kind: str
    pictures: Sequence[SamplePicture]
    listed: int


def of_kind(kind: str, count: int, seed: int) -> list[SamplePicture]:
    """Up to `count` pictures of a generated kind, or of installed faces, to be sent."""
    made: Iterator[Pixels]
    if kind in GENERATED:
        made = (np.asarray(GENERATED[kind](seed * _OF_A_SEED + number)) for number in range(count))
    else:
        made = islice((one.pixels() for one in installed() if one.kind == kind), count)
    return [_sample(kind, number, pixels) for number, pixels in enumerate(made)]


def _sample(kind: str, number: int, pixels: Pixels) -> SamplePicture:
    image = Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    image.thumbnail((_MOST_SIDE, _MOST_SIDE))
    data = encoded(image, compress_level=1)
    found = fingerprint_of(data)
    name = f"{kind.replace(' ', '-')}-{number:04d}"
    return SamplePicture(name, kind, (0, 0, height, width), "", data, found.hash, found.quality)


class Edited(Strict, frozen=True):
    """What follows from the pictures alone: hashes of those listed; items, as yet at no distance from a list,
    with their hashes."""

    listed: tuple[bytes, ...]
    items: tuple[tuple[MadeItem, bytes], ...]


Fill: TypeAlias = Callable[[Path, Callable[[Path], object]], object]
"""Fills a new folder by a function, or with what that function made before (`shared`)."""


def make(plan: Plan, folder: Path, progress: Progress, fill: Fill | None = None) -> Material:
    """Make pictures and list in the new folder; the same plan makes the same material."""
    folder.mkdir(parents=True)
    edit = partial(_edit, plan, progress)
    fill(folder, edit) if fill else edit(folder)
    edited = msgspec.json.decode((folder / EDITED).read_bytes(), type=Edited)
    (folder / EDITED).unlink()
    rng = seeded(f"assess/{plan.seed}/list")
    known = np.concatenate([rows([*edited.listed]), random_hashes(plan.list.random, rng)])
    list_hashes(known, folder / LIST, rng)
    items = [replace(item, list_distance=_nearest(found, known)) for item, found in edited.items]
    (folder / INDEX).write_bytes(msgspec.json.encode(items))
    return Material(folder)


def _edit(plan: Plan, progress: Progress, folder: Path) -> None:
    picked = plan.pictures
    groups = [Group(PHOTOGRAPHS, crops(picked.listed + picked.unlisted, plan.seed), picked.listed)]
    for kind in (FACES, *GENERATED) if picked.of_each_kind else ():
        groups.append(Group(kind, of_kind(kind, 2 * picked.of_each_kind, plan.seed), picked.of_each_kind))
    edits = {True: picked.edits, False: picked.unlisted_edits}
    jobs = [
        (group, picture, edit, at < group.listed)
        for group in groups
        for at, picture in enumerate(group.pictures)
        for edit in edits[at < group.listed]
    ]
    order = np.random.Generator(np.random.PCG64(plan.seed)).permutation(len(jobs))
    items = []
    for index, at in enumerate(each(order, progress)):
        group, picture, edit, is_listed = jobs[int(at)]
        items.append(_item(folder, index, picture, edit, is_listed, group.kind))
    listed = tuple(one.hash for group in groups for one in group.pictures[: group.listed])
    (folder / EDITED).write_bytes(msgspec.json.encode(Edited(listed, tuple(items))))


def _item(
    folder: Path, index: int, picture: SamplePicture, edit: str, is_listed: bool, kind: str
) -> tuple[MadeItem, bytes]:
    data = BY_NAME[edit].apply(picture.data)
    _path(folder, index).write_bytes(data)
    fingerprint = Picture.from_bytes(data).fingerprint
    item = MadeItem(
        index=index,
        name=picture.name,
        edit=edit,
        listed=is_listed,
        quality=fingerprint.quality,
        origin_distance=int(distances(rows([fingerprint.hash]), rows([picture.hash]))[0, 0]),
        list_distance=NOT_COMPARED,
        kind=kind,
    )
    return item, fingerprint.hash


def _nearest(found: bytes, known: Rows) -> int:
    parts = (known[at : at + _CHUNK] for at in range(0, len(known), _CHUNK))
    return min(int(distances(rows([found]), part).min()) for part in parts)


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.bin"
