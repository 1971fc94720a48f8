"""A failure says what its author needs: the field, both pictures, the party, and where a design crashed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.testbed.demo import run as simulated
from blindmatch_simulations.testbed.demo.workload import Workload, demo_workload
from blindmatch_simulations.testbed.inprocess.telling import shown_value
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from msgspec.structs import replace
from support.forked_servers import forked_servers

LEAKY = f"{Path(__file__).with_name('leaky_designs.py')}:HASH_IN_PADDING"
CRASHING = '''
from typing import Any

from blindmatch_protocol.designs.oprf_psi import OprfPsi
from msgspec.structs import replace


def crashing(step: str) -> Any:
    """oprf-psi with one step that looks a key up which is not there."""

    def look_up(self: Any, *given: Any, **more: Any) -> Any:
        return find({}, "missing")

    return type("Crashing", (OprfPsi,), {step: look_up, "info": replace(OprfPsi.info, name="crashing")})()


def find(table: dict[str, int], name: str) -> int:
    return table[name]


START, RECEIVE, ANSWER, CONCLUDE = map(crashing, ("start", "receive", "answer", "conclude"))
OPEN = crashing("open_setup")
'''


@pytest.fixture
def crashing(tmp_path: Path) -> Path:
    path = tmp_path / "crashing.py"
    path.write_text(CRASHING)
    return path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workload]:
    """Three pictures of the demo, one of them listed."""
    whole = demo_workload()
    listed = [one for one in whole.sendings if one.listed and one.edit == "identical"][:1]
    others = [one for one in whole.sendings if not one.listed and one.name != "gradient"][:2]
    workload = replace(whole, sendings=(*listed, *others))
    monkeypatch.setattr(simulated, "demo_workload", lambda *_: workload)
    yield workload


def conformance(folder: Path, *arguments: str) -> dict[str, Any]:
    """The result of a command that finds a failure."""
    path = folder / "conformance.json"
    assert run(["conformance", *arguments, "--json", str(path)]) == 1
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def demo(folder: Path, design: str) -> dict[str, Any]:
    """The result of a demo that goes wrong."""
    path = folder / "demo.json"
    with forked_servers():
        assert run(["demo", "--set-size", "50", "--design", design, "--json", str(path)]) == 1
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_crash_is_reported_with_the_frames_of_the_design_alone(
    crashing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = conformance(tmp_path, f"{crashing}:RECEIVE", "--only", "outcomes")
    trace = result["evidence"]["outcomes"]["trace"].splitlines()
    assert [line.partition(" in ")[2] for line in trace] == [
        'look_up: return find({}, "missing")',
        "find: return table[name]",
    ]
    said = capsys.readouterr().err.splitlines()
    assert "failed: crashing: outcomes: receive: crash: raises KeyError: 'missing' (seed 1)" in said
    assert [line.strip() for line in said if line.strip().startswith("at ")] == [f"at {one}" for one in trace]


def test_a_crash_before_any_check_is_one_line_and_the_frames_of_the_design(
    crashing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "--set-size", "50", "--design", f"{crashing}:OPEN"]) == 1
    said = capsys.readouterr().err
    assert "error: the design crashed in" in said and "KeyError: 'missing'" in said
    assert "find: return table[name]" in said
    assert "Traceback" not in said and "blindmatch_server" not in said


@pytest.mark.parametrize("check", ["egress", "relations", "games"])
def test_a_leak_is_reported_by_field_party_and_both_pictures(
    check: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = conformance(tmp_path, LEAKY, "--only", check)
    evidence = result["evidence"][check]
    again = result["again"][check]
    field = evidence["field"]
    assert field.startswith("field `padding[")
    assert evidence["party"] == "matcher"
    pictures = (
        evidence["items"].split(" and ") if "items" in evidence else [evidence["item"], evidence["other"]]
    )
    assert len(set(pictures)) == 2
    assert all(f" for {name.split(', ')[0]}" in field for name in pictures)
    (failed,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed:")]
    assert "at the matcher" in failed and field in failed
    assert again == f"blindmatch conformance {LEAKY} --seed 1 --only {check}"


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("RECEIVE", "receive"),
        pytest.param("START", "start", marks=pytest.mark.slow),
        pytest.param("ANSWER", "answer of matcher", marks=pytest.mark.slow),
        pytest.param("CONCLUDE", "conclude", marks=pytest.mark.slow),
    ],
)
def test_a_design_that_crashes_in_the_demo_is_not_said_to_send_undeclared_bytes(
    name: str, step: str, crashing: Path, few: Workload, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = demo(tmp_path, f"{crashing}:{name}")
    assert result["findings"] == []
    assert (result["undeclared_egress"], result["undeclared_egress_bytes"]) == ("not checked", None)
    (crash,) = result["crashes"]
    assert (crash["step"], crash["error"]) == (step, "KeyError: 'missing'")
    assert crash["trace"][-1].endswith("find: return table[name]")
    said = " ".join(capsys.readouterr().out.split())
    assert f"the design crashed in {step}: KeyError: 'missing'" in said
    assert result["failures"][0].startswith("the design crashed")
    assert said.index("the design crashed in") < said.index("wrong:")
    assert result["listed"]["unasked"] == result["listed"]["sent"] and result["listed"]["hidden_by"] == {}
    assert ".)." not in said
    assert "undeclared bytes left a device" not in said


def test_a_design_that_ends_its_process_in_the_demo_is_a_crash_and_the_demo_goes_on(
    few: Workload, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ends.py"
    path.write_text(CRASHING.replace('return find({}, "missing")', "import os; os._exit(3)"))
    result = demo(tmp_path, f"{path}:RECEIVE")
    (crash,) = result["crashes"]
    assert crash["step"] == "receive" and crash["error"].startswith("EndedProcessError: ")
    assert crash["trace"][-1].endswith("look_up: import os; os._exit(3)")
    assert result["undeclared_egress"] == "not checked"
    assert len(result["pictures"]) == len(few.sendings)
    assert "EndedProcessError" in capsys.readouterr().out


def test_the_demo_reports_a_leak_by_its_field_and_writes_no_object_of_python(
    few: Workload, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = demo(tmp_path, LEAKY)
    names = {f"{one.name} ({one.edit})" for one in few.sendings}
    for finding in result["findings"]:
        assert finding["field"].startswith("padding[")
        assert finding["value"] != finding["other_value"]
        assert finding["picture"] in names and finding["picture"] != finding["other"]
        assert finding["other"] in names or finding["other"].startswith("a forged picture that agrees")
    said = " ".join(capsys.readouterr().out.split())
    assert "field `padding[" in said
    assert "Finding(" not in said and "party=" not in said
    assert f"again: {result['again']}" in said


class Colour(Enum):
    RED = 1


class Pair(NamedTuple):
    left: int
    right: bytes


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x02\xff", "02ff"),
        (np.array([[1, 2], [3, 4]], np.uint8), "01020304"),
        (Colour.RED, "1"),
        (Pair(3, b"\x04"), "3, 04"),
        ({"listed": 1, "other": b"\x02"}, "listed: 1, other: 02"),
        ([np.int64(5), True, None], "5, yes, nothing"),
        (object(), "a object"),
    ],
)
def test_evidence_is_never_written_as_python_writes_an_object(value: object, shown: str) -> None:
    assert shown_value(value) == shown
    assert BrokenError("step", "rule", value=value).evidence == {"value": shown}
