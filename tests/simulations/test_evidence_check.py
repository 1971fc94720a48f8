"""The committed evidence is derived again from the committed hashes: `results verify` names a figure that
somebody wrote into it and into a results folder, digests and all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blindmatch_simulations.evaluation.studies import evidence
from blindmatch_simulations.measure.results import Results, Row, encode, sealed
from msgspec.json import decode
from support.altered_folder import altered, row_of, rows_altered, small_folder
from support.command import Ran, in_process

KEPT = ("oprf-psi", "none")
LIE = 0.95


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("evidence") / "small", KEPT)


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "copy"))


Alter = Callable[[Callable[[dict[str, Any]], object]], None]


@pytest.fixture
def alter_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alter]:
    """Alter the installed evidence, digest and all; the program then reads that file."""
    known = evidence.committed_results()

    def alter(edit: Callable[[dict[str, Any]], object]) -> None:
        held = json.loads(encode(known))
        edit(held)
        found = decode(encode(held), type=Results[Row])
        path = tmp_path / "altered.json"
        path.write_bytes(encode(sealed(found)))
        monkeypatch.setattr(evidence, "FILE", str(path))
        evidence.committed_results.cache_clear()

    yield alter
    evidence.committed_results.cache_clear()


def verify(folder: Path, *more: str) -> Ran:
    return in_process(folder, "results", "verify", str(folder), "--json", "-", *more)


def named(ran: Ran) -> list[tuple[str, str]]:
    """Row or design and figure of what differs."""
    return [(one["design"], one["figure"]) for one in ran.json["differences"]]


def figure_of(held: dict[str, Any], row: str, name: str, **wanted: object) -> dict[str, Any]:
    """The figure of the first row of this id with these parameters, of `oprf-psi` if it is of designs."""
    for one in held["rows"]:
        designs = str(one["parameters"].get("designs", "oprf-psi")).split(", ")
        if one["id"] == row and "oprf-psi" in designs and wanted.items() <= one["parameters"].items():
            found: dict[str, Any] = one["figures"][name]
            return found
    raise LookupError(row)


def test_evidence_as_it_is_committed_is_what_the_committed_hashes_give(copy: Path) -> None:
    ran = verify(copy)
    assert (ran.code, ran.json["differences"], ran.json["evidence_derived"]) == (0, [], True)
    assert "whole sessions do not follow from hashes" in " ".join(ran.json["not_derived"])


def test_a_recall_written_into_both_the_evidence_and_the_results_is_named(
    copy: Path, alter_evidence: Alter
) -> None:
    alter_evidence(
        lambda held: figure_of(held, "evidence/recall", "found", kind="photograph").update(
            value=LIE, low=LIE - 0.01, high=LIE + 0.01
        )
    )
    altered(
        copy,
        lambda results: row_of(results, "oprf-psi")["figures"]["corpus_recall"].update(
            value=LIE, low=LIE - 0.01, high=LIE + 0.01
        ),
    )
    ran = verify(copy)
    assert ran.code == 1
    (first, *_) = found = [one for one in ran.json["differences"] if one["file"] == "evidence.json"]
    assert [one["figure"] for one in found] == ["found", "found: low", "found: high"]
    assert (first["written"], "kind photograph" in first["design"]) == (LIE, True)
    # the folder and the altered evidence agree with each other: comparing these two shows nothing
    assert named(verify(copy, "--no-evidence")) == []


@pytest.mark.parametrize(
    ("row", "figure", "part", "wanted"),
    [
        ("evidence/recall", "found", "high", {"kind": "photograph"}),
        ("evidence/recall", "of_pdq", "n", {"kind": "photograph"}),
        ("evidence/false", "item", "value", {"kind": "photograph", "within": 31}),
        ("evidence/false", "item_by_package", "low", {"kind": "all", "within": 31}),
        ("evidence/edit", "found", "value", {"edit": "caption"}),
        ("evidence/sessions", "agreed", "low", {"design": "oprf-psi"}),
    ],
)
def test_a_count_or_the_end_of_an_interval_that_is_altered_in_the_evidence_is_named(
    copy: Path, alter_evidence: Alter, row: str, figure: str, part: str, wanted: dict[str, object]
) -> None:
    def edit(held: dict[str, Any]) -> None:
        one = figure_of(held, row, figure, **wanted)
        one[part] = one[part] + 1 if part == "n" else one[part] + 0.001

    alter_evidence(edit)
    ran = verify(copy)
    label = figure if part == "value" else f"{figure}: {part}"
    assert (ran.code, [where for _, where in named(ran) if where == label]) == (1, [label])


def test_rows_of_the_evidence_that_are_left_out_added_or_named_otherwise_are_differences(
    copy: Path, alter_evidence: Alter
) -> None:
    alter_evidence(lambda held: held["rows"].pop(0))
    assert ("the row", 1) in [(where, verify(copy).code) for _, where in named(verify(copy))]
    alter_evidence(lambda held: held["rows"].append({**held["rows"][0], "id": "evidence/more"}))
    assert verify(copy).code == 1
    alter_evidence(lambda held: held["options"]["designs"].remove("oprf-psi"))
    assert ("options", "designs") in named(verify(copy))
    alter_evidence(lambda held: held["options"]["designs"].append("of-nobody"))
    assert ("options", "designs") in named(verify(copy))


def test_evidence_may_lack_a_design_of_which_hashes_tell_nothing(copy: Path, alter_evidence: Alter) -> None:
    def edit(held: dict[str, Any]) -> None:
        name = "device-classifier"
        held["options"]["designs"] = [one for one in held["options"]["designs"] if one != name]
        held["rows"] = [one for one in held["rows"] if one["parameters"].get("designs") != name]

    alter_evidence(edit)
    assert (verify(copy).code, named(verify(copy))) == (0, [])


def test_a_parameter_that_is_added_to_a_design_does_not_free_its_figures_of_the_evidence(copy: Path) -> None:
    def edit(results: dict[str, Any]) -> None:
        row = row_of(results, "oprf-psi")
        row["parameters"]["more"] = 1
        row["figures"]["corpus_recall"]["value"] = LIE

    altered(copy, edit)
    ran = verify(copy, "--no-evidence")
    assert (ran.code, ("oprf-psi", "corpus_recall") in named(ran)) == (1, True)


def test_a_raw_row_that_is_altered_with_every_digest_written_again_is_named(copy: Path) -> None:
    def edit(rows: list[dict[str, Any]]) -> None:
        row = next(one for one in rows if one.get("listed") and not one["matched"])
        row.update(matched=True, outcome="match")

    rows_altered(copy, "oprf-psi", edit)
    ran = verify(copy, "--no-evidence")
    assert (ran.code, ("oprf-psi", "recall") in named(ran)) == (1, True)


def test_the_output_says_that_the_evidence_was_taken_as_it_is_and_gives_digests_to_publish(
    copy: Path,
) -> None:
    ran = in_process(copy, "results", "verify", str(copy), "--no-evidence")
    assert "evidence: not derived again" in ran.out
    digests = verify(copy, "--no-evidence").json["digests"]
    assert {"evidence.json", "reference.npz", "reference.csv", "results.json"} <= digests.keys()
    assert verify(copy, "--no-evidence", "--digest", digests["evidence.json"]).code == 0
    assert verify(copy, "--no-evidence", "--digest", "0" * 64).code == 1
