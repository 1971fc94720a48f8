"""The table of growth is of one whole run, and its slopes are those of powers."""

from __future__ import annotations

from pathlib import Path

import pytest
from blindmatch_simulations.measure.results import Results, ResultsError, Row, read
from support import growth


def test_a_slope_is_the_power() -> None:
    for power in (0, 0.5, 1, 2):
        assert growth.slope([(size, 3 * size**power) for size in (10.0, 100.0, 3000.0)]) == pytest.approx(
            power
        )


def test_the_run_measured_lists_accounts_designs_and_pictures_at_several_sizes() -> None:
    held: Results[Row] = read(growth.FILE, Results[Row])
    sizes: dict[str, list[float]] = {}
    for row in held.rows:
        sizes.setdefault(row.id, []).append(float(row.parameters["size"]))
        assert row.figures["cpu_s"].value
    assert {what.partition(":")[0] for what in sizes} == {"list", "accounts", "designs", "pictures"}
    assert all(len(one) >= 3 and one == sorted(set(one)) for one in sizes.values())


def test_a_table_is_drawn_of_no_edited_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = tmp_path / "growth.json"
    edited.write_bytes(growth.FILE.read_bytes().replace(b"list: a set", b"list: b set", 1))
    monkeypatch.setattr(growth, "FILE", edited)
    with pytest.raises(ResultsError):
        growth.growth()
