"""`make counterparts`: the committed run, what a run makes of each verdict, libsignal's vectors, locks."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from counterparts import __main__ as driver
from counterparts import environments
from counterparts.environments import DisagreementError, NotRunError, check
from counterparts.readers import VECTORS, WITHOUT_WHEELS, held_against_signal, signal_cases

ROOT = Path(__file__).parents[2]
DATA = json.loads((ROOT / "docs" / "counterparts.json").read_text("utf-8"))
SIGNAL = json.loads(VECTORS.read_text("utf-8"))


def test_the_kept_run_is_of_these_programs_and_says_of_each_what_was_compared_or_why_not() -> None:
    assert (DATA["format"], DATA["version"]) == (driver.FORMAT, 2)
    assert DATA.keys() == {"format", "version", "of", "rows"}
    rows = DATA["rows"]
    assert [(row["program"], row["what"]) for row in rows] == [
        (name, what) for name, (what, _) in driver.PROGRAMS.items()
    ]
    assert all(
        row["said"] and row.keys() == {"program", "what", "version", "verdict", "said"} for row in rows
    )
    assert all(bool(row["version"]) is (row["verdict"] == "agrees") for row in rows)
    assert {row["verdict"] for row in rows} <= {"agrees", "not run"}
    strangers = [row for row in rows if "our own" not in row["what"]]
    assert sum(row["verdict"] == "agrees" for row in strangers) >= 5


def agrees() -> tuple[str, str]:
    return "1.0", "all of it"


def not_here() -> tuple[str, str]:
    raise NotRunError("there is none")


def differs() -> tuple[str, str]:
    check(False, "another answer")
    raise AssertionError


def breaks() -> tuple[str, str]:
    raise KeyError("x")


@pytest.mark.parametrize(
    ("compare", "verdict", "code"),
    [(agrees, "agrees", 0), (not_here, "not run", 0), (differs, "disagrees", 1), (breaks, "disagrees", 1)],
)
def test_a_program_that_ran_and_does_not_agree_fails_the_run_and_one_that_is_not_here_does_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compare: Callable[[], tuple[str, str]],
    verdict: str,
    code: int,
) -> None:
    for name in ("ROOT", "DATA"):
        monkeypatch.setattr(driver, name, tmp_path if name == "ROOT" else tmp_path / "kept.json")
    programs = {"first": ("a", agrees), "other": ("b", compare)}
    assert driver.main([], programs) == code
    kept = json.loads((tmp_path / "kept.json").read_text())
    rows = kept["rows"]
    assert kept["of"] == environments.sources()
    assert [row["verdict"] for row in rows] == ["agrees", verdict]
    (tmp_path / "kept.json").unlink()
    # who names one wants it run; and a run of some is not kept as one of all
    assert driver.main(["other"], programs) == int(verdict != "agrees")
    assert not (tmp_path / "kept.json").exists()
    assert driver.main(["another"], programs) == 2


def test_a_program_that_fails_disagrees_and_one_that_cannot_be_installed_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(DisagreementError, match="ended with 3: no"):
        environments.run(["sh", "-c", "echo no >&2; exit 3"])
    assert environments.asked(["cat"], {"a": 1}) == {"a": 1}
    for command in (["false"], [str(tmp_path / "missing")]):
        with pytest.raises(NotRunError, match="could not be installed"):
            environments.install(command)
    with pytest.raises(NotRunError, match="needs python9"):
        environments._interpreter("9.99")


def test_libsignals_numbers_and_signatures_are_those_of_the_vectors() -> None:
    assert SIGNAL.keys() == {"source", "asked", "said"} and SIGNAL["asked"] == signal_cases()
    assert "4 numbers of 60 digits" in held_against_signal(SIGNAL["asked"], SIGNAL["said"])
    top = {bytes.fromhex(one)[63] >> 7 for one in SIGNAL["said"]["signatures"]}
    assert top == {0, 1}  # some have the sign of the point in their last bit


@pytest.mark.parametrize("field", ["fingerprints", "signatures", "publics", "verdicts"])
def test_another_answer_of_libsignal_is_a_disagreement(field: str) -> None:
    said: Any = copy.deepcopy(SIGNAL["said"])
    last = said[field][-1]
    said[field][-1] = (
        (not last) if isinstance(last, bool) else last[:20] + str((int(last[20], 16) + 1) % 10) + last[21:]
    )
    assert said[field] != SIGNAL["said"][field]
    with pytest.raises(DisagreementError):
        held_against_signal(SIGNAL["asked"], said)


def test_everything_that_is_installed_for_the_comparison_is_locked_by_hashes() -> None:
    asked = "".join(
        (ROOT / "tests/counterparts" / f"{one}.py").read_text() for one in ("readers", "witnesses")
    )
    files = {environments.LOCKS / f"{one}.txt" for one in re.findall(r'virtual\(\s*"([^"]+)"', asked)}
    assert len(files) == 3 and len(re.findall(r"virtual\(", asked)) == 4
    for file in (*files, environments.BUILD_TOOLS):
        for line in re.split(r"\n(?=\S)", file.read_text("utf-8").strip()):
            assert line.startswith("#") or re.match(
                r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line, re.DOTALL
            )
    locked = json.loads((ROOT / "tests/counterparts/node/package-lock.json").read_text("utf-8"))["packages"]
    assert all(name == "" or one["integrity"].startswith("sha512-") for name, one in locked.items())


def test_peers_that_have_no_wheels_are_built_by_make_peers_too() -> None:
    """It asked for the wheels of all, and did not get threatexchange."""
    made = (ROOT / "Makefile").read_text("utf-8")
    (built,) = re.findall(r"^WITHOUT_WHEELS := --no-build-isolation --no-binary (\S+)$", made, re.MULTILINE)
    assert tuple(built.split(",")) == WITHOUT_WHEELS
    assert ":all: $(WITHOUT_WHEELS) -r requirements/peers/" in made
