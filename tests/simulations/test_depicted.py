"""What can be rebuilt of a picture from its hash, from its coefficients and from the plane before them."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol.picture import pdq
from blindmatch_simulations.evaluation.studies.hashes import (
    Score,
    alike,
    learnt,
    measured,
    of_coefficients,
    of_hash,
)
from blindmatch_simulations.testbed.pictures.pool import detailed


@pytest.fixture(scope="module")
def scores() -> dict[str, Score]:
    return measured(16)


def test_more_of_a_picture_is_rebuilt_from_more_of_it(scores: dict[str, Score]) -> None:
    assert scores["hash"].own < scores["coefficients"].own < scores["plane"].own < 1


def test_even_a_hash_gives_more_than_chance(scores: dict[str, Score]) -> None:
    for score in scores.values():
        assert score.own > 2 * score.chance
    assert abs(scores["hash"].chance) < 0.15


def test_what_is_rebuilt_has_the_coefficients_it_was_rebuilt_from() -> None:
    usual = learnt([detailed(6), detailed(7)])
    one = detailed(5)
    values = one.coefficients / 4  # so that no level is cut off at black or white
    assert np.allclose(pdq.transform(of_coefficients(values, usual)).ravel()[::-1], values, atol=0.01)
    assert pdq.fingerprint(of_hash(one.hash, usual)).hash == one.hash


def test_a_picture_is_like_itself_alone() -> None:
    one = detailed(5)
    assert alike(one.luminance, one) == pytest.approx(1)
    assert alike(one.luminance, detailed(6)) < 0.2
