"""What the files alone tell: nothing of an entry that comes back, and nothing of a lone hit, at any size.

Both distinguishers are played against the derivations of version 1 as well, where they must win.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.crypto.oprf import evaluate_rows
from blindmatch_protocol.designs.token_psi import build as token_build
from blindmatch_protocol.designs.token_psi import shares
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND, Layer, bucket_bits
from blindmatch_protocol.designs.token_psi.shares import candidates
from blindmatch_protocol.designs.token_psi.tokens import band_bits, entry_tokens
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.rowwise import expand
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import labels, store
from blindmatch_protocol.sets.fuse_map import Cells
from support.memory import random_hashes
from support.voprf_world import DESIGNS, LISTED, MATCHER, opened, published, updated

BANDS = 10
NAME = "token-psi"
FULL = {"bands": BANDS, "probes": 1}
VALUES: dict[str, dict[str, int]] = {
    "oprf-psi": {},
    "token-psi": FULL,
    "wide-psi": {"bands": 6, "probes": 1},
}


# --- an entry that comes back ---------------------------------------------------------------------


def without_epoch(tag: bytes, epoch: int, rows: Rows, length: int) -> Rows:
    """The derivation of version 1: the same in the files of all epochs."""
    return expand(tag, 0, rows, length)


def empty(cells: Cells, word: int, count: int) -> npt.NDArray[np.uint64]:
    """Cells of version 1: those that no key needs are zero."""
    return np.zeros(count, np.uint64)


def numbers(file: SetFile, kind: int, dtype: str) -> npt.NDArray[Any]:
    content = bytes(file.section(kind))
    size = np.dtype(dtype).itemsize
    return np.frombuffer(content[: len(content) // size * size], dtype)


def cells_of(file: SetFile) -> npt.NDArray[np.uint64]:
    """All cells of a store of one shard, without the heads and sums of its maps."""
    body = bytes(file.section(store.KIND))
    words = store.HEADER.unpack(body[: store.HEADER.size])[4]
    maps = np.frombuffer(body[store.HEADER.size :], "<u8").reshape(words, -1)
    return maps[:, 4:-1].reshape(-1)


def addresses_of(file: SetFile) -> npt.NDArray[np.uint64]:
    """The first 32 bits of the addresses of all labels."""
    bits = bucket_bits(file.entries)
    index = numbers(file, ADDRESSES_KIND, "<u4").astype(np.uint64)
    directory = index[: (1 << bits) + 1].astype(np.int64)
    buckets = np.repeat(np.arange(1 << bits, dtype=np.uint64), np.diff(directory))
    found: npt.NDArray[np.uint64] = (buckets << 32 | index[len(directory) :][: file.entries]) >> bits
    return found


def belonging(old: SetFile, new: SetFile) -> dict[str, int]:
    """How many things in the two files belong together: records with as many bytes in common as no two
    keystreams have by chance (12 of 88: 2^-40 for all pairs), cells that hold numbers under one mask."""
    rows = [numbers(file, labels.KIND, "u1").reshape(-1, labels.record_bytes(0)) for file in (old, new)]
    alike = (rows[0][:, None] == rows[1][None]).sum(axis=2)
    cells = [cells_of(file) >> np.uint64(24) for file in (old, new)]
    found = {"labels": int((alike >= 12).sum()), "cells": len(np.intersect1d(*cells))}
    if old.count(ADDRESSES_KIND):
        found["addresses"] = len(np.intersect1d(*map(addresses_of, (old, new))))
    return found


def relisted(name: str, as_it_was: bool) -> dict[str, int]:
    """What belongs together in the full set and in the delta that lists its first entry again."""
    files = updated(name, published(name, LISTED, **VALUES[name]), removes=[1])
    number, salts = (1, "salts") if as_it_was else (100, "other salts")
    layers = opened(name, updated(name, files, LISTED[:1], number, salts=salts)).setup.layers
    return belonging(layers[0].file, layers[-1].file)


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("as_it_was", [True, False])
def test_an_entry_that_comes_back_has_nothing_in_common_with_what_it_was(name: str, as_it_was: bool) -> None:
    assert not any(relisted(name, as_it_was).values())


@pytest.mark.parametrize("name", DESIGNS)
def test_under_the_derivation_of_version_1_it_is_recognised(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowwise, "expand", without_epoch)
    monkeypatch.setattr(shares, "_address_key", lambda epoch: bytes(16))
    monkeypatch.setattr(Cells, "__call__", empty)
    assert all(relisted(name, as_it_was=True).values())


# --- lone hits -----------------------------------------------------------------------------------


def read(layer: Layer, key: Any, hashes: Rows) -> tuple[npt.NDArray[np.uint64], Rows]:
    """What a layer's store reads for the tokens of hashes, and the values behind it."""
    outputs = evaluate_rows(key, token_build.oprf_input_rows(entry_tokens(hashes, 24, BANDS)))
    keys = shares.token_keys(outputs, layer.epoch)
    return layer.store.lookup(keys.store_keys), layer.values(keys)


