"""What an endorser that holds both keys of slot-psi finds by building an epoch again."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract.publishing import EntryBatch
from blindmatch_protocol.crypto.oprf import Mode, SecretKey, generate_key_pair
from blindmatch_protocol.designs.slot_psi import files as kept
from blindmatch_protocol.designs.slot_psi import table as tables
from blindmatch_protocol.designs.slot_psi.build import SEED_TAG, Built, build
from blindmatch_protocol.designs.slot_psi.design import DESIGN
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.slot_psi.plan import places
from blindmatch_protocol.designs.slot_psi.rebuild import check_rebuilt
from blindmatch_protocol.designs.voprf.layout import HALVES
from blindmatch_protocol.group.rows import expand
from blindmatch_protocol.setfile import Identity, SetFile
from blindmatch_simulations.testbed.inprocess.deployed import MemoryWorkspace
from msgspec.structs import replace
from support.memory import random_hashes
from support.slot_world import FIRST, SECOND, batch

S = Slotting(k=16, bands=8, probes=8, slot_bits=9)
VALUES = {**S.values(), "account_pictures": 0, "day_pictures": 0, "year_pictures": 0, "key_expires": 0}
LISTED = batch(random_hashes(30))
VECTORS = Path(__file__).parents[1] / "vectors"


@cache
def honest() -> Built:
    return build(LISTED, FIRST, SECOND, S, 1)


def checked(made: Built, entries: EntryBatch = LISTED, second: SecretKey = SECOND) -> None:
    """Publish what was built, and build it again from a list and keys."""
    out = MemoryWorkspace()
    shares = HALVES.split(SECOND, seeded("shares"))
    identity = Identity(DESIGN.info.name, DESIGN.info.version, 1, VALUES)
    kept.write_files(made, identity, FIRST, SECOND, shares, out)
    files = out.files()
    content = SetFile(files["records.bin"], "records.bin", DESIGN.info.name, DESIGN.info.version, 1)
    check_rebuilt(DESIGN.open_setup(files), content, entries, FIRST, second)


def test_an_honest_epoch_is_built_again_to_the_byte() -> None:
    checked(honest())


def altered_table() -> Built:
    """A table of which one cell, that no token needs or that one does, has another bit: a ghost's, say."""
    shard = bytearray(honest().table[0])
    shard[tables._HEAD.size] ^= 0x80
    return replace(honest(), table=(bytes(shard), *honest().table[1:]))


def altered_position() -> Built:
    """Records of which an empty position holds something of the curator's."""
    records = honest().records.copy()
    seed = expand(SEED_TAG, 1, [FIRST.reveal() + SECOND.reveal()], 64).tobytes()
    full = places(len(LISTED), S, seed, 1) & (S.slots - 1)
    records[np.setdiff1d(np.arange(S.slots), full)[0], 5] ^= 1
    return replace(honest(), records=records)


def altered_tree() -> Built:
    tops = honest().tops.copy()
    tops[3, 0] ^= 1
    return replace(honest(), tops=tops)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (altered_table, r"set\.bin: the table"),
        (altered_position, r"records\.bin: the records"),
        (altered_tree, r"set\.bin: the records' tree"),
    ],
)
def test_a_cell_a_position_or_a_node_that_the_list_does_not_give_is_found(made: object, what: str) -> None:
    assert callable(made)
    with pytest.raises(SetFileError, match=what):
        checked(made())


def test_another_list_and_another_key_are_found() -> None:
    other = LISTED.hashes.copy()
    other[4] = random_hashes(1, seed=8)[0]
    with pytest.raises(SetFileError, match="the table is not what the list gives"):
        checked(honest(), batch(other))
    with pytest.raises(SetFileError, match="made of 30 entries, and the list has 29"):
        checked(honest(), batch(LISTED.hashes[:29]))
    with pytest.raises(SetFileError, match="the second key given is not the one"):
        checked(honest(), second=generate_key_pair(Mode.VOPRF, seeded("a third")))


def test_the_frozen_bytes_of_built_lists_come_out_again() -> None:
    """An endorser who has list and keys builds the same bytes with any release of one version."""
    for example in json.loads((VECTORS / "slot-psi-v1.json").read_text())["built"]:
        made = build(
            batch(random_hashes(example["entries"])), FIRST, SECOND, Slotting(**example["parameters"]), 1
        )
        parts = {"table": b"".join(made.table), "tops": made.tops, "records": made.records}
        assert {name: sha256(content).hexdigest() for name, content in parts.items()} == example["sha256"]
