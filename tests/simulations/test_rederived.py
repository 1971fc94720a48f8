"""Figures are derived again from raw rows by code of their own, and whatever was altered is named."""

from __future__ import annotations

import ast
import json
import random
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from blindmatch_simulations.cli.assess import declarations
from blindmatch_simulations.data import committed, table_of
from blindmatch_simulations.evaluation import rederived, verifying
from blindmatch_simulations.evaluation.assess.figures import FIGURES
from blindmatch_simulations.evaluation.attacks.figure import (
    Figure,
    Played,
    advantages,
    counted,
    share_of,
    won,
)
from blindmatch_simulations.measure.intervals import advantage
from support.altered_folder import SAMPLE, Edit, altered, dumped, row_of, rows_altered, seal, small_folder
from support.assess_rows import observed
from support.assess_rows import row as measured_row
from support.command import in_process
from support.schemas import committed as schema
from support.schemas import of_rows

KEPT = ("oprf-psi", "none")
DECLARED = declarations()


def verified(folder: Path, *published: str) -> verifying.Folder:
    held = verifying.Folder(folder, table_of("rederived"), committed("evidence")["rows"], DECLARED)
    held.verify(published)
    return held


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("rederived") / "small", KEPT)


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "copy"))


def test_the_sample_is_what_its_rows_give() -> None:
    held = verified(SAMPLE)
    assert held.differences == []
    assert held.derived > 15 * 25


def test_every_figure_of_a_design_has_a_rule_and_no_rule_is_of_nothing() -> None:
    rules = {name for name, rule in table_of("rederived").items() if rule["how"] != "groups"}
    assert rules == set(FIGURES)


def test_what_derives_figures_imports_nothing_of_blindmatch() -> None:
    for module, own in ((rederived, set[str]()), (verifying, {rederived.__name__})):
        found = ast.walk(ast.parse(Path(module.__file__).read_text("utf-8")))
        names = {one.module or "" for one in found if isinstance(one, ast.ImportFrom)}
        assert names and {name for name in names if name.startswith("blindmatch")} == own


def test_a_folder_that_was_sealed_again_and_not_altered_is_right(copy: Path) -> None:
    altered(copy, lambda results: None)
    assert verified(copy).differences == []


def _numbers(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, figure in sorted(row["figures"].items()):
        yield from ((name, part) for part in rederived.PARTS if figure[part] is not None)


SAMPLED = json.loads((SAMPLE / "results.json").read_bytes())
DERIVED = {
    name
    for name in set(FIGURES) & {one for row in SAMPLED["rows"] for one in row.get("figures", ())}
    if not {*table_of("rederived")[name].get("needs", ())} & {"build", "peak_mib", "proven", "query_rate"}
}
CHANGES = [
    (design, name, part)
    for design in KEPT
    for name, part in _numbers(row_of(SAMPLED, design))
    if name in DERIVED
]


def test_every_part_of_every_figure_that_is_altered_and_sealed_again_is_named(copy: Path) -> None:
    """One after the other: what was altered before stays so, and every one must be named."""
    rng = random.Random(31)
    expected = set()
    before = json.loads((copy / "results.json").read_bytes())

    def edit(results: Any) -> None:
        for design, name, part in CHANGES:
            figure = row_of(results, design)["figures"][name]
            figure[part] += rng.choice([-1, 1]) * max(1e-6, abs(figure[part]) * 10 ** rng.uniform(-6, 1))
            expected.add(("results.json", design, name if part == "value" else f"{name}: {part}"))

    altered(copy, edit)
    found = {(one.file, one.design, one.figure): one for one in verified(copy).differences}
    assert len(CHANGES) > 100
    assert expected - found.keys() == set()
    for _, design, label in expected:
        name, _, part = label.partition(": ")
        was = row_of(before, design)["figures"][name][part or "value"]
        assert found["results.json", design, label].derived == pytest.approx(was)


@pytest.mark.parametrize("design", KEPT)
def test_a_figure_that_is_taken_away_or_given_where_there_is_none_is_named(copy: Path, design: str) -> None:
    def edit(results: Any) -> None:
        del row_of(results, design)["figures"]["send_ms"]
        blank = row_of(results, design)["figures"]["corpus_recall"]
        blank |= {"value": None} if blank["value"] is not None else {"value": 0.5}

    altered(copy, edit)
    named = {one.figure for one in verified(copy).differences if one.design == design}
    assert {"send_ms", "send_ms: n", "corpus_recall"} <= named


LEAVES = {
    "recall_by_edit": lambda row: row["recall_by_edit"][0].update(sent=row["recall_by_edit"][0]["sent"] + 1),
    "recall_by_distance": lambda row: row["recall_by_distance"][1]["share"].update(low=0.123),
    "tries_until_hidden": lambda row: row["tries_until_hidden"].__setitem__(0, 26),
    "copies: sent": lambda row: row["copies"].update(sent=121),
    "checks: codec": lambda row: row["checks"][1].update(verdict="failed"),
    "checks: outcomes": lambda row: row["checks"].pop(0),
}


def test_counts_and_checks_that_are_altered_are_each_named(copy: Path) -> None:
    def edit(results: Any) -> None:
        for change in LEAVES.values():
            change(row_of(results, "oprf-psi"))

    altered(copy, edit)
    named = [one.figure for one in verified(copy).differences if one.design == "oprf-psi"]
    assert [part for part in LEAVES if not any(one.startswith(part) for one in named)] == []


ROWS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "matched": ("photographs", lambda value: not value),
    "name": ("photographs", lambda value: value + "x"),
    "edit": ("photographs", lambda value: "noise" if value != "noise" else "identical"),
    "listed": ("photographs", lambda value: not value),
    "up_bytes": ("photographs", lambda value: value + 1),
    "report_bytes": ("photographs", lambda value: value + 7),
    "device_cpu_ms": ("alone", lambda value: value * 1.001),
    "verdict": ("checks", lambda value: "passed" if value != "passed" else "failed"),
    "reason": ("checks", lambda value: value + "."),
}


