"""Merkle trees of a log: roots, inclusion and consistency (RFC 6962, section 2.1; RFC 9162, section 2.1).

A tree is read through `Nodes`, the hashes of its perfect subtrees, so that each proof takes O(log n) of them
wherever they are kept: in memory (`Tree`), or in tiles, small files that never change once they are full
(c2sp.org/tlog-tiles):

    tile/L/N         256 hashes of height 8 * L         tile/entries/N   256 entries, each behind its length
    tile/L/N.p/W     the first W of them, while the tree ends there
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.setfile import files
from blindmatch_protocol.setfile.files import node_hash
from msgspec import Struct

from blindmatch_proofs.verdict import Failed, Passed, Verdict

HASH_BYTES: Final = 32
PATH_MOST: Final = 63
"""Hashes of a proof at most (tlog-witness, "add-checkpoint")."""
EMPTY_ROOT: Final = sha256().digest()
leaf_hash = files.leaf_hash

Nodes: TypeAlias = Callable[[int, int], bytes]
"""The hash of leaves [i * 2**h, (i + 1) * 2**h), given h and i."""


def root_of(nodes: Nodes, size: int) -> bytes:
    """Root of the tree of the first `size` leaves (RFC 9162, section 2.1.1)."""
    return _range(nodes, 0, size) if size else EMPTY_ROOT


def inclusion_path(nodes: Nodes, index: int, size: int) -> tuple[bytes, ...]:
    """Proof that leaf `index` < `size` is in the tree of `size` leaves (RFC 9162, section 2.1.3.1)."""
    path, begin, end = list[bytes](), 0, size
    while end - begin > 1:
        split = begin + _split(end - begin)
        left = index < split
        path.append(_range(nodes, split, end) if left else _range(nodes, begin, split))
        begin, end = (begin, split) if left else (split, end)
    return tuple(reversed(path))


def consistency_path(nodes: Nodes, first: int, second: int) -> tuple[bytes, ...]:
    """Proof that `second` leaves begin with the first `first` <= `second` (RFC 9162, section 2.1.4.1)."""
    if first in (0, second):
        return ()
    path, begin, end = list[bytes](), 0, second
    while first != end:
        split = begin + _split(end - begin)
        left = first <= split
        path.append(_range(nodes, split, end) if left else _range(nodes, begin, split))
        begin, end = (begin, split) if left else (split, end)
    if begin:
        path.append(_range(nodes, begin, end))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> Verdict:
    """Whether the leaf hash `leaf` is at `index` of the tree (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return Failed(f"leaf {index} is not in a tree of {size}")
    if _root_from(leaf, index, size, path) != root:
        return Failed(f"the inclusion proof does not lead from leaf {index} to the root of {size} leaves")
    return Passed()


def _root_from(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to from leaf `index` of `size`; None if it has another length."""
    found, last = leaf, size - 1
    for node in path:
        if last == 0 or len(node) != HASH_BYTES:
            return None
        if index & 1 or index == last:
            found = node_hash(node, found)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = node_hash(found, node)
        index, last = index >> 1, last >> 1
    return found if last == 0 else None


def verify_consistency(first: int, second: int, path: Sequence[bytes], old: bytes, new: bytes) -> Verdict:
    """Whether root `new` of `second` leaves continues root `old` of `first` (RFC 9162, section 2.1.4.2)."""
    wrong = Failed(f"the tree of {second} leaves does not continue the tree of {first}")
    if first == second or first == 0:
        fits = (first or old == EMPTY_ROOT) and (old == new or first < second)
        return Passed() if fits and not path else wrong
    if not 0 < first < second or not path:
        return wrong
    steps = [old, *path] if first & (first - 1) == 0 else list(path)
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return wrong
        if at & 1 or at == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node_hash(after, step)
        at, last = at >> 1, last >> 1
    return Passed() if (before, after, last) == (old, new, 0) else wrong


class Tree(Struct, frozen=True):
    """A tree in memory: the hashes of its perfect subtrees by height."""

    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def of(cls, leaves: Sequence[bytes]) -> Tree:
        levels = [tuple(leaves)]
        while len(levels[-1]) > 1:
            levels.append(paired(levels[-1]))
        return cls(tuple(levels))

    @property
    def size(self) -> int:
        return len(self.levels[0])

    def node(self, height: int, index: int) -> bytes:
        return self.levels[height][index]


def paired(hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """The next level: a hash of each two neighbours; a last one without a neighbour is left out."""
    return tuple(node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=False))


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _range(nodes: Nodes, begin: int, end: int) -> bytes:
    """Hash of leaves [begin, end), of which the recursion of a tree makes a subtree."""
    size = end - begin
    if size & (size - 1) == 0:
        height = size.bit_length() - 1
        return nodes(height, begin >> height)
    split = begin + _split(size)
    return node_hash(_range(nodes, begin, split), _range(nodes, split, end))


STEP: Final = "tile"
HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
ENTRIES: Final = -1
"""In the place of a level: entries themselves."""
ENTRY_MOST: Final = (1 << 16) - 1
_THOUSAND: Final = 1000
_KEPT: Final = 64

ReadTile: TypeAlias = Callable[[int, int, int], bytes]
"""A tile's bytes by level, index and width."""


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Where a tile is ("Merkle Tree", "Log entries"); one of less than 256 hashes is partial."""
    parts = [f"{index % _THOUSAND:03}"]
    while index >= _THOUSAND:
        index //= _THOUSAND
        parts.insert(0, f"x{index % _THOUSAND:03}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{'entries' if level == ENTRIES else level}/{'/'.join(parts)}{partial}"


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes, or entries, the tile has in a tree of `size` leaves ("Partial Tiles"); 0: none."""
    return max(0, min(WIDTH, (size >> HEIGHT * max(level, 0)) - index * WIDTH))


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each behind its length of 16 bits ("Log entries")."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def entries_of(raw: bytes) -> list[bytes]:
    """What `bundle` made; `ProtocolError` if it is cut off."""
    entries, at = list[bytes](), 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 2], "big")
        at += 2 + length
        if at > len(raw):
            raise ProtocolError(STEP, "must end with an entry")
        entries.append(raw[at - length : at])
    return entries


def hashes_of(raw: bytes) -> list[bytes]:
    return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]


def tile_nodes(read: ReadTile, size: int) -> Nodes:
    """The tree of `size` leaves through its tiles; those read last are kept."""

    @lru_cache(_KEPT)
    def tile(level: int, index: int) -> list[bytes]:
        return hashes_of(read(level, index, tile_width(level, index, size)))

    def node(height: int, index: int) -> bytes:
        level, inner = divmod(height, HEIGHT)
        at, first = divmod(index << inner, WIDTH)
        hashes: Sequence[bytes] = tile(level, at)[first : first + (1 << inner)]
        for _ in range(inner):
            hashes = paired(hashes)
        return hashes[0]

    return node
