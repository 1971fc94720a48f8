"""The benches at tiny sizes: structure and sanity, never times; and how figures come from runs."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
from blindmatch_protocol.group import missing
from blindmatch_protocol.picture import compiled
from blindmatch_server.hosting.workers import TaskError
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.bench import vouchers
from blindmatch_simulations.evaluation.bench.messages import Field, Outcome
from blindmatch_simulations.evaluation.bench.table import COLUMNS, cells, markdown
from blindmatch_simulations.measure import meter, yardstick
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.processes import (
    AloneError,
    cpu_seconds,
    group_mib,
    mapped_mib,
    status_mib,
    tree_cpu_seconds,
)
from blindmatch_simulations.measure.results import Results, Status, encode, results
from blindmatch_simulations.measure.row import CATALOGUE, FIGURES, BenchRow, Kind, Target, Verdict, bench_row
from blindmatch_simulations.measure.yardstick import (
    Cost,
    Reading,
    Run,
    conditions,
    cost_figures,
    counting,
    percentile,
    reading,
)
from hostile import SERVICES, flood
from hostile.__main__ import app
from hostile.flood import Flood, Round, Scene
from support import peers
from support.readings import short_readings
from support.schemas import committed

ROOT = Path(__file__).parents[2]
QUIET = Reading(50.0, 1.0)


def a_run(cpu_s: float = 1.0, before: Reading = QUIET, after: Reading = QUIET) -> Run:
    return Run(Cost(2 * cpu_s, cpu_s), before, after)


# --- figures from runs


@pytest.mark.parametrize(
    ("after", "disturbed"),
    [
        (Reading(50.0, 1.0), False),
        (Reading(57.0, 1.0), False),
        (Reading(58.0, 1.0), True),
        (Reading(42.0, 1.0), True),
        (Reading(50.0, 1.14), False),
        (Reading(50.0, 1.16), True),
    ],
)
def test_a_run_is_disturbed_if_u_moved_or_the_machine_was_shared(after: Reading, disturbed: bool) -> None:
    assert a_run(after=after).disturbed is disturbed
    assert Run(Cost(1, 1), after, QUIET).disturbed is disturbed


def test_the_wall_time_of_a_run_that_only_computes_tells_the_load() -> None:
    shared = Cost(1.2, 1.0)
    assert Run(shared, QUIET, QUIET, computes=True).disturbed
    assert not Run(shared, QUIET, QUIET, computes=False).disturbed


def test_a_ratio_is_taken_in_each_run_so_that_a_slow_clock_cancels_out() -> None:
    fast = a_run(1.0)
    slow = Run(Cost(4.0, 2.0), Reading(100.0, 1.0), Reading(100.0, 1.0))
    figures = cost_figures([fast, slow], count=1000)
    assert figures["cpu_u"] == pytest.approx(1e6 / 50 / 1000)
    assert figures["wall_u"] == pytest.approx(2e6 / 50 / 1000)
    assert figures["cpu_us"] == pytest.approx(1500)


def test_the_unit_of_a_run_lies_between_its_two_readings() -> None:
    assert a_run(before=Reading(48.0, 1.0), after=Reading(52.0, 1.0)).u_us == 50.0


def test_disturbed_runs_are_left_out_while_they_are_the_fewer() -> None:
    bad = a_run(9.0, after=Reading(90.0, 1.0))
    clean = [a_run(1.0), a_run(2.0)]
    assert counting([*clean, bad]) == clean
    assert counting([a_run(), bad]) == [a_run()]
    found = conditions([*clean, bad])
    assert (found.runs, found.clean_runs, found.disturbed) == (3, 2, False)
    assert found.u_moved == 0


def test_a_row_with_mostly_disturbed_runs_says_so_and_counts_all() -> None:
    bad = a_run(9.0, after=Reading(90.0, 3.0))
    runs = [a_run(), bad, bad]
    assert counting(runs) == runs
    found = conditions(runs)
    assert found.disturbed and found.load == 3.0 and found.u_moved == pytest.approx(0.8)


def test_no_runs_give_no_figures() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        conditions([])


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.01) == 7.0
    with pytest.raises(ValueError, match="share"):
        percentile(values, 0)


# --- verdicts


def a_row(
    figures: dict[str, float], target: Target | None, runs: list[Run] | None = None, **with_: int
) -> BenchRow:
    return bench_row("a/b", Kind("a", "", target), with_, figures, conditions(runs) if runs else None)


def test_a_target_is_met_or_missed_at_the_size_it_is_for() -> None:
    target = Target("mib", 600, where={"entries": 4})
    assert a_row({"mib": 600}, target, entries=4).verdict is Verdict.MET
    assert a_row({"mib": 601}, target, entries=4).verdict is Verdict.MISSED
    assert a_row({"mib": 1}, target, entries=2).verdict is Verdict.NOT_MEASURED
    assert a_row({}, target, entries=4).verdict is Verdict.NOT_MEASURED
    assert a_row({"mib": 1}, None).verdict is Verdict.NO_TARGET


def test_a_target_can_be_a_lower_bound() -> None:
    assert a_row({"share": 0.7}, Target("share", 0.7, at_least=True)).verdict is Verdict.MET
    assert a_row({"share": 0.6}, Target("share", 0.7, at_least=True)).verdict is Verdict.MISSED


def test_a_disturbed_row_is_neither_met_nor_missed() -> None:
    bad = [a_run(after=Reading(90.0, 1.0))]
    row = a_row({"cpu_u": 1.0}, Target("cpu_u", 1.4), bad)
    assert (row.status, row.verdict) == (Status.DISTURBED, Verdict.UNSURE)
    assert "(disturbed)" in cells(row)[2]


def test_a_row_without_figures_says_why() -> None:
    meter = Meter()
    row = meter.missing("scan/hash", "no photograph is here")
    assert row.status is Status.NOT_MEASURED
    check([row])
    assert "not measured" in cells(row)[2]


def test_every_target_is_of_a_known_figure() -> None:
    targets = [kind.target for kind in CATALOGUE.values() if kind.target is not None]
    assert targets and {target.figure for target in targets} <= FIGURES.keys()


# --- the meter and the file


def written(rows: list[BenchRow]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        encode(results(Results[BenchRow], "blindmatch bench", {"runs": 1}, rows))
    )
    return made


def check(rows: list[BenchRow]) -> None:
    jsonschema.validate(written(rows), committed("results-v4"))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(committed("results-v4"))


def test_an_unknown_field_breaks_the_schema() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written([]) | {"more": 1}, committed("results-v4"))
    row = written([a_row({"mib": 1}, None)])
    row["rows"][0]["more"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(row, committed("results-v4"))


def test_the_yardstick_reads_a_unit_and_a_load() -> None:
    for threads in (1, 2):
        found = reading(threads, batches=2)
        assert found.u_us > 0 and found.load > 0.5


def test_the_meter_runs_at_least_once_and_stops_when_its_time_is_up() -> None:
    calls = []
    meter = Meter(runs=5, seconds=0)
    row = meter.time("import/pdq-lines", lambda: calls.append(1), repeat=False, records=1)
    assert len(calls) == 1 and row.conditions is not None and row.conditions.runs == 1


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        ((3.0, 4.9), Verdict.MET),
        ((3.0, 5.1), Verdict.UNSURE),
        ((5.1, 5.0), Verdict.UNSURE),
        ((5.1, 6), Verdict.MISSED),
    ],
)
def test_a_target_between_the_runs_of_a_row_is_unsure(runs: tuple[float, float], verdict: Verdict) -> None:
    kind = Kind("", "", Target("cpu_us", 5.0))
    made = bench_row("import/pdq-lines", kind, {}, {"cpu_us": sum(runs) / 2})
    found = made.spread([{"cpu_us": one} for one in runs])
    assert found.verdict is verdict
    assert (found.figures["cpu_us"].low, found.figures["cpu_us"].high) == (min(runs), max(runs))


def test_a_timed_row_bears_its_spread_and_what_was_not_judged_stays_so() -> None:
    row = Meter(runs=3).time("import/pdq-lines", lambda: sum(range(20_000)), records=1)
    for one in row.figures.values():
        assert one.low is not None and one.high is not None and one.value is not None
        assert 0 < one.low <= one.value <= one.high
    assert row.verdict is Verdict.NOT_MEASURED, "at another size"


def test_what_is_disturbed_is_one_rule_for_all_rows_and_follows_from_no_row() -> None:
    assert (yardstick.MOST_MOVED, yardstick.MOST_LOAD) == (0.15, 1.15)
    package = Path(yardstick.__file__).parents[1]
    users = [path for path in package.rglob("*.py") if "MOST_MOVED" in path.read_text("utf-8")]
    assert sorted(path.name for path in users) == ["rederived.py", "yardstick.py"], (
        "and whoever derives it again"
    )


def test_a_short_task_is_repeated_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(task: Callable[[], object]) -> Cost:
        task()
        return Cost(meter.LEAST_RUN_S / 5, meter.LEAST_RUN_S / 5)

    calls: list[int] = []
    monkeypatch.setattr(meter, "timed", quick)
    row = Meter(runs=2).time("import/pdq-lines", lambda: calls.append(sum(range(1000))), count=2)
    assert len(calls) == 12, "two runs of five calls each, and two before"
    check([row])


def test_memory_and_cpu_time_of_a_process_are_read(tmp_path: Path) -> None:
    if sys.platform != "linux":
        assert status_mib("VmRSS") is None or cpu_seconds(1) is None
        return
    resident = status_mib("VmRSS") or 0
    assert (status_mib("VmHWM") or 0) >= resident > 1
    assert group_mib(os.getpgrp()) >= 0.9 * resident
    spent = cpu_seconds(os.getpid())
    assert spent is not None and abs(spent - time.process_time()) < 1
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert cpu_seconds(gone.pid) is None and tree_cpu_seconds(gone.pid) is None
    (tmp_path / "mapped").write_bytes(bytes(3 << 20))
    with (
        (tmp_path / "mapped").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
    ):
        assert len(bytes(held)) == 3 << 20
        assert mapped_mib("mapped") == 3
    assert mapped_mib("no-such-file") == 0


# --- the commands


def bench(tmp_path: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run a bench; its rows."""
    out = tmp_path / "bench.json"
    with short_readings():
        assert run(["bench", *arguments, "--json", str(out)]) == 0
    return rows_of(out)


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    """Rows of a file that keeps the schema by id, the last one of each. Ids of what jit computed end
    with " by jit"."""
    found = json.loads(out.read_text())
    jsonschema.validate(found, committed("results-v4"))
    return {_name(row): row | {"figures": values(row)} for row in found["rows"]}


