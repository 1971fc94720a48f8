"""A log goes on wherever the power failed while it grew, whatever is left of tiles that were on no disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from blindmatch_proofs.checkpoint import Note
from blindmatch_proofs.merkle import open_tiles, prove_inclusion
from blindmatch_server.log import tree_store
from blindmatch_server.log.tree_store import TreeStore
from support.logs import LOG, MemoryLog

SPOILT: dict[str, Callable[[bytes], bytes | None]] = {
    "whole": lambda raw: raw,
    "empty": lambda raw: b"",
    "cut off": lambda raw: raw[: len(raw) // 3],
    "zeros": lambda raw: bytes(len(raw)),
    "not there": lambda raw: None,
}


class PowerError(Exception):
    """The power fails."""


class Power:
    """Fails at a step: a tile is written, tiles are synced, the checkpoint is replaced, a partial tile goes.

    At step 0: all tiles are written and none is synced.
    """

    def __init__(self, patched: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        self.unsynced = set[Path]()
        write = Path.write_bytes
        sync = tree_store._sync

        def written(path: Path, raw: bytes) -> int:
            self.step()
            self.unsynced.add(path)
            return write(path, raw)

        def synced(paths: Sequence[Path], root: Path) -> None:
            if at == 0:
                raise PowerError
            self.step()
            sync(paths, root)
            self.unsynced.clear()

        patched.setattr(Path, "write_bytes", written)
        patched.setattr(tree_store, "_sync", synced)
        patched.setattr(tree_store, "replace_file", self.around(tree_store.replace_file))
        patched.setattr(tree_store.shutil, "rmtree", self.around(tree_store.shutil.rmtree))

    def step(self) -> None:
        self.left -= 1
        if not self.left:
            raise PowerError

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*arguments: Any, **named: Any) -> None:
            self.step()
            act(*arguments, **named)
            self.step()

        return acted


def grown(folder: Path, entries: Sequence[bytes]) -> None:
    store = TreeStore(folder, LOG.key.name)
    head = store.extended(entries)
    store.keep(Note(head.text, (LOG.sign(head.text),)))


def check(folder: Path, entries: Sequence[bytes], sizes: Sequence[int]) -> None:
    """The log holds these entries, and proves the first of them in each tree that it signed."""
    store = TreeStore(folder, LOG.key.name)
    log = MemoryLog(list(entries), LOG)
    assert store.head == log.checkpoint()
    for at in {0, *sizes, len(entries) - 1}:
        assert store.entry(at) == entries[at]
    for size in sizes:
        ours = prove_inclusion(open_tiles(store.tile, size), 0, size)
        assert ours == prove_inclusion(log.tree.node, 0, size)


def fails(folder: Path, entries: Sequence[bytes], at: int, left: str) -> Power:
    """Grow the log until the power fails at a step; what was not synced is left as is said."""
    with pytest.MonkeyPatch.context() as patched, suppress(PowerError):
        power = Power(patched, at)
        grown(folder, entries)
    for path in power.unsynced:
        raw = SPOILT[left](path.read_bytes())
        path.unlink() if raw is None else path.write_bytes(raw)
    return power


@pytest.mark.parametrize("left", SPOILT)
@pytest.mark.parametrize("size", [3, 255, 510])
def test_a_log_goes_on_wherever_the_power_failed_and_failed_again(
    tmp_path: Path, size: int, left: str
) -> None:
    entries = [b"%d" % n for n in range(size)]
    cut = [b"cut", b"off"]
    more = [b"more", b"and more", b"last"]
    for at in count(1):
        folder = tmp_path / str(at)
        grown(folder, entries)
        power = fails(folder, cut, at, left)
        done = entries + cut * (TreeStore(folder, LOG.key.name).size > size)
        fails(folder, more, 0, left)
        grown(folder, more)
        check(folder, done + more, sorted({size, len(done)}))
        if power.left > 0:
            assert at > 5 and done == entries + cut
            return
