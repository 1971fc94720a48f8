"""Copies of one picture hang together: intervals are over pictures. CPU of a process counts its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, median, stdev

import numpy as np
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs import device_list, hash_upload
from blindmatch_server.epochs.published import open_publication
from blindmatch_simulations.evaluation.assess import alone
from blindmatch_simulations.evaluation.assess.material import make
from blindmatch_simulations.evaluation.assess.observed import AloneRow, Lengths
from blindmatch_simulations.evaluation.assess.plan import read_plan
from blindmatch_simulations.measure.intervals import clopper_pearson, mean, share
from blindmatch_simulations.measure.processes import tree_cpu_seconds
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.testbed.inprocess.deployed import open_published
from msgspec.structs import replace
from scipy.special import stdtrit
from support.assess_rows import observed, picture, row, tiny


def test_copies_of_four_pictures_are_four_and_not_a_hundred() -> None:
    pictures = tuple(
        replace(picture(at, "identical", True, at % 26 < 18), name=f"crop-{at // 26}") for at in range(104)
    )
    found = row(replace(observed(), pictures=pictures)).figures["recall"]
    assert found.n == 104 and found.value == pytest.approx(18 / 26)
    assert found.low is not None and found.high is not None
    independent = clopper_pearson(72, 104)
    assert found.high - found.low > 2 * (independent[1] - independent[0])
    assert "4 pictures, not 104 copies" in found.why


def test_one_copy_of_each_picture_has_the_exact_interval() -> None:
    assert (share(3, 16, units=16).low, share(3, 16, units=16).high) == clopper_pearson(3, 16)


def test_cpu_of_a_process_counts_what_it_started() -> None:
    spin = (
        "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\ntime.sleep(60)"
    )
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])"
    with subprocess.Popen([sys.executable, "-c", child], start_new_session=True) as one:
        try:
            for _ in range(2400):
                spent = tree_cpu_seconds(one.pid)
                if spent is None or spent >= 0.4:
                    break
                time.sleep(0.1)
        finally:
            os.killpg(one.pid, signal.SIGKILL)
    assert spent is None or spent >= 0.4


def timed(own: float, other: float, pictures: int = 10, spread: float = 0.0, seed: int = 1) -> Lengths:
    """Sessions over 100 and 900 entries whose roles take so many ms, and what a busy machine adds."""
    rng = np.random.default_rng(seed)
    sides = [
        tuple(
            AloneRow(at, 1, 1, 1, ms, ms + rng.exponential(spread) if spread else ms, 700)
            for at in range(pictures)
        )
        for ms in (own, other)
    ]
    return Lengths(900, 50.0, sides[0], sides[1], (8_000, 72_000), ((8.0, 4.5),) * 5, 8)


def figures(lengths: Lengths) -> dict[str, Figure]:
    return row(replace(observed(), lengths=lengths)).figures


def test_a_mean_of_skewed_repeats_covers_the_truth_as_often_as_it_says() -> None:
    """Student's t at 95 %, which lies within it, covers the mean of a busy machine's times too seldom. It is
    not bought by width: half of the runs are at most 1.7 times as wide as by Student's t."""
    rng = np.random.default_rng(26)
    runs = 1_500
    for repeats in (5, 6, 10):
        covered = 0
        student = 0
        widths = list[float]()
        for values in (2 + rng.exponential(3, (runs, repeats))).tolist():
            found = mean(values)
            reach = 0.9999 * stdtrit(repeats - 1, 0.975) * stdev(values) / repeats**0.5
            assert found.low is not None and found.high is not None and found.value == fmean(values)
            assert found.low <= found.value - reach < found.value + reach <= found.high
            covered += found.low <= 5 <= found.high
            student += abs(found.value - 5) <= reach
            widths.append((found.high - found.low) / (2 * reach))
        assert covered >= 0.94 * runs > 0.93 * runs > student and median(widths) < 1.7
    assert mean([7.0] * 10).low == mean([7.0] * 10).high == 7.0
    one = mean([3.0])
    assert (one.value, one.low, one.high, one.n) == (3.0, None, None, 1) and "not known" in one.why
    assert mean([]).value is None


