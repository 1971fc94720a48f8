"""Kinds of pictures: the same everywhere, installed and generated apart, counted right."""

from __future__ import annotations

import json
from importlib.resources import files

import msgspec
import numpy as np
import pytest
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, distance
from blindmatch_simulations.evaluation.corpus import by_kind as kinds
from blindmatch_simulations.evaluation.corpus.hashing import print_of
from blindmatch_simulations.evaluation.corpus.installed import FACES, installed
from blindmatch_simulations.measure.results import ByKind, PairDistances
from blindmatch_simulations.testbed.pictures.crops import EDITS
from blindmatch_simulations.testbed.pictures.pool import GENERATED, drawing
from PIL import Image

Found = tuple[tuple[PairDistances, ...], tuple[ByKind, ...]]


@pytest.fixture(scope="module")
def found() -> Found:
    return kinds.by_kind(2, 5, 1, lambda *_: None)


def test_pictures_are_those_of_the_manifest() -> None:
    text = files("blindmatch_simulations").joinpath("data/corpus.json").read_text("utf-8")
    for row, expected in zip(kinds.manifest(), json.loads(text)["pictures"], strict=True):
        # another JPEG decoder may differ in a level and so in a bit
        slack = 4 if row["file"].endswith(".jpg") else 0
        assert distance(bytes.fromhex(row.pop("hash")), bytes.fromhex(expected.pop("hash"))) <= slack
        row.pop("version", None), expected.pop("version", None)
        assert row == expected and row["licence"]


@pytest.mark.parametrize("kind", GENERATED)
def test_a_generated_picture_follows_from_its_number_and_can_be_listed(kind: str) -> None:
    make = GENERATED[kind]
    one, again, other = (np.asarray(make(number)) for number in (5, 5, 6))
    assert (one == again).all() and (one != other).any()
    assert print_of(one).quality >= LEAST_QUALITY and one.shape[2] == 3


def test_installed_and_generated_pictures_stand_apart(found: Found) -> None:
    distances, rows = found
    assert [(one.kind, one.origin) for one in distances] == [(one.kind, one.origin) for one in rows]
    made = {one.kind: one for one in rows if one.origin == kinds.MADE}
    assert made.keys() == GENERATED.keys() and all(one.pictures == 5 for one in made.values())
    assert {one.kind for one in rows if one.origin == kinds.INSTALLED} >= {"photographs"}
    assert any(one.kind == FACES and one.row == 99 for one in installed(root=kinds.NOWHERE))


def test_pairs_and_intervals_are_of_the_pictures_there_are(found: Found) -> None:
    distances, rows = found
    for apart, row in zip(distances, rows, strict=True):
        assert apart.pairs == sum(apart.histogram) <= apart.pictures * (apart.pictures - 1) // 2
        assert row.false_matches.n == apart.pictures // 2
        assert row.recall_by_edit.keys() == {edit.name for edit in EDITS}
        each = [one.value for one in row.recall_by_edit.values()]
        assert row.recall.value == pytest.approx(np.mean(np.array(each, float)))
        assert row.recall_by_edit["identical"].value == 1.0
        assert row.recall_by_edit["flip"].value == (1.0 if row.kind == "clip art" else 0.0)  # a mirrored one
        assert row.recall.n == row.recall_by_edit["flip"].n == 1


def test_look_alikes_of_a_generator_are_false_matches_and_faint_pictures_are_poor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def alike(number: int) -> Image.Image:
        made = drawing(1)
        made.putpixel((number, 0), (0, 0, 0))
        made.paste((0, 0, 0), (0, 0, 30, 30 + 2 * number))
        return made if number else Image.new("RGB", (64, 64))

    monkeypatch.setattr(kinds, "GENERATED", {"alike": alike})
    (apart,), (row,) = kinds.by_kind(0, 4, 0, lambda *_: None)
    assert apart.pictures == 3 and apart.pairs == 3
    assert row.false_matches.value == 1.0 and row.poor.value == 0.25
    assert row.recall.value is None and row.tail.value is None


def test_nothing_is_looked_at_where_a_workload_asks_for_nothing() -> None:
    assert kinds.by_kind(0, 0, 0, lambda *_: None) == ((), ())


def test_a_row_of_a_kind_reads_back_as_it_was_written(found: Found) -> None:
    for row in found[1]:
        assert msgspec.json.decode(msgspec.json.encode(row), type=ByKind) == row
