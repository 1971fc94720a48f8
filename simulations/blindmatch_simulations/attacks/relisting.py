"""A device looks, in the files alone, for an entry that was removed and is listed again under the same key.

    epoch 1   a list          epoch 2   one entry removed          epoch 3   the same hash, or a new one

It compares what the full set and the newest delta hold: sealed labels (two under one key and nonce are equal
wherever what they seal is, and else give its XOR: of ids and salts), cells of the store (that hold the same
masked value, or one that differs by a label's number), and the index of addresses. The entry comes back with
another id and salt, as the list tools do it, or as it was.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol import labels, rowwise, store
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.rowwise import expand
from blindmatch_protocol.setfile import SetFile

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, Played, advantages, won
from blindmatch_simulations.inprocess.deployed import entry_id, opened, update

ENTRIES: Final = 12
TRIALS: Final = 96
LEAST_EQUAL: Final = 12
"""Bytes at the same places that two records of independent keys have in common with a chance of 2^-50."""
NUMBER_BITS: Final = 24
"""Cells that differ in these low bits alone may hold the numbers of two labels under one mask."""
WAYS: Final = {"with another id and salt": False, "as it was": True}


def run(arena: Arena) -> Figure:
    """The advantage in telling which of two histories a set has, by how the entry comes back."""
    found, trials = {}, TRIALS if arena.thorough else TRIALS // 3
    for done, (how, as_it_was) in enumerate(WAYS.items()):
        played = []
        for number in range(trials):
            played.append(_played(arena, number, as_it_was))
            arena.progress(done * trials + number + 1, len(WAYS) * trials)
        found[how] = won(played, len(WAYS))
    return advantages(found)


def _played(arena: Arena, number: int, as_it_was: bool) -> Played:
    again = number % 2 == 0
    rng, first = arena.rng(f"updates/{number}"), arena.hashes(ENTRIES, f"list/{number}")
    added = first[:1] if again else arena.hashes(1, f"new/{number}")
    build = update(arena.publish(first, f"set/{number}", k=16, bands=2), first[:0], [entry_id(0)], rng)
    like = 1 if as_it_was else build.epoch + 1
    layers = opened(update(build, added, [], rng, numbered_as=like)).setup.layers
    return Played(_features(layers[0].file, layers[-1].file), again)


def _features(old: SetFile, new: SetFile) -> tuple[int, ...]:
    """How many labels, cells and addresses of the two files belong together."""
    sealed = [_rows(file, labels.KIND) for file in (old, new)]
    alike = (sealed[0][:, None, :] == sealed[1][None, :, :]).sum(axis=2)
    cells = [_words(file, store.KIND, "<u8") >> np.uint64(NUMBER_BITS) for file in (old, new)]
    found = [int((alike >= LEAST_EQUAL).sum()), len(np.intersect1d(cells[0], cells[1]))]
    if (ADDRESSES_KIND, 0) in new.sections:
        where = [_words(file, ADDRESSES_KIND, "<u4") for file in (old, new)]
        found.append(len(np.intersect1d(where[0], where[1])))
    return tuple(found)


def _rows(file: SetFile, kind: int) -> npt.NDArray[np.uint8]:
    """The records of a file's first section of a kind, uint8 (n, w)."""
    row = file.row(kind)
    return np.frombuffer(file.section(kind), np.uint8).reshape(row.items, -1)


def _words(file: SetFile, kind: int, dtype: str) -> npt.NDArray[Any]:
    """A section as numbers."""
    content = file.section(kind)
    return np.frombuffer(content, dtype, len(content) // np.dtype(dtype).itemsize)


def _without_epoch(tag: bytes, epoch: int, rows: Rows, length: int) -> Rows:
    """Keys that are the same in the files of all epochs."""
    return expand(tag, 0, rows, length)


ATTACK: Final = Adversary(
    name="relisting",
    means=Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "the files of every epoch, and no query"),
    claim=Claim(
        "an entry that is removed and listed again under one OPRF key lies in another place, "
        "under another mask and another label key",
        "docs/set-format.md",
    ),
    budget=f"twice {TRIALS} histories of a set of {ENTRIES} entries",
    move=run,
    weakness=replacing((rowwise, "expand", _without_epoch)),
    against=frozenset({"oprf-psi", "token-psi"}),
)
