"""`results compare` sets designs and versions side by side, merges none, and says what keeps them apart."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.evaluation.assess.results import Measured, Results
from blindmatch_simulations.evaluation.comparing import (
    FORMS,
    Comparison,
    as_csv,
    as_latex,
    as_markdown,
    columns_of,
    compare,
)
from blindmatch_simulations.measure.results import Conditions, Figure, encode, results
from msgspec.json import decode
from msgspec.structs import replace
from support.altered_folder import SAMPLE
from support.assess_rows import observed, row
from support.command import in_process

Edit = Callable[[Measured], Measured]
OPTIONS: dict[str, Any] = {"pictures": {"listed": 4, "unlisted": 16}}
FIGURES = {
    "device_cpu_ms": Figure(5.0, low=4.0, high=6.0, n=3),
    "matcher_cpu_ms": Figure(1.0, "disturbed: load 2.00", low=0.5, high=2.0, n=3),
    "query_up_bytes": Figure(5160.0),
    "query_down_bytes": Figure(5227.0),
}


def measured(name: str = "mine", version: int = 1, **parameters: int) -> Measured:
    """A design's row with figures of its own."""
    made = row(observed(name))
    design = replace(made.design, version=version, parameters={**made.design.parameters, **parameters})
    conditions = Conditions(4, 4, 50.0, 0.01, 1.0)
    return replace(made, design=design, figures={**made.figures, **FIGURES}, conditions=conditions)


def folder_of(folder: Path, *rows: Measured, seed: int = 1, **options: Any) -> Path:
    """A results folder with these rows."""
    folder.mkdir(parents=True)
    made = results(Results, "blindmatch assess", OPTIONS | options, rows, seed=seed, workload="tiny")
    (folder / "results.json").write_bytes(encode(made))
    return folder


def compared(*folders: Path) -> Comparison:
    return compare(columns_of(folders))


def cells(made: Comparison, what: str) -> tuple[str, ...]:
    (line,) = (one for one in made.lines if one.what == what)
    return line.cells


def test_two_versions_of_a_design_are_two_columns(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path / str(at), measured(version=at)) for at in (1, 2)]
    made = compared(*folders)
    assert made.columns == ("mine v1", "mine v2")
    assert all(len(line.cells) == 2 for line in made.lines)


def test_rows_of_one_version_are_told_apart_by_parameters_then_by_folder(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "one", measured(), measured(k=20))
    two = folder_of(tmp_path / "two", measured())
    assert compared(one).columns == ("mine v1 k=24", "mine v1 k=20")
    assert compared(one, two).columns == ("mine v1 k=24 one", "mine v1 k=20", "mine v1 k=24 two")
    assert len(set(compared(one, one).columns)) == 4


def test_processor_time_is_in_u_of_the_same_run_with_its_interval(tmp_path: Path) -> None:
    faster = replace(measured("other"), conditions=Conditions(4, 4, 25.0, 0.01, 1.0))
    made = compared(folder_of(tmp_path / "a", measured(), faster, replace(measured("no"), conditions=None)))
    assert cells(made, "device, CPU a picture") == ("100 u (80 to 120)", "200 u (160 to 240)", "not measured")
    assert cells(made, "matcher, CPU a query")[0] == "20 u (10 to 40), disturbed"
    assert cells(made, "bytes up, a picture")[0] == "5,160"


@pytest.mark.parametrize(
    ("relation", "distance", "expected"),
    [
        ("near", 31, r"\d+(\.\d+)? % \(.* to .*\), of the relation"),
        ("equal", 0, r"\d+(\.\d+)? % \(.* to .*\), of the relation"),
        ("near", 12, "not measured"),
        ("category", None, "not measured"),
        ("nothing", None, "not measured"),
    ],
)
def test_recall_of_the_corpus_follows_from_the_relation_or_is_not_measured(
    tmp_path: Path, relation: str, distance: int | None, expected: str
) -> None:
    made = measured("not-in-the-evidence")
    made = replace(made, design=replace(made.design, relation=relation, distance=distance))
    shown = compared(folder_of(tmp_path / "a", made))
    assert re.fullmatch(expected, cells(shown, "recall of the corpus")[0])
    assert any("was not run on the corpus" in note for note in shown.notes) == (expected != "not measured")


def test_recall_of_a_relation_is_that_of_the_built_in_which_finds_all_of_it() -> None:
    made = compared(SAMPLE)
    by_design = dict(zip(made.columns, cells(made, "recall of the corpus"), strict=True))
    (near,) = (one for one in columns_of([SAMPLE]) if one.row.design.name == "he-hamming")
    figure = near.row.figures["corpus_recall"]
    renamed = replace(near.row, design=replace(near.row.design, name="mine"), figures={})
    of_relation = compare([type(near)("mine v1", "", near.results, renamed, ())])
    assert figure.value is not None
    (column,) = (name for name in made.columns if name.startswith("he-hamming"))
    assert cells(of_relation, "recall of the corpus") == (f"{by_design[column]}, of the relation",)


