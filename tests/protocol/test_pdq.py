"""PDQ against the reference's vectors, and its properties."""

from __future__ import annotations

import json
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture, decode
from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[1] / "vectors"
RECIPES = runpy.run_path(str(VECTORS / "recipes.py"))
HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=8)
DATA: dict[str, Any] = json.loads((VECTORS / "pdq.json").read_text())


@cache
def photo(name: str) -> pdq.Pixels:
    return decode(RECIPES["photo_path"](name).read_bytes()).pixels


def check(row: dict[str, Any], pixels: pdq.Pixels) -> None:
    assert RECIPES["digest"](pixels) == row["pixels_sha256"], "the picture is not the one the vector is for"
    found = pdq.fingerprint(pdq.luminance(pixels))
    assert (found.hash.hex(), found.quality) == (row["hash"], row["quality"])


def test_the_vector_file_has_the_fields_it_is_read_with_and_no_other() -> None:
    assert set(DATA) == {"about", "made_with", "generated", "crops"}
    common = {"pixels_sha256", "hash", "quality"}
    assert all(set(row) == common | {"recipe", "seed", "height", "width"} for row in DATA["generated"])
    assert all(set(row) == common | {"photo", "box"} for row in DATA["crops"])
    assert (len(DATA["generated"]), len(DATA["crops"])) == (200, 104)


@pytest.mark.parametrize("recipe", list(RECIPES["RECIPES"]))
def test_generated_pictures_have_the_reference_hash_and_quality(recipe: str) -> None:
    rows = [row for row in DATA["generated"] if row["recipe"] == recipe]
    assert rows
    for row in rows:
        shape = {name: row[name] for name in ("recipe", "seed", "height", "width")}
        check(row, RECIPES["generated"](**shape))


@pytest.mark.parametrize("name", RECIPES["PHOTOS"])
def test_crops_of_photographs_have_the_reference_hash_and_quality(name: str) -> None:
    rows = [row for row in DATA["crops"] if row["photo"] == name]
    assert rows
    for row in rows:
        check(row, RECIPES["crop"](photo(name), row["box"]))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(set(RECIPES["RECIPES"]) - {"flat", "mirrored"})),
    st.integers(0, 2**32),
    st.integers(5, 150),
    st.integers(5, 150),
)
def test_a_bit_is_one_exactly_where_its_coefficient_is_above_the_median(
    recipe: str, seed: int, height: int, width: int
) -> None:
    found = pdq.fingerprint(pdq.luminance(RECIPES["generated"](recipe, seed, height, width)))
    bits = np.unpackbits(np.frombuffer(found.hash, np.uint8))
    assert found.coefficients.shape == (256,) and found.coefficients.dtype == np.float32
    assert ((found.coefficients > 0) == bits).all()
    assert (found.coefficients == 0).any(), "the median is a coefficient of its own"
    assert bits.sum() <= 128 and 0 <= found.quality <= 100


def test_half_of_a_photographs_bits_are_ones() -> None:
    for name in RECIPES["PHOTOS"]:
        bits = np.unpackbits(np.frombuffer(pdq.fingerprint(pdq.luminance(photo(name))).hash, np.uint8))
        assert bits.sum() == 128


def test_the_least_reliable_bits_are_the_ones_that_an_edit_flips() -> None:
    plane = pdq.luminance(photo("coffee.png"))
    before = pdq.fingerprint(plane)
    after = pdq.fingerprint(plane[4:-4, 4:-4])
    flipped = (before.coefficients > 0) != (after.coefficients > 0)
    assert 0 < flipped.sum() <= pdq.MATCH_DISTANCE
    reliability = np.abs(before.coefficients)
    assert np.median(reliability[flipped]) < np.median(reliability) / 2


def test_every_colours_luminance_is_the_float64_sum_rounded_once() -> None:
    red, green = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), indexing="ij")
    for blue in range(256):
        pixels = np.dstack([red, green, np.full_like(red, blue)])
        expected = (0.299 * red + 0.587 * green + 0.114 * blue).astype(np.float32)
        assert (pdq.luminance(pixels) == expected).all()


