"""Kinds of pictures: installed and generated ones are the same everywhere."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, distance
from blindmatch_simulations.evaluation.corpus.installed import FACES, installed
from blindmatch_simulations.testbed.pictures.pool import GENERATED

IN_MANIFEST = 8


def manifest() -> list[dict[str, Any]]:
    """Pictures of scikit-image, and the first generated ones of each kind: ``data/corpus.json``."""
    every = [("scikit-image", one.kind, one.licence, one.name, one.pixels()) for one in installed()]
    for kind, make in GENERATED.items():
        each = ((f"{kind} {number}", np.asarray(make(number))) for number in range(IN_MANIFEST))
        every += [("generated", kind, "Apache-2.0", name, pixels) for name, pixels in each]
    rows = dict[bytes, dict[str, Any]]()
    for package, kind, licence, file, pixels in every:
        found = Picture.from_pixels(pixels).fingerprint
        named = {"package": package, "kind": kind, "licence": licence, "file": file}
        rows.setdefault(found.hash, {**named, "hash": found.hash.hex(), "quality": found.quality})
    return list(rows.values())


def test_pictures_are_those_of_the_manifest() -> None:
    text = files("blindmatch_simulations").joinpath("data/corpus.json").read_text("utf-8")
    for row, expected in zip(manifest(), json.loads(text)["pictures"], strict=True):
        # another JPEG decoder may differ in a level and so in a bit
        slack = 4 if row["file"].endswith(".jpg") else 0
        assert distance(bytes.fromhex(row.pop("hash")), bytes.fromhex(expected.pop("hash"))) <= slack
        row.pop("version", None), expected.pop("version", None)
        assert row == expected and row["licence"]
    assert any(one.kind == FACES and one.row == 99 for one in installed())


@pytest.mark.parametrize("kind", GENERATED)
def test_a_generated_picture_follows_from_its_number_and_can_be_listed(kind: str) -> None:
    make = GENERATED[kind]
    one, again, other = (np.asarray(make(number)) for number in (5, 5, 6))
    assert (one == again).all() and (one != other).any()
    assert Picture.from_pixels(one).fingerprint.quality >= LEAST_QUALITY and one.shape[2] == 3