def _name(row: dict[str, Any]) -> str:
    return row["id"] + (" by jit" if row["parameters"].get("backend") == "jit" else "")


def values(row: dict[str, Any]) -> dict[str, float]:
    return {name: figure["value"] for name, figure in row["figures"].items()}


def ids(*prefixes: str) -> set[str]:
    return {name for name in CATALOGUE if name.startswith(prefixes)}


@pytest.mark.slow
def test_bench_set_measures_every_row(tmp_path: Path) -> None:
    rows = bench(tmp_path, "set", "--log2n", "8", "--runs", "1")
    by_jit = {f"{name} by jit" for name in ids("set/build/") - {"set/build/arithmetic"}}
    if missing():
        by_jit = {"set/build/one-thread by jit"}
        assert rows["set/build/one-thread by jit"]["status"] == "not measured"
    assert rows.keys() == ids("set/") | by_jit
    assert rows["set/size/label"]["figures"]["bytes"] == 88
    assert rows["set/size/store"]["figures"]["bytes"] > 8
    assert rows["set/size/filter"]["figures"]["bits"] > 40
    assert rows["set/build/one-thread"]["figures"]["cpu_u"] > 1


def test_bench_import_measures_every_format(tmp_path: Path) -> None:
    rows = bench(tmp_path, "import", "--records", "300", "--runs", "1")
    assert rows.keys() == ids("import/")
    assert all(row["figures"]["cpu_us"] > 0 for row in rows.values())