def slid(lines: pdq.Floats) -> pdq.Floats:
    """Means over the window along axis 0, every sum and division rounded as the reference rounds it."""
    count = len(lines)
    window = (len(lines) + 127) // 128
    total = np.zeros_like(lines[0])
    covered = 0
    means = []
    for enters in range(count + window // 2):
        if enters < count:
            total = total + lines[enters]
            covered = covered + 1
        if enters >= window:
            total = total - lines[enters - window]
            covered = covered - 1
        if enters >= window // 2:
            means.append(total / np.float32(covered))
    return np.array(means)


@pytest.mark.parametrize(
    ("shape", "recipe"),
    [((5, 300), 0), ((200, 7), 1), ((97, 64), 2), ((129, 257), 3), ((640, 480), 4), ((480, 640), 5)],
)
def test_blur_and_transform_add_in_the_references_order(shape: tuple[int, int], recipe: int) -> None:
    plane = pdq.luminance(RECIPES["generated"](list(RECIPES["RECIPES"])[recipe], 1, *shape))
    blurred = slid(slid(slid(slid(plane.T).T).T).T)
    rows, columns = ([int((at + 0.5) * side / 64) for at in range(64)] for side in shape)
    small = blurred[np.ix_(rows, columns)]
    cosines = pdq._dct_matrix()
    half = np.add.accumulate(cosines[:, :, None] * small[:, None], axis=0)[-1]
    whole = np.add.accumulate(half.T[:, :, None] * cosines[:, None], axis=0)[-1]
    assert pdq.thumbnail(plane).tobytes() == small.tobytes()
    assert pdq.transform(small).tobytes() == whole.tobytes()


def test_memory_layout_does_not_matter() -> None:
    pixels = photo("chelsea.png")
    whole = pdq.fingerprint(pdq.luminance(pixels))
    for other in (np.asfortranarray(pixels), np.repeat(pixels, 2, axis=2)[:, :, ::2]):
        assert pdq.fingerprint(pdq.luminance(other)).hash == whole.hash
    before = pdq.luminance(pixels)
    pdq.fingerprint(before)
    assert (before == pdq.luminance(pixels)).all(), "the input was written to"


@pytest.mark.parametrize("shape", [(4, 100), (100, 4), (1, 1)])
def test_a_picture_too_small_for_pdq_has_quality_zero(shape: tuple[int, int]) -> None:
    found = pdq.fingerprint(np.full(shape, 9, np.float32))
    assert (found.hash, found.quality) == (bytes(32), 0)
    assert not found.coefficients.any()


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)],
)
def test_other_shapes_and_dtypes_are_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match="shape"):
        pdq.luminance(pixels)


def test_a_luminance_that_is_no_plane_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        pdq.fingerprint(np.zeros((8, 8, 3), np.float32))


def test_a_picture_computes_each_view_once_and_shows_none() -> None:
    picture = Picture.from_bytes(RECIPES["photo_path"]("coffee.png").read_bytes())
    assert picture.pixels is picture.pixels and picture.luminance is picture.luminance
    assert picture.coefficients is picture.coefficients and len(picture.hash) == 32
    assert picture.quality == 100
    assert picture.luminance.shape == picture.pixels.shape[:2] and picture.luminance.dtype == np.float32
    for shown in (repr(picture), repr(picture.fingerprint)):
        assert picture.hash.hex()[:8] not in shown and repr(picture.hash)[2:10] not in shown
    assert Picture.from_pixels(picture.pixels).hash == picture.hash
    with pytest.raises(ValueError, match="bytes or from pixels"):
        Picture()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.binary(min_size=32, max_size=32), max_size=8),
    st.lists(st.binary(min_size=32, max_size=32), max_size=8),
)
def test_distances_count_the_bits_that_differ(left: list[bytes], right: list[bytes]) -> None:
    found = pdq.distances(pdq.rows(left), pdq.rows(right))
    expected = [
        [(int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count() for b in right] for a in left
    ]
    assert found.shape == (len(left), len(right)) and found.tolist() == expected
    pairs = pdq.near_pairs(pdq.rows(left), pdq.rows(right), 120).tolist()
    assert pairs == [[i, j] for i, row in enumerate(expected) for j, d in enumerate(row) if d <= 120]


def test_many_distances_are_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    left = RECIPES["Stream"](1).bytes(97, 32)
    whole = pdq.distances(left, left)
    pairs = pdq.near_pairs(left, left, 110)
    monkeypatch.setattr(pdq, "_WORK_BYTES", 5 * 20 * 97)
    assert (pdq.distances(left, left) == whole).all() and not whole.diagonal().any()
    assert (pdq.near_pairs(left, left, 110) == pairs).all() and len(pairs) >= 97


def test_hashes_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        pdq.rows([b"short"])
    with pytest.raises(ValueError, match="32"):
        pdq.distances(np.zeros((2, 16), np.uint8), np.zeros((2, 32), np.uint8))
