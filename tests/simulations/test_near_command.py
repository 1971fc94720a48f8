"""`bench near` and `design tune` at their smallest."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import numpy as np
import pytest
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.designs.token_psi.build import of_values
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.cli.design import SEED
from blindmatch_simulations.evaluation.studies import near_bench, near_pictures
from blindmatch_simulations.evaluation.studies.near_bench import limits_for
from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs, Fingerprints, edited_crops
from blindmatch_simulations.evaluation.studies.near_tuning import halves
from blindmatch_simulations.evaluation.studies.reference import read
from blindmatch_simulations.measure.row import CATALOGUE, Target
from blindmatch_simulations.testbed.pictures.crops import EDITS
from msgspec import to_builtins
from msgspec.structs import replace
from support.forked_servers import forked_servers
from support.readings import short_readings
from support.schemas import committed


@pytest.fixture(scope="module", autouse=True)
def crops_once() -> Iterator[None]:
    """Crops under every edit, the same ones for each bench here, are made once."""
    made: dict[tuple[int, int], EditedPairs] = {}

    def held(count: int, seed: int, progress: Progress) -> EditedPairs:
        if (count, seed) not in made:
            made[count, seed] = edited_crops(count, seed, progress=progress)
        return made[count, seed]

    with pytest.MonkeyPatch.context() as patch:
        for module in (near_pictures, near_bench):
            patch.setattr(module, "edited_crops", held)
        yield


def test_tuning_proposes_parameters_that_meet_the_wishes(tmp_path: Path) -> None:
    result = tmp_path / "tune.json"
    arguments = [
        "design",
        "tune",
        "token-psi",
        "--photographs",
        "16",
        "--recall",
        "95",
        "--json",
        str(result),
    ]
    assert run(arguments) == 0
    found = json.loads(result.read_text())
    assert found["proposal"] in found["points"] and found["result_version"] == 2
    chosen = found["proposal"]["recall"]
    held_out = found["proposal"]["held_out"]
    assert 0.95 <= chosen["low"] < chosen["value"] and "of 8 pictures, interval by picture" in chosen["why"]
    assert "of 8 pictures" in held_out["why"] and held_out != chosen
    assert found["proposal"]["secrecy"] >= 2**25


@pytest.mark.parametrize("moved", [0, 31])
def test_what_wins_on_the_photographs_that_choose_is_told_by_those_that_do_not(
    moved: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of the half that chooses are their originals; the others' are as far as may match."""
    corpus = read()
    result = tmp_path / "tune.json"
    places = np.arange(256)
    pairs = corpus.pairs.of(np.flatnonzero(corpus.photographs)[:20])
    drawn = pairs.of(np.random.Generator(np.random.PCG64(SEED)).permutation(20))
    others = halves(drawn, SEED)[1].originals.hashes
    luckless = (others == pairs.originals.hashes[:, None]).all(axis=2).any(axis=1)
    bits = np.unpackbits(pairs.originals.hashes[pairs.original], axis=1)
    bits[np.ix_(luckless[pairs.original], (places % 8 == 3) & (places >= 256 - 8 * moved))] ^= 1
    plain = np.zeros((len(bits), 256), np.float32), np.full(len(bits), 100, np.int32)
    planted = replace(pairs, edited=Fingerprints(np.packbits(bits, axis=1), *plain))
    assert set(planted.distances().tolist()) == {0, moved} and planted.matching().all()
    held = replace(corpus, pairs=planted, edited=corpus.edited[corpus.photographs][:20])
    monkeypatch.setattr("blindmatch_simulations.evaluation.studies.reference.read", lambda: held)
    arguments = ["design", "tune", "--photographs", "20", "--recall", "98", "--json", str(result)]
    assert run(arguments) == (1 if moved else 0)
    point = json.loads(result.read_text())["proposal"]
    assert point["recall"]["value"] == 1 and point["recall"]["low"] >= 0.98
    assert point["held_out"]["value"] == (0 if moved else 1) and point["held_out"]["n"] == 260
    said = " ".join(capsys.readouterr().out.split())
    assert f"98 % is {'not met' if moved else 'unsure'} on photographs that chose nothing" in said


def test_wishes_that_nothing_meets_have_no_proposal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "tune.json"
    arguments = ["design", "tune", "--photographs", "10", "--device", "1", "--json", str(result)]
    assert run(arguments) == 1
    assert json.loads(result.read_text())["proposal"] is None
    assert "lower a wish" in capsys.readouterr().out


def test_a_design_without_parameters_to_tune_is_refused() -> None:
    assert run(["design", "tune", "oprf-psi"]) == 2


