"""The parts of an assessment without a design: plan, intervals, guard, corpus."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
import pytest
from blindmatch_protocol.contract import Done, NoMatch
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.assess import results, running
from blindmatch_simulations.evaluation.assess.observing import never_asks
from blindmatch_simulations.evaluation.assess.plan import QUICK, PlanError, plan_text, read_plan
from blindmatch_simulations.evaluation.assess.running import guarded
from blindmatch_simulations.evaluation.corpus.installed import hashed, installed
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.testbed.deployment.registry import Registered, built_in_designs
from blindmatch_simulations.testbed.pictures.crops import crops
from support.command import processes_of


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("seed = 1", "seed = 1\nspeed = 2", "unknown field `speed`"),
        ("seed = 1", "", "missing required field `seed`"),
        ("version = 3", "version = 9", "version 9; this program reads 3"),
        ("version = 3", "version = 2", "version 2; this program reads 3"),
        ('"flip"', '"flap"', "no edit is called flap"),
        ("listed = 4", "listed = -1", "listed"),
        ("[list]", "[list", "workload file: not TOML: "),
    ],
)
def test_a_bad_workload_file_is_refused_with_the_reason(before: str, after: str, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        read_plan(plan_text(None, QUICK).replace(before, after, 1))


def test_a_workload_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"none\.toml: cannot be read: No such file or directory$"):
        plan_text(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    with pytest.raises(PlanError, match=r"binary\.toml: not UTF-8$"):
        plan_text(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.30850), (3, 10, 0.06674, 0.65245), (10, 10, 0.69150, 1.0), (0, 0, 0.0, 1.0)],
)
def test_intervals_are_those_of_the_tables(hits: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize("one", list(built_in_designs()), ids=lambda one: str(one.design.info.name))
def test_a_client_that_never_asks_is_the_design_in_all_but_its_start(one: Registered) -> None:
    made = never_asks(one.design)
    started = made.start(b"state", None, None, None, None)  # type: ignore[arg-type]
    assert started.step == Done(NoMatch())
    assert isinstance(made, type(one.design)) and vars(made) == vars(one.design)
    same = {name for name in dir(one.design) if not name.startswith("_") and name != "start"}
    assert all(getattr(type(made), name) is getattr(type(one.design), name) for name in same)


def test_an_impossible_count_is_refused() -> None:
    with pytest.raises(ValueError, match="hits"):
        clopper_pearson(3, 2)


def starting(code: str) -> Callable[[int, IO[bytes]], subprocess.Popen[bytes]]:
    """Starts Python that runs `code`."""
    words = [sys.executable, "-c", code]
    return lambda out, errors: subprocess.Popen(words, stdout=out, stderr=errors, start_new_session=True)


def test_a_command_that_ends_well_is_followed(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    code = "import json; print('noise'); print(json.dumps(['part', 1, 2]))"
    ended = guarded(starting(code), tmp_path / "log", 240, 1000, lambda *words: heard.append(words))
    assert ended.why == ""
    assert heard == [("part", 1, 2)]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit('broken: the rule')", "exit code 1: broken: the rule"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal SIGSEGV"),
        ("import time; time.sleep(60)", "took longer than 1 s"),
    ],
)
def test_a_command_that_ends_badly_says_why(tmp_path: Path, code: str, why: str) -> None:
    seconds = 1 if "sleep" in code else 240
    assert guarded(starting(code), tmp_path / "log", seconds, 1000).why == why


def test_what_a_command_waits_for_before_it_starts_is_none_of_its_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def start(out: int, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        now[0] = 1000.0
        return starting("")(out, errors)

    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: now[0]))
    ended = guarded(start, tmp_path / "log", 240, 1000)
    assert (ended.why, ended.seconds) == ("", 0.0)


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    child = f"import time; time.sleep(60)  # {tmp_path}"
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )
    assert "took longer" in guarded(starting(code), tmp_path / "log", 1, 1000).why
    assert processes_of(tmp_path) == []


@pytest.fixture
def dpkg(tmp_path: Path) -> Path:
    """A file system with what dpkg keeps of two installed packages, one of them without a copyright file."""
    pictures = crops(3, 5)
    here = "usr/share/openclipart/png"
    files = {
        f"{here}/a.png": pictures[0].data,
        f"{here}/b.png": pictures[1].data,
        f"{here}/broken.png": b"no",
    }
    files["usr/share/backgrounds/c.JPG"] = pictures[2].data
    files["usr/share/doc/openclipart-png/copyright"] = (
        b"Files: *\nLicense: public-domain\n\nLicense: CC0-1.0\n"
    )
    files["var/lib/dpkg/status"] = (
        b"Package: openclipart\nVersion: 9\n\nPackage: openclipart-png\nStatus: install ok installed\n"
        b"Version: 1:0.18+dfsg-19\n\nPackage: gnome-backgrounds\nVersion: 43\n"
    )
    lists = {"openclipart-png": [f"/{here}", *(f"/{name}" for name in list(files)[:3]), f"/{here}/gone.png"]}
    lists["openclipart-png"] += [f"/{here}/link.png", "/usr/share/doc/openclipart-png/copyright"]
    lists["gnome-backgrounds"] = ["/usr/share/backgrounds/c.JPG"]
    for package, lines in lists.items():
        files[f"var/lib/dpkg/info/{package}.list"] = "".join(f"{line}\n" for line in lines).encode()
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / here / "link.png").symlink_to("a.png")
    return tmp_path


def test_pictures_of_installed_debian_packages_are_found_by_dpkgs_records(dpkg: Path) -> None:
    found = [one for one in installed(root=dpkg) if one.package != "scikit-image"]
    assert [(one.package, one.kind, one.version, Path(one.name).name) for one in found] == [
        ("openclipart-png", "clip art", "1:0.18+dfsg-19", "a.png"),
        ("openclipart-png", "clip art", "1:0.18+dfsg-19", "b.png"),
        ("openclipart-png", "clip art", "1:0.18+dfsg-19", "broken.png"),
        ("gnome-backgrounds", "photographs", "43", "c.JPG"),
    ]
    assert found[0].licence == "public-domain, CC0-1.0"
    assert found[3].licence.startswith("unknown")
    assert len([one for one in installed(1, dpkg) if one.package == "openclipart-png"]) == 1
    rows = [one.row() for one in hashed(found, lambda done, total: None)]
    assert [Path(row["file"]).name for row in rows] == ["a.png", "b.png", "c.JPG"]
    assert all(str(dpkg) not in str(row) for row in rows)


def test_a_corpus_has_one_row_for_each_hash_and_says_whose_it_is() -> None:
    found = hashed(installed(3), lambda done, total: None)
    assert len({one.print.hash for one in found}) == len(found) >= 3
    row = found[0].row()
    assert row["package"] == "scikit-image"
    assert row["licence"]
    assert len(bytes.fromhex(row["hash"])) == 32


def test_the_manifest_holds_no_picture(tmp_path: Path) -> None:
    assert run(["corpus", "installed", "--most", "2", "--out", str(tmp_path / "corpus.json")]) == 0
    held = json.loads((tmp_path / "corpus.json").read_text())
    assert held["pictures"]
    assert {type(value) for row in held["pictures"] for value in row.values()} <= {str, int}
    assert (tmp_path / "corpus.json").stat().st_size < 500 * len(held["pictures"]) + 100
    assert np.array([row["quality"] for row in held["pictures"]]).max() <= 100


def test_a_row_that_is_being_written_is_not_yet_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.write_whole(tmp_path / results.WORKLOAD, b"")
    seen: list[set[str]] = []
    replace = Path.replace

    def watched(draft: Path, target: Path) -> Path:
        seen.append(set(results.file_digests(tmp_path)))
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", watched)
    for path in ("rows/none.jsonl", "designs/none.json"):
        results.write_whole(tmp_path / path, b"")
    assert seen == [{"workload.toml"}, {"workload.toml", "rows/none.jsonl"}]