@pytest.mark.slow
def test_bench_query_measures_every_row(tmp_path: Path) -> None:
    sizes = ["--log2n", "6", "--calls", "3", "--requests", "6", "--devices", "2", "--runs", "1"]
    rows = bench(tmp_path, "query", *sizes, "--seconds", "0")
    by_jit = set() if missing() else {f"query/primitives/{name} by jit" for name in ("oprf", "voprf")}
    assert rows.keys() == ids("query/") | by_jit
    proven, bare = (rows[f"query/primitives/{name}"]["figures"]["cpu_u"] for name in ("voprf", "oprf"))
    assert proven > bare > 2
    assert rows["query/throughput/matcher"]["parameters"]["requests"] == 6


def test_bench_parties_measures_the_device_and_every_role_of_a_design(tmp_path: Path) -> None:
    sizes = ["--log2n", "4", "--set", "bits=4", "--runs", "1", "--seconds", "0"]
    rows = bench(tmp_path, "parties", "prefix-bucket", *sizes)
    assert rows.keys() == ids("parties/")
    assert rows["parties/device"]["figures"]["cpu_u"] > rows["parties/role"]["figures"]["cpu_u"] > 0
    assert rows["parties/role"]["parameters"]["role"] == "buckets"
    assert rows["parties/bytes"]["figures"]["bytes"] > 96 and rows["parties/bytes"]["parameters"]["bits"] == 4


