"""Attacks on plug-ins, and runs in which an attack or a design fails or is interrupted."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from blindmatch_server.storage.files import storage
from blindmatch_simulations.evaluation.attacks import keeping
from blindmatch_simulations.evaluation.attacks.adversary import Actor
from blindmatch_simulations.evaluation.attacks.arena import Pair
from blindmatch_simulations.evaluation.attacks.figure import Budget, Figure
from blindmatch_simulations.evaluation.attacks.needs import ANY_ONE
from blindmatch_simulations.evaluation.attacks.run import (
    AttackRow,
    Failed,
    NotPlayed,
    Ran,
    by_actor,
    play_all,
    results_of,
)
from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs
from blindmatch_simulations.measure.results import Results, read
from blindmatch_simulations.testbed.deployment.registry import load_design
from support.command import BAD_STATE, REFUSED, USAGE, in_process, refused

EXAMPLES = Path(__file__).parents[2] / "examples"
EXACT_UPLOAD = f"{EXAMPLES / 'exact_upload.py'}:DESIGN"
BROKEN = f"""
import sys

sys.path.insert(0, {str(EXAMPLES)!r})
from exact_upload import ExactUpload
from msgspec.structs import replace


class Crashing(ExactUpload):
    info = replace(ExactUpload.info, name="crashing")

    def start(self, *_):
        raise ZeroDivisionError("no picture is asked about")


class Leaving(ExactUpload):
    info = replace(ExactUpload.info, name="leaving")

    def start(self, *_):
        raise SystemExit(0)


class Undeclared(ExactUpload):
    info = replace(ExactUpload.info, name="undeclared")

    def leakage(self):
        raise KeyError("nothing is declared")


class Interrupted(ExactUpload):
    info = replace(ExactUpload.info, name="interrupted")

    def start(self, *_):
        raise KeyboardInterrupt


class Unspeakable(BaseException):
    def __str__(self):
        raise RuntimeError("not even this")


class Silent(ExactUpload):
    info = replace(ExactUpload.info, name="silent")

    def start(self, *_):
        raise Unspeakable


class Loud(ExactUpload):
    info = replace(ExactUpload.info, name="loud")

    def start(self, *_):
        raise ValueError("\\x1b[31m\\n" + 10_000 * "loud")


SILENT, LOUD = Silent(), Loud()
CRASHING, LEAVING, UNDECLARED, INTERRUPTED = Crashing(), Leaving(), Undeclared(), Interrupted()
"""


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """The path of a file with plug-ins that fail."""
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    return str(path)


@pytest.fixture
def only() -> Iterator[Callable[..., None]]:
    """Leave the attacks with these names and no other; afterwards all are there, in their order."""
    assert isinstance(ATTACKS, dict)
    every = dict(ATTACKS)

    def leave(*names: str) -> None:
        for name in every.keys() - set(names):
            del ATTACKS[name]

    yield leave
    ATTACKS.clear()
    ATTACKS.update(every)


def rows_of(made: Any) -> dict[tuple[str, str], tuple[str, str]]:
    """The status and `why` of each row, by attack and design."""
    return {
        (row["id"], row["parameters"]["design"]): (row.get("status", "measured"), row.get("why", ""))
        for row in made["rows"]
    }


def played(made: Any, attack: str, design: str) -> Any:
    (row,) = (row for row in made["rows"] if (row["id"], row["parameters"]["design"]) == (attack, design))
    return row


def statuses(made: Any, design: str) -> dict[str, str]:
    return {attack: status for (attack, of), (status, _) in rows_of(made).items() if of == design}


TOKEN_PSI = """
from blindmatch_protocol.designs.token_psi import TokenPsi
from msgspec.structs import replace

