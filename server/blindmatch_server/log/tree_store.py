"""A log's tree in files: tiles as c2sp.org/tlog-tiles lays them out, and the newest checkpoint.

    append: entries and tiles --sync--> checkpoint, replaced in one step --> partial tiles that are whole go

A kill before the rename leaves tiles that the next append writes again; whatever was signed was in the
checkpoint's file before it was shown to anybody.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blindmatch_proofs import merkle
from blindmatch_proofs.checkpoint import Checkpoint, Note
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.failpoint import reach

from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.files import replace_file, sync_folder

CHECKPOINT: Final = "checkpoint"
_SYNC_ALL_FROM: Final = 64
"""So many new files are brought to the disk by one call for all of them."""


class TreeStore:
    """One log, whose folder is made with the first entry; `StateError` if the checkpoint cannot be read, or
    is another log's."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self.note = _read(folder / CHECKPOINT, origin)
        self.head = (
            Checkpoint(origin, 0, merkle.EMPTY_ROOT) if self.note is None else Checkpoint.from_note(self.note)
        )

    @property
    def size(self) -> int:
        return self.head.size

    @property
    def nodes(self) -> merkle.Nodes:
        return merkle.open_tiles(self.tile, self.size)

    def tile(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of a tile, or entries; `FileNotFoundError` if there are not so many."""
        partial = self._folder / merkle.format_tile_path(level, index, width)
        if width == merkle.WIDTH or partial.exists():
            return partial.read_bytes()
        whole = (self._folder / merkle.format_tile_path(level, index)).read_bytes()
        return (
            merkle.encode_entries(merkle.decode_entries(whole)[:width])
            if level == merkle.ENTRIES
            else whole[: merkle.HASH_BYTES * width]
        )

    def entry(self, index: int) -> bytes:
        at, row = divmod(index, merkle.WIDTH)
        return merkle.decode_entries(
            self.tile(merkle.ENTRIES, at, merkle.count_in_tile(merkle.ENTRIES, at, self.size))
        )[row]

    def extended(self, entries: Sequence[bytes]) -> Checkpoint:
        """Write `entries` behind the others, synced; the head that `keep` must be given for them to count;
        `ProtocolError` if one is too long for a log, `StateError` if the tiles are not those of the
        checkpoint: what follows from them would be a fork."""
        if not self._ends_as_signed():
            raise StateError(f"{self.head.origin}: the tiles are not those of the checkpoint")
        if any(len(entry) > merkle.ENTRY_MOST for entry in entries):
            raise ProtocolError("log", f"must be at most {merkle.ENTRY_MOST} bytes", "leaf")
        written = [self._level(merkle.ENTRIES, self.size, list(entries))]
        hashes = [merkle.leaf_hash(entry) for entry in entries]
        level = 0
        first = self.size
        while hashes:
            written.append(self._level(level, first, hashes))
            hashes = self._full_roots(level, first, hashes)
            first = first // merkle.WIDTH
            level += 1
        _sync([path for paths in written for path in paths], self._folder)
        size = self.size + len(entries)
        return Checkpoint(
            self.head.origin, size, merkle.compute_root(merkle.open_tiles(self.tile, size), size)
        )

    def keep(self, note: Note) -> None:
        """Make a signed checkpoint, of what `extended` wrote or of the same tree, the newest; durable."""
        reach("log.checkpoint.before")
        replace_file(self._folder / CHECKPOINT, note.encode())
        reach("log.checkpoint.after")
        head = Checkpoint.from_note(note)
        outgrown = self._outgrown(head.size)
        self.note = note
        self.head = head
        for folder in outgrown:  # now: until a whole tile counts, an append that is cut off may spoil it
            shutil.rmtree(folder, ignore_errors=True)

    def _ends_as_signed(self) -> bool:
        """Whether the tiles that are not full have the checkpoint's root, and their own entries."""
        try:
            hashes, entries = (
                self._begun(level, *divmod(self.size, merkle.WIDTH)) for level in (0, merkle.ENTRIES)
            )
            root = merkle.compute_root(self.nodes, self.size)
        except (IndexError, ProtocolError):  # one is cut off
            return False
        return root == self.head.root and hashes == [merkle.leaf_hash(entry) for entry in entries]

    def _begun(self, level: int, index: int, width: int) -> list[bytes]:
        if not width:
            return []
        raw = self.tile(level, index, width)
        rows = merkle.decode_entries(raw) if level == merkle.ENTRIES else merkle.split_hashes(raw)
        if len(rows) > width:
            raise StateError(f"{self.head.origin}: the tiles are not those of the checkpoint")
        return rows

    def _level(self, level: int, first: int, rows: list[bytes]) -> list[Path]:
        index, width = divmod(first, merkle.WIDTH)
        rows = [*self._begun(level, index, width), *rows]
        paths = []
        for at in range(0, len(rows), merkle.WIDTH):
            some = rows[at : at + merkle.WIDTH]
            path = self._folder / merkle.format_tile_path(level, index + at // merkle.WIDTH, len(some))
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(merkle.encode_entries(some) if level == merkle.ENTRIES else b"".join(some))
            paths.append(path)
        return paths

    def _outgrown(self, size: int) -> list[Path]:
        """Folders of the partial forms of tiles that are whole in a tree of `size` leaves."""
        found = list[Path]()
        level = 0
        while begun := self.size >> merkle.HEIGHT * level:
            index, width = divmod(begun, merkle.WIDTH)
            if width and merkle.count_in_tile(level, index, size) == merkle.WIDTH:
                levels = (level, merkle.ENTRIES) if level == 0 else (level,)
                found += [self._folder / f"{merkle.format_tile_path(one, index)}.p" for one in levels]
            level += 1
        return found

    def _full_roots(self, level: int, first: int, hashes: list[bytes]) -> list[bytes]:
        rows = [*self._begun(level, *divmod(first, merkle.WIDTH)), *hashes]
        full = [
            rows[at : at + merkle.WIDTH]
            for at in range(0, len(rows) // merkle.WIDTH * merkle.WIDTH, merkle.WIDTH)
        ]
        return [merkle.compute_root(merkle.Tree.from_leaves(tile).node, merkle.WIDTH) for tile in full]


def _read(path: Path, origin: str) -> Note | None:
    try:
        note = Note.parse(path.read_bytes())
        if Checkpoint.from_note(note).origin != origin:
            raise StateError(f"{path.parent.name}: holds a checkpoint of another log than {origin}")
    except FileNotFoundError:
        return None
    except (OSError, ProtocolError) as error:
        raise StateError(f"{path.parent.name}: the log's checkpoint cannot be read: {error}") from error
    return note


def _sync(paths: Sequence[Path], root: Path) -> None:
    """Bring new files and their folders to the disk, up to the one that `root` is in."""
    if len(paths) >= _SYNC_ALL_FROM and hasattr(os, "sync"):
        os.sync()
        return
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    above = {folder for path in paths for folder in path.parents if folder.is_relative_to(root)}
    for folder in (*above, root.parent):
        sync_folder(folder)
