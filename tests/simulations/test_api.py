"""`import blindmatch`: what docs/reference/results.md says holds, and the notebook runs."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import blindmatch as bm
import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError, PictureError
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.measure.results import Results as File
from blindmatch_simulations.measure.results import ResultsError, encode, results
from blindmatch_simulations.measure.row import BenchRow, Kind, bench_row
from blindmatch_simulations.testbed.audit import Undeclared
from blindmatch_simulations.testbed.scenario.operations import ScenarioError
from blindmatch_simulations.testbed.scenario.recording import RecordingError
from defusedxml.ElementTree import fromstring
from support.notebooks import code_cells, execute, notebooks, read

ROOT = Path(__file__).parents[2]
PICTURES = bm.sample_pictures(3)


def left_by(name: str) -> dict[str, Any]:
    """What the cells of a notebook leave, which must show what the file has of them."""
    path = ROOT / "examples" / f"{name}.ipynb"
    left, outputs = execute(path)
    assert outputs == [cell["outputs"] for cell in code_cells(read(path))], "make notebooks"
    return left


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the cells leave, run one after the other in an empty folder: they need no repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        return left_by("first_steps")


def test_the_notebook_runs_and_comes_to_what_its_text_says(notebook: dict[str, Any]) -> None:
    assert [one.outcome for one in notebook["answers"]] == ["match", "match", "no match", "no match"]
    assert len(notebook["sizes"]) == 1
    assert [row["found"] for row in notebook["rows"]] == [True, True, False, False] * 2
    played = notebook["played"]
    assert [one.error for one in played.events] == [""] * len(notebook["scenario"])
    assert {name: one.undeclared for name, one in played.audits.items()} == {
        "alice": Undeclared.NONE,
        "bob": Undeclared.NONE,
    }
    sent = [row for row in played.rows() if row["do"] == "send picture"]
    assert [row["outcome"] for row in sent] == ["match", "no match"]
    assert [row["report_up"] > 0 for row in sent] == [True, False]
    assert notebook["recall"]["oprf-psi"][1] <= notebook["recall"]["oprf-psi"][0]


@pytest.mark.slow
def test_the_sweep_finds_fewer_copies_the_more_tokens_are_needed() -> None:
    left = left_by("sweep")
    assert left["found"][3] <= left["found"][2] <= len(left["copies"]) == 9
    assert left["verdicts"] == {"outcomes": "passed"}


@pytest.mark.slow
def test_the_population_is_of_both_designs_and_the_attack_comes_to_a_verdict() -> None:
    left = left_by("population")
    assert set(left["told"]) == {"oprf-psi", "hash-upload"}
    assert [(row.id, row.succeeded) for row in left["attacked"].rows] == [("pushed-over", False)]


def test_every_notebook_is_run_here_and_has_a_page() -> None:
    names = {path.stem for path in notebooks()}
    run_here = set(re.findall(r'left_by\("(\w+)"\)', Path(__file__).read_text("utf-8")))
    assert (
        names == run_here == {path.stem for path in (ROOT / "docs" / "tutorials" / "notebooks").glob("*.md")}
    )


def test_the_page_of_a_notebook_has_its_cells_and_its_figure() -> None:
    spec = spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    assert spec is not None and spec.loader is not None
    conf = module_from_spec(spec)
    spec.loader.exec_module(conf)
    source = [""]
    conf.add_notebook(None, "tutorials/notebooks/sweep", source)
    shown = source[0]
    assert "```python\nfound = {}" in shown
    assert "```text\n{2: 8, 3: 8}\n```" in shown
    assert not shown.lstrip().startswith("#")
    (drawn,) = re.findall(r"<div>\n(<svg.*?</svg>)\n</div>", shown, re.DOTALL)
    assert "\n\n" not in drawn
    fromstring(drawn)
    other = ["text"]
    conf.add_notebook(None, "wire", other)
    assert other == ["text"]


# --- charts


def drawn_by(chart: bm.Chart) -> tuple[list[str], list[float]]:
    """The texts of a chart, and the lengths of its bars."""
    root = fromstring(chart._repr_svg_())
    space = "{http://www.w3.org/2000/svg}"
    texts = [one.text or "" for one in root.iter(f"{space}text")]
    return texts, [float(one.attrib["width"]) for one in root.iter(f"{space}rect")]


def test_a_chart_draws_bars_by_their_values_with_intervals_and_says_what_was_not_measured() -> None:
    rows = [
        {"of": "a <b>", "is": 2, "from": 1, "to": 4},
        {"of": "b", "is": 1.0, "from": None, "to": None},
        {"of": "c", "is": None, "from": None, "to": None},
    ]
    texts, lengths = drawn_by(bm.chart(rows, "of", "is", "from", "to", title="t & u"))
    assert texts == ["t & u", "a <b>", "2 (1 to 4)", "b", "1", "c", "not measured"]
    assert lengths == [180.0, 90.0]  # the longest interval fills 360


def test_bars_of_zero_are_drawn() -> None:
    assert drawn_by(bm.chart([{"of": "a", "is": 0}], "of", "is")) == (["is", "a", "0"], [0.0])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "needs a row"),
        ([{"of": "a"}], "no column 'is'"),
        ([{"of": "a", "is": -1}], "numbers from 0 on"),
        ([{"of": "a", "is": float("nan")}], "numbers from 0 on"),
        ([{"of": "a", "is": "many"}], "no number to draw"),
    ],
)
def test_rows_that_no_chart_can_draw_are_named(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(bm.ChartError, match=said):
        bm.chart(rows, "of", "is")


def test_a_folder_is_assessed_and_a_wrong_workload_is_a_blindmatch_error(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("version = 1")
    with pytest.raises(bm.BlindmatchError, match="version 1"):
        bm.assess(tmp_path / "out", ["none"], tmp_path / "bad.toml")
    assert not (tmp_path / "out").exists()


def test_an_attack_that_is_not_played_says_why_and_an_unknown_check_is_no_run() -> None:
    (row,) = bm.attack("attested-host", "oprf-psi").rows
    assert "enclave" in row.why
    assert bm.conformance("none", only=["outcomes"])["checks"][0]["verdict"] == "passed"


def test_the_same_seed_gives_the_same_run_and_pictures_come_in_any_form(tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    file.write_bytes(PICTURES[0])
    opened = Picture.from_bytes(PICTURES[0])
    entries = []
    for source in (PICTURES[0], file, opened, opened.pixels):
        made = bm.open_design("oprf-psi", pictures=[source], random=3, seed=5)
        entries.append(made.entries)
        answer = made.ask(source)
        assert (answer.outcome, answer.entry, answer.rounds) == ("match", opened.hash, 1)
        assert made.expected(source) and not made.expected(PICTURES[1])
        assert answer.device_ms > 0 < answer.roles_ms
    assert all(np.array_equal(one, entries[0]) for one in entries)


def test_a_run_is_recorded_and_its_deployment_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    do = bm.operations
    scenario = [
        do.Publish((PICTURES[0],), 12), do.Start(), do.AddDevice("bob"), do.AddDevice("alice"),
        do.SendPicture("alice", "bob", PICTURES[0]), do.Stop(),
    ]  # fmt: skip
    home = tmp_path / "home"
    record = tmp_path / "run.jsonl"
    played = bm.play("hash-upload", scenario, home, threads=True, record=record)
    assert played.audits == {} and (home / "deployment.json").is_file()
    recording = bm.read_recording(record)
    assert [one.operation for one in recording.events] == scenario
    assert recording.devices["alice"].arrived is None, "no server was left to ask"


def test_a_scenario_takes_pictures_as_paths_of_files(tmp_path: Path) -> None:
    do = bm.operations
    file = tmp_path / "one.png"
    file.write_bytes(PICTURES[0])
    scenario = [do.Publish([str(file)], 3), do.Start(), do.AddDevice("bob"), do.AddDevice("alice")]  # type: ignore[arg-type, list-item]
    sent = do.SendPicture("alice", "bob", file)  # type: ignore[arg-type]
    played = bm.play("hash-upload", [*scenario, sent, do.Stop()], threads=True)
    assert [event.error for event in played.events] == [""] * 6
    assert played.events[4].operation == do.SendPicture("alice", "bob", PICTURES[0])
    for missing in (tmp_path / "none.png", tmp_path, "nu\0l"):
        with pytest.raises(ScenarioError, match="cannot be read"):
            bm.play("hash-upload", [do.Publish((missing,))])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source", [b"", b"junk", "none.png", Path("/"), None, 5, np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3))]
)
def test_what_is_no_picture_is_said_to_be_none(source: Any) -> None:
    opened = bm.open_design("hash-upload", random=2)
    for ask in (opened.ask, opened.expected, lambda one: bm.open_design("hash-upload", [one])):
        with pytest.raises(PictureError):
            ask(source)


@pytest.mark.parametrize(
    "wrong",
    [
        {"random": -1}, {"seed": -1}, {"treshold": 3}, {"hashes": np.zeros((2, 31), np.uint8)},
        {"hashes": np.zeros(32, np.uint8)}, {"hashes": np.zeros((2, 32))},
    ],
)  # fmt: skip
def test_a_list_or_a_parameter_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DesignError, match=r"negative|no parameter treshold|32 columns"):
        bm.open_design("hash-upload", **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        bm.operations.AddDevice("bob", mode="later"),  # type: ignore[arg-type]
        bm.operations.AddDevice("bob", consequence="none"),  # type: ignore[arg-type]
        bm.operations.Decide("confirmed", "", report="zz"),
        bm.operations.Publish(random=-1),
        bm.operations.Check(seconds=float("nan")),
        bm.operations.Publish((1,)),  # type: ignore[arg-type]
        bm.operations.Stop,
        "stop",
    ],
)
def test_what_is_no_operation_ends_a_scenario_with_a_clear_error(wrong: Any) -> None:
    with pytest.raises(ScenarioError, match="no operation: "):
        bm.play("hash-upload", [wrong])


def test_a_parameter_that_the_design_does_not_have_is_not_published() -> None:
    (event,) = bm.play("hash-upload", [bm.operations.Publish(values={"treshold": 3})]).events
    assert event.error == "DesignError: design hash-upload has no parameter treshold"


def test_a_recording_with_lines_taken_out_doubled_or_moved_is_none(tmp_path: Path) -> None:
    do = bm.operations
    path = tmp_path / "run.jsonl"
    bm.play("hash-upload", [do.Publish(random=2), do.AddDevice("bob"), do.Stop()], record=str(path))
    head, *events, device = path.read_bytes().splitlines(keepends=True)
    assert len(bm.read_recording(str(path)).events) == 3
    for lines in ([head, *events[1:], device], [head, head, *events], [head, *events, device, device],
                  [head, *events[::-1]], [head, device, *events]):  # fmt: skip
        path.write_bytes(b"".join(lines))
        with pytest.raises(RecordingError, match="edited"):
            bm.read_recording(path)


def test_an_audit_is_of_one_epoch() -> None:
    publish = bm.operations.Publish(random=3)
    with pytest.raises(ScenarioError, match="an audit is of one epoch, and 2 were published"):
        bm.play("hash-upload", [publish, publish], audit=True)


def test_results_are_flat_rows_and_an_edited_file_is_none(tmp_path: Path) -> None:
    rows = [
        bench_row("a/b", Kind("a"), {"entries": 4}, {"mib": 1.5}),
        bench_row("c/d", Kind("c"), {}, {}, why="no peer"),
    ]
    path = tmp_path / "bench.json"
    path.write_bytes(encode(results(File[BenchRow], "blindmatch bench", {}, rows)))
    first, second = bm.figures(bm.load_results(path))
    assert (first["id"], first["figure"], first["value"], first["unit"], first["entries"]) == (
        "a/b", "mib", 1.5, "MiB", 4,
    )  # fmt: skip
    assert (second["status"], second["figure"], second["why"]) == ("not measured", None, "no peer")
    path.write_text(path.read_text().replace("1.5", "2.5"))
    with pytest.raises(ResultsError, match="edited"):
        bm.load_results(path)


def test_a_frame_is_made_of_rows_where_its_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "polars", SimpleNamespace(DataFrame=tuple))
    assert bm.frame(iter([{"a": 1}]), "polars") == ({"a": 1},)
    with pytest.raises(bm.FramesError, match=r"^nosuchframes is not installed: pip install nosuchframes$"):
        bm.frame([], "nosuchframes")


def test_the_page_names_everything_that_the_package_has() -> None:
    page = (ROOT / "docs" / "reference" / "results.md").read_text()
    named = set(re.findall(r"`([A-Za-z_]+)(?:\(|`)", page))
    assert set(bm.__all__) <= named
    assert {kind.__name__ for kind in get_args(bm.operations.Operation)} <= named