DESIGN = TokenPsi()
DESIGN.__class__ = type("Mine", (TokenPsi,), {"info": replace(DESIGN.info, name="mine", differs="a copy")})
vars(DESIGN).pop("info", None)
"""


@pytest.mark.parametrize("attack", ["framing", "unendorsed", "rollback"])
def test_an_attack_runs_against_a_design_in_a_file_as_against_one_with_a_name(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(TOKEN_PSI)
    monkeypatch.chdir(tmp_path if attack == "rollback" else EXAMPLES)
    reference = "mine.py:DESIGN" if attack == "rollback" else "exact_upload.py:DESIGN"
    made = in_process(tmp_path, "attack", "run", attack, "--design", reference, "--json", "-")
    assert made.code == 0, made.err
    (row,) = made.json["rows"]
    assert (row["kind"], row["succeeded"]) == ("attack", not row["claimed"])


def test_a_design_that_crashes_is_a_row_and_the_others_go_on(
    broken: str, only: Callable[..., None], tmp_path: Path
) -> None:
    only("framing", "membership-probing", "downgrade")
    path = tmp_path / "attacks.json"
    arguments = ["--design", f"{broken}:CRASHING", "--design", f"{broken}:LEAVING", "--design", EXACT_UPLOAD]
    made = in_process(tmp_path, "attack", "run", "all", *arguments, "--json", path)
    assert made.code == 1
    found = rows_of(json.loads(path.read_text()))
    status, why = found["membership-probing", "crashing"]
    assert status == "failed"
    assert why.startswith("failed: ZeroDivisionError: no picture is asked about (broken.py:")
    assert found["membership-probing", "leaving"][0] == "failed", "its exit code 0 is not the command's"
    assert found["membership-probing", "exact-upload"] == ("measured", "")
    assert found["framing", "exact-upload"] == ("measured", "")
    status, why = found["framing", "crashing"]
    assert status == "failed"
    assert "the design found no match for a listed picture, so no report can be forged" in why
    assert found["downgrade", "crashing"] == ("measured", ""), "it asks about no picture"
    assert "membership-probing, crashing: failed: ZeroDivisionError" in " ".join(made.err.split())
    assert "Traceback" not in made.err
    assert len(read(path, Results[AttackRow | NotPlayed]).rows) == 9


def test_a_design_that_fails_at_a_question_about_its_leaks_is_a_row_and_the_others_go_on(
    broken: str, only: Callable[..., None], tmp_path: Path
) -> None:
    only("forced-report", "membership-probing")
    arguments = ["--design", f"{broken}:UNDECLARED", "--design", EXACT_UPLOAD, "--json", "-"]
    made = in_process(tmp_path, "attack", "run", "all", *arguments)
    assert made.code == 1
    assert statuses(made.json, "undeclared") == {"forced-report": "failed", "membership-probing": "measured"}
    assert statuses(made.json, "exact-upload") == dict.fromkeys(ATTACKS, "measured")
    listed = in_process(tmp_path, "attack", "list", "--design", f"{broken}:UNDECLARED", "--json", "-")
    (row,) = (one for one in listed.json["not_played"] if one["id"] == "forced-report")
    assert row["why"].startswith("failed: KeyError: 'nothing is declared'")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("SILENT", r"failed: Unspeakable \(broken\.py:\d+\)"),
        ("LOUD", r"failed: ValueError: \[31m (loud)+l?o?u? \(broken\.py:\d+\)"),
    ],
)
def test_whatever_a_plug_in_raises_is_one_short_line(
    name: str, why: str, broken: str, only: Callable[..., None], tmp_path: Path
) -> None:
    only("membership-probing")
    arguments = ["--design", f"{broken}:{name}", "--design", EXACT_UPLOAD, "--json", "-"]
    made = in_process(tmp_path, "attack", "run", "all", *arguments)
    assert made.code == 1
    found = rows_of(made.json)
    assert found["membership-probing", "exact-upload"] == ("measured", "")
    said = found["membership-probing", name.lower()][1]
    assert re.fullmatch(why, said) and len(said) < 400


def designs_played(designs: Sequence[str], fails: Sequence[str]) -> list[tuple[str, str]]:
    """Designs that one attack of those that need any one design is played against, and how."""
    (name,) = [one.name for one in ATTACKS.values() if one.name == "crowding"]
    every = [one for one in pairs([load_design(one) for one in designs]) if one.attack.name == name]
    assert ANY_ONE in every[0].attack.needs

    def play(pair: Pair) -> Any:
        if pair.design.info.name in fails:
            raise RuntimeError("made to fail")
        return "played"

    unplayed: list[Pair] = []
    came = [
        (pair.design.info.name, "failed" if isinstance(made, Failed) else str(made))
        for pair, made in play_all(every, play, unplayed)
    ]
    return came + [(one.design.info.name, one.unplayed.partition(": ")[2]) for one in unplayed]


def test_an_attack_that_failed_against_the_one_design_it_needs_is_played_against_the_next() -> None:
    designs = ["oprf-psi", "hash-upload", "token-psi"]
    assert designs_played(designs, ["oprf-psi"]) == [
        ("oprf-psi", "failed"),
        ("hash-upload", "played"),
        ("token-psi", "played against hash-upload"),
    ]
    assert designs_played(designs, designs) == [(one, "failed") for one in designs]
    assert designs_played(designs, []) == [
        ("oprf-psi", "played"),
        ("hash-upload", "played against oprf-psi"),
        ("token-psi", "played against oprf-psi"),
    ]


def test_what_an_actor_gets_is_not_known_where_an_attack_failed() -> None:
    attack = ATTACKS["guessing"]
    rows = results_of([], failed=[Failed(attack, "oprf-psi", "RuntimeError")]).rows
    said = {words[1]: designs for words, designs in by_actor(rows).items() if words[0] == Actor.THIEF}
    assert said == {"not known: guessing failed": ["oprf-psi"]}


def test_an_interrupted_run_keeps_what_finished_and_goes_on_from_there(
    broken: str, only: Callable[..., None], tmp_path: Path
) -> None:
    only("membership-probing", "downgrade")
    kept = tmp_path / "kept.json"
    path = tmp_path / "attacks.json"
    designs = ["--design", EXACT_UPLOAD, "--design", f"{broken}:INTERRUPTED"]
    made = in_process(tmp_path, "attack", "run", *designs, "--keep", kept, "--json", path)
    assert made.code == 130
    first = json.loads(path.read_text())
    assert statuses(first, "exact-upload") == {"membership-probing": "measured", "downgrade": "not measured"}
    assert rows_of(first)["downgrade", "exact-upload"][1].startswith("the run was broken off")
    assert len(json.loads(kept.read_text())["played"]) == 1
    made = in_process(tmp_path, "attack", "run", *designs[:2], "--keep", kept, "--json", "-")
    assert made.code == 0
    assert statuses(made.json, "exact-upload") == dict.fromkeys(ATTACKS, "measured")
    again, before = (played(one, "membership-probing", "exact-upload") for one in (made.json, first))
    assert again == before  # CPU time is never twice the same: it was not played again
    assert len(json.loads(kept.read_text())["played"]) == 2


def test_without_a_file_an_interrupted_run_still_writes_what_finished(
    broken: str, only: Callable[..., None], tmp_path: Path
) -> None:
    only("membership-probing")
    designs = ["--design", EXACT_UPLOAD, "--design", f"{broken}:INTERRUPTED"]
    made = in_process(tmp_path, "attack", "run", "all", *designs, "--json", "-")
    assert made.code == 130
    assert rows_of(made.json)["membership-probing", "exact-upload"] == ("measured", "")


def test_a_failed_attack_is_played_again(broken: str, only: Callable[..., None], tmp_path: Path) -> None:
    only("membership-probing")
    kept = tmp_path / "kept.json"
    for _ in range(2):
        designs = ["--design", f"{broken}:CRASHING", "--design", EXACT_UPLOAD]
        assert in_process(tmp_path, "attack", "run", *designs, "--keep", kept).code == 1
        assert len(json.loads(kept.read_text())["played"]) == 1


def test_what_was_kept_of_other_code_or_with_another_weakness_is_played_again(
    tmp_path: Path, only: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    only("membership-probing", "downgrade")
    kept = tmp_path / "kept.json"
    source = (EXAMPLES / "exact_upload.py").read_text()
    references = [EXACT_UPLOAD]
    for at, text in enumerate((source, source + "# something else\n")):
        path = tmp_path / str(at) / "exact_upload.py"
        path.parent.mkdir()
        path.write_text(text)
        references.append(f"{path}:DESIGN")

    def count(*arguments: str, name: str = "membership-probing") -> int:
        assert in_process(tmp_path, "attack", "run", name, *arguments, "--keep", kept).code == 0
        return len(json.loads(kept.read_text())["played"])

    assert count("--design", references[1]) == 1
    assert count("--design", references[2]) == 2
    assert count("--design", references[2]) == 2
    assert count("--design", references[2], name="downgrade") == 3
    assert count("--design", references[2], "--weakened", name="downgrade") == 4
    monkeypatch.setattr(keeping, "package_digest", lambda: "of other code")
    assert count("--design", references[2]) == 5


def test_what_another_process_kept_meanwhile_stays_and_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    link = tmp_path / "kept.json"
    link.symlink_to(real)
    (pair,) = (one for one in pairs([load_design(EXACT_UPLOAD)]) if one.attack.name == "downgrade")
    ours, theirs = (keeping.Keeping(link, weakened) for weakened in (False, True))
    ran = Ran(pair.attack, "exact-upload", Figure("messages shown", 0.0, False, 1), Budget())
    ours.keep(pair, ran)
    theirs.keep(pair, ran)
    ours.keep(pair, ran)
    assert link.is_symlink() and len(json.loads(real.read_text())["played"]) == 2
    found = keeping.Keeping(link, True).find(pair)
    assert found is not None and found.figure == ran.figure


def test_a_file_that_cannot_be_kept_ends_the_run_and_loses_no_row(
    only: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("membership-probing", "downgrade")

    def full(path: Path, content: bytes, mode: int) -> None:
        with storage(f"writing {path.name}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(keeping, "replace_file", full)
    arguments = ["--design", EXACT_UPLOAD, "--keep", tmp_path / "kept.json", "--json", tmp_path / "rows.json"]
    made = in_process(tmp_path, "attack", "run", *arguments)
    assert made.code == BAD_STATE
    assert "kept.json: No space left on device" in " ".join(made.err.split())
    assert sorted(statuses(json.loads((tmp_path / "rows.json").read_text()), "exact-upload").values()) == [
        "measured",
        "not measured",
    ]


def test_a_carried_design_of_a_file_is_known_by_that_files_code(tmp_path: Path) -> None:
    def digest(name: str, text: str) -> str:
        path = tmp_path / name / "exact_upload.py"
        path.parent.mkdir()
        path.write_text(text)
        return keeping.design_digest(load_design(f"carried-{path}:DESIGN"))

    source = (EXAMPLES / "exact_upload.py").read_text()
    assert digest("a", source) == digest("b", source) != digest("c", source + "# other\n")


@pytest.mark.parametrize(
    "content", ["", '{"version": 1, "played": {"a": {}}}', '{"version": 2, "played": {}}']
)
def test_a_file_of_kept_attacks_that_is_none_is_refused_before_any_work(content: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(content)
    made = in_process(tmp_path, "attack", "run", "downgrade", "--design", EXACT_UPLOAD, "--keep", kept)
    refused(made, REFUSED, "kept.json")
    assert kept.read_text() == content


@pytest.mark.parametrize("path", ["-", "/dev/null", ".", "no/such/folder/kept.json"])
def test_attacks_are_kept_in_a_regular_file_alone(path: str, tmp_path: Path) -> None:
    made = in_process(tmp_path, "attack", "run", "downgrade", "--design", EXACT_UPLOAD, "--keep", path)
    assert made.code == USAGE


def test_two_designs_of_one_name_are_refused_since_their_rows_would_be_one(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text((EXAMPLES / "exact_upload.py").read_text())
    designs = ["--design", EXACT_UPLOAD, "--design", f"{other}:DESIGN"]
    refused(in_process(tmp_path, "attack", "run", *designs), REFUSED, "exact-upload", "other.py:DESIGN")
