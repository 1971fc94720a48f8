"""`check_setup`: what a device has accepted makes no step fail later, whatever the picture."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import store
from blindmatch_protocol.contract import AnyDesign, SetParameters, batches_of
from blindmatch_protocol.designs import oprf_psi, token_psi
from blindmatch_protocol.designs.deltas import PREVIOUS_KIND, SET_FILE, delta_file
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.randomness import seeded
from support.memory import MemoryWorkspace, random_hashes
from support.set_files import altered, opened, resealed

ENTRIES = 30
ADDED = 4
VALUES = {"labelled": {}, "filter": {"filter": 1}, "token": {"k": 24, "bands": 4, "probes": 2}}
DESIGNS: dict[str, AnyDesign] = {
    "labelled": oprf_psi.DESIGN,
    "filter": oprf_psi.DESIGN,
    "token": token_psi.DESIGN,
}


def source(count: int, first: int) -> Any:
    salts = np.frombuffer(seeded("salts").take(16 * count), np.uint8).reshape(count, 16)
    ids = np.arange(first, first + count, dtype=np.uint64)
    return batches_of(random_hashes(count, seed=first), ids, salts)


@cache
def files(kind: str) -> dict[str, bytes]:
    """The set-up files of a full set, and of a delta on it where the design has any."""
    design, out = DESIGNS[kind], MemoryWorkspace()
    made = design.publish(source(ENTRIES, 1), SetParameters(1, VALUES[kind]), seeded("k"), None, out)
    if kind == "filter":
        return out.files(made.setup)
    whole, out = {name: raw.getvalue() for name, raw in out.created.items()}, MemoryWorkspace()
    made = design.update(whole, source(ADDED, 100), [2, 3], out, seeded("none"))
    return out.files(made.setup)


def sections(kind: str) -> list[tuple[str, int, int]]:
    design = DESIGNS[kind]
    found = [
        (name, opened(name, raw, design.info.name, design.info.version)) for name, raw in files(kind).items()
    ]
    return [(name, *place) for name, file in found for place in file.sections if file.row(*place).length]


PLACES = [(kind, *place) for kind in DESIGNS for place in sections(kind)]


def check(kind: str, name: str, content: bytes) -> None:
    """Adopt the set-up with another file in the place of `name`; a delta after it is made to continue it."""
    design, given = DESIGNS[kind], {**files(kind), name: content}
    later = delta_file(2)
    if name == SET_FILE and later in given:
        digest = opened(name, content, design.info.name, design.info.version).digest
        file = opened(later, given[later], design.info.name, design.info.version)
        given[later] = resealed(file, {(PREVIOUS_KIND, 0): digest})
    design.check_setup(design.open_setup(given))


@pytest.mark.parametrize("kind", DESIGNS)
def test_a_sound_set_up_is_accepted_and_progress_counts_every_byte_of_its_sections(kind: str) -> None:
    design, calls = DESIGNS[kind], list[tuple[int, int]]()
    setup = design.open_setup(files(kind))
    design.check_setup(setup, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (calls[0][1],) * 2 and sorted(calls) == calls


@pytest.mark.parametrize(("kind", "name", "section", "index"), PLACES)
def test_a_section_under_a_wrong_digest_is_refused(kind: str, name: str, section: int, index: int) -> None:
    info, raw = DESIGNS[kind].info, files(kind)[name]
    file = opened(name, raw, info.name, info.version)
    with pytest.raises(SetFileError, match="altered"):
        check(kind, name, altered(file, raw, section, index))


@pytest.mark.parametrize(
    ("kind", "name"), [("labelled", "set.bin"), ("labelled", delta_file(2)), ("token", "set.bin")]
)
def test_a_shard_that_is_no_map_is_refused_before_any_picture(kind: str, name: str) -> None:
    info, raw = DESIGNS[kind].info, files(kind)[name]
    file = opened(name, raw, info.name, info.version)
    shard = bytes(file.section(store.KIND))
    with pytest.raises(SetFileError, match="no map"):
        check(kind, name, resealed(file, {(store.KIND, 0): shard[:64] + bytes(len(shard) - 64)}))