@pytest.mark.slow
def test_bench_threshold_measures_every_row_of_a_design_with_vouchers(tmp_path: Path) -> None:
    sizes = ["--log2n", "6", "--pictures", "300", "--threshold", "4", "--stored", "1000", "--accounts", "20"]
    rows = bench(tmp_path, "threshold", *sizes, "--runs", "1", "--seconds", "0")
    assert rows.keys() == ids("threshold/")
    figures = {name.removeprefix("threshold/"): row["figures"] for name, row in rows.items()}
    assert figures["voucher"]["bytes"] > figures["beside"]["bytes"] > 96
    assert figures["accounts/below"] == figures["accounts/from"] == {"count": 0}
    assert rows["threshold/beyond"]["why"].startswith("not applicable")
    assert 4 + 5 <= rows["threshold/opening"]["parameters"]["visible"] <= 4 + 5 + 3, "made up by chance"
    stored = rows["threshold/stored/take"]["parameters"]
    assert (stored["stored"], stored["written"]) == (1000, "in bulk")
    assert run(["bench", "threshold", "oprf-psi"]) == 2


def test_accounts_that_open_below_the_threshold_or_not_from_the_other_on_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def counted() -> dict[str, float | None]:
        meter = Meter()
        vouchers._around(meter, vouchers.Sizes(1, accounts=10))
        return {row.id.rsplit("/")[-1]: row.figures["count"].value for row in meter.rows}

    opens = vouchers.recovered
    shares = vouchers.DeviceShares
    monkeypatch.setattr(vouchers, "recovered", lambda made, t: iter(()))
    assert counted() == {"below": 0, "from": 10}
    monkeypatch.setattr(vouchers, "recovered", lambda made, t: opens(made, max(1, t - 3)))
    monkeypatch.setattr(vouchers, "DeviceShares", lambda key, period, t: shares(key, period, max(1, t - 3)))
    assert (counted()["below"] or 0) > 0


