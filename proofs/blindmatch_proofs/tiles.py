"""Tiles: a log's tree and entries as small files that never change once they are full (c2sp.org/tlog-tiles).

    tile/L/N         256 hashes of height 8 * L         tile/entries/N   256 entries, each behind its length
    tile/L/N.p/W     the first W of them, while the tree ends there

`tile_nodes` reads a tree through tiles, at most one tile a level for each hash of a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from blindmatch_protocol.codec.errors import ProtocolError

from blindmatch_proofs.merkle import HASH_BYTES, Nodes, paired

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
    """The hashes of a tile."""
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
