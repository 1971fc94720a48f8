"""Pictures that a user brings in: read where they are, never copied; what is kept of them are rates.

Nothing here or behind it may rebuild one, collide with one, or search for edits of one: they get the fixed
edits of the suite, no session is compared with a forged picture, and rows of single pictures are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.picture.decode import decode
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, distance
from blindmatch_server.centre.keys import SAME_PICTURE
from msgspec import Struct, field
from PIL import Image

from blindmatch_simulations.evaluation.corpus.cache import Cache, FileSeen, Print
from blindmatch_simulations.evaluation.corpus.hashing import fingerprint_of, prints
from blindmatch_simulations.evaluation.corpus.pairs import REACH
from blindmatch_simulations.evaluation.corpus.scan import CorpusError, check_folder, state_of
from blindmatch_simulations.testbed.pictures.crops import SamplePicture, encoded

OWN: Final = "own pictures"
LICENCE: Final = "the user's"
MOST_SIDE: Final = 1024
"""Larger pictures are sent smaller, as a messenger does it."""
_JPEG_QUALITY: Final = 90


class OwnPictures(Redacted, Struct, frozen=True):
    """A choice of a folder's pictures.

    Attributes:
        pictures: named by number; `source` is the path, for this process alone.
        files: that were looked at.
        broken: names of those that are no acceptable pictures, for the user alone.
        poor: pictures of too low a quality.
        apart: pictures set apart: copies of chosen ones, edited or not.
        mark: stands for the choice; without the user's cache it tells nothing.
    """

    pictures: list[SamplePicture] = field(default_factory=list)
    files: int = 0
    broken: list[str] = field(default_factory=list)
    poor: int = 0
    apart: int = 0
    mark: str = ""


def own_pictures(
    folder: Path, cache_home: Path, count: int, least: int, seed: int, workers: int, progress: Progress
) -> OwnPictures:
    """Up to `count` pictures of a folder, in an order that `seed` determines, none of them there twice.

    Args:
        folder: with pictures, in folders or not.
        cache_home: below it fingerprints are kept, so that each picture is hashed once.
        count, least: how many are taken, and must be.
        seed: of the order.
        workers: processes that hash.

    Raises:
        CorpusError: if the folder cannot be read, or has too few good pictures; names what was found.
        StateError: if the cache cannot be used.
    """
    check_folder(folder)
    kept = Cache(state_of(folder, cache_home))
    try:
        found = list(prints(folder, kept, workers, progress))
        good = [(file, one) for file, one in found if one is not None and one.quality >= LEAST_QUALITY]
        broken = [file.name for file, one in found if one is None]
        chosen, apart = _different(sorted(good, key=lambda pair: _order(pair[1], seed)), count)
        mark = kept.mark(b"".join(one.hash for _, one in chosen))
    finally:
        kept.close()
    poor = len(found) - len(good) - len(broken)
    if len(chosen) < least:
        counts = f"{len(found)} files, {len(broken)} broken, {poor} of too low a quality, {apart} copies"
        raise CorpusError(f"{folder}: {len(chosen)} pictures can be used, {least} are needed ({counts})")
    pictures = list(_samples(folder, chosen))
    return OwnPictures(pictures, len(found), broken, poor, apart, mark)


def as_sent(data: bytes) -> bytes:
    """The file, or a smaller JPEG of a large picture; `PictureError` if it is no picture."""
    image = Image.fromarray(decode(data).pixels)
    if max(image.size) <= MOST_SIDE:
        return data
    image.thumbnail((MOST_SIDE, MOST_SIDE))
    return encoded(image, "JPEG", quality=_JPEG_QUALITY)


def _different(found: list[tuple[FileSeen, Print]], count: int) -> tuple[list[tuple[FileSeen, Print]], int]:
    """The first `count` that are not the same as one before them, and how many were."""
    chosen, apart = list[tuple[FileSeen, Print]](), 0
    for file, one in found:
        if len(chosen) == count:
            break
        if any(_same(one, other) for _, other in chosen):
            apart += 1
        else:
            chosen.append((file, one))
    return chosen, apart


def _same(one: Print, other: Print) -> bool:
    near = distance(one.hash, other.hash) <= REACH
    return near and distance(one.second, other.second) <= SAME_PICTURE


def _order(one: Print, seed: int) -> bytes:
    return blake2b(one.hash + one.second, key=b"%d" % seed, digest_size=8).digest()


def _samples(folder: Path, chosen: list[tuple[FileSeen, Print]]) -> Iterator[SamplePicture]:
    for number, (file, _) in enumerate(chosen):
        path = folder / file.name
        try:
            data = as_sent(path.read_bytes())
            found = fingerprint_of(data)
        except (OSError, PictureError) as error:
            raise CorpusError(f"{path}: changed since it was hashed: run it again") from error
        size = Image.open(BytesIO(data)).size
        box = (0, 0, size[1], size[0])
        yield SamplePicture(f"own-{number:04d}", str(path), box, LICENCE, data, found.hash, found.quality)
