"""The tables of growth and peers are of one whole run; slopes are those of powers, ratios those of rounds."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from blindmatch_simulations.measure.results import Results, ResultsError, Row, Status, read
from blindmatch_simulations.measure.row import BenchRow
from support import growth, peers


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


@pytest.mark.parametrize(("drawn", "where"), [(growth, "FILE"), (peers, "FILE"), (peers, "SCANS")])
def test_a_table_is_drawn_of_no_edited_run(
    drawn: ModuleType, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = tmp_path / "run.json"
    draw = {"growth": growth.growth, "FILE": peers.compared, "SCANS": peers.scans}
    edited.write_bytes(getattr(drawn, where).read_bytes().replace(b'"id": "', b'"id": "b', 1))
    monkeypatch.setattr(drawn, where, edited)
    with pytest.raises(ResultsError):
        draw["growth" if drawn is growth else where]()


def test_the_run_has_every_peer_that_is_installed_and_why_others_were_not_run() -> None:
    made = re.search(r"^PEERS := (.+)$", (growth.ROOT / "Makefile").read_text(), re.MULTILINE)
    other = re.search(
        r"^pdqhash==[^ ]+", (growth.ROOT / "requirements/pdqhash.txt").read_text(), re.MULTILINE
    )
    assert made and other
    held: Results[Row] = read(peers.FILE, Results[Row])
    told = {f"{row.parameters['package']}=={row.parameters['version']}" for row in held.rows if row.figures}
    assert told - {"=="} == {one for one in made[1].split() if "==" in one} | {other[0]}
    for row in held.rows:
        assert bool(row.figures) is not bool(row.why)
        assert {one.n for one in row.figures.values()} <= {peers.ROUNDS}
    assert "not run: no wheel" in peers.compared()


def test_the_scans_of_the_run_are_by_numpy_and_by_machine_code() -> None:
    held: Results[BenchRow] = read(peers.SCANS, Results[BenchRow])
    measured = {(row.id, row.parameters["fast"]) for row in held.rows if row.figures}
    names = ("scan/hash", "scan/decode", "scan/against-decoding", "scan/pair")
    assert measured == {(name, fast) for name in names for fast in (0, 1)}


class Counted(peers.Peer):
    """A peer of a known cost, which is halved each round."""

    def run(self, python: Path) -> dict[str, object]:
        quiet = (1.0, 1.0)
        cost = 4e-6 / 2 ** len(rounds)
        rounds.append(cost)
        return {
            "version": "1",
            "all": {"count": 1, "runs": [{"cost": (cost, cost), "before": quiet, "after": quiet}]},
        }


rounds: list[float] = []


def test_ratios_are_those_of_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = iter([8.0, 4.0, 2.0])
    monkeypatch.setattr(peers, "in_u", lambda task, times: next(costs))
    (row,) = peers.turns(
        Counted("a peer", "it", [peers.Compared("all", lambda: None, 1, {"all": 1}, ["plain"])]), Path("none")
    )
    assert row.figures["theirs_u"].value == pytest.approx(2.0)
    assert row.figures["plain_u"].value == 4.0
    ratio = row.figures["plain_times"]
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((2.0, 2.0, 2.0))


def test_a_peer_that_is_not_installed_was_not_run_and_says_why() -> None:
    asked = [peers.Compared("all", lambda: pytest.fail("ours alone is no comparison"), 1, {"proven": 1})]
    (row,) = peers.turns(
        peers.Peer("a peer", "it", asked, ("voprf", 1, 1)), Path(sys.executable).with_name("no")
    )
    assert row.status is Status.NOT_MEASURED and "could not be run" in row.why and not row.figures