def test_what_keeps_columns_from_being_compared_is_said(tmp_path: Path) -> None:
    same = compared(folder_of(tmp_path / "a", measured()), folder_of(tmp_path / "b", measured(version=2)))
    assert not any("differ in" in note for note in same.notes)
    other = folder_of(tmp_path / "c", measured(version=3), seed=2, update={"adds": 7})
    notes = compared(tmp_path / "a", other).notes
    assert [note.split(" (")[0] for note in notes if "differ in" in note] == [
        "The columns differ in workload",
        "The columns differ in seed",
    ]


def test_a_coalition_has_what_its_members_do_not_learn_alone(tmp_path: Path) -> None:
    made = compare(columns_of([SAMPLE], ["split-psi", "oprf-psi"]))
    assert made.columns[0].startswith("split-psi")
    assert cells(made, "learned by party_a and party_b, more together") == ("every_guess", "not declared")
    assert "every_guess" in made.facts
    assert not any(line.what == "learned by party_a and provider, more together" for line in made.lines)


def test_attacks_are_those_of_the_file_beside_the_results(tmp_path: Path) -> None:
    held = json.loads((SAMPLE / "attacks.json").read_text())["rows"]
    of_design = [one for one in held if one["kind"] == "attack" and one["parameters"]["design"] == "oprf-psi"]
    declared = [one["id"] for one in of_design if one["succeeded"] and not one["claimed"]]
    made = compare(columns_of([SAMPLE], ["oprf-psi"]))
    assert declared
    assert cells(made, "attacks that succeeded as declared") == (", ".join(declared),)
    without = compared(folder_of(tmp_path / "a", measured()))
    assert cells(without, "attacks withstood") == ("none played",)


def test_the_digest_is_of_the_whole_comparison_and_of_its_sources(tmp_path: Path) -> None:
    one = compared(folder_of(tmp_path / "a", measured()))
    assert one.digest == compared(tmp_path / "a").digest
    moved = replace(measured(), figures={**measured().figures, "stages": Figure(1.0)})
    assert one.digest != compared(folder_of(tmp_path / "b", moved)).digest, "a source that is not shown"


def test_the_command_writes_each_form_with_the_same_digest(tmp_path: Path) -> None:
    digests = set()
    for form in ("csv", "latex", "markdown"):
        path = tmp_path / form
        ran = in_process(
            tmp_path, "results", "compare", SAMPLE, "--design", "oprf-psi", "--design", "token-psi",
            "--format", form, "--out", path, "--json", tmp_path / "made.json",
        )  # fmt: skip
        assert ran.code == exit_codes.OK, ran.err
        text = path.read_text("utf-8")
        digests.update(re.findall(r"sha256:([0-9a-f]{64})", text + ran.out))
        made = json.loads((tmp_path / "made.json").read_text())
        assert made["digest"] in text
        assert made["columns"] == ["oprf-psi v2", "token-psi v2"]
    assert len(digests) == 1
    rows = list(csv.reader(io.StringIO((tmp_path / "csv").read_text("utf-8"))))
    assert rows[0] == ["", "oprf-psi v2", "token-psi v2"]
    body = [line for line in (tmp_path / "markdown").read_text("utf-8").splitlines() if line.startswith("|")]
    assert {line.count("|") for line in body} == {4}


def test_latex_escapes_what_it_would_read_as_a_command(tmp_path: Path) -> None:
    design = replace(measured().design, summary="", relation="a_b & 5 % $x$ #{}~^\\")
    text = as_latex(compared(folder_of(tmp_path / "a", replace(measured(), design=design))))
    expected = r"a\_b \& 5 \% \$x\$ \#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}, 31 bits"
    assert expected in text


def test_no_word_of_a_plugin_is_a_tag_or_ends_a_cell_of_markdown(tmp_path: Path) -> None:
    """The rows' only fact says a script, and the relation has what would begin another line of the table."""
    design = replace(measured().design, relation="a|b\n| c `d` <b>")
    text = as_markdown(compared(folder_of(tmp_path / "a", replace(measured(), design=design))))
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert "| relation | a\\|b \\| c \\`d\\` &lt;b&gt;, 31 bits |" in text.splitlines()


def test_attacks_are_said_to_be_matched_by_name_alone(tmp_path: Path) -> None:
    said = "names neither version nor parameters"
    assert any(said in note for note in compare(columns_of([SAMPLE], ["oprf-psi"])).notes)
    assert not any(said in note for note in compared(folder_of(tmp_path / "a", measured())).notes)


