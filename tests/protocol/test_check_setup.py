"""`check_setup`: what a device has accepted makes no step fail later, whatever the picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Match, NoMatch
from blindmatch_protocol.designs import oprf_psi, token_psi
from blindmatch_protocol.designs.deltas import (
    PREVIOUS_KIND,
    PUBLIC_KEY_KIND,
    REMOVED_KIND,
    SET_FILE,
    delta_file,
)
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import filter as membership
from blindmatch_protocol.sets import labels, store
from blindmatch_simulations.testbed.inprocess.deployed import OpenDesign, run_session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.memory import random_hashes
from support.set_files import altered, opened, resealed
from support.voprf_world import MATCHER, SMALL, Picture, published, setup_files, updated

ENTRIES = 30
ADDED = 4
LISTED = np.concatenate([random_hashes(ENTRIES, seed=1), random_hashes(ADDED, seed=100)])

Damage: TypeAlias = Callable[[bytes], bytes]
VALUES: dict[str, dict[str, int]] = {"labelled": {}, "filter": {"filter": 1}, "token": SMALL}
DESIGNS: dict[str, AnyDesign] = {
    "labelled": oprf_psi.DESIGN,
    "filter": oprf_psi.DESIGN,
    "token": token_psi.DESIGN,
}


@cache
def built(kind: str) -> dict[str, bytes]:
    """The files of a full set, and of a delta on it where the design has any."""
    name = DESIGNS[kind].info.name
    full = published(name, LISTED[:ENTRIES], **VALUES[kind])
    return full if kind == "filter" else updated(name, full, LISTED[ENTRIES:], removes=[2, 3])


def files(kind: str) -> dict[str, bytes]:
    """The set-up files."""
    return setup_files(built(kind))


def whole(kind: str, name: str, content: bytes | None = None) -> SetFile:
    """A file as it is, or with this content."""
    return opened(DESIGNS[kind], name, content or files(kind)[name])


def sections(kind: str) -> list[tuple[str, int, int]]:
    found = {name: whole(kind, name) for name in files(kind)}
    return [
        (name, *place) for name, file in found.items() for place in file.sections if file.row(*place).length
    ]


PLACES = [(kind, *place) for kind in DESIGNS for place in sections(kind)]


def check(kind: str, name: str, content: bytes) -> None:
    adopted(kind, name, content)


def adopted(kind: str, name: str, content: bytes) -> Any:
    """Adopt the set-up with another file in the place of `name`; a delta after it is made to continue it."""
    design = DESIGNS[kind]
    given = {**files(kind), name: content}
    later = delta_file(2)
    if name == SET_FILE and later in given:
        digest = whole(kind, name, content).digest
        given[later] = resealed(whole(kind, later), {(PREVIOUS_KIND, 0): digest})
    setup = design.open_setup(given)
    design.check_setup(setup)
    return setup


@pytest.mark.parametrize("kind", DESIGNS)
def test_a_sound_set_up_is_accepted_and_progress_counts_every_byte_of_its_sections(kind: str) -> None:
    design = DESIGNS[kind]
    calls = list[tuple[int, int]]()
    setup = design.open_setup(files(kind))
    design.check_setup(setup, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (calls[0][1],) * 2 and sorted(calls) == calls


@pytest.mark.parametrize(("kind", "name", "section", "index"), PLACES)
def test_a_section_under_a_wrong_digest_is_refused(kind: str, name: str, section: int, index: int) -> None:
    content = altered(whole(kind, name), files(kind)[name], section, index)
    with pytest.raises(SetFileError, match="altered"):
        check(kind, name, content)


def fnv1a(data: bytes) -> bytes:
    """The sum at the end of a map."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return found.to_bytes(8, "little")


def put(content: bytes, at: int, number: int, width: int = 4) -> bytes:
    """The content with a little-endian number at a place."""
    return content[:at] + number.to_bytes(width, "little") + content[at + width :]


def with_head(shard: bytes, at: int, number: int, words: int) -> bytes:
    """A shard whose first map has another number in its head, under a right sum."""
    end = 64 + (len(shard) - 64) // words
    changed = put(shard, 64 + at, number)
    return changed[: end - 8] + fnv1a(changed[64 : end - 8]) + changed[end:]


def shard_faults(words: int) -> dict[str, Damage]:
    return {
        "is no map": lambda raw: raw[:64] + bytes(len(raw) - 64),
        "has no segments": lambda raw: with_head(raw, 20, 0, words),
        "has segments of three cells": lambda raw: with_head(raw, 16, 3, words),
        "is of other keys": lambda raw: with_head(raw, 28, 7, words),
        "is one of two": lambda raw: raw[:12] + b"\0\0\0\1" + raw[16:],
        "has values of three words": lambda raw: raw[:27] + b"\3" + raw[28:],
        "is of version 1": lambda raw: raw[:11] + b"\1" + raw[12:],
        "is cut": lambda raw: raw[:-8],
    }


