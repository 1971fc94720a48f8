"""`list build --from` publishes only the change, and refuses a list the epoch was not built from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blindmatch_simulations.cli.app import run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A deployment with the list `a`, published as epoch 1, and `b`, which has one entry more."""
    home = tmp_path / "home"
    more = tmp_path / "more.txt"
    more.write_text(f"pdq {'f' * 32}{'0' * 32}\n")
    for arguments in (
        ["certs", "init"],
        ["list", "random", "200", "a"],
        ["list", "build", "a"],
        ["list", "import", str(more), "b", "--onto", "a"],
    ):
        assert run([*arguments, "--home", str(home)]) == 0
    return home


def test_an_update_adds_a_delta_as_long_as_the_change(home: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    arguments = ["list", "build", "b", "--from", "a", "--home", str(home), "--json", str(result)]
    assert run(arguments) == 0
    built = json.loads(result.read_text())
    folder = Path(built["folder"])
    assert (built["epoch"], built["entries"]) == (2, 201)
    assert (folder / "set.bin").read_bytes() == (folder.parent / "1" / "set.bin").read_bytes()
    assert (folder / "delta-0000000002.bin").stat().st_size < 2000


def test_an_update_from_another_list_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "build", "a", "--from", "b", "--home", str(home)]) == 6
    assert "name the list that the epoch was built from" in capsys.readouterr().err


def test_an_update_to_a_list_that_was_made_anew_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["list", "export", "a", str(home / "a.txt"), "--home", str(home)]) == 0
    assert run(["list", "import", str(home / "a.txt"), "again", "--home", str(home)]) == 0
    assert run(["list", "build", "again", "--from", "a", "--home", str(home)]) == 6
    assert "was not made from a" in capsys.readouterr().err


def test_an_update_keeps_epoch_and_parameters(home: Path) -> None:
    arguments = ["list", "build", "b", "--from", "a", "--epoch", "7", "--home", str(home)]
    assert run(arguments) == 2
