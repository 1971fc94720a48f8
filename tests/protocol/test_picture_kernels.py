"""PDQ by machine code: the bits of numpy, tested before they are used, and no more memory."""

from __future__ import annotations

import json
import re
import runpy
import sys
import tracemalloc
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.group import BackendWarning
from blindmatch_protocol.picture import compiled, pdq
from blindmatch_protocol.picture.decode import decode
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite.binding", reason="the extra `fast` is not installed")

from blindmatch_protocol.group.jit import machine
from support.kernels import HERE

needs_avx2 = pytest.mark.skipif(not HERE, reason="this processor has no AVX2")
VECTORS = Path(__file__).parents[1] / "vectors"
RECIPES = runpy.run_path(str(VECTORS / "recipes.py"))


@cache
def made() -> compiled.Kernels:
    found = compiled.loaded()
    assert found is not None
    return found


@pytest.fixture
def unloaded() -> Iterator[None]:
    """Kernels are made anew in a test, and again behind it."""
    compiled.loaded.cache_clear()
    yield
    compiled.loaded.cache_clear()


def small(plane: pdq.Floats) -> pdq.Floats:
    return pdq.blurred(plane.__getitem__, *plane.shape, 64, (made().turn, made().slide))


def plane_of(kind: str, seed: int, height: int, width: int) -> pdq.Floats:
    rng = np.random.default_rng(seed)
    plane = (rng.random((height, width)) * 255).astype(np.float32)
    match kind:
        case "levels":
            return np.round(plane)
        case "flat":
            return np.full_like(plane, plane[0, 0])
        case "black and white":
            return np.where(plane > 127, np.float32(255), np.float32(0))
        case "one bright pixel":
            return np.where(plane == plane.max(), np.float32(255), np.float32(0))
        case "of all sizes":
            return np.exp2(plane - 140).astype(np.float32)
        case _:
            return plane


@needs_avx2
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["noise", "levels", "flat", "black and white", "one bright pixel", "of all sizes"]),
    st.integers(0, 2**32),
    st.integers(5, 700),
    st.integers(5, 700),
)
def test_the_blur_has_the_bits_of_numpy_for_any_plane(kind: str, seed: int, height: int, width: int) -> None:
    plane = plane_of(kind, seed, height, width)
    assert small(plane).tobytes() == pdq.thumbnail(plane).tobytes()


@needs_avx2
@pytest.mark.parametrize("height", [5, 6, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 257, 385])
def test_the_blur_has_the_bits_of_numpy_at_every_edge_of_lanes_groups_and_windows(height: int) -> None:
    for width in (5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 63, 64, 65, 127, 128, 129, 130, 256, 257, 385):
        for plane in (plane_of("noise", 1, height, width), plane_of("noise", 2, width, height).T):
            if plane.shape != (64, 64):  # which is taken as it is
                assert small(plane).tobytes() == pdq.thumbnail(plane).tobytes()


@needs_avx2
@pytest.mark.parametrize("shape", [(1300, 1700), (3000, 203), (197, 4001)])
def test_the_blur_has_the_bits_of_numpy_where_a_picture_takes_many_bands(shape: tuple[int, int]) -> None:
    plane = plane_of("noise", 3, *shape)
    assert small(plane).tobytes() == pdq.thumbnail(plane).tobytes()


@needs_avx2
def test_committed_vectors_come_out_of_the_kernels() -> None:
    data: dict[str, Any] = json.loads((VECTORS / "pdq.json").read_text())
    photos = {name: decode(RECIPES["photo_path"](name).read_bytes()).pixels for name in RECIPES["PHOTOS"]}
    shape = ("recipe", "seed", "height", "width")
    for row in (*data["generated"], *data["crops"]):
        pixels = (
            RECIPES["crop"](photos[row["photo"]], row["box"])
            if "photo" in row
            else RECIPES["generated"](**{name: row[name] for name in shape})
        )
        plane = pdq.luminance(pixels)
        found = pdq.fingerprint(small(plane) if min(plane.shape) >= pdq.LEAST_SIDE else plane)
        assert (found.hash.hex(), found.quality) == (row["hash"], row["quality"])


@needs_avx2
@settings(max_examples=40, deadline=None)
@given(st.integers(5, 300), st.integers(5, 300), st.integers(1, 320), st.booleans(), st.integers(0, 2**32))
def test_bands_of_any_height_give_the_bits_of_all_rows_at_once(
    height: int, width: int, at_once: int, quick: bool, seed: int
) -> None:
    plane = plane_of("noise", seed, height, width)
    by = (made().turn, made().slide) if quick else None
    found = pdq.blurred(plane.__getitem__, height, width, at_once, by)
    assert found.tobytes() == pdq.blurred(plane.__getitem__, height, width).tobytes()


