"""Lists of random hashes, of hashes at hand, and of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.curator import (
    ListError,
    Reason,
    inspect,
    list_hashes,
    list_pictures,
    open_list,
    random_hashes,
    random_list,
)
from PIL import Image


def test_random_hashes_have_exactly_128_ones_and_differ(rng: Any) -> None:
    hashes = random_hashes(20_000, rng)
    assert (hashes.shape, hashes.dtype) == ((20_000, 32), np.uint8)
    assert set(np.unpackbits(hashes, axis=1).sum(axis=1).tolist()) == {128}
    assert len({row.tobytes() for row in hashes}) == 20_000
    shares = np.unpackbits(hashes, axis=1).mean(axis=0)
    assert abs(shares - 0.5).max() < 0.025


def test_a_random_list_is_inspected_as_balanced(rng: Any, into: Path) -> None:
    summary = random_list(5000, into, rng)
    seen = inspect(open_list(into))
    assert (seen.entries, seen.ones_least, seen.ones_most, seen.not_half) == (5000, 128, 128, 0)
    assert (seen.first_id, seen.last_id, seen.next_id) == (1, 5000, 5001)
    assert (seen.digest, seen.source_formats, seen.name) == (summary.digest, ("hashes",), "known")
    assert seen.size_bytes == into.stat().st_size
    assert 0.45 < seen.bit_least < 0.5 < seen.bit_most < 0.55


def test_bad_hashes_at_hand_are_rejected_by_row(rng: Any, into: Path) -> None:
    hashes = random_hashes(5, rng)
    hashes[1] = 0
    hashes[3] = 255
    summary = list_hashes(hashes, into, rng)
    assert summary.rejected == {Reason.HASH_ALL_ZERO: 1, Reason.HASH_UNBALANCED: 1}
    assert summary.entries == 3


@pytest.mark.parametrize("shape", [(3, 31), (32,)])
def test_a_matrix_of_another_shape_is_refused(rng: Any, into: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ListError, match="32 columns"):
        list_hashes(np.zeros(shape, np.uint8), into, rng)


def test_no_hashes_at_all_is_an_error(rng: Any, into: Path) -> None:
    with pytest.raises(ListError, match="nothing valid to import"):
        list_hashes(np.zeros((0, 32), np.uint8), into, rng)


def test_pictures_are_added_to_a_list_and_bad_ones_rejected(rng: Any, into: Path) -> None:
    random_list(10, into, rng)
    noise = np.random.default_rng(5).integers(0, 255, (8, 8, 3), np.uint8)
    good, flat, broken = (into.with_name(name) for name in ("good.png", "flat.png", "broken.png"))
    Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC).save(good)
    Image.new("RGB", (256, 256), (9, 9, 9)).save(flat)
    broken.write_bytes(b"no picture")
    seen: list[tuple[int, int]] = []
    summary = list_pictures(
        [good, flat, broken], into, rng, onto=open_list(into), progress=lambda *step: seen.append(step)
    )
    assert (summary.entries, summary.added) == (11, 1)
    assert summary.rejected == {Reason.LOW_QUALITY: 1, Reason.UNREADABLE_PICTURE: 1}
    assert open_list(into).hashes[10].tobytes() == Picture.from_bytes(good.read_bytes()).hash
    assert seen[-1] == (3, 3)
