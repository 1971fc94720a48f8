"""The levels of a population's model agree: closed form, thinned counts, totals, explicit messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import pytest
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.evaluation.population import bands, counts, outputs
from blindmatch_simulations.evaluation.population.centre import worked
from blindmatch_simulations.evaluation.population.counts import Count, block_counts
from blindmatch_simulations.evaluation.population.false_matches import break_even
from blindmatch_simulations.evaluation.population.inputs import Inputs, figures, read_inputs, with_value
from blindmatch_simulations.evaluation.population.model import (
    COSTS,
    Behaviour,
    Floats,
    Model,
    Range,
    average_environment,
    model,
    stream,
)
from blindmatch_simulations.evaluation.population.outputs import _supposed, tornado
from blindmatch_simulations.evaluation.population.threshold import opened_accounts
from blindmatch_simulations.measure.intervals import share
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.testbed.deployment.registry import load_design
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.special import gammaln
from support import explicit_messages as messages

SIGMAS = 4.5
"""A mean further off than this is no chance: 1 in 150,000, and seeds are fixed."""


def behaviour(recall: float = 0.7, false: float = 0.02, unnoticed: float = 0.8) -> Behaviour:
    """As if an assessment had measured it."""
    costs = {name: Figure(None, "not measured") for name in COSTS}
    exact = Range.exactly
    return Behaviour(exact(recall), exact(false), exact(unnoticed), True, costs)


def inputs(**changes: float) -> Inputs:
    """Of a small population in which everything happens; changes are ``part__field``."""
    held = read_inputs(None)
    usual = {
        "material__files": 5.84, "material__sharers": 0.1, "clients__modified": 0.3,
        "outages__chance": 0.2, "list__epoch_days": 7, "list__growth": 2.0, "cascades__largest": 64,
        "material__shape": 0.5,
    }  # fmt: skip
    for name, value in {**usual, **changes}.items():
        held = with_value(held, *name.split("__"), value)
    return held


def small(accounts: int = 400, days: int = 10, **changes: float) -> Model:
    """A model of it."""
    return model(inputs(**changes), behaviour(), accounts, days)


def by_chance(its: Model, seed: int) -> Callable[[messages.Message], bool]:
    """What finds a picture in the model: all copies of a benign one match or none; edits differ by send."""
    rng = stream(seed, "found")
    alike = dict[int, bool]()

    def find(message: messages.Message) -> bool:
        if message.kind is messages.Kind.KNOWN:
            return bool(rng.random() < its.recall)
        if message.picture not in alike:
            alike[message.picture] = bool(rng.random() < its.false_rates[message.day])
        return alike[message.picture]

    return find


def explicit(seed: int, *thresholds: int) -> Floats:
    """Sums of one run of messages, which do not depend on the threshold, by threshold and row."""
    everybody = messages.people(small(), seed)
    sent = messages.messages(small(), everybody, seed)
    every = [small(centre__threshold=threshold) for threshold in thresholds]
    return np.array(
        [messages.counted(its, everybody, sent, by_chance(its, seed), seed).sum(axis=1) for its in every],
        float,
    )


@cache
def runs(threshold: int, many: int) -> Floats:
    """Sums of a run of thinned counts by row, (many, rows)."""
    its = small(centre__threshold=threshold)
    return np.array([block_counts(its, seed, 0).sum(axis=1) for seed in range(many)], float)


def alike(these: Floats, those: Floats | float) -> bool:
    """Do two means agree, or a mean with an expected value?"""
    error = these.var() / len(these)
    other = those if isinstance(those, float) else those.mean()
    error += 0.0 if isinstance(those, float) else those.var() / len(those)
    return bool(abs(these.mean() - other) <= SIGMAS * error**0.5 + 1e-9)


EXPECTED = {
    Count.TRUE: "true", Count.FALSE: "false", Count.VIDEO: "video",
    Count.LATE: "late", Count.MODIFIED: "modified", Count.DOWN: "down", Count.UNRECOGNISED: "unrecognised",
}  # fmt: skip


def test_thinned_counts_have_the_means_of_the_closed_form() -> None:
    expected = bands.expected(small())
    ran = runs(1, 120)
    for row, name in EXPECTED.items():
        assert alike(ran[:, row], float(getattr(expected, name).sum())), row.name
    assert alike(ran[:, Count.ACCOUNTS], float(expected.accounts.sum()))
    assert alike(ran[:, Count.MATCHED], float(expected.true.sum() + expected.held[-1]))


@pytest.mark.slow
def test_explicit_messages_come_to_the_same_as_thinned_counts() -> None:
    one = small()
    other = small(centre__threshold=5)
    assert messages.messages(one, messages.people(one, 0), 0) == messages.messages(
        other, messages.people(other, 0), 0
    )
    every = np.array([explicit(seed, 1, 5) for seed in range(60)])
    for at, threshold in enumerate((1, 5)):
        told = every[:, at]
        thinned = runs(threshold, 120)
        for row in Count:
            assert alike(told[:, row], thinned[:, row]), (row.name, threshold)
            if thinned[:, row].std() > 2:
                assert 0.6 < told[:, row].std() / thinned[:, row].std() < 1.67, (row.name, threshold)


def test_a_few_runs_of_explicit_messages_lie_where_the_bands_are() -> None:
    totals = bands.totals(small(), 1)
    rows = [row for row in Count if row is not Count.MATCHED]
    told = np.array([explicit(seed, 1)[0] for seed in range(5)])
    for row, total in zip(rows, totals, strict=False):
        low, high = np.quantile(total.sum(axis=1), [0.001, 0.999])
        assert (told[:, row] >= low).all(), row.name
        assert (told[:, row] <= high).all(), row.name


def test_ninety_five_percent_bands_hold_as_many_runs() -> None:
    totals = bands.totals(small(), 3, 1000)
    ran = runs(1, 120)
    for row, total in (
        (Count.TRUE, totals.true),
        (Count.FALSE, totals.false),
        (Count.ACCOUNTS, totals.accounts),
    ):
        low, high = np.quantile(total.sum(axis=1), [0.025, 0.975])
        inside = ((ran[:, row] >= low) & (ran[:, row] <= high)).mean()
        assert 0.88 <= inside <= 0.995, (row.name, inside)


@pytest.mark.parametrize(("series", "threshold"), [(1, 1), (7, 1), (1, 4), (3, 4), (4, 4)])
def test_series_of_false_matches_leave_reports_and_gather_them_in_fewer_accounts(
    series: int, threshold: int
) -> None:
    its = small(false_matches__series=series, centre__threshold=threshold, material__sharers=0.01)
    ran = np.array([block_counts(its, seed, 0).sum(axis=1) for seed in range(30)], float)
    drawn = bands.totals(its, 2, 2000)
    told = bands.expected(its)
    for row, total in ((Count.FALSE, drawn.false), (Count.ACCOUNTS, drawn.accounts)):
        assert alike(ran[:, row], total.sum(axis=1)), row.name
    if threshold == 1:
        assert alike(ran[:, Count.FALSE], float(told.false.sum()))
    # above 1 it is that of an average environment, which bursts of cascades exceed
    close = alike(ran[:, Count.ACCOUNTS], float(told.accounts.sum()))
    assert close or (threshold > 1 and 0.6 < told.accounts.sum() / ran[:, Count.ACCOUNTS].mean() < 1.2)


def test_bands_above_a_threshold_of_one_hold_what_sharers_false_matches_do() -> None:
    """Bands went from 0 to 27 where runs gave 24 to 30: false matches of accounts that true ones opened."""
    its = small(accounts=2_000, days=20, centre__threshold=10, material__sharers=0.05, material__files=60)
    its = replace(its, behaviour=behaviour(false=0.01))
    ran = np.array([block_counts(its, seed, 0).sum(axis=1) for seed in range(50)], float)
    drawn = bands.totals(its, 5, 2_000)
    told = bands.expected(its)
    for row, total in (
        (Count.TRUE, drawn.true),
        (Count.FALSE, drawn.false),
        (Count.ACCOUNTS, drawn.accounts),
    ):
        low, high = np.quantile(total.sum(axis=1), [0.025, 0.975])
        assert ((ran[:, row] >= low) & (ran[:, row] <= high)).mean() >= 0.88, row.name
    assert alike(ran[:, Count.FALSE], drawn.false.sum(axis=1)) and ran[:, Count.FALSE].min() > 0
    assert ran[:, Count.FALSE].mean() == pytest.approx(float(told.false.sum()), rel=0.1)


@pytest.mark.parametrize("series", [1, 3])
def test_sharers_true_and_false_matches_together_are_what_a_simulation_of_accounts_gives(series: int) -> None:
    its = small(false_matches__series=series, centre__threshold=5, clients__modified=0.0)
    given = average_environment(its)
    found = bands.mixed_crossing(its, given)
    rng = np.random.default_rng(7)
    shape = its.inputs.material.shape.value
    n = 400_000
    rates = rng.choice(its.rates, n, p=its.sharers / its.sharers.sum())
    sent = rng.gamma(shape, its.sends / shape, n) * given.listed.sum() * its.recall
    true = rng.poisson(sent)
    false = series * rng.poisson(rates * given.own.sum() / series)
    false += rng.poisson(rates * given.copies.sum())
    over = true + false >= 5
    for at, drawn in enumerate((over, true * over, false * over, over & (false > 0))):
        told = float(found[at, -1]) / its.sharers.sum()
        assert abs(drawn.mean() - told) < SIGMAS * drawn.std() / n**0.5 + 1e-9, at


def test_the_sensitivity_mixes_no_rows_above_a_threshold_of_one() -> None:
    held = inputs(centre__threshold=3)
    expects, moved = tornado(held, behaviour(), 400, 10)
    rows = {one.input: one for one in moved if one.output == "accounts_wrong"}
    for name in ("activity.pictures_a_day", "outages.part", "false_matches.series"):
        part, field = name.split(".")
        figure = getattr(getattr(held, part), field)
        there = model(with_value(held, part, field, figure.high), behaviour(), 400, 10)
        assert rows[name].at_high == pytest.approx(bands.expected(there).accounts.sum()), name
        assert rows[name].base == pytest.approx(expects["accounts_wrong"], rel=1e-5)


def test_a_threshold_is_crossed_by_series_where_single_matches_would_not() -> None:
    alone, together = (
        small(false_matches__series=series, centre__threshold=10, material__sharers=0.01)
        for series in (1, 10)
    )
    few, many = (bands.totals(its, 4, 500).accounts.sum(axis=1).mean() for its in (alone, together))
    assert many > 5 * few


def test_without_cascades_bands_would_be_too_narrow_for_what_cascades_do() -> None:
    """The planted defect of the coverage above: matches taken for independent ones."""
    alone = small(cascades__benign=0.0, outages__chance=0.0, false_matches__series=1)
    drawn = bands.totals(alone, 3, 1000)
    low, high = np.quantile(drawn.false.sum(axis=1), [0.025, 0.975])
    ran = runs(1, 120)[:, Count.FALSE]
    assert ((ran >= low) & (ran <= high)).mean() < 0.75


def test_a_band_holds_what_happens_though_rates_are_only_measured() -> None:
    """Chance of the assessment and of the year together: true rates are drawn, measured, and run."""
    rng = np.random.default_rng(3)
    held = np.zeros(2)
    tries = 30
    for at in range(tries):
        recall = rng.uniform(0.3, 0.95)
        false = rng.uniform(0.001, 0.1)
        ends = []
        for rate, pictures in ((recall, 40), (false, 100)):
            found = share(int(rng.binomial(pictures, rate)), pictures)
            assert found.value is not None and found.low is not None and found.high is not None
            ends.append(Range(found.value, found.low, found.high))
        seen = replace(behaviour(), recall=ends[0], false_rate=ends[1])
        sets = [
            bands.totals(model(inputs(), seen.at(end, end, end), 400, 10), 5, 100) for end in ("low", "high")
        ]
        year = block_counts(model(inputs(), behaviour(recall, false), 400, 10), 1000 + at, 0).sum(axis=1)
        for kind, name in enumerate(("true", "false")):
            totals = [getattr(one, name).sum(axis=1) for one in sets]
            low = np.quantile(totals[0], 0.025)
            high = np.quantile(totals[1], 0.975)
            held[kind] += low <= year[Count.TRUE if name == "true" else Count.FALSE] <= high
    assert (held >= 0.92 * tries).all(), held


@pytest.mark.parametrize("end", ["low", "high"])
def test_a_band_holds_what_happens_at_either_end_of_what_goes_unnoticed(end: str) -> None:
    """Reasons to miss a picture, too: most unrecognised ones come of a low recall with few unnoticed."""
    held = inputs(clients__modified=0.9)
    whole = Range(0.8, 0.3, 0.9)
    seen = replace(behaviour(recall=0.5), recall=whole, unnoticed=Range(0.9, 0.4, 1.0))
    found = outputs.banded(model(held, seen, 4000, 10), 1)
    names = ("true_reports", "missed_modified", "missed_unrecognised")
    for recall in ("low", "high"):
        true = replace(
            seen, recall=Range.exactly(whole.at(recall)), unnoticed=Range.exactly(seen.unnoticed.at(end))
        )
        told = outputs.of_expected([model(held, true, 4000, 10)])
        for name in names:
            (low,), (high,) = found[name]["run"]
            assert low < told[name].sum() < high, (name, recall)


def test_the_sensitivity_moves_what_goes_unnoticed_the_other_way() -> None:
    seen = replace(behaviour(), unnoticed=Range(0.9, 0.4, 1.0))
    found = {(one.output, one.input): one for one in tornado(inputs(), seen, 400, 10)[1]}
    one = found["true_reports", "measured.unnoticed"]
    assert one.at_low > one.base > one.at_high
    low = outputs.of_expected([model(inputs(), behaviour(unnoticed=0.4), 400, 10)])["true_reports"].sum()
    assert one.at_low == pytest.approx(low)


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_crossings_are_the_sums_that_they_stand_for(threshold: int) -> None:
    numbers = np.arange(2000)
    mean = 3.7
    shape = 0.6
    poisson = np.exp(numbers * np.log(mean) - mean - gammaln(numbers + 1))
    ways = gammaln(numbers + shape) - gammaln(shape) - gammaln(numbers + 1)
    binomial = np.exp(ways + shape * np.log(shape / (shape + mean)) + numbers * np.log(mean / (shape + mean)))
    for found, chances in (
        (bands.poisson_crossing(np.array([mean]), threshold), poisson),
        (bands.gamma_crossing(np.array([mean]), shape, threshold), binomial),
    ):
        over = numbers >= threshold
        assert found.reached[0] == pytest.approx(chances[over].sum())
        assert found.reports[0] == pytest.approx((numbers * chances)[over].sum())


def test_an_outage_that_holds_pictures_back_loses_none_but_those_of_the_last_day() -> None:
    its = small(outages__chance=1.0, outages__part=0.5)
    expected = average_environment(its)
    assert (expected.down[:-1] == 0).all()
    assert expected.down[-1] > 0
    assert expected.listed[0] == pytest.approx(expected.listed[1] / 2, rel=0.01)


def test_every_send_of_known_material_is_reported_or_missed_for_one_reason() -> None:
    its = small()
    expected = bands.expected(its)
    rows = ("true", "video", "late", "modified", "down", "unrecognised")
    total = sum(getattr(expected, name).sum() for name in rows)
    assert total == pytest.approx(its.known * its.days)


def test_a_blocks_numbers_are_no_other_blocks_nor_another_seeds() -> None:
    words = [("block", block, at) for block in range(3) for at in range(3)] + [("run", "false"), ("people",)]
    firsts = {stream(seed, *one).random() for seed in (1, 2) for one in words}
    assert len(firsts) == 2 * len(words)


def test_accounts_are_divided_among_blocks_without_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    its = small(accounts=1003)
    assert its.counts.sum() == 1003
    assert its.counts @ its.rates == pytest.approx(its.volume)
    assert (its.sharers <= its.counts).all()
    seen: list[int] = []
    monkeypatch.setattr(counts, "BLOCK", 100)
    monkeypatch.setattr(counts, "_crowd", lambda a, b, c, accounts, *_: seen.append(accounts))
    for block in range(counts.blocks(1003)):
        counts.block_counts(its, 1, block)
    assert sum(seen) == (its.counts - its.sharers).sum()


def queue(true: list[int], false: list[int], able: int) -> tuple[list[int], list[int]]:
    """A day's reports decided one by one, `able` a day: backlog and age of the oldest."""
    waiting = deque[int]()
    backlog = []
    oldest = []
    for day, (a, b) in enumerate(zip(true, false, strict=True)):
        waiting.extend([day] * (a + b))
        for _ in range(min(able, len(waiting))):
            waiting.popleft()
        backlog.append(len(waiting))
        oldest.append(day - waiting[0] if waiting else 0)
    return backlog, oldest


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12), st.integers(0, 12))
def test_the_centres_queue_is_one_that_decides_report_by_report(
    came: list[tuple[int, int]], able: int
) -> None:
    true, false = ([pair[at] for pair in came] for at in (0, 1))
    held = inputs(
        centre__staff=1, centre__minutes=10, centre__day_minutes=10 * able + 0.5, centre__days_a_week=7,
        centre__passes_false=0.0, centre__dismisses_true=0.0,
    )  # fmt: skip
    rows = (np.array([row], float) for row in (true, false))
    done = worked(*rows, held.centre, None if able == 0 else stream(1, "test"))
    backlog, oldest = queue(true, false, able)
    if able:
        assert done.backlog[0].astype(int).tolist() == backlog
        assert done.oldest[0].astype(int).tolist() == oldest
        assert done.forwarded_true.sum() <= sum(true)
    assert done.people[0][0] == pytest.approx((true[0] + false[0]) * 10 / (10 * able + 0.5))