@needs_avx2
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 40), st.integers(0, 2**32))
def test_distances_and_their_counts_are_those_of_numpy(rows: int, eights: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (rng.integers(0, 1 << 63, (count, 4), dtype=np.uint64) for count in (rows, 8 * eights))
    right[0] = left[-1]
    right[-1] = ~left[0]
    counts = np.zeros((8, 256), np.int64)
    for times in (1, 2):
        found = made().apart(left, np.ascontiguousarray(right.T), counts)
        apart = pdq.distances(left.view(np.uint8), right.view(np.uint8)).astype(np.uint8)
        assert (found == apart).all()
        assert (counts.sum(axis=0) == times * np.bincount(apart.ravel(), minlength=256)).all()


SUM = r"(%v\d+) = fadd (<8 x float> %v\d+, %v\d+)\n(.*\n)? +(%v\d+) = fsub <8 x float> \1, (%v\d+)"
PLANTED = {
    "a sum in another order": (SUM, None),
    "a product in the place of a quotient": ("fdiv <8 x float>", "fmul <8 x float>"),
    "a quotient that may be rounded": ("fdiv <8 x float>", "fdiv fast <8 x float>"),
    "two rows exchanged": ("<i32 0, i32 4, i32 1, i32 5>", "<i32 4, i32 0, i32 1, i32 5>"),
    "the last column left out": ("sub i64 %width, 4\n", "sub i64 %width, 5\n"),
    "the last row left out": ("sub i64 %count, 4\n", "sub i64 %count, 5\n"),
    "a word of eight hashes left out": ("xor <8 x i64> (%v\\d+), %v\\d+", "xor <8 x i64> \\1, \\1"),
    "a lane of eight not counted": ("i64 6144\n", "i64 4096\n"),
    "a count of two": ("(%v\\d+) = add i64 (%v\\d+), 1\n  store i64", "\\1 = add i64 \\2, 2\n  store i64"),
}


@needs_avx2
@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("name", list(PLANTED))
def test_kernels_that_compute_something_else_are_not_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, put = PLANTED[name]
    text = compiled.code().text()

    def subtracted_first(found: re.Match[str]) -> str:
        one, operands, between, other, leaving = found.groups()
        total, entering = operands.removeprefix("<8 x float> ").split(", ")
        first = f"{one} = fsub <8 x float> {total}, {leaving}"
        return f"{between.strip()}\n  {first}\n  {other} = fadd <8 x float> {one}, {entering}"

    altered, count = re.subn(pattern, subtracted_first if put is None else put, text)
    assert count
    monkeypatch.setattr(compiled, "code", lambda: SimpleNamespace(text=lambda: altered))
    monkeypatch.setattr(compiled, "_saved_ns", compiled.COMPILING_NS)
    plane = plane_of("noise", 4, 90, 70)
    with pytest.warns(BackendWarning, match="no kernels for pictures: .* differ.*numpy computes") as told:
        found = compiled.thumbnail(plane.__getitem__, *plane.shape)
    assert found.tobytes() == pdq.thumbnail(plane).tobytes()
    compiled.thumbnail(plane.__getitem__, *plane.shape)
    assert len(told) == 1, "it is said once"


@needs_avx2
@pytest.mark.usefixtures("unloaded")
def test_what_llvm_refuses_is_one_line_and_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "code", lambda: SimpleNamespace(text=lambda: "define void @blur("))
    with pytest.warns(BackendWarning, match="cannot be compiled"):
        assert compiled.loaded() is None


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("lacking", ["llvmlite", "AVX2"])
def test_without_llvmlite_or_avx2_numpy_computes_and_says_nothing(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking == "llvmlite":
        monkeypatch.setitem(sys.modules, "blindmatch_protocol.group.jit.machine", None)
    else:
        monkeypatch.setattr(machine, "target_for", lambda _: None)
    monkeypatch.setattr(compiled, "_saved_ns", compiled.COMPILING_NS)
    plane = plane_of("noise", 5, 97, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compiled.thumbnail(plane.__getitem__, *plane.shape)
    assert found.tobytes() == pdq.thumbnail(plane).tobytes()


def test_nothing_is_compiled_before_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()
    monkeypatch.setattr(compiled, "loaded", lambda: asked.append(compiled._saved_ns))
    monkeypatch.setattr(pdq, "thumbnail", lambda plane: plane)
    monkeypatch.setattr(compiled, "_saved_ns", 0)
    plane = plane_of("noise", 6, 480, 640)
    pictures = -(-compiled.COMPILING_NS // (compiled.PIXEL_NS * plane.size))
    for _ in range(pictures - 1):
        compiled.thumbnail(plane.__getitem__, 480, 640)
    assert not asked and pictures > 50
    compiled.thumbnail(plane.__getitem__, 480, 640)
    assert len(asked) == 1


def peak_bytes(height: int, width: int) -> int:
    row = plane_of("noise", 7, 1, width)
    tracemalloc.start()
    try:
        compiled.thumbnail(lambda part: row.repeat(len(range(height)[part]), axis=0), height, width)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@needs_avx2
def test_a_picture_of_twelve_megapixels_takes_a_few_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    made()
    monkeypatch.setattr(compiled, "_saved_ns", compiled.COMPILING_NS)
    assert peak_bytes(3000, 4000) < 6 << 20
    assert peak_bytes(7000, 7000) < 12 << 20


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", [(5, 200_000), (200_000, 5)])
def test_a_picture_like_a_thread_takes_the_memory_of_a_few_planes(
    shape: tuple[int, int], quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took 70 of them: a view of each row, and the 64 columns that decimation keeps of five."""
    monkeypatch.setattr(compiled, "_saved_ns", 1 << 62 if quick else -(1 << 62))
    planes = 8 if quick and compiled.loaded() else 12  # numpy has fixed buffers beside
    assert peak_bytes(*shape) < planes * 4 * 1_000_000


@needs_avx2
def test_no_kernel_fuses_calls_or_leaves_the_vectors_it_was_written_for() -> None:
    target = machine.host_target()
    assembly = machine.compiled(compiled.code().text(), target.cpu, target.features, assembly=True)
    assert "vdivps" in assembly and "vpopcnt" not in assembly
    assert not re.search(r"vfn?m(add|sub)|vrcp|\bcall", assembly)