@pytest.mark.parametrize("field", ROWS)
def test_a_raw_row_that_is_altered_and_sealed_again_is_named(copy: Path, field: str) -> None:
    kind, change = ROWS[field]
    rng = random.Random(field)

    def edit(rows: list[Any]) -> None:
        one = rng.choice([row for row in rows if row["kind"] == kind and row.get("listed", True)])
        one[field] = change(one[field])

    rows_altered(copy, "oprf-psi", edit)
    found = verified(copy).differences
    assert {one.design for one in found} == {"oprf-psi"}
    assert all(one.file == "results.json" for one in found)


@pytest.mark.parametrize("kind", ["photographs", "alone"])
def test_a_raw_row_that_is_left_out_or_there_twice_is_named(copy: Path, kind: str) -> None:
    def pick(rows: list[Any]) -> int:
        return next(at for at, one in enumerate(rows) if one["kind"] == kind)

    kept = (copy / "rows" / "oprf-psi.jsonl").read_bytes()
    rows_altered(copy, "oprf-psi", lambda rows: rows.pop(pick(rows)))
    assert {one.design for one in verified(copy).differences} == {"oprf-psi"}
    (copy / "rows" / "oprf-psi.jsonl").write_bytes(kept)
    rows_altered(copy, "oprf-psi", lambda rows: rows.append(rows[pick(rows)]))
    assert {one.design for one in verified(copy).differences} == {"oprf-psi"}


def test_an_outcome_in_words_that_is_not_the_rows_is_named(copy: Path) -> None:
    rows_altered(copy, "oprf-psi", lambda rows: rows[5].update(outcome="another word"))
    assert [(one.design, one.figure) for one in verified(copy).differences] == [
        ("oprf-psi", "outcomes in words")
    ]


@pytest.mark.parametrize("what", ["a timing", "a word"])
def test_what_no_figure_hangs_on_is_found_by_the_published_digest(copy: Path, what: str) -> None:
    published = json.loads((copy / "results.json").read_bytes())["digest"]
    assert verified(copy, published).differences == []

    def edit(rows: list[Any]) -> None:
        pictures = sorted((one for one in rows if "wall_ms" in one), key=lambda one: one["wall_ms"])
        one = pictures[2]
        one |= (
            {"wall_ms": (one["wall_ms"] + pictures[3]["wall_ms"]) / 2}
            if what == "a timing"
            else {"cpu_ms": 0.5}
        )

    rows_altered(copy, "oprf-psi", edit)
    assert verified(copy).differences == []
    assert [one.figure for one in verified(copy, published).differences] == ["published digest"]
    ran = in_process(copy, "results", "verify", str(copy), "--digest", published, "--json", "-")
    assert ran.code == 1 and json.loads(ran.out)["digests"].keys() >= {"results.json"}