def test_bad_input_is_named(tmp_path: Path) -> None:
    ran = in_process(tmp_path, "results", "compare", SAMPLE, "--design", "nosuch")
    assert ran.code != exit_codes.OK
    assert "--design: nosuch: not among the measured designs" in ran.err
    folder = folder_of(tmp_path / "a", measured())
    held = decode((folder / "results.json").read_bytes())
    held["rows"][0]["design"]["version"] = 9
    (folder / "results.json").write_text(json.dumps(held))
    ran = in_process(tmp_path, "results", "compare", folder)
    assert ran.code != exit_codes.OK
    assert "edited" in ran.err


ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202egpj\x9b31m"


def hostile(**fields: Any) -> Measured:
    """A row whose design says what nobody who writes results would; a file with it can be sealed again."""
    return replace(measured(), design=replace(measured().design, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"relation": ESCAPES},
        {"name": ESCAPES},
        {"name": "[/bold]", "relation": "[red]x[/]"},
        {"name": "a\u2028b\x85c\n# d"},
    ],
)
def test_no_word_of_a_file_moves_the_cursor_or_is_markup(fields: dict[str, Any], tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", hostile(**fields))
    ran = in_process(tmp_path, "results", "compare", folder)
    assert ran.code == exit_codes.OK, ran.err
    assert all(letter.isprintable() or letter == "\n" for letter in ran.out)
    made = compared(folder)
    for form in FORMS.values():
        assert all(letter.isprintable() or letter in "\r\n" for letter in form(made))


def test_a_field_of_megabytes_is_cut(tmp_path: Path) -> None:
    made = compared(folder_of(tmp_path / "a", hostile(name="n" * 10**6, relation="x" * 3_000_000)))
    assert max(len(cell) for line in made.lines for cell in line.cells) <= 1_001
    assert len(as_markdown(made)) < 20_000


def test_a_unit_of_no_time_and_numbers_beyond_all_others_are_no_fault(tmp_path: Path) -> None:
    row = replace(measured(), conditions=Conditions(4, 4, 0.0, 0.01, 1.0))
    huge = Figure(1.7e308, low=-1.7e308, high=1.7e308, n=10**18)
    figures = {**measured().figures, **dict.fromkeys(["device_cpu_ms", "recall", "query_up_bytes"], huge)}
    folder = folder_of(tmp_path / "a", row, replace(measured("other"), figures=figures))
    made = compared(folder)
    assert cells(made, "device, CPU a picture")[0] == "not measured"
    assert in_process(tmp_path, "results", "compare", folder).code == exit_codes.OK


def test_a_design_that_is_named_twice_is_one_column_and_rows_that_are_alike_have_numbers(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path / "a", measured(), replace(measured(), what="again"))
    assert len(columns_of([folder], ["mine", "mine"])) == 2
    assert compared(folder).columns == ("mine v1 (1)", "mine v1 (2)")
    assert in_process(tmp_path, "results", "compare", folder, folder).code == exit_codes.OK


def test_a_cell_of_csv_is_no_formula(tmp_path: Path) -> None:
    text = as_csv(compared(folder_of(tmp_path / "a", hostile(name="=1+1", relation="@SUM(A1)"))))
    read = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    assert "'=1+1 v1" in read and not any(cell.startswith(("=", "+", "-", "@")) for cell in read)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"5.0", b"NaN"),
        (b"5.0", b"1e999"),
        (b'"n": 3', b'"n": ' + b"9" * 5_000),
        (b"{", b"[" * 100_000),
        (b'"version": 4', b'"version": "' + b"9" * 10_000 + b'"'),
    ],
)
def test_a_file_that_is_no_results_file_is_refused_by_name(old: bytes, new: bytes, tmp_path: Path) -> None:
    path = folder_of(tmp_path / "a", measured()) / "results.json"
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))
    ran = in_process(tmp_path, "results", "compare", path.parent)
    assert ran.code not in (exit_codes.OK, exit_codes.WRONG) and "results.json" in ran.err
    assert len(ran.err) < 1_000


def test_markdown_of_hostile_words_has_no_picture_link_or_bare_address(tmp_path: Path) -> None:
    words = "![p](http://evil.example/x.png) [a](javascript:x) *b* ~~s~~ $x$ [r]"
    text = as_markdown(compared(folder_of(tmp_path / "a", hostile(name=words, relation=words))))
    assert "evil.example" in text
    for sign in ("![p]", "](", "://", " *b*", "~~s", " $x"):
        assert sign not in text, sign


@pytest.mark.parametrize("sign", ["\uff1d", "\uff0b", "\uff20", "\u2212", "\ufe63"])
def test_a_wide_or_small_sign_begins_no_formula_either(sign: str, tmp_path: Path) -> None:
    text = as_csv(compared(folder_of(tmp_path / "a", hostile(name="a", relation=f"{sign}1"))))
    assert f"'{sign}1" in text