SAME: dict[int, dict[str, Damage]] = {
    labels.KIND: {"is cut": lambda raw: raw[:-1], "is longer": lambda raw: raw + bytes(88)},
    PUBLIC_KEY_KIND: {"is no element": lambda raw: b"\xff" * 32, "is cut": lambda raw: raw[:-1]},
    PREVIOUS_KIND: {"is of another file": lambda raw: bytes(32)},
    REMOVED_KIND: {"does not ascend": lambda raw: raw[8:] + raw[:8], "is not whole": lambda raw: raw[:-1]},
}
FAULTS: dict[str, dict[int, dict[str, Damage]]] = {
    "labelled": {**SAME, store.KIND: shard_faults(1)},
    "filter": {
        PUBLIC_KEY_KIND: SAME[PUBLIC_KEY_KIND],
        membership.KIND: {
            "starts late": lambda raw: put(raw, 64, 1, 8),
            "has one bucket too few": lambda raw: raw[:72] + b"\xff" + raw[73:],
            "has bits behind the last bucket": lambda raw: raw[:79] + bytes([raw[79] | 1]) + raw[80:],
            "is of other entries": lambda raw: raw[:23] + b"\1" + raw[24:],
            "is cut": lambda raw: raw[:-1],
        },
    },
    "token": {
        **SAME,
        store.KIND: shard_faults(2),
        ADDRESSES_KIND: {
            "has buckets out of order": lambda raw: put(raw, 4, 0xFFFF),
            "does not start at 0": lambda raw: put(raw, 0, 1),
            "has a bucket out of order": lambda raw: put(raw, 4 * DIRECTORY[len(raw)], 0xFFFFFFFF),
            "has more bits than labels": lambda raw: raw[:-4] + b"\xff" * 4,
            "is cut": lambda raw: raw[:-1],
        },
    },
}
DIRECTORY = {4 * (5 + ENTRIES) + 32: 5, 4 * (2 + ADDED) + 4: 2}
"""Numbers of a directory, by the length of an index."""
DAMAGED = [
    (kind, name, section, index, how)
    for kind, name, section, index in PLACES
    for how in FAULTS[kind][section]
]


def test_every_section_of_every_file_has_its_faults() -> None:
    for kind in DESIGNS:
        assert {section for _, section, _ in sections(kind)} == FAULTS[kind].keys()


@pytest.mark.parametrize(("kind", "name", "section", "index", "how"), DAMAGED)
def test_a_section_that_is_not_what_it_must_be_is_refused_under_a_right_digest(
    kind: str, name: str, section: int, index: int, how: str
) -> None:
    file = whole(kind, name)
    damaged = FAULTS[kind][section][how](bytes(file.section(section, index)))
    assert damaged != bytes(file.section(section, index))
    with pytest.raises(SetFileError):
        check(kind, name, resealed(file, {(section, index): damaged}))


@pytest.mark.parametrize(("kind", "name", "section", "index"), PLACES)
def test_a_missing_section_is_refused(kind: str, name: str, section: int, index: int) -> None:
    with pytest.raises(SetFileError):
        check(kind, name, resealed(whole(kind, name), {(section, index): None}))


@pytest.mark.parametrize("kind", DESIGNS)
def test_a_section_that_nothing_reads_is_refused(kind: str) -> None:
    for name in files(kind):
        for extra in (0x7FFF, PUBLIC_KEY_KIND):
            content = resealed(whole(kind, name), {}, extra=(extra, b"?"))
            with pytest.raises(SetFileError, match="does not belong in it"):
                check(kind, name, content)


def test_a_store_of_fewer_keys_than_belong_to_the_entries_is_refused() -> None:
    """One band less is a right store, but not this set's."""
    other = published("token-psi", LISTED[:ENTRIES], **{**VALUES["token"], "bands": 3})
    shard = bytes(whole("token", SET_FILE, other[SET_FILE]).section(store.KIND))
    file = whole("token", SET_FILE)
    with pytest.raises(SetFileError, match=r"number of keys|keys, not the"):
        check("token", SET_FILE, resealed(file, {(store.KIND, 0): shard}, items={store.KIND: 3 * ENTRIES}))


@pytest.mark.parametrize("count", [0, 1025])
def test_a_number_of_elements_that_no_request_has_is_refused(count: int) -> None:
    content = resealed(whole("filter", SET_FILE), {}, parameters={"evaluations": count})
    with pytest.raises(SetFileError, match="evaluations"):
        check("filter", SET_FILE, content)


# --- after it, no step fails ----------------------------------------------------------------------


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_was_accepted_makes_no_step_fail_whatever_the_picture(data: st.DataObject) -> None:
    """Bytes of any section change under right digests and sums; a set-up that is accepted answers all."""
    kind = data.draw(st.sampled_from(list(DESIGNS)))
    name, section, index = data.draw(st.sampled_from([p for p in sections(kind) if p[1] != PUBLIC_KEY_KIND]))
    file = whole(kind, name)
    content = bytearray(file.section(section, index))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    if section == store.KIND:
        summed(content, 2 if kind == "token" else 1)
    try:
        setup = adopted(kind, name, resealed(file, {(section, index): bytes(content)}))
    except SetFileError:
        return
    for hash_ in (LISTED[0], LISTED[-1], *random_hashes(2, seed=data.draw(st.integers(0, 99)))):
        outcome = matched(kind, setup, hash_.tobytes())
        assert isinstance(outcome, Match | NoMatch)


def summed(shard: bytearray, words: int) -> None:
    """Put the right sums into a shard's maps."""
    each = (len(shard) - 64) // words
    for end in range(64 + each, len(shard) + 1, each):
        shard[end - 8 : end] = fnv1a(bytes(shard[end - each : end - 8]))


def matched(kind: str, setup: Any, hash_: bytes) -> Any:
    """The outcome of a picture with this hash, on a reply that is verified."""
    states = {MATCHER: DESIGNS[kind].open_role(MATCHER, built(kind))}
    return run_session(OpenDesign(DESIGNS[kind], setup, states), Picture(hash_), seeded("device")).outcome
