"""A build killed at any point is finished by the same call, to the same bytes, without double work."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from blindmatch_server.publication import NoPublicationError, current_epoch, open_publication

SCRIPT = Path(__file__).parent / "build_and_die.py"
COUNT, BATCH, BATCHES = 70, 16, 5
CALLS = 13
"""Calls of fsync and rename in one publication, in the order of the ladder in `publication`."""


def run(
    folder: Path, point: str, epoch: int = 1, helpers: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), str(epoch), str(COUNT), point, *helpers]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def published(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name != "lock"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a build that was never killed."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(folder, "never")
    assert done.stdout.split() == [str(CALLS), str(COUNT)], done.stderr
    return published(folder)


@pytest.mark.parametrize(
    "point", [f"{when}:{n}" for n in range(1, CALLS + 1) for when in ("before", "after")]
)
def test_a_kill_around_any_fsync_or_rename_is_made_good(
    tmp_path: Path, whole: dict[str, bytes], point: str
) -> None:
    assert run(tmp_path, point).returncode == -signal.SIGKILL
    try:
        open_publication(tmp_path).verify()
    except NoPublicationError:
        assert not (tmp_path / "current").exists()
    again = run(tmp_path, "never")
    assert again.returncode == 0, again.stderr
    assert published(tmp_path) == whole


@pytest.mark.parametrize("batch", range(1, BATCHES))
def test_a_kill_after_a_batch_loses_none_of_the_batches_before(
    tmp_path: Path, whole: dict[str, bytes], batch: int
) -> None:
    assert run(tmp_path, f"batch:{batch}").returncode == -signal.SIGKILL
    again = run(tmp_path, "never")
    assert again.stdout.split()[1] == str(COUNT - BATCH * batch), again.stderr
    assert published(tmp_path) == whole


@pytest.mark.parametrize("batch", range(1, BATCHES))
def test_a_build_with_helpers_that_is_killed_goes_on_with_and_without_them(
    tmp_path: Path, whole: dict[str, bytes], batch: int
) -> None:
    for name, helpers in (("with", ("2",)), ("without", ())):
        assert run(tmp_path / name, f"batch:{batch}", helpers=("2",)).returncode == -signal.SIGKILL
        again = run(tmp_path / name, "never", helpers=helpers)
        assert again.returncode == 0, again.stderr
        evaluated_here = 0 if helpers else COUNT - BATCH * batch
        assert again.stdout.split()[1] == str(evaluated_here)
        assert published(tmp_path / name) == whole


def test_kill_after_kill_ends_in_the_same_files(tmp_path: Path, whole: dict[str, bytes]) -> None:
    for point in ("before:2", "batch:2", "before:4", "after:6", "before:9", "after:12"):
        run(tmp_path, point)
    run(tmp_path, "never")
    assert published(tmp_path) == whole


@pytest.mark.slow
def test_the_old_epoch_is_served_until_the_new_one_is_whole(tmp_path: Path) -> None:
    assert run(tmp_path, "never").returncode == 0
    for number in range(1, CALLS + 1):
        run(tmp_path, f"before:{number}", epoch=2)
        open_publication(tmp_path).verify()
    run(tmp_path, "never", epoch=2)
    assert current_epoch(tmp_path) == 2
