"""An import killed at any point leaves the old list or the new one, and nothing of the plaintext besides."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_server.curator import (
    ListError,
    import_list,
    list_hashes,
    open_list,
    random_list,
    rejects_path,
    traces,
)
from blindmatch_server.curator.entry_ids import take_ids
from support.forked import lived
from support.memory import random_hashes
from support.mortal_import import import_life

CALLS = 9
"""Fsyncs and renames of an import."""
BLOCKS = 4
"""Blocks of the source."""
TAKING_IDS = 3
"""Of these calls, those that keep the next id; an import without new entries takes none."""
IDS = {"next_id", ".next_id.lock"}
IDS_KILLED = IDS | {".next_id.lock-journal", ".next_id.new"}
"""What keeps the ids given so far, and what a kill may leave of it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Thirty hashes, and a line that is none."""
    path = tmp_path / "source.txt"
    lines = [f"pdq {row.tobytes().hex()}" for row in random_hashes(30)]
    path.write_text("\n".join([*lines[:20], "pdq x", *lines[20:]]) + "\n")
    return path


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A list of ten other hashes."""
    folder = tmp_path / "lists"
    folder.mkdir()
    list_hashes(random_hashes(40)[30:], folder / "known.list", seeded("held"))
    return folder / "known.list"


def hashes_of(path: Path) -> set[bytes]:
    with open_list(path) as listed:
        return {row.tobytes() for row in listed.hashes}


POINTS = [f"{when}:{n}" for n in range(1, CALLS + 1) for when in ("before", "after")]


@pytest.mark.parametrize("point", [*POINTS, *(f"block:{n}" for n in range(1, BLOCKS + 1))])
def test_a_kill_leaves_the_old_list_or_the_new_one(source: Path, held: Path, point: str) -> None:
    before = hashes_of(held)
    after = before | {row.tobytes() for row in random_hashes(30)}
    assert lived(import_life, source, held, point).code == -signal.SIGKILL
    left = hashes_of(held)
    assert left in (before, after)
    calls = CALLS if left == before else CALLS - TAKING_IDS
    assert lived(import_life, source, held, "never").said == (calls, BLOCKS)
    assert hashes_of(held) == after and rejects_path(held).read_text().count("\n") == 1
    assert {path.name for path in held.parent.iterdir()} == {
        held.name,
        rejects_path(held).name,
        f".{held.name}.lock",
        *IDS,
    }
    with open_list(held) as listed:
        assert len(set(listed.ids.tolist())) == len(after) and take_ids(held.parent, 0) > listed.ids.max()


def test_the_first_list_of_a_folder_can_be_made_again_after_a_kill(source: Path, tmp_path: Path) -> None:
    into = tmp_path / "new" / "known.list"
    into.parent.mkdir()
    assert lived(import_life, source, into, "before:1").code == -signal.SIGKILL
    left = set(into.parent.iterdir())
    assert into.with_name(".known.list.lock") in left and len(left) > 1
    assert {path for path in left if path.name not in IDS_KILLED} <= traces(into), "an import's"
    assert random_list(40, into, seeded("again")).entries == 40
    assert {path.name for path in into.parent.iterdir()} == {into.name, ".known.list.lock", *IDS}


class Stopping:
    """A source whose reader stops until the test goes on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def read(self, size: int = -1) -> bytes:
        self.reached.set()
        assert self.go_on.wait(240)
        data = self.data
        self.data = b""
        return data

    def __iter__(self) -> Iterator[bytes]:
        raise NotImplementedError


def test_two_imports_into_one_list_are_refused(source: Path, held: Path) -> None:
    stopping: Any = Stopping(source.read_bytes())
    thread = threading.Thread(
        target=import_list, args=([stopping], held, seeded("one")), kwargs={"replace": True}
    )
    thread.start()
    try:
        assert stopping.reached.wait(240)
        with pytest.raises(ListError, match=r"another import writes known\.list"):
            import_list(source, held, seeded("two"), replace=True)
    finally:
        stopping.go_on.set()
        thread.join()
    assert hashes_of(held) == {row.tobytes() for row in random_hashes(30)}


def test_an_import_onto_a_list_that_was_replaced_meanwhile_is_refused(source: Path, held: Path) -> None:
    with open_list(held) as onto:
        import_list(source, held, seeded("one"), onto=onto)
        newest = hashes_of(held)
        with pytest.raises(ListError, match=r"has replaced known\.list meanwhile"):
            import_list(source, held, seeded("two"), onto=onto)
    assert hashes_of(held) == newest
