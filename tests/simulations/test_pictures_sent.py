"""Checks, audit and demo meet pictures in the shapes and of the kinds that people send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs import oprf_psi
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, crowd
from blindmatch_simulations.evaluation.conformance.run import Options, check_design
from blindmatch_simulations.testbed.audit.counterpart import Counterpart, DecoyFinder
from blindmatch_simulations.testbed.demo.workload import demo_workload
from blindmatch_simulations.testbed.pictures.pool import LONGEST, SIDE, small_shape
from blindmatch_simulations.testbed.pictures.sent import FILES, LARGE, size_class
from dummy_designs import Bright, brightness
from msgspec.structs import replace
from planted.mutations.hooks import About, PaddedPsi, variant
from planted.mutations.requests import NOTHING, telling

MOST_LARGE = 4


class VeryBright(Bright):
    """Looks for pictures that are nearly white, as none of the pool is."""

    def __init__(self, relation: bm.Category) -> None:
        self.info = replace(Bright.info, relation=relation)  # type: ignore[misc]


def test_the_checks_and_the_demo_have_a_picture_of_each_kind() -> None:
    names = {one.name.partition("/")[0] for one in Fixtures(oprf_psi.DESIGN).pool.pictures}
    assert set(FILES) - {"camera"} <= names
    assert "large/3024x4032" in {one.name for one in crowd(1)}
    assert set(FILES) <= {one.name for one in demo_workload(7).sendings}


def test_a_run_hashes_four_large_pictures_at_most() -> None:
    pictures = (*Fixtures(oprf_psi.DESIGN, 3).pool.pictures, *crowd(3))
    assert Counter(size_class(one.item.pixels.shape) for one in pictures)["large"] == MOST_LARGE
    assert sum(one.item.pixels[:, :, 0].size >= LARGE for one in pictures) == MOST_LARGE


def test_sides_of_small_pictures_are_drawn_and_cover_those_of_the_demo() -> None:
    shapes = [small_shape(number) for number in range(300)]
    sides = [side for shape in shapes for side in shape]
    assert SIDE <= min(sides) < SIDE + 10
    assert 400 < max(sides) <= LONGEST
    assert len(set(shapes)) > 250


def test_the_pool_of_a_category_has_pictures_that_belong_to_it_and_others() -> None:
    relation = bm.Category("bright", 0.95, brightness, minimum_quality=0)
    fixtures = Fixtures(VeryBright(relation))
    assert {fixtures.pool.matches(relation, one) for one in fixtures.pool.pictures} == {True, False}


def test_every_picture_that_a_design_is_handed_has_one_class() -> None:
    fixtures = Fixtures(oprf_psi.DESIGN)
    pool = [one.item for one in fixtures.pool.pictures]
    finder = DecoyFinder(Counterpart.of(fixtures.deployed, fixtures.rng("decoys")), pool)
    handed: list[bm.Item] = [one.item for one in (*fixtures.pool.pictures, *crowd(1))]
    handed += finder.decoys(handed[0], bm.Party.MATCHER)[0]
    assert {type(item) for item in handed} == {Picture}


def between(least: int, most: int) -> Callable[[About], bool]:
    return lambda about: least <= min(about.item.pixels.shape[:2]) <= max(about.item.pixels.shape[:2]) <= most


def grey(about: About) -> bool:
    pixels = about.item.pixels
    return bool((pixels[:, :, 0] == pixels[:, :, 1]).all() and about.item.quality > 50)


def few_colours(about: About) -> bool:
    return len(set(about.item.pixels[::7, ::7].reshape(-1, 3).sum(axis=1).tolist())) < 60 < about.item.quality


@pytest.mark.parametrize(
    "when",
    [
        between(600, 1_400),
        lambda about: max(about.item.pixels.shape) >= 4_000,
        lambda about: about.item.pixels.shape[:2] == (1920, 1080),
        grey,
        few_colours,
    ],
    ids=["sides of 600 to 1,400", "as large as a camera's", "a screenshot", "grey", "few colours"],
)
def test_the_hash_of_pictures_of_one_shape_or_kind_alone_is_found(when: Callable[[About], bool]) -> None:
    report = check_design(telling(when)(), Options(only=["relations"]))
    assert [result.check for result in report.failed] == ["relations"]


def test_the_hash_of_every_picture_but_those_of_one_small_size_is_found_as_well() -> None:
    kind = variant(
        PaddedPsi,
        padding=lambda _, about, rng: (
            NOTHING if about.item.pixels.shape[:2] == (SIDE, SIDE) else about.item.hash[:8]
        ),
    )
    report = check_design(kind(), Options(only=["egress"]))
    assert [result.check for result in report.failed] == ["egress"]
