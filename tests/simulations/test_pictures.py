"""The demo's pictures and edits: what they promise, and that they are the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture, decode
from blindmatch_simulations.data import committed
from blindmatch_simulations.testbed.pictures import crops as pictures
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, EDITS, STRONG, Edit


@pytest.fixture(scope="module")
def standard() -> list[pictures.SamplePicture]:
    return pictures.crops(*pictures.STANDARD)


@pytest.fixture(scope="module")
def edited(standard: list[pictures.SamplePicture]) -> Callable[[str, int], bytes]:
    """The hash of a standard crop under an edit, by the edit's name and the crop's place."""
    return cache(lambda name, place: Picture.from_bytes(BY_NAME[name].apply(standard[place].data)).hash)


def test_the_standard_crops_are_those_of_the_manifest(standard: list[pictures.SamplePicture]) -> None:
    for row, held in zip(pictures.manifest(standard), committed("pictures")["pictures"], strict=True):
        expected = dict(held)
        # another JPEG decoder may differ in a level and so in a bit
        slack = 4 if row["source"].endswith(".jpg") else 0
        apart = (int(row.pop("hash"), 16) ^ int(expected.pop("hash"), 16)).bit_count()
        assert row == expected and apart <= slack


def test_crops_are_good_and_far_apart(standard: list[pictures.SamplePicture]) -> None:
    hashes = pdq.rows([picture.hash for picture in standard])
    apart = pdq.distances(hashes, hashes)[np.triu_indices(len(standard), 1)]
    assert apart.min() > 60
    assert min(picture.quality for picture in standard) >= 50
    assert len({picture.name for picture in standard}) == len(standard)


def test_a_crop_is_a_picture_file_of_its_box(standard: list[pictures.SamplePicture]) -> None:
    for sample in standard[:11]:
        picture = Picture.from_bytes(sample.data)
        assert picture.pixels.shape == (*sample.box[2:], 3)
        assert (picture.hash, picture.quality) == (sample.hash, sample.quality)
        assert sample.licence and "PNG" not in repr(sample) and sample.hash.hex()[:8] not in repr(sample)


def test_a_shorter_list_is_the_start_of_a_longer_one(standard: list[pictures.SamplePicture]) -> None:
    few = pictures.crops(5, pictures.STANDARD[1])
    assert few == standard[:5]
    assert pictures.crops(0, 1) == []
    assert pictures.crops(3, 2)[0].box != few[0].box


def test_too_many_crops_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_TRIES_PER_PICTURE", 1)
    monkeypatch.setattr(pictures, "LEAST_APART", 256)
    with pytest.raises(ValueError, match="only 1 of 4 crops"):
        pictures.crops(4, 1)


def test_there_are_enough_edits_with_names_of_their_own() -> None:
    assert len(EDITS) == len(BY_NAME), "an edit is known by its name alone"
    assert all(edit.note for edit in EDITS)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_is_deterministic_and_changes_what_it_says(
    edit: Edit, standard: list[pictures.SamplePicture]
) -> None:
    for sample in (standard[0], standard[3]):  # in colour, so that losing it shows
        data = edit.apply(sample.data)
        assert data == edit.apply(sample.data)
        assert (data == sample.data) == (edit.name == "identical")
        before, after = (decode(one).pixels for one in (sample.data, data))
        assert after.shape[:2] == _expected_size(edit.name, sample.box[2:])
        if edit.name != "identical" and after.shape == before.shape:
            assert (after != before).any()


def distances(
    edited: Callable[[str, int], bytes], name: str, standard: list[pictures.SamplePicture]
) -> npt.NDArray[np.int32]:
    """How far each of these crops is from itself under the edit called `name`."""
    after = pdq.rows([edited(name, place) for place in range(len(standard))])
    return pdq.distances(after, pdq.rows([sample.hash for sample in standard])).diagonal()


def test_mild_edits_leave_most_pictures_within_pdqs_distance(
    standard: list[pictures.SamplePicture], edited: Callable[[str, int], bytes]
) -> None:
    for name in ("jpeg-90", "jpeg-50", "webp-75", "resize-0.75", "greyscale", "noise"):
        apart = distances(edited, name, standard[:8])
        assert np.count_nonzero(apart <= pdq.MATCH_DISTANCE) >= 7


def test_strong_edits_hide_most_pictures_from_pdq(
    standard: list[pictures.SamplePicture], edited: Callable[[str, int], bytes]
) -> None:
    for edit in STRONG:
        apart = distances(edited, edit.name, standard[:12])
        assert np.count_nonzero(apart <= pdq.MATCH_DISTANCE) <= 6, edit.name


def test_some_edits_hide_every_picture_from_pdq(
    standard: list[pictures.SamplePicture], edited: Callable[[str, int], bytes]
) -> None:
    for name in ("border", "status-bar", "crop-5%", "flip"):
        assert distances(edited, name, standard[:12]).min() > pdq.MATCH_DISTANCE, name


@pytest.mark.parametrize(
    "edit", [edit for edit in EDITS if edit.name != "identical"], ids=lambda edit: edit.name
)
def test_an_edit_of_no_picture_is_a_picture_error(edit: Edit) -> None:
    with pytest.raises(PictureError):
        edit.apply(b"no picture")


def _expected_size(name: str, size: tuple[int, ...]) -> tuple[int, ...]:
    if name.startswith("resize-"):
        return tuple(round(side * float(name.removeprefix("resize-"))) for side in size)
    if name.startswith("crop-"):
        share = float(name.removeprefix("crop-").removesuffix("%")) / 200
        return tuple(side - 2 * round(side * share) for side in size)
    if name == "border":
        return tuple(side + 20 for side in size)
    return (size[0] + max(8, size[0] // 16), size[1]) if name == "status-bar" else size
