"""The centre's keyed hash: deterministic, secret, independent of PDQ, and apart for different pictures."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.centre.keys import SAME_PICTURE, KeyedHasher, distance
from blindmatch_simulations.testbed.pictures.crops import EDITS, MILD, Edit, SamplePicture, crops
from support.hash_study import measure

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def pictures() -> list[SamplePicture]:
    return crops(12, 3)


@pytest.fixture(scope="module")
def hasher() -> KeyedHasher:
    return KeyedHasher(KEY)


def test_the_hash_under_a_fixed_key_stays_what_it_was(hasher: KeyedHasher) -> None:
    rows, columns = np.mgrid[0:80, 0:120]
    plane = ((rows * rows + 3 * rows * columns + 7 * columns) % 251).astype(np.float32)
    assert hasher.hash(plane).hex() == ("fab9f30ff397200484d21a549c732850db10b87acead98032df8645bba2aef43")


def test_another_key_gives_an_unrelated_hash(hasher: KeyedHasher, pictures: list[SamplePicture]) -> None:
    other = KeyedHasher(KEY[::-1])
    for picture in pictures:
        plane = Picture.from_bytes(picture.data).luminance
        assert distance(hasher.hash(plane), other.hash(plane)) > 80


def test_it_is_independent_of_pdq(hasher: KeyedHasher, pictures: list[SamplePicture]) -> None:
    against = [
        distance(hasher.hash(Picture.from_bytes(picture.data).luminance), picture.hash)
        for picture in pictures
    ]
    assert 100 < np.mean(against) < 156


@pytest.mark.parametrize("edit", MILD, ids=lambda edit: edit.name)
def test_a_mildly_edited_picture_is_the_same_picture(
    edit: Edit, hasher: KeyedHasher, pictures: list[SamplePicture]
) -> None:
    for picture in pictures[:4]:
        before, after = (
            Picture.from_bytes(data).luminance for data in (picture.data, edit.apply(picture.data))
        )
        assert distance(hasher.hash(before), hasher.hash(after)) <= SAME_PICTURE


def test_different_pictures_are_told_apart(hasher: KeyedHasher, pictures: list[SamplePicture]) -> None:
    hashes = [hasher.hash(Picture.from_bytes(picture.data).luminance) for picture in pictures]
    apart = [distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > SAME_PICTURE and 115 < np.mean(apart) < 141


def test_the_measurement_counts_every_pair_once(hasher: KeyedHasher, pictures: list[SamplePicture]) -> None:
    found = measure(pictures[:3], [hasher, KeyedHasher(KEY[::-1])])
    assert set(found.edits) == {edit.name for edit in EDITS}
    assert all(len(values) == 6 for values in found.edits.values())
    assert len(found.other) + len(found.overlapping) == 2 * 3
    assert not found.edits["identical"].any()


def test_pictures_of_any_size_have_a_hash(hasher: KeyedHasher) -> None:
    for shape in ((1, 1), (3, 500), (31, 33), (64, 64)):
        assert len(hasher.hash(np.ones(shape, np.float32))) == 32


def test_the_key_is_not_shown(hasher: KeyedHasher) -> None:
    assert repr(hasher) == "<KeyedHasher>" and not hasattr(hasher, "__dict__")
    with pytest.raises(ValueError, match="32 bytes") as caught:
        KeyedHasher(b"a secret that is too short")
    assert "secret" not in str(caught.value)


def test_bad_inputs_are_refused(hasher: KeyedHasher) -> None:
    for plane in (np.zeros((0, 4), np.float32), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(ValueError, match="shape"):
            hasher.hash(plane)
    with pytest.raises(ValueError, match="32 bytes"):
        distance(bytes(32), bytes(31))