def test_complaints_take_reviewers_time_from_reports() -> None:
    rows = np.full((1, 10), 50.0)
    same = {"centre__staff": 1, "centre__minutes": 4, "centre__passes_false": 1.0, "centre__complains": 1.0}
    busy, quiet = (
        worked(rows, rows, inputs(**same, centre__complaint_minutes=one).centre, None) for one in (60, 0)
    )
    assert busy.complaints.sum() > 0
    assert busy.backlog[0, -1] > quiet.backlog[0, -1]


def test_real_devices_count_what_the_model_and_the_plaintext_oracle_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    design = load_design("device-list")
    wrong = list[int]()
    real = messages.World.asks

    def asks(world: messages.World, account: int, item: Picture, epoch: int = 1) -> bool:
        found = real(world, account, item, epoch)
        listed = messages.entries(epoch, world.seed)
        if found is not design.info.relation.matches(item, listed):
            wrong.append(account)
        return found

    monkeypatch.setattr(messages.World, "asks", asks)
    told = messages.lived(design, read_inputs(None), 120, 6, 1)
    assert told["agree"], told
    assert wrong == []
    assert told["sessions"] > 900
    assert told["outputs"]["false"]["counted"] > 30


def test_devices_that_find_less_than_was_measured_do_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: what one account is shown in the assessment, others are not."""
    real = messages.World.asks
    monkeypatch.setattr(
        messages.World,
        "asks",
        lambda world, account, item, epoch=1: account < 0 and real(world, account, item, epoch),
    )
    told = messages.lived(load_design("device-list"), read_inputs(None), 120, 6, 1)
    assert not told["agree"]
    assert not told["outputs"]["false"]["within"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "accounts"), [("oprf-psi", 300), ("hash-upload", 300)])
def test_designs_with_servers_agree_with_the_model_too(name: str, accounts: int) -> None:
    told = messages.lived(load_design(name), read_inputs(None), accounts, 10, 2)
    assert told["agree"], told


ENDS = [(part, field, figure) for part, field, figure in figures(read_inputs(None)) if figure.low is not None]


@settings(max_examples=25)
@given(
    st.tuples(*(st.sampled_from([one.low, one.value, one.high]) for _, _, one in ENDS)),
    st.sampled_from(["hold", "unmatched"]),
    st.sampled_from([(1, 1), (1, 30), (7, 1), (300, 6)]),
    st.sampled_from([0.0, 1e-3, 1.0]),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([1, 4]),
)
def test_whatever_the_file_allows_gives_finite_numbers_that_add_up(
    values: tuple[float, ...], mode: str, size: tuple[int, int], false: float, recall: float, threshold: int
) -> None:
    held = read_inputs(None)
    for (part, field, _), value in zip(ENDS, values, strict=True):
        held = with_value(held, part, field, value)
    held = with_value(held, "material", "files", 14.6)
    held = with_value(held, "centre", "threshold", threshold)
    held = msgspec.structs.replace(held, outages=msgspec.structs.replace(held.outages, mode=mode))
    its = model(held, behaviour(recall, false), *size)
    counts = block_counts(its, 1, 0)
    assert (counts >= 0).all()
    assert counts[Count.ACCOUNTS].sum() <= size[0]
    assert counts[Count.ACCOUNTS].sum() <= counts[Count.FALSE].sum()
    assert counts[Count.TRUE].sum() <= counts[Count.MATCHED].sum()
    for found in (outputs.of_counts(counts, its, stream(1, "test")), outputs.of_expected([its])):
        assert found["held_by_threshold"].min() >= -1e-6
        for name, rows in found.items():
            assert np.isfinite(rows).all(), name
            assert (rows >= -1e-6).all(), name
    for rows in bands.totals(its, 1, 3):
        assert np.isfinite(rows).all()
        assert (rows >= 0).all()


def test_days_without_shifts_do_not_shorten_the_delay() -> None:
    rows = np.full((1, 28), 10.0)
    centre = inputs(centre__staff=1000, centre__days_a_week=5, centre__transfer_days=3.0).centre
    done = worked(rows, rows, centre, None)
    # what comes on the two days off waits until the first shift: two days, one, or none
    assert done.delay[0, :7].tolist() == [3.0] * 7
    assert done.delay[0, 7] == pytest.approx(3 + (2 + 1 + 0) / 3)
    assert done.oldest[0, 6] == 1


def test_a_cascade_of_known_material_is_no_larger_than_all_who_send_any() -> None:
    its = model(
        read_inputs(None),
        Behaviour(Range.exactly(1), Range.exactly(0), Range.exactly(0), False),
        450_000_000,
        365,
    )
    assert its.cascades.known.sizes.max() <= its.sharers.sum() < its.cascades.benign.sizes.max()
    for law, sends in ((its.cascades.benign, its.volume * 0.3), (its.cascades.known, its.known * 0.2)):
        assert law.begun * float(law.sizes @ law.chances) == pytest.approx(sends)


def test_more_pictures_a_day_are_no_more_files_of_known_material() -> None:
    recall, false, unnoticed = (Range.exactly(one) for one in (0.9, 1e-6, 0.0))
    costs = {name: Figure(None, "not measured") for name in COSTS}
    _, moved = tornado(read_inputs(None), Behaviour(recall, false, unnoticed, False, costs), 10_000, 30)
    by_pictures = {one.output: one for one in moved if one.input == "activity.pictures_a_day"}
    assert by_pictures["false_reports"].width > by_pictures["false_reports"].base / 2
    assert "true_reports" not in by_pictures or by_pictures["true_reports"].width < 1e-9


def opening(days: int = 15, **changes: float) -> Model:
    """A design with a threshold of 4 in a period of 5 days; no day is unlike another."""
    steady = {"cascades__benign": 0.0, "cascades__known": 0.0, "outages__chance": 0.0}
    seen = replace(behaviour(), threshold=4, by_period=True, made_up=0.01)
    return model(inputs(**{**steady, "keys__life_days": 5, **changes}), seen, 2_000, days)


def simulated(its: Model, times: int, seed: int) -> Floats:
    """True reports, false ones, accounts with a false one in a period, true matches, and sharers seen at all,
    (times, 5): account by account and period by period, by nothing of the model but its rates."""
    rng = np.random.default_rng(seed)
    given = average_environment(its)
    found = np.zeros((times, 5))
    classes = np.repeat(np.arange(len(its.counts)), its.counts)
    shares = np.concatenate([np.arange(n) < of for n, of in zip(its.counts, its.sharers, strict=True)])
    for at in range(times):
        shape = its.inputs.material.shape.value
        n = len(classes)
        sends = shares * rng.gamma(shape, its.sends / shape, n)
        asks = np.where(shares & (rng.random(n) < its.modified), 1 - its.unnoticed, 1.0)
        seen = np.zeros(n, bool)
        for first in range(0, its.days, 5):
            days = slice(first, first + 5)
            true = rng.poisson(sends * asks * its.recall * given.listed[days].sum())
            mean = its.rates[classes] * asks * given.false[days].sum()
            false = its.series * rng.poisson(mean / its.series)
            over = true + false >= 4
            seen |= true >= 4
            found[at] += [
                (true * over).sum(),
                (false * over).sum(),
                (over & (false > 0)).sum(),
                true.sum(),
                0,
            ]
        found[at, 4] = seen.sum()
    return found


def test_a_threshold_in_periods_reports_what_a_simulation_of_accounts_does() -> None:
    its = opening(12)
    told = simulated(its, 150, 5)
    ran = np.array([block_counts(its, s, 0).sum(axis=1) for s in range(25)])
    drawn = bands.totals(its, 2, 500)
    told_of = bands.expected(its)
    rows = (Count.TRUE, Count.FALSE, Count.ACCOUNTS, Count.MATCHED)
    for at, (row, total) in enumerate(zip(rows, (drawn.true, drawn.false, drawn.accounts), strict=False)):
        assert alike(told[:, at], ran[:, row].astype(float)), row.name
        assert alike(told[:, at], total.sum(axis=1)), row.name
    assert alike(told[:, 0], float(told_of.true.sum()))
    assert alike(told[:, 3] - told[:, 0], float(told_of.held[-1]))
    # what the whole run counted together would report
    whole = replace(its, behaviour=replace(its.behaviour, by_period=False))
    assert bands.expected(whole).true.sum() > 1.2 * told_of.true.sum()


def test_a_keys_life_moves_what_a_threshold_reports_and_is_drawn_for_the_joint_band() -> None:
    its = opening(12)
    base, moved = tornado(its.inputs, its.behaviour, its.accounts, its.days)
    (life,) = (one for one in moved if (one.output, one.input) == ("true_reports", "keys.life_days"))
    assert life.at_low < base["true_reports"] < life.at_high
    whole = replace(its, behaviour=replace(its.behaviour, by_period=False))
    assert life.at_high == pytest.approx(bands.expected(whole).true.sum())
    assert len({_supposed(its, 1, at).period for at in range(8)}) > 4
    assert {_supposed(whole, 1, at).period for at in range(8)} == {12}


def test_a_rate_that_is_assumed_is_moved_and_drawn_without_what_is_made_up() -> None:
    its = opening(5, false_matches__rate=1e-3, false_matches__series=1)
    seen = replace(its.behaviour, threshold=1, assumed=True, made_up=0.5, false_rate=Range.exactly(5e-4))
    _, moved = tornado(its.inputs, seen, its.accounts, its.days)
    (rate,) = (o for o in moved if (o.output, o.input) == ("false_reports", "false_matches.rate"))
    high = its.inputs.false_matches.rate.high
    assert high and rate.at_high == pytest.approx(rate.base * high / 1e-3)
    drawn = _supposed(replace(its, behaviour=seen), 1, 0)
    assert drawn.behaviour.false_rate.value == drawn.inputs.false_matches.rate.value / 2


def test_bands_of_a_threshold_in_periods_hold_what_heavy_senders_do_in_each() -> None:
    its = opening(40, material__sharers=0.3, material__shape=0.1, material__files=20)
    ran = np.array([block_counts(its, seed, 0).sum(axis=1) for seed in range(24)], float)
    drawn = bands.totals(its, 3, 400)
    for row, total in ((Count.TRUE, drawn.true), (Count.FALSE, drawn.false)):
        assert alike(ran[:, row], total.sum(axis=1)), row.name
        assert 0.5 < ran[:, row].std() / total.sum(axis=1).std() < 1.3, row.name


def test_sharers_that_a_threshold_sees_are_those_of_a_simulation() -> None:
    its = opening(false_matches__series=1)
    seen = opened_accounts(its)["seen"]
    assert alike(simulated(its, 150, 6)[:, 4], seen["from_t"])
    assert 0 < seen["from_utility"] < seen["from_t"] < its.sharers.sum()


def test_accounts_that_false_matches_open_are_those_of_a_simulation_with_bursts() -> None:
    its = opening(365)
    told = opened_accounts(its)
    rng = np.random.default_rng(8)
    opened = np.zeros((60, 2))
    bursts = told["bursts"]
    mean = its.inputs.activity.pictures_a_day.value
    pictures = np.maximum(1, np.round(np.repeat(its.rates, its.counts) * 5)).astype(int)
    events = bursts["events"] * np.repeat(its.rates, its.counts) / mean
    for at in range(60):
        alone = rng.binomial(pictures, 0.02)
        # of a mean number of events as of chance: a burst is never shorter than one match
        sizes = np.array([rng.geometric(1 / bursts["size"], n).sum() for n in rng.poisson(events)])
        opened[at] = (
            (alone >= 4).sum(),
            (np.minimum(rng.poisson(pictures * 0.02) + sizes, pictures) >= 4).sum(),
        )
    for at, how in enumerate(("independent", "bursts")):
        assert alike(opened[:, at], told["opened_wrongly_a_year"][how] * 5 / 365), how
    unknown = replace(its, behaviour=replace(its.behaviour, false_rate=None))
    even = opened_accounts(unknown)["opened_wrongly_a_year"]
    assert even["rate"] == pytest.approx(break_even(its.inputs).rate)
    assert even["at"] == "where half of all matches are wrong"