def test_the_line_through_two_lengths_covers_the_slope_that_was_planted() -> None:
    """8 ms more over 800 entries more: 10 ms a thousand, 200 u. Both ends spread by 1 ms: by Student's t it
    would be 47 u wide; half of these are no wider than half as much again."""
    covered = 0
    widths = list[float]()
    for seed in range(200):
        found = figures(timed(2.0, 10.0, spread=1.0, seed=seed))["server_growth_u"]
        assert found.low is not None and found.high is not None and found.n == 10
        covered += found.low <= 200 <= found.high
        widths.append(found.high - found.low)
    assert covered / 200 >= 0.94 and median(widths) < 1.5 * 47


def test_what_does_not_grow_is_said_not_to_grow_and_what_does_is_not() -> None:
    found = figures(timed(2.0, 2.0, spread=1.0))
    assert found["server_growth_u"].low < 0 < found["server_growth_u"].high  # type: ignore[operator]
    assert "it does not grow, as far as this resolves" in found["server_growth_u"].why
    same = found["query_growth_bytes"]
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0) and "does not grow" in same.why
    assert found["setup_growth_bytes"].value == 80_000
    grown = figures(timed(2.0, 10.0))
    assert grown["server_growth_u"].why.startswith("line through 100 and 900 entries; 95 % interval")
    assert grown["server_u"].value == 40.0
    assert (
        figures(timed(10.0, 2.0))["server_growth_u"].why.split("; ")[1]
        == "it does not grow, as far as this resolves"
    )


def test_a_second_length_that_is_shorter_leaves_growth_in_proportion_open() -> None:
    """A design that packs entries by thousands takes as long for 25 as for 100, and not for a million."""
    short = replace(timed(2.0, 2.0), entries=25)
    assert figures(short)["server_growth_u"].high == pytest.approx(400.0), "2 ms, 40 u, for 100 entries"
    assert figures(timed(2.0, 2.0))["server_growth_u"].high == 0.0


def test_turns_are_averaged_for_roles_alone_since_items_keep_what_a_device_made_of_them() -> None:
    """Two pictures in three turns."""
    rows = [AloneRow(at % 2, 5, 9 - at, 9 - at, 6, at, 700 + at) for at in range(6)]
    made = alone._of_turns(rows, 3)
    assert made == [AloneRow(0, 5, 9, 9, 6, 2, 700), AloneRow(1, 5, 8, 8, 6, 3, 701)]
    assert alone._of_turns(rows, 1) == rows


def test_several_requests_at_once_are_a_line_too() -> None:
    found = figures(timed(2.0, 2.0))["server_more_u"]
    assert found.value == pytest.approx(1000 * (4.5 - 1.0) / 7 / 50)
    assert found.why.startswith("through 1 and 8 at once; one alone takes 20 u; 99 % interval")
    none = figures(replace(timed(2.0, 2.0), together=()))["server_more_u"]
    assert none.value is None and "too dear" in none.why


def test_a_run_of_one_length_has_no_line() -> None:
    found = row(observed()).figures["server_growth_u"]
    assert found.value is None and found.why == "timed over a list of one length"


@pytest.mark.parametrize("design", [device_list.DESIGN, hash_upload.DESIGN])
@pytest.mark.parametrize(("work", "entries"), [(1 << 30, 336), (1, 10), (0, 0)])
def test_the_second_length_is_as_long_as_the_plans_work_builds(
    design: object, work: int, entries: int, tmp_path: Path
) -> None:
    plan = read_plan(tiny(random=40))
    plan = replace(plan, alone=replace(plan.alone, length_u=work))
    material = make(plan, tmp_path / "made", lambda done, total: None)
    with alone.fitted(design, material, plan, tmp_path / "sets", lambda done, total: None) as fit:  # type: ignore[arg-type]
        opened = open_published(design, open_publication(fit.kept.folder, alone.FIRST))  # type: ignore[arg-type]
        pictures = [(one.index, material.data(one)) for one in fit.items[:3]]
        found = alone.lengths(opened, fit, plan, pictures, seeded("lengths"))
    if not work:
        assert found is None
        return
    assert found is not None and found.entries == entries
    assert [one.index for one in found.own] == [one.index for one in found.other] == [p[0] for p in pictures]
    assert (found.setup_bytes[1] > found.setup_bytes[0]) is (entries > 42 and design is device_list.DESIGN)
    assert all(one.bytes > 0 for one in (*found.own, *found.other)) is (design is hash_upload.DESIGN)
    assert all(one.hash_ms > 0.1 for one in (*found.own, *found.other)), "of the first turn, which hashes"
    assert len(found.together) == (alone.REPEATS if design is hash_upload.DESIGN else 0)
