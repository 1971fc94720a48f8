"""The arithmetic of the classifier's study, with a score of the test's own."""

from __future__ import annotations

from blindmatch_protocol.contract import Category, Item
from blindmatch_simulations.testbed.pictures.crops import crops
from support.classifier_study import (
    CAPTIONS,
    Scores,
    Share,
    after_edits,
    false_flags,
    negatives_for,
    scored,
)


def bright(item: Item) -> float:
    return float(item.luminance.mean() / 255)


def test_a_share_has_its_interval() -> None:
    assert Share(0, 120).words() == "0/120 [0.000, 0.030]"
    assert Share(60, 60).words() == "60/60 [0.940, 1.000]"


def test_the_curve_counts_what_reaches_each_threshold() -> None:
    found = Scores({"crops": [0.0, 0.004]}, {"caption": [0.003, 0.02], "status-bar": [0.001]})
    rates = {at: (text.hits, none.hits) for at, text, none in found.roc()}
    assert rates[0.001] == (3, 1)
    assert rates[0.005] == (1, 0)
    assert rates[0.05] == (0, 0)


def test_false_flags_are_cited_rates_times_cited_photos() -> None:
    rows = false_flags(Share(0, 120))
    cited = next(row for row in rows if row[0].startswith("cited"))
    assert [round(one) for one in cited[1:]] == [7_200_000, 72_000_000]
    assert [round(one) for one in rows[-1][1:]] == [720, 720]


def test_a_rate_of_one_in_a_million_takes_three_million_pictures() -> None:
    assert 2_995_000 < negatives_for(1e-6) < 2_996_000


def test_crops_are_scored_with_and_without_captions_and_after_every_other_edit() -> None:
    of = Category("bright", 0.0, bright, minimum_quality=0)
    samples = crops(2, 11)
    found = scored(of, samples)
    assert set(found.captioned) == set(CAPTIONS)
    assert [len(held) for held in (*found.without.values(), *found.captioned.values())] == [2] * 6
    shares = after_edits(of, samples)
    assert not set(shares) & set(CAPTIONS)
    assert all(share == Share(2, 2) for share in shares.values())