def layer_of(files: dict[str, bytes]) -> tuple[Layer, Any]:
    """The last layer of a set, and the matcher's key."""
    place = opened(NAME, files)
    return place.setup.layers[-1], place.states[MATCHER].key


def look_ups(entries: int, layers: int) -> tuple[list[Any], list[Any]]:
    """Raw words and values of hits and of misses in so many deltas of `entries` entries."""
    raw: tuple[list[Any], list[Any]] = ([], [])
    values: tuple[list[Any], list[Any]] = ([], [])
    files = published(NAME, LISTED[:2], **FULL)
    for number in range(layers):
        own = random_hashes(entries, seed=1000 + number)
        layer, key = layer_of(updated(NAME, files, own, salts=f"salts {number}"))
        for side, hashes in enumerate((own, random_hashes(entries, seed=5000 + number))):
            words, behind = read(layer, key, hashes)
            raw[side].append(words)
            values[side].append(behind)
    return [np.concatenate(side) for side in raw], [np.concatenate(side) for side in values]


def unlike(hits: Rows, misses: Rows) -> float:
    """Chi-square of the two samples' bytes, over its degrees of freedom: 1 on average if they are alike."""
    counts = np.stack([np.bincount(side.reshape(-1), minlength=256) for side in (hits, misses)])
    expected = counts.sum(axis=0) / 2
    return float(((counts - expected) ** 2 / np.maximum(expected, 1)).sum() / 255)


SIZES = [(1, 24), (10, 3), (100, 1)]
"""Entries of a delta, and deltas: 10, 100 and 1,000 keys a store."""


@pytest.mark.parametrize(("entries", "layers"), SIZES)
def test_a_lone_hit_and_a_miss_read_alike_in_deltas_of_any_size(entries: int, layers: int) -> None:
    (hit, missed), (found, others) = look_ups(entries, layers)
    assert not (hit == 0).any() and not (missed == 0).any()
    # 255 degrees of freedom: beyond 1.45 with a chance of about 2^-20
    assert unlike(hit.view(np.uint8), missed.view(np.uint8)) < 1.45
    assert unlike(found, others) < 1.45


@pytest.mark.parametrize(("entries", "layers", "share"), [(1, 24, 0.3), (10, 3, 0.05), (100, 1, 0.005)])
def test_with_empty_cells_misses_show_and_the_more_so_the_smaller_a_delta_is(
    entries: int, layers: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cells, "__call__", empty)
    (hit, missed), _ = look_ups(entries, layers)
    assert not (hit == 0).any()
    assert (missed[:, 0] == 0).mean() > share
    assert unlike(hit.view(np.uint8), missed.view(np.uint8)) > 1.45 or entries == 100


def test_only_members_of_one_family_that_differ_in_a_band_show_in_it_as_declared() -> None:
    """They have one polynomial, so both tokens have one value: whoever asks for both sees that alone."""

    def alike(hashes: Rows) -> int:
        """Hashes of which a band's token, and the one beside it, have one value."""
        beside = hashes.copy()
        beside[:, bit // 8] ^= np.uint8(128 >> bit % 8)
        values = [read(layer, key, some)[1].reshape(-1, BANDS, 16)[:, 0] for some in (hashes, beside)]
        return int((values[0] == values[1]).all(axis=1).sum())

    bit = int(band_bits(24, BANDS)[0, 0])
    near = LISTED[:8].copy()
    near[:, bit // 8] ^= np.uint8(128 >> bit % 8)
    layer, key = layer_of(published(NAME, np.concatenate([LISTED, near]), **FULL))
    assert alike(LISTED[:8]) == 8 and alike(LISTED[8:]) == 0 and alike(random_hashes(8, seed=9)) == 0


def test_a_token_that_went_to_another_family_shows_to_whoever_opened_the_entry_as_declared() -> None:
    band = band_bits(24, BANDS)[0]
    bits = np.unpackbits(random_hashes(8, seed=50), axis=1)
    bits[:, band] = np.unpackbits(LISTED[:8], axis=1)[:, band]
    listed = np.concatenate([np.packbits(bits, axis=1), LISTED])
    layer, key = layer_of(published(NAME, listed, **FULL))
    values = read(layer, key, LISTED)[1].reshape(-1, BANDS, 1, 16)
    secrets = [candidates(found, 2) for found in values]
    # of bands 0 and 1, and of bands 1 and 2
    lost = [(each[0] != each[BANDS - 1]).any() for each in secrets]
    assert lost == [True] * 8 + [False] * 16
