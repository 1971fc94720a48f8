"""A device looks in a set's files for what it is not to see there.

relisting   in the files alone, an entry that was removed and is listed again under the same key
lone-hit    lone hits: tokens of its choice that one entry has, and no label to show for it

    epoch 1   a list          epoch 2   one entry removed          epoch 3   the same hash, or a new one

What the full set and the newest delta hold is compared: sealed labels (two under one key and nonce are equal
wherever what they seal is, and else give its XOR: of ids and salts), cells of the store (that hold the same
masked value, or one that differs by a label's number), and the index of addresses. The entry comes back with
another id and salt, as the list tools do it, or as it was.

For lone hits it asks for tokens, half of which are an entry's, and reads what a layer's store holds for each.
A lone hit and a miss must look alike in layers of every size; an update of one entry is the smallest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party
from blindmatch_protocol.crypto.oprf import evaluate_rows
from blindmatch_protocol.designs.token_psi.build import oprf_input_rows
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.designs.token_psi.shares import token_keys
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.rowwise import expand
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import labels, store
from blindmatch_protocol.sets.fuse_map import Cells

from blindmatch_simulations.evaluation.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, Played, advantages, won
from blindmatch_simulations.evaluation.attacks.needs import DELTAS, TOKENS
from blindmatch_simulations.measure.intervals import Advantage
from blindmatch_simulations.testbed.inprocess.deployed import entry_id, opened, update

ENTRIES: Final = 12
TRIALS: Final = 96
LEAST_EQUAL: Final = 12
"""Bytes at the same places that two records of independent keys have in common with a chance of 2^-50."""
NUMBER_BITS: Final = 24
"""Cells that differ in these low bits alone may hold the numbers of two labels under one mask."""
WAYS: Final = {"with another id and salt": False, "as it was": True}


def _without_epoch(tag: bytes, epoch: int, rows: Rows, length: int) -> Rows:
    """Keys that are the same in the files of all epochs."""
    return expand(tag, 0, rows, length)


@attack(
    "relisting",
    Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "the files of every epoch, and no query"),
    Claim("nothing links an entry that is removed and listed again", "docs/set-format.md"),
    budget=f"twice {TRIALS} histories of a set of {ENTRIES} entries",
    weakness=replacing((rowwise, "expand", _without_epoch)),
    needs=(DELTAS,),
)
def relisting(arena: Arena) -> Figure:
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


SIZES: Final = (1, 10, 100, 1000)
"""Entries of a layer."""
QUICK_SIZES: Final = (1, 10)
LOOK_UPS: Final = 400
"""Tokens a size, half of them hits; as many layers are made as that takes."""
PER_LAYER: Final = 20
K: Final = 24
BANDS: Final = 4


@attack(
    "lone-hit",
    Means(frozenset({Party.DEVICE}), has="tokens of its choice"),
    Claim("a lone hit is never seen", "docs/designs/token-psi.md"),
    budget=f"{LOOK_UPS} tokens a size, half of them an entry's",
    weakness=replacing((Cells, "__call__", lambda cells, word, count: np.zeros(count, np.uint64))),
    needs=(TOKENS,),
)
def lone_hit(arena: Arena) -> Figure:
    """The largest advantage in telling a lone hit from a miss, by the size of the layer."""
    sizes = SIZES if arena.thorough else QUICK_SIZES
    found = {f"{size} entries": _advantage(arena, size, len(sizes)) for size in arena.each(sizes)}
    return advantages(found)


def _advantage(arena: Arena, size: int, sizes: int) -> Advantage:
    hits = min(PER_LAYER // 2, size * BANDS)
    played: list[Played] = []
    while len(played) < LOOK_UPS:
        played += _layer(arena, size, hits, f"{size}/{len(played)}")
    return won(played, sizes)


def _layer(arena: Arena, size: int, hits: int, purpose: str) -> Iterator[Played]:
    """Look-ups in an update of so many entries, hits and misses by turns."""
    entries, others = arena.hashes(size, f"added/{purpose}"), arena.hashes(hits, f"others/{purpose}")
    base = arena.publish(arena.hashes(2, f"base/{purpose}"), purpose, k=K, bands=BANDS, probes=1)
    deployed = opened(update(base, entries, [], arena.rng(purpose)))
    read = [_read(arena, deployed, hashes, hits) for hashes in (entries, others)]
    seen = Counter(value for side in read for value in side)
    for pair in zip(*read, strict=True):
        for value, case in zip(pair, (True, False), strict=True):
            yield Played((value == 0, seen[value] > 1), case)


def _read(arena: Arena, deployed: Any, hashes: Rows, count: int) -> list[int]:
    """What the newest layer holds for the first tokens of hashes.

    The outputs are those that a device gets for tokens it asks for, see `extraction`.
    """
    inputs = oprf_input_rows(entry_tokens(hashes, K, BANDS))[:count]
    key = deployed.design.layout.joined({role: state.key for role, state in deployed.states.items()})
    arena.spending.queries += count
    layer = deployed.setup.layers[-1]
    keys = token_keys(evaluate_rows(key, inputs), layer.epoch)
    read: list[int] = layer.store.lookup(keys.store_keys)[:, 0].tolist()
    return read
