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


def compute_root(nodes: Nodes, size: int) -> bytes:
    """Return the root of the tree of the first `size` leaves (RFC 9162, section 2.1.1)."""
    return _hash_range(nodes, 0, size) if size else EMPTY_ROOT


def prove_inclusion(nodes: Nodes, index: int, size: int) -> tuple[bytes, ...]:
    """Prove that leaf `index` < `size` is in the tree of `size` leaves (RFC 9162, section 2.1.3.1).

    Returns:
        The hashes beside the path from the leaf to the root, the leaf's neighbour first.
    """
    path = list[bytes]()
    begin = 0
    end = size
    while end - begin > 1:
        split = begin + _split_size(end - begin)
        if index < split:
            path.append(_hash_range(nodes, split, end))
            end = split
        else:
            path.append(_hash_range(nodes, begin, split))
            begin = split
    return tuple(reversed(path))


def prove_consistency(nodes: Nodes, first: int, second: int) -> tuple[bytes, ...]:
    """Prove that `second` leaves begin with the first `first` <= `second` (RFC 9162, section 2.1.4.1).

    Returns:
        The hashes of the proof from the leaves upwards; none if one tree is empty or both are the same.
    """
    if first in (0, second):
        return ()
    path = list[bytes]()
    begin = 0
    end = second
    while first != end:
        split = begin + _split_size(end - begin)
        if first <= split:
            path.append(_hash_range(nodes, split, end))
            end = split
        else:
            path.append(_hash_range(nodes, begin, split))
            begin = split
    # with begin == 0 the smaller tree is a whole subtree, whose root the verifier has already
    if begin:
        path.append(_hash_range(nodes, begin, end))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> Verdict:
    """Verify that the leaf hash `leaf` is at `index` of the tree (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return Failed(f"leaf {index} is not in a tree of {size}")
    if _follow_path(leaf, index, size, path) != root:
        return Failed(f"the inclusion proof does not lead from leaf {index} to the root of {size} leaves")
    return Passed()


def _follow_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a path leads to from leaf `index` of `size`; None if it has another length."""
    root = leaf
    last = size - 1  # the last node of the level that is reached
    for node in path:
        if last == 0 or len(node) != HASH_BYTES:
            return None
        if index & 1 or index == last:
            root = node_hash(node, root)
            # a last node without a right neighbour rises unchanged until it is a right child
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            root = node_hash(root, node)
        index >>= 1
        last >>= 1
    return root if last == 0 else None


def verify_consistency(first: int, second: int, path: Sequence[bytes], old: bytes, new: bytes) -> Verdict:
    """Verify that root `new` of `second` leaves continues `old` of `first` (RFC 9162, section 2.1.4.2)."""
    wrong = Failed(f"the tree of {second} leaves does not continue the tree of {first}")
    if first == second or first == 0:
        fits = (first or old == EMPTY_ROOT) and (old == new or first < second)
        return Passed() if fits and not path else wrong
    if not 0 < first < second or not path:
        return wrong
    # a proof from a whole subtree leaves its root out, since the verifier has it as `old`
    steps = [old, *path] if first & (first - 1) == 0 else list(path)
    index = first - 1
    last = second - 1
    while index & 1:
        index >>= 1
        last >>= 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return wrong
        if index & 1 or index == last:
            before = node_hash(step, before)
            after = node_hash(step, after)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            after = node_hash(after, step)
        index >>= 1
        last >>= 1
    return Passed() if (before, after, last) == (old, new, 0) else wrong


class Tree(Struct, frozen=True):
    """A tree in memory: the hashes of its perfect subtrees by height."""

    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def from_leaves(cls, leaves: Sequence[bytes]) -> Tree:
        """Build the tree of these leaf hashes."""
        levels = [tuple(leaves)]
        while len(levels[-1]) > 1:
            levels.append(hash_pairs(levels[-1]))
        return cls(tuple(levels))

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self.levels[0])

    def node(self, height: int, index: int) -> bytes:
        """Return a node's hash; as a bound method these are the tree's `Nodes`."""
        return self.levels[height][index]


def hash_pairs(hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """Hash each two neighbours to the next level; a last hash without a neighbour is left out."""
    return tuple(node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=False))


def _split_size(size: int) -> int:
    """Return the largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _hash_range(nodes: Nodes, begin: int, end: int) -> bytes:
    """Hash the leaves [begin, end), which the recursion of the tree makes one subtree."""
    size = end - begin
    if size & (size - 1) == 0:
        height = size.bit_length() - 1
        return nodes(height, begin >> height)
    split = begin + _split_size(size)
    return node_hash(_hash_range(nodes, begin, split), _hash_range(nodes, split, end))


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


def format_tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Return a tile's path ("Merkle Tree", "Log entries"); a tile of less than 256 hashes is partial."""
    parts = [f"{index % _THOUSAND:03}"]
    while index >= _THOUSAND:
        index //= _THOUSAND
        parts.insert(0, f"x{index % _THOUSAND:03}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{'entries' if level == ENTRIES else level}/{'/'.join(parts)}{partial}"


def count_in_tile(level: int, index: int, size: int) -> int:
    """Count the hashes, or entries, of a tile in a tree of `size` leaves ("Partial Tiles"); 0: no tile."""
    return max(0, min(WIDTH, (size >> HEIGHT * max(level, 0)) - index * WIDTH))


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Join entries, each behind its length of 16 bits ("Log entries")."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(raw: bytes) -> list[bytes]:
    """Return the entries that `encode_entries` joined; `ProtocolError` if the bytes are cut off."""
    entries = list[bytes]()
    end = 0
    while end < len(raw):
        length = int.from_bytes(raw[end : end + 2], "big")
        end += 2 + length
        if end > len(raw):
            raise ProtocolError(STEP, "must end with an entry")
        entries.append(raw[end - length : end])
    return entries


def split_hashes(raw: bytes) -> list[bytes]:
    """Return the hashes that stand one behind another in a tile."""
    return [raw[start : start + HASH_BYTES] for start in range(0, len(raw), HASH_BYTES)]


def open_tiles(read: ReadTile, size: int) -> Nodes:
    """Return the nodes of the tree of `size` leaves through its tiles; those read last stay in memory."""

    @lru_cache(_KEPT)
    def read_hashes(level: int, index: int) -> list[bytes]:
        return split_hashes(read(level, index, count_in_tile(level, index, size)))

    def read_node(height: int, index: int) -> bytes:
        # tiles have the heights that are multiples of 8: a node between is hashed from the 2**inner below it
        level, inner = divmod(height, HEIGHT)
        tile, first = divmod(index << inner, WIDTH)
        hashes: Sequence[bytes] = read_hashes(level, tile)[first : first + (1 << inner)]
        for _ in range(inner):
            hashes = hash_pairs(hashes)
        return hashes[0]

    return read_node
