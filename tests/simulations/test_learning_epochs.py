"""A list update that the centre is not taught: `doctor` says so, and nothing is lost when it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.command import in_process
from support.forked_servers import serving


@pytest.fixture
def home(taught: Path, tmp_path: Path) -> Path:
    shutil.copytree(taught, tmp_path / "home")
    return tmp_path / "home"


def command(home: Path, *arguments: object) -> Any:
    ran = in_process(home, *arguments, "--json", "-")
    assert ran.code == 0, ran.err
    return ran.json if ran.out else None


def row(home: Path, check: str = "centre's list") -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {
        one["check"]: one for one in in_process(home, "doctor", "--json", "-").json
    }
    return found[check]


def new_epoch(home: Path, pictures: Path) -> None:
    command(home, "list", "pictures", pictures, "known")
    command(home, "list", "build", "known")


def test_doctor_says_that_the_centre_was_not_taught_the_new_epochs_list(home: Path, samples: Path) -> None:
    assert row(home)["status"] == "ok"
    new_epoch(home, samples / "other")
    found = row(home)
    assert found["status"] == "warning" and "it has 52 entries, epoch 2 has 54" in found["what"]
    assert found["remedy"].endswith("blindmatch centre learn NAME")
    command(home, "centre", "learn", "known")
    assert row(home)["status"] == "ok"


def test_doctor_goes_by_time_where_lists_are_of_one_length(home: Path) -> None:
    os.utime(home / "centre/references.sqlite", (1, 1))
    found = row(home)
    assert found["status"] == "warning" and "before epoch 1 was built" in found["what"]


def test_learning_a_new_epoch_without_pictures_keeps_the_second_hashes(home: Path, samples: Path) -> None:
    new_epoch(home, samples / "other")
    assert command(home, "centre", "learn", "known") == {"list": "known", "labels": 54, "second_hashes": 2}
    more = command(home, "centre", "learn", "known", "--pictures", samples / "other")
    assert more == {"list": "known", "labels": 54, "second_hashes": 4}


@pytest.mark.slow
def test_a_true_report_of_an_epoch_that_the_centre_learns_later_passes(home: Path, samples: Path) -> None:
    new_epoch(home, samples / "other")
    with serving(home):
        for name in ("alice", "bob"):
            command(home, "device", "register", name)
        picture = sorted((samples / "other").iterdir())[0]
        (sent,) = command(home, "device", "send", "alice", "bob", "--picture", picture)
        assert sent["reported"]
        (report,) = command(home, "centre", "list")
        assert (report["outcome"], report["outcome_reason"]) == ("failed", "label: not a label of the list")
        command(home, "centre", "learn", "known", "--pictures", samples / "other")
        (report,) = command(home, "centre", "list")
        assert (report["outcome"], report["outcome_reason"]) == ("passed", "")
        shown = command(home, "centre", "show", report["report"])
        assert [one["event"] for one in shown["journal"]] == ["received", "failed", "checked again: passed"]


@pytest.mark.slow
def test_doctor_counts_the_reports_that_wait_for_a_list(home: Path, samples: Path) -> None:
    new_epoch(home, samples / "other")
    with serving(home):
        for name in ("alice", "bob"):
            command(home, "device", "register", name)
        picture = sorted((samples / "other").iterdir())[0]
        command(home, "device", "send", "alice", "bob", "--picture", picture)
        command(home, "centre", "list")
        command(home, "list", "random", 54, "unrelated")
        command(home, "centre", "learn", "unrelated")
        found = row(home)
        assert found["status"] == "warning" and found["what"].startswith("1 reports wait")
        command(home, "centre", "learn", "known", "--pictures", samples / "other")
        command(home, "centre", "list")
        assert row(home)["status"] == "ok"


def test_doctor_says_that_the_centre_s_list_is_damaged_inside(home: Path) -> None:
    path = home / "centre/references.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    rows = {one["check"]: one for one in in_process(home, "doctor", "--json", "-").json}
    found = [rows[name]["status"] for name in ("references", "centre's list") if name in rows]
    assert "wrong" in found, found