GUESSED = [Played((at % 7 == 0, at % 3), at % 2 == 0) for at in range(200)]
PLAYED = {
    "counted": counted("replies taken", {"listed": (3, 40), "other": (0, 41)}),
    "none": counted("epochs taken", {"fork": (0, 1)}),
    "games": advantages({"short": won(GUESSED, 2), "long": won(GUESSED[:80], 2)}),
    "one game": Figure("advantage", 0.1, False, 40, (lambda one: (one.low, one.high))(advantage(22, 40))),
    "share": share_of("share singled out", 1034, 2000, {"at once": 0.517}),
    "no share": share_of("share linked", 0, 30, {}),
}


def _attacks(figure: Figure) -> dict[str, Any]:
    named = {name: msgspec.to_builtins(one) for name, one in figure.figures().items()}
    row = {"kind": "attack", "id": "it", "parameters": {"design": "none"}, "figures": named}
    unplayed = {
        "kind": "attack not played",
        "id": "other",
        "parameters": {"design": "none"},
        "why": "needs it",
    }
    return {"digest": "", "rows": [row | {"succeeded": figure.succeeded}, unplayed]}


@pytest.mark.parametrize("name", PLAYED)
def test_what_an_attack_came_to_follows_from_its_trials_and_each_altered_number_is_named(
    tmp_path: Path, name: str
) -> None:
    def looked(held: dict[str, Any]) -> verifying.Folder:
        (tmp_path / "attacks.json").write_bytes(dumped({"rows": held["rows"]}))
        (tmp_path / "workload.toml").touch()
        seal(tmp_path, {"rows": [], "options": {}})
        return verified(tmp_path)

    honest = looked(_attacks(PLAYED[name]))
    assert (honest.differences, honest.derived) == ([], 1)
    assert not [why for why in honest.not_derived if "follow" in why]
    for part in ("value", "low", "high", "n"):
        held = _attacks(PLAYED[name])
        whole = held["rows"][0]["figures"]["achieved"]
        if whole[part] is not None:
            whole[part] += 2
            assert looked(held).differences, part
    for case in [one for one in _attacks(PLAYED[name])["rows"][0]["figures"] if one != "achieved"]:
        held = _attacks(PLAYED[name])
        if held["rows"][0]["figures"][case]["n"]:
            held["rows"][0]["figures"][case]["n"] += 1
            assert looked(held).differences, case
    held = _attacks(PLAYED[name])
    held["rows"][0]["succeeded"] ^= True
    assert {one.figure for one in looked(held).differences} == {"it: succeeded"}


def test_an_attack_that_does_not_follow_from_trials_is_counted_as_not_derived(tmp_path: Path) -> None:
    held = verified(SAMPLE).not_derived
    assert any("surveillance rate" in one for one in held) and any(one.startswith("study:") for one in held)