@pytest.mark.slow
def test_bench_accountability_measures_endorsements_and_absence(tmp_path: Path) -> None:
    rows = bench(tmp_path, "accountability", "--log2n", "5", "--runs", "1", "--seconds", "0")
    assert rows.keys() >= ids("endorsement/", "absence/", "log/")
    assert rows["log/size"]["figures"]["bytes"] < 2500
    assert rows["absence/size"]["figures"]["bytes"] < 2500
    batches, signatures = (
        rows[f"endorsement/size/{name}"]["figures"]["bytes"] for name in ("batches", "signatures")
    )
    assert 36 < batches < signatures
    assert 400 < rows["endorsement/proof/size"]["figures"]["bytes"] < 1500


@pytest.mark.slow
def test_bench_scan_measures_numpy_and_machine_code_each_with_its_spread(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    with short_readings():
        sizes = ["--runs", "1", "--seconds", "0", "--pictures", "300"]
        assert run(["bench", "scan", *sizes, "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    measured = {0} if compiled.loaded() is None else {0, 1}
    for fast in (0, 1):
        own = [row for row in rows if row["parameters"]["fast"] == fast]
        assert {row["id"] for row in own} == ids("scan/")
        assert all(bool(row["figures"]) is (fast in measured) for row in own)
        for row in own if fast in measured else ():
            figure = row["figures"].get("cpu_u") or row["figures"]["times"]
            assert 0 < figure["low"] <= figure["value"] <= figure["high"]


@pytest.mark.slow
def test_bench_messenger_measures_every_row(tmp_path: Path) -> None:
    sizes = ["--texts", "10", "--pictures", "1", "--pairs", "1", "--workers", "1"]
    rows = bench(tmp_path, "messenger", *sizes)
    assert rows.keys() == ids("messenger/")
    latency = rows["messenger/texts-latency"]["figures"]
    assert 0 < latency["p50_us"] <= latency["p95_us"] <= latency["p99_us"]


@pytest.mark.slow
def test_make_flood_measures_every_kind_of_hostile_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flood, "ENTRIES", 1 << 10)  # every kind is there whatever the list's size
    sizes = ["--texts", "10", "--rate", "50", "--pairs", "1", "--rounds", "1"]
    out = tmp_path / "bench.json"
    with short_readings():
        app([*sizes, "--accounts", "1", "--at-once", "4", "--json", str(out)], standalone_mode=False)
    rows = rows_of(out)
    kinds = [("flood", kind) for kind in SERVICES["relay"].kinds]
    kinds += [("flood/matcher", kind) for kind in SERVICES["matcher"].kinds]
    quiets = {"flood/quiet", "flood/matcher/quiet"}
    assert rows.keys() == ids("flood/") == quiets | {f"{scene}/{kind}" for scene, kind in kinds}
    ended = [(scene, kind) for scene, kind in kinds if "came to an end" not in rows[f"{scene}/{kind}"]["why"]]
    assert {scene for scene, _ in ended} == {"flood", "flood/matcher"}, "a busy machine loses kinds, not all"
    for scene, kind in ended:
        row = rows[f"{scene}/{kind}"]
        quiet = rows[f"{scene}/quiet"]["figures"]
        figures = row["figures"]
        assert figures["times"] == max(figures["p50_times"], figures["p95_times"]) > 0
        assert figures["attempts_per_second"] > 0 and row["why"].startswith("attempts ended in ")
        assert 0 < quiet["p50_us"] <= quiet["p95_us"]


def test_a_ratio_is_that_of_the_worse_percentile_and_of_undisturbed_rounds() -> None:
    quiet, slow = (Outcome(4, 1.0, values, None, 0.0) for values in ([1.0, 1, 1, 2], [1.5, 1.5, 1.5, 7]))
    figures = flood._figures([Round(quiet, slow, a_run(), 1.0, {"OK": 3})])
    assert (figures["p50_times"], figures["p95_times"], figures["times"]) == (1.5, 3.5, 3.5)
    bad = Round(slow, slow, a_run(after=Reading(90.0, 3.0)), 1.0, {})
    good = Round(quiet, slow, a_run(), 1.0, {})
    assert flood._counting([good, good, bad]) == [good, good]
    assert flood._counting([good, bad, bad]) == [good, bad, bad]


def test_hostile_clients_that_get_nowhere_measure_nothing() -> None:
    quiet = Outcome(1, 1.0, [1.0], None, 0.0)
    meter = Meter()
    scene = Scene("flood", "texts", ["calls"], lambda: quiet, {"pairs": 1}, [])
    flood._record(meter, scene, "calls", [Round(quiet, quiet, a_run(), 1.0, {})], Flood())
    assert str(meter.rows[0].verdict) == "not measured" and "came to an end" in meter.rows[0].why


def test_rows_before_a_failure_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(meter: Meter, folder: Path, load: object) -> None:
        meter.missing("messenger/texts", "it broke")
        raise AloneError("a worker ended")

    monkeypatch.setattr("blindmatch_simulations.cli.bench.bench_messenger", fail)
    out = tmp_path / "bench.json"
    assert run(["bench", "messenger", "--json", str(out)]) != 0
    assert [row["id"] for row in json.loads(out.read_text())["rows"]] == ["messenger/texts"]


def test_a_worker_that_fails_ends_the_bench_with_its_words() -> None:
    class Failing:
        def submit(self, *_: object) -> None: ...

        def result(self, _: None) -> None:
            raise TaskError("3 of 10 messages arrived")

    with pytest.raises(AloneError, match="failed: 3 of 10 messages arrived"):
        Field(("", "", ""), 0, [Failing()], 1).results(len, ())  # type: ignore[list-item]


# --- peers


def test_a_peer_whose_hashes_of_files_or_of_pixels_are_others_is_not_compared(tmp_path: Path) -> None:
    hashing = [one for one in peers.all_peers(tmp_path) if "PDQ" in one.compared[0].what]
    assert [one.package for one in hashing] == ["pdqhash", "threatexchange"]
    for one in hashing:
        own = [each.hex() for each in cast("list[bytes]", one.compared[0].ours())]
        assert one.wrong({"hashes": own}) == ""
        assert "only 0% of its hashes" in one.wrong({"hashes": own[1:] + own[:1]})


def test_a_python_without_the_peers_is_no_failure(tmp_path: Path) -> None:
    with pytest.raises(peers.PeerMissingError, match="could not be run"):
        peers.Peers(tmp_path / "no-python").run("pdqhash", 1)
    with pytest.raises(peers.PeerMissingError, match=r"no peer is called|SystemExit|failed"):
        peers.Peers(Path(sys.executable)).run("nothing", 1)


def test_runs_of_a_peer_are_judged_as_ours_are() -> None:
    printed = {"count": 1, "runs": [{"cost": [1.0, 1.0], "before": [50.0, 1.0], "after": [80.0, 1.0]}]}
    assert peers.runs_of(printed)[0].disturbed


# --- the document


def document() -> str:
    return "".join(
        (ROOT / "docs" / name).read_text()
        for name in ("reference/performance.md", "explanation/messenger.md")
    )


@pytest.mark.parametrize("row", sorted(CATALOGUE))
def test_the_document_explains_every_row(row: str) -> None:
    assert f"`{row}`" in document()


def test_a_table_for_documents_has_a_line_for_each_row() -> None:
    row = a_row({"cpu_u": 1.25, "cpu_us": 61_000.0}, Target("cpu_u", 1.4))
    lines = markdown([row, row]).splitlines()
    assert len(lines) == 4 and lines[0].count("|") == len(COLUMNS) + 1
    assert "CPU 61 ms" in lines[2] and "<= CPU 1.4 u" in lines[2]
