"""What a command writes at its end: nothing is renamed over that is no regular file, and no run is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blindmatch_server.storage.files import StorageError, replace_file
from blindmatch_simulations.cli.exit_codes import WRONG
from blindmatch_simulations.evaluation.assess.results import write_whole
from blindmatch_simulations.measure import output_file
from support.command import BAD_STATE, COMMAND, USAGE, in_process


@pytest.fixture
def made(tmp_path: Path) -> Any:
    def run(path: Path | str) -> Any:
        return in_process(tmp_path, "attack", "list", "--json", path)

    return run


def test_a_link_stays_one_and_the_file_it_names_is_written(made: Any, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    kept = tmp_path / "there/kept.json"
    link = tmp_path / "link.json"
    chain = tmp_path / "chain.json"
    link.symlink_to(kept)
    chain.symlink_to(link)
    for path in (link, chain):
        for _ in range(2):
            assert made(path).code == 0
            assert link.is_symlink() and chain.is_symlink() and json.loads(kept.read_text())
        kept.unlink()
    assert not [one for one in tmp_path.rglob(".*") if "json" in one.name]


def test_a_pipe_gets_what_is_written_and_stays_one(made: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    read = list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert made(pipe).code == 0
    reader.join(240)
    assert json.loads(read[0]) and stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_device_stays_one(made: Any, tmp_path: Path) -> None:
    assert made("/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").lstat().st_mode)
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    assert made(link).code == 0 and link.is_symlink()


def test_a_file_keeps_its_mode_and_is_whole_or_as_it_was(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.json"
    path.write_text("before")
    path.chmod(0o640)
    assert made(path).code == 0
    assert (stat.S_IMODE(path.stat().st_mode), bool(json.loads(path.read_text()))) == (0o640, True)
    path.write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ran = made(path)
    assert (ran.code, path.read_text()) == (BAD_STATE, "before")
    assert "No space left on device" in ran.err
    assert json.loads(ran.out[ran.out.index("\n[" if "\n[" in ran.out else "{") :]), "nothing is lost"
    assert [one.name for one in tmp_path.iterdir()] == ["mine.json"]


def test_a_device_that_is_full_loses_no_result(made: Any) -> None:
    ran = made("/dev/full")
    assert ran.code == BAD_STATE and "No space left on device" in ran.err
    assert '"' in ran.out


@pytest.mark.parametrize("name", ["none/x.json", ".", "loop", "dangling"])
def test_what_cannot_be_written_is_refused_before_anything_is_done(
    name: str, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("none/x.json")
    ran = made(tmp_path / name)
    assert ran.code == USAGE, ran
    assert ran.out == ""


def test_evidence_is_written_for_its_owner_alone_and_not_over_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "evidence"
    path.write_text("")
    path.chmod(0o644)
    output_file.write_file(path, b"x", 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    output_file.write_file(Path("/dev/null"), b"x", 0o600)
    assert stat.S_ISCHR(Path("/dev/null").lstat().st_mode)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no folder in memory")
def test_a_file_below_dev_is_a_file(made: Any, tmp_path: Path) -> None:
    path = Path("/dev/shm") / f"blindmatch-{os.getpid()}.json"
    try:
        for _ in range(2):
            assert made(path).code == 0 and json.loads(path.read_text())
    finally:
        path.unlink(missing_ok=True)


def test_a_stream_by_its_name_gets_what_is_written_after_the_rest(tmp_path: Path) -> None:
    command = [*COMMAND, "attack", "list", "--json", "/dev/stdout"]
    with (tmp_path / "out").open("wb") as out:
        assert subprocess.run(command, stdout=out, check=False).returncode == 0
    said = (tmp_path / "out").read_text()
    assert said.startswith("Attacks") and said.rstrip().endswith(("]", "}"))


def test_what_a_command_prints_into_is_written_in_its_place(tmp_path: Path) -> None:
    """A link to the stream, or the very file that it leads into: what was and will be printed stays."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    for name in ("link", "out", "/dev/stdout"):
        with (tmp_path / "out").open("wb") as out:
            console_ = (
                "from blindmatch_simulations.cli import console; from pathlib import Path; import sys\n"
            )
            code = f"{console_}at = console.target(Path({name!r})); console.OUT.print('before')\n"
            code += "console.write_json({'a': 1}, at); console.OUT.print('after')"
            subprocess.run([sys.executable, "-c", code], stdout=out, check=True, cwd=tmp_path)
        said = (tmp_path / "out").read_text()
        assert said.split() == ["before", "{", '"a":', "1", "}", "after"], name
        assert (tmp_path / "link").is_symlink()


RECORDING = Path(__file__).parents[2] / "docs" / "sample" / "oprf-psi.jsonl"


def test_the_page_of_follow_leaves_a_device_as_it_is(tmp_path: Path) -> None:
    link = tmp_path / "page.html"
    link.symlink_to("/dev/null")
    assert in_process(tmp_path, "follow", RECORDING, "--out", link).code == 0
    assert link.is_symlink() and stat.S_ISCHR(Path("/dev/null").lstat().st_mode)


def test_the_page_of_follow_is_refused_before_any_work_where_it_cannot_be(tmp_path: Path) -> None:
    ran = in_process(tmp_path, "follow", tmp_path / "no-recording", "--out", tmp_path / "none" / "page.html")
    assert ran.code == USAGE and "must be a file in a folder that exists" in " ".join(ran.err.split())


@pytest.mark.parametrize("write", [output_file.write_file, write_whole, replace_file])
def test_a_full_disk_is_named_with_the_file_and_leaves_nothing_behind(
    write: Callable[[Path, bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((OSError, StorageError), match=r"page\.html"):
        write(path, b"after")
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"] and path.read_text() == "before"


def test_a_command_says_which_file_a_full_disk_could_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    ran = in_process(tmp_path, "follow", RECORDING, "--out", tmp_path / "page.html")
    assert ran.code == BAD_STATE and "page.html: No space left on device" in " ".join(ran.err.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["results.json", "attacks.json", "designs/oprf-psi.json", "rows/oprf-psi.jsonl"]
)
def test_results_with_json_nested_without_end_are_reported_as_a_fault_of_that_file(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(RECORDING.parent, folder)
    (folder / name).write_text("[" * 200_000 + "]" * 200_000)
    ran = in_process(tmp_path, "results", "verify", folder, "--no-evidence", "--json", "-")
    assert ran.code == WRONG
    assert "RecursionError" in ran.out
    assert any(name in str(row) for row in json.loads(ran.out)["differences"])