BROKEN = {
    "results.json": ("digest", lambda text: text.replace('"seed": 1', '"seed": 2', 1)),
    "designs/none.json": ("SHA-256", lambda text: text.replace('"seconds": ', '"seconds": 1', 1)),
    "rows/none.jsonl": ("SHA-256", lambda text: text[:-200]),
    "workload.toml": ("SHA-256", lambda text: text + "\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_file_that_is_altered_alone_is_named(copy: Path, name: str) -> None:
    figure, change = BROKEN[name]
    before = (copy / name).read_text("utf-8")
    (copy / name).write_text(change(before), "utf-8")
    assert (copy / name).read_text("utf-8") != before
    assert (name, figure) in [(one.file, one.figure) for one in verified(copy).differences]


def test_files_that_are_missing_added_or_no_json_are_differences_and_no_crash(copy: Path) -> None:
    (copy / "designs" / "none.json").unlink()
    (copy / "designs" / "more.json").write_text("{}")
    (copy / "rows" / "oprf-psi.jsonl").write_text("[1]\n")
    (copy / "attacks.json").write_text("{")
    named = {one.file for one in verified(copy).differences}
    assert {"designs/none.json", "results.json", "rows/oprf-psi.jsonl", "attacks.json"} <= named
    (copy / "results.json").write_text("null")
    assert "results.json" in {one.file for one in verified(copy).differences}


def test_a_design_that_is_left_out_is_named(copy: Path) -> None:
    altered(copy, lambda results: results["rows"].pop())
    assert ("results.json", "rows") in [(one.file, one.figure) for one in verified(copy).differences]


def test_designs_that_a_folder_has_no_row_of_are_counted_and_its_workload_is_a_file_of_its_own(
    copy: Path,
) -> None:
    there = verified(copy).not_derived
    assert "designs: this program's he-hamming is in no row" in there
    assert not any(f"program's {name} is" in words for name in KEPT for words in there)
    results = json.loads((copy / "results.json").read_bytes())
    del results["files"]["workload.toml"]
    results["digest"] = ""
    results["digest"] = sha256(dumped(results)).hexdigest()
    (copy / "results.json").write_bytes(dumped(results))
    assert [one.figure for one in verified(copy).differences] == ["files: workload.toml"]


def test_random_edits_of_any_number_are_named(copy: Path) -> None:
    """Any number of a design's row, wherever it stands, altered alone: by name, or by the file beside it."""
    rng = random.Random(7)
    whole = json.loads((copy / "results.json").read_bytes())
    for _ in range(6):
        held = json.loads(json.dumps(whole))
        leaf = row_of(held, rng.choice(KEPT))
        where = []
        while isinstance(leaf, dict | list) and leaf:
            key = rng.choice(sorted(leaf)) if isinstance(leaf, dict) else rng.randrange(len(leaf))
            parent = leaf
            leaf = leaf[key]
            where.append(key)
        parent[key] = "altered"
        seal(copy, held)
        assert verified(copy).differences, where


def test_the_command_names_what_differs_and_ends_with_1(copy: Path) -> None:
    ran = in_process(copy, "results", "verify", str(copy), "--json", "-")
    assert (ran.code, json.loads(ran.out)["differences"]) == (0, [])
    altered(copy, lambda results: row_of(results, "none")["figures"]["send_ms"].update(value=1.0))
    ran = in_process(copy, "results", "verify", str(copy), "--json", "-")
    (found, *_) = json.loads(ran.out)["differences"]
    assert (ran.code, found["design"], found["figure"], found["written"]) == (1, "none", "send_ms", 1.0)


def test_every_figure_of_a_run_is_derived_from_what_was_observed() -> None:
    """Of a run in memory, whose update was not built; `test_assess.py` has a whole one."""
    seen = observed()
    built = msgspec.to_builtins(measured_row(seen))
    rest = {key: one for key, one in msgspec.to_builtins(seen).items() if key not in ("pictures", "design")}
    tagged = [{**one, "kind": "alone"} for one in rest["alone"]]
    pictures = msgspec.to_builtins(seen.pictures)
    raw = rederived.Raw([*pictures, *tagged, {**rest, "kind": "run"}], built, committed("evidence")["rows"])
    rules = table_of("rederived")
    for name, figure in built["figures"].items():
        derived = raw.derive(name, rules[name])
        assert all(rederived.close(figure[part], derived.get(part)) for part in rederived.PARTS), name
    assert seen.update.built is None and len(built["figures"]) == len(FIGURES)


def test_the_schema_of_raw_rows_is_that_of_their_types_and_takes_the_samples_rows(small: Path) -> None:
    assert schema("rows-v2") == of_rows()
    valid = jsonschema.Draft202012Validator(of_rows())
    rows = [json.loads(line) for name in KEPT for line in (small / "rows" / f"{name}.jsonl").open()]
    # of each kind a few, and of checks all: a validator is slow
    chosen = [one for one in rows if one["kind"] in ("checks", "alone")] + rows[:5] + rows[-20:]
    assert [error.message for one in chosen for error in valid.iter_errors(one)] == []
    seen = msgspec.to_builtins(observed())
    rest = {key: seen[key] for key in seen if key not in ("pictures", "alone", "design")}
    run = {"kind": "run", "version": 2, **json.loads(json.dumps(rest))}
    assert [error.message for error in valid.iter_errors(run)] == []
    assert not valid.is_valid({**run, "version": 1}) and not valid.is_valid({**rows[0], "more": 1})


WHOLE: dict[str, Edit] = {
    "kind": lambda results: row_of(results, "none").update(kind="study"),
    "options_measured": lambda results: results.update(options_measured=9),
    "send_ms: unit": lambda results: row_of(results, "none")["figures"]["send_ms"].update(unit="us"),
    "status, why": lambda results: row_of(results, "none").update(status="failed"),
    "design.declared": lambda results: row_of(results, "oprf-psi")["design"].update(declared=[]),
    "design.learns": lambda results: row_of(results, "oprf-psi")["design"].update(learns=["server"]),
    "checks_failed": lambda results: [one["figures"].pop("checks_failed") for one in results["rows"]],
}


@pytest.mark.parametrize("label", WHOLE)
def test_what_frees_figures_from_their_rows_is_a_difference(copy: Path, label: str) -> None:
    altered(copy, WHOLE[label])
    assert label in [one.figure for one in verified(copy).differences]


def test_without_the_raw_row_run_no_figure_is_derived_from_the_results_own_row(copy: Path) -> None:
    before = verified(copy)
    rows_altered(copy, "oprf-psi", lambda rows: rows.__delitem__(slice(-1, None)))
    altered(copy, lambda results: row_of(results, "oprf-psi")["audit"].update(undeclared_bytes=5))
    held = verified(copy)
    assert "raw row `run`" in [one.figure for one in held.differences]
    assert "undeclared_bytes: no raw row" in held.not_derived and held.derived < before.derived


def test_a_file_outside_of_the_folder_is_refused_and_not_read(copy: Path) -> None:
    results = json.loads((copy / "results.json").read_bytes())
    results["files"]["../../../../../../../../etc/passwd"] = "00"
    (copy / "results.json").write_bytes(dumped(results))
    (found,) = [
        one for one in verified(copy).differences if "passwd" in one.file and one.figure == "the file"
    ]
    assert "outside of the folder" in str(found.derived)


def test_a_check_covers_attacks_too(tmp_path: Path) -> None:
    copy = Path(
        shutil.copytree(SAMPLE, tmp_path / "copy", ignore=shutil.ignore_patterns("*.html", "figures"))
    )
    text = (SAMPLE / "attacks.json").read_text("utf-8")
    assert in_process(copy, "results", "verify", str(copy)).code == 0
    (copy / "attacks.json").write_text(text.replace('"succeeded": true', '"succeeded": false'), "utf-8")
    assert in_process(copy, "results", "verify", str(copy)).code != 0


def test_attacks_that_are_missing_left_out_or_turned_are_named(copy: Path) -> None:
    assert verified(copy).not_derived["attacks: there is no attacks.json"] == 1
    (copy / "made.json").write_text('{"attack run all": {}}')
    assert {one.file for one in verified(copy).differences} == {"attacks.json"}
    held = json.loads((SAMPLE / "attacks.json").read_bytes())
    held["rows"] = [one for one in held["rows"] if one["parameters"]["design"] in KEPT]

    def found(edit: Edit) -> str:
        made = json.loads(json.dumps(held))
        edit(made["rows"])
        (copy / "attacks.json").write_bytes(dumped({"rows": made["rows"]}))
        return " ".join(f"{one.figure} {one.written}" for one in verified(copy).differences)

    at = next(number for number, one in enumerate(held["rows"]) if one.get("succeeded"))
    name = held["rows"][at]["id"]
    assert found(lambda rows: None) == ""
    assert name in found(lambda rows: rows.pop(at))
    for edit in ({"kind": "note"}, {"claimed": not held["rows"][at]["claimed"]}, {"succeeded": False}):
        assert name in found(lambda rows, edit=edit: rows[at].update(edit))
    spared = {name: held["rows"][at][name] for name in ("id", "parameters")}
    unplayed = spared | {"kind": "attack not played", "why": "nothing to attack"}
    assert f"{name}: is not played" in found(lambda rows: rows.__setitem__(at, unplayed))
