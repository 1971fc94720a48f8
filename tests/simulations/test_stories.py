"""The three stories: one command repeats each, its run fills in what is told, and what it leaves verifies."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from blindmatch_simulations.testbed.demo.stories import DAYS, STORIES, UNFINISHED, Story, play_story
from support.command import in_process


@pytest.fixture(scope="module", params=STORIES)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A story as the command gives it to programs, and what it says to people."""
    folder = tmp_path_factory.mktemp("stories")
    made = in_process(folder, "story", request.param, "--out", folder / "run", "--json", "-")
    assert made.code == 0, made.err
    return {**made.json, "words": made.err, "folder": folder / "run"}


def says(story: Story) -> str:
    return " ".join(one.says for one in story.told)


def test_a_story_has_days_and_simulated_dates_that_end_today(told: dict[str, Any]) -> None:
    lines = told["told"]
    assert [one["day"] for one in lines] == sorted(one["day"] for one in lines)
    assert (lines[0]["day"], lines[-1]["day"]) == (0, DAYS)
    first, last = (date.fromisoformat(one["date"]) for one in (lines[0], lines[-1]))
    assert last - first == timedelta(days=DAYS) and told["simulated"] is True
    assert all(f"(day {one['day']}, simulated)" in told["words"] for one in lines)


def test_what_remains_is_verified_by_the_command_that_is_told_and_refused_once_altered(
    told: dict[str, Any],
) -> None:
    assert told["kept"]
    for one in told["kept"]:
        assert f"blindmatch {' '.join(one['command'])}" in " ".join(told["words"].split())
        assert in_process(told["folder"], *one["command"]).code == 0
        file = Path(one["file"])
        whole = file.read_bytes()
        for at in (len(whole) // 3, len(whole) // 2, 2 * len(whole) // 3):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert in_process(told["folder"], *one["command"]).code != 0, (file.name, at)
        file.write_bytes(whole)


def test_every_number_of_a_sentence_was_seen(told: dict[str, Any]) -> None:
    for one in told["told"]:
        seen = " ".join(str(value) for value in one["seen"].values())
        assert set(re.findall(r"\d+", one["says"])) <= set(re.findall(r"\d+", seen)), one


def test_a_photograph_is_wrongly_reported_until_a_complaint_is_upheld(tmp_path: Path) -> None:
    before = time.process_time()
    story = play_story("photograph", tmp_path / "a")
    assert time.process_time() - before < 60, "of CPU"
    words = says(story)
    assert "Outcome: match. Bob gets it" in words and "unavailable (second" in words
    assert "The complaint is upheld. The report is unfounded" in words
    assert "must go: 1. Epoch 2, 40 entries" in words and "again. Outcome: no match" in words
    assert "relay: 3, now 0. Sealed reports at the centre: 1" in words
    assert [Path(one.file).name for one in story.kept] == ["report.evidence", "absent.proof"]
    again = play_story("photograph", tmp_path / "b")
    assert [(one.day, one.says) for one in again.told] == [(one.day, one.says) for one in story.told]


@pytest.mark.parametrize("name", ["photograph", "leaflet"])
def test_a_refused_complaint_is_told_as_one_and_the_entry_stays(name: str, tmp_path: Path) -> None:
    story = play_story(name, tmp_path / "run", upheld=False)
    words = says(story)
    assert "The complaint is rejected. The report is confirmed" in words and "upheld" not in words
    assert "must go: 0. Alice" in words and "again. Outcome: match" in words and "Epoch 2" not in words
    assert [Path(one.file).name for one in story.kept] == ["report.evidence"], "no proof of absence"


@pytest.mark.parametrize("name", ["photograph", "leaflet"])
def test_what_is_not_listed_is_not_reported(name: str, tmp_path: Path) -> None:
    words = says(play_story(name, tmp_path / "run", listed=False))
    assert "Outcome: no match" in words and "Reports at the centre: 0" in words
    assert "complain" not in words and "Sealed reports at the centre: 0" in words


def test_a_copied_key_tests_guesses_until_it_is_replaced(tmp_path: Path) -> None:
    words = says(play_story("key", tmp_path / "run"))
    first, second = re.findall(r"asking nobody: (\d) of 2 listed pictures found, and (\d) others", words)
    assert (first, second) == (("2", "0"), ("0", "0"))
    assert "Reports at the centre: 0. Notices: 0." in words


def test_a_key_that_nobody_copied_finds_nothing(tmp_path: Path) -> None:
    words = says(play_story("key", tmp_path / "run", stolen=False))
    assert "copied from the matcher: 0" in words and "asking nobody" not in words


def test_a_run_that_was_killed_is_repeated_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "blindmatch_simulations", "story", "key", "--out", str(folder)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as under_way:
        while not (folder / "deployment" / "log.json").exists():
            assert under_way.poll() is None
            time.sleep(0.02)
        under_way.send_signal(signal.SIGKILL)
    assert (folder / UNFINISHED).exists()
    assert "asking nobody: 2 of 2" in says(play_story("key", folder))
    assert not (folder / UNFINISHED).exists()


def test_a_folder_of_somebody_s_own_is_left_alone(tmp_path: Path) -> None:
    (own := tmp_path / "own").mkdir()
    (own / "unfinished").write_text("mine")
    assert in_process(tmp_path, "story", "key", "--out", own).code == 4
    assert [one.name for one in own.iterdir()] == ["unfinished"]
    assert in_process(tmp_path, "story", "nothing", "--out", tmp_path / "run").code == 2
