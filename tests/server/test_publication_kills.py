"""A build killed at any point is finished by the same call, to the same bytes, without double work."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from unittest.mock import ANY

import pytest
from blindmatch_server.epochs.published import NoPublicationError, current_epoch, open_publication
from support.forked import Lived, lived
from support.mortal_build import BATCH, build_life

COUNT = 70
BATCHES = 5
CALLS = 14
"""Calls of fsync and rename in one publication, in the order of the ladder in `publication`."""


def run(folder: Path, point: str, epoch: int = 1, helpers: int = 0) -> Lived:
    return lived(build_life, folder, COUNT, point, epoch, helpers)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def published(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name != "lock"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a build that was never killed."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder, "never").said == (CALLS, COUNT)
    return published(folder)


@pytest.mark.parametrize(
    "point", [f"{when}:{n}" for n in range(1, CALLS + 1) for when in ("before", "after")]
)
def test_a_kill_around_any_fsync_or_rename_is_made_good(
    tmp_path: Path, whole: dict[str, bytes], point: str
) -> None:
    assert run(tmp_path, point).code == -signal.SIGKILL
    try:
        open_publication(tmp_path).verify()
    except NoPublicationError:
        assert not (tmp_path / "current").exists()
    assert run(tmp_path, "never").code == 0
    assert published(tmp_path) == whole


@pytest.mark.parametrize("batch", range(1, BATCHES))
def test_a_kill_after_a_batch_loses_none_of_the_batches_before(
    tmp_path: Path, whole: dict[str, bytes], batch: int
) -> None:
    assert run(tmp_path, f"batch:{batch}").code == -signal.SIGKILL
    assert run(tmp_path, "never").said == (ANY, COUNT - BATCH * batch)
    assert published(tmp_path) == whole


@pytest.mark.parametrize("batch", [1, BATCHES - 1])
def test_a_build_with_helpers_that_is_killed_goes_on_with_and_without_them(
    tmp_path: Path, whole: dict[str, bytes], batch: int
) -> None:
    assert run(tmp_path / "with", f"batch:{batch}", helpers=2).code == -signal.SIGKILL
    shutil.copytree(tmp_path / "with", tmp_path / "without")
    for name, helpers, evaluated_here in (("with", 2, 0), ("without", 0, COUNT - BATCH * batch)):
        assert run(tmp_path / name, "never", helpers=helpers).said == (ANY, evaluated_here)
        assert published(tmp_path / name) == whole


def test_kill_after_kill_ends_in_the_same_files(tmp_path: Path, whole: dict[str, bytes]) -> None:
    for point in ("before:2", "batch:2", "before:4", "after:6", "before:9", "after:12"):
        run(tmp_path, point)
    run(tmp_path, "never")
    assert published(tmp_path) == whole


@pytest.mark.slow
def test_the_old_epoch_is_served_until_the_new_one_is_whole(tmp_path: Path) -> None:
    assert run(tmp_path, "never").code == 0
    for number in range(1, CALLS + 1):
        run(tmp_path, f"before:{number}", epoch=2)
        open_publication(tmp_path).verify()
    run(tmp_path, "never", epoch=2)
    assert current_epoch(tmp_path) == 2