def test_the_proposal_bears_limits_of_the_key_that_the_design_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "tune.json"
    arguments = [
        "design",
        "tune",
        "--photographs",
        "10",
        "--recall",
        "80",
        "--json",
        str(result),
    ]
    began = time.time()
    assert run(arguments) == 0
    limits, point = (json.loads(result.read_text())[name] for name in ("limits", "proposal"))
    tokening, found = of_values(point["tokening"] | limits)
    assert replace(found, key_expires=0) == limits_for(tokening, 1 / 1024, 1 / 4)
    assert began + 30 * 86_400 - 1 <= found.key_expires <= time.time() + 30 * 86_400
    said = capsys.readouterr().out
    assert f"--set all_evaluations={limits['all_evaluations']}" in said
    assert f"measured: {json.loads(result.read_text())['assess']}" in " ".join(said.split())
    assert "publish a full set, with a new key, before that or before the key expires" in said


# --- bench near

REACHES: Final = {
    "near/recall/at-160": Target("share", 0.99, at_least=True),
    "near/recall/at-320": Target("share", 0.997, at_least=True),
    "near/sessions/wrong": Target("count", 0),
    "near/bytes/request": Target("bytes", 6144),
    "near/bytes/reply": Target("bytes", 6144),
    "near/cost/device": Target("cpu_u", 430),
    "near/cost/matcher": Target("cpu_u", 180),
    "near/cost/device-proof": Target("cpu_u", 900),
    "near/cost/matcher-proof": Target("cpu_u", 390),
    "near/set/tokens": Target("bytes", 192),
    "near/set/label": Target("bytes", 96),
    "near/build/whole": Target("wall_us", 480e6),
    "near/build/memory": Target("mib", 4096),
    "near/loopback/match": Target("p50_us", 80_000),
}
"""What near matching should reach, by row."""


def measured(tmp_path: Path) -> Rows:
    """The rows of the smallest `bench near`, of a file that keeps the schema."""
    result = tmp_path / "near.json"
    sizes = ["--log2n", "8", "--crops", "5", "--sessions", "2", "--store-log2n", "4", "--calls", "2"]
    quick = ["--runs", "1", "--seconds", "0", "--json", str(result)]
    with short_readings(), forked_servers():
        assert run(["bench", "near", *sizes, *quick]) == 0
    found = json.loads(result.read_text())
    jsonschema.validate(found, committed("results-v4"))
    return [row | {"figures": values(row)} for row in found["rows"]]


Rows = list[dict[str, Any]]


def values(row: dict[str, Any]) -> dict[str, float]:
    return {name: figure["value"] for name, figure in row["figures"].items()}


@pytest.fixture(scope="module")
def near_rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return measured(tmp_path_factory.mktemp("near"))


@pytest.mark.slow
def test_near_matching_has_every_row_and_the_reaches_beside_them(near_rows: Rows) -> None:
    rows = near_rows
    assert {row["id"] for row in rows} == {name for name in CATALOGUE if name.startswith("near/")}
    for name, reach in REACHES.items():
        row = next(row for row in rows if row["id"] == name)
        target = {**row["target"], "where": {}}
        assert target == to_builtins(reach), name
        assert row["verdict"] in {"met", "missed", "unsure", "not measured"}
    verdicts = {row["id"]: row["verdict"] for row in rows}
    assert verdicts["near/sessions/wrong"] == verdicts["near/sessions/foretold"] == "met"
    assert verdicts["near/bytes/request"] == verdicts["near/bytes/reply"] == "met"
    assert verdicts["near/loopback/match"] == "not measured", "the reach is one of 2^20 entries"


@pytest.mark.slow
def test_recall_and_what_is_revealed_come_by_edit_distance_list_and_bands(
    near_rows: list[dict[str, Any]],
) -> None:
    def seen(name: str, parameter: str) -> set[Any]:
        return {row["parameters"].get(parameter) for row in near_rows if row["id"] == name}

    assert seen("near/recall/edit", "edit") == {edit.name for edit in EDITS}
    assert seen("near/recall/distance", "distance") == {f"{low} to {low + 3}" for low in range(0, 32, 4)}
    assert seen("near/recall/distance", "evaluations") == {160, 320}
    assert {"uniform", "crops"} <= seen("near/revealed/entries", "list")
    assert seen("near/revealed/entries", "needed") == {2, 3}
    assert seen("near/revealed/distance", "distance") == {"32 to 59", "60 to 89", "90 and more"}
    for row in near_rows:
        if row["id"].startswith("near/revealed/"):
            assert row["figures"]["most_count"] > row["figures"]["count"] >= 0


@pytest.mark.slow
def test_the_parts_of_a_match_over_loopback_make_the_whole(near_rows: Rows) -> None:
    times = {
        row["id"]: row["figures"]["p95_us"] for row in near_rows if row["id"].startswith("near/loopback/")
    }
    parts = [times[f"near/loopback/{part}"] for part in ("prepare", "call", "finish")]
    assert max(parts) < times["near/loopback/match"] <= sum(parts) + 1
    assert times["near/loopback/empty"] > 0 < times["near/loopback/answer"]
