"""Lists from hashes that are at hand, from random ones, and from pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.contract.relation import MINIMUM_QUALITY
from blindmatch_protocol.picture.item import Picture

from blindmatch_server.curator.assembling import Near
from blindmatch_server.curator.errors import ListError
from blindmatch_server.curator.formats.block import Block
from blindmatch_server.curator.hashlist import HashList
from blindmatch_server.curator.hexhash import are_balanced
from blindmatch_server.curator.importing import Provenance, build
from blindmatch_server.curator.listwriter import Title
from blindmatch_server.curator.rejects import Place, Reason, Reject
from blindmatch_server.curator.summary import Summary

_BATCH: Final = 1 << 16
_RANDOM_BATCH: Final = 1 << 14


def list_hashes(
    hashes: Rows,
    into: Path,
    rng: Randomness,
    *,
    title: Title | None = None,
    onto: HashList | None = None,
    families: Near | None = None,
) -> Summary:
    """Write a list of `hashes`, uint8 (n, 32), or add them to the list `onto`; see `import_list`.

    A hash that is all zero or out of balance is rejected, its record number being its row's from 1 on.

    Raises:
        ListError: for another shape or type, or if the file cannot be written.
        NothingValidError: if none is valid.
    """
    if hashes.ndim != 2 or hashes.shape[1] != 32 or hashes.dtype != np.uint8:
        raise ListError("hashes must be a uint8 matrix of 32 columns")
    named = (("hashes", block) for block in _hash_blocks(hashes))
    provenance = Provenance({"hashes": None})
    return build(named, provenance, into, rng, title=title, onto=onto, families=families)


def random_hashes(count: int, rng: Randomness) -> Rows:
    """`count` hashes, uint8 (count, 32), each uniform among those with 128 ones, as PDQ's have them.

    32 bytes of `rng` seed a generator; the hashes of a seed may differ between versions of numpy.
    """
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(rng.take(32), "big")))
    half = np.repeat(np.array([0, 1], np.uint8), 128)
    hashes = np.empty((count, 32), np.uint8)
    for at in range(0, count, _RANDOM_BATCH):
        rows = min(_RANDOM_BATCH, count - at)
        bits = generator.permuted(np.broadcast_to(half, (rows, 256)), axis=1)
        hashes[at : at + rows] = np.packbits(bits, axis=1)
    return hashes


def random_list(count: int, into: Path, rng: Randomness, *, title: Title | None = None) -> Summary:
    """Write a list of `count` random hashes of 128 ones each; raises as `list_hashes` does."""
    return list_hashes(random_hashes(count, rng), into, rng, title=title)


def _hash_blocks(hashes: Rows) -> Iterator[Block]:
    for at in range(0, len(hashes), _BATCH):
        part = hashes[at : at + _BATCH]
        valid = are_balanced(part)
        rejects = tuple(
            Reject(
                Place(at + int(row) + 1, 0, (at + int(row)) * 32),
                Reason.HASH_UNBALANCED if part[row].any() else Reason.HASH_ALL_ZERO,
            )
            for row in np.flatnonzero(~valid)
        )
        yield Block(len(part), part[valid], rejects)


def list_pictures(
    pictures: Sequence[Path],
    into: Path,
    rng: Randomness,
    *,
    onto: HashList | None = None,
    progress: Progress = no_progress,
) -> Summary:
    """Write a list of the pictures' hashes, or add them to the list `onto`; see `import_list`.

    A picture that cannot be decoded, or has a PDQ quality below 50, is rejected. `progress` gets pictures.

    Raises:
        NothingValidError: if none is valid.
        ListError: if a file cannot be read or written.
    """
    named = _picture_blocks(pictures, progress)
    return build(named, Provenance({"pictures": None}), into, rng, onto=onto)


def _picture_blocks(pictures: Iterable[Path], progress: Progress) -> Iterator[tuple[str, Block]]:
    listed = list(pictures)
    for number, path in enumerate(listed, 1):
        found = _hash_of(path)
        if isinstance(found, Reason):
            rejects = (Reject(Place(number, 0, 0), found),)
            yield path.name, Block(1, np.empty((0, 32), np.uint8), rejects)
        else:
            yield path.name, Block(1, np.frombuffer(found, np.uint8).reshape(1, 32))
        progress(number, len(listed))


def _hash_of(path: Path) -> bytes | Reason:
    try:
        picture = Picture.from_bytes(path.read_bytes())
        quality, found = picture.quality, picture.hash
    except PictureError:
        return Reason.UNREADABLE_PICTURE
    except OSError as error:
        raise ListError(f"cannot read {path.name}: {error.strerror}") from error
    return found if quality >= MINIMUM_QUALITY else Reason.LOW_QUALITY
