"""Makes the next epoch of oprf-psi from the one before: a delta whose bytes are proportional to the change.

    previous files, additions, ids to remove --> the previous set-up files unchanged, delta-<epoch>.bin,
                                                 matcher.bin with the same key and the new epoch

The key stays, since entries evaluated under another one could not be found: a new key needs a full set. A
delta tells every device how many entries an epoch added and which ids it removed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Buffers, EntrySource, Progress, Workspace
from blindmatch_protocol.designs.deltas import (
    MOST_DELTAS,
    begin_delta,
    checked_ids,
    copy_files,
    delta_file,
)
from blindmatch_protocol.designs.oprf_psi import files
from blindmatch_protocol.designs.oprf_psi.build import evaluate_list, keys_of, oprf_inputs, write_layer
from blindmatch_protocol.designs.oprf_psi.layers import AnyLayer, Layer, find
from blindmatch_protocol.designs.recipe import Recipe
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.oprf import SecretKey, evaluate

_CHECKED = 1 << 16
"""Additions that are looked up together."""


def write_update(
    previous: Buffers,
    adds: EntrySource,
    removes: Sequence[int],
    executor: Executor | None,
    out: Workspace,
    progress: Progress,
) -> tuple[str, ...]:
    """Write the next epoch's files; the names of the set-up's.

    Raises:
        SetFileError: if a previous file is damaged.
        DesignError: if nothing changes, an entry is there already or an id is named twice, or so many deltas
            have piled up that a full set is due.
    """
    setup, state = files.open_setup(previous, None), files.open_matcher(previous)
    if setup.full_set_due:
        raise DesignError(f"{MOST_DELTAS} deltas have piled up: publish a full set")
    if setup.unconfirmed:
        raise DesignError("a set of kind filter cannot be updated: publish a whole set")
    ids = checked_ids(removes)
    if not len(adds) and not len(ids):
        raise DesignError("an update must add or remove an entry")
    epoch, newest = setup.epoch + 1, setup.layers[-1].file
    identity = files.identity(epoch, newest.identity.parameters)
    earlier = tuple(layer.file.identity.epoch for layer in setup.layers)
    recipe = Recipe(epoch, identity.parameters["signatures"], earlier)
    rows = evaluate_list(adds, state.key, recipe, executor, out, progress)
    _refuse_present(setup.layers, state.key, adds, rows, frozenset(ids.tolist()), executor)
    names = [layer.name for layer in setup.layers]
    copy_files(names, previous, out)
    file = begin_delta(out, identity, newest, ids)
    digest = write_layer(file, rows, state.key, identity, progress)
    files.write_matcher(out.create(files.MATCHER_FILE), state.key, digest, identity, len(rows))
    return (*names, delta_file(epoch))


def _refuse_present(
    layers: tuple[AnyLayer, ...],
    key: SecretKey,
    adds: EntrySource,
    rows: Rows,
    removes: frozenset[int],
    executor: Executor | None,
) -> None:
    """Make sure that no addition is in force already; one that is removed at the same time is not.

    `rows` are those of `build.evaluate_list`. They tell nearly every new entry from those that are there;
    only what is left is evaluated again, for the key that opens its label.
    """
    at = 0
    for batch in adds.batches(_CHECKED):
        maybe = _maybe_there(layers, rows[at : at + len(batch)])
        outputs = evaluate(key, oprf_inputs(batch.hashes[maybe]), executor)
        for place, row in enumerate(maybe.tolist()):
            label = find(layers, outputs[place : place + 1], None)
            if label is not None and label.entry_id not in removes:
                raise DesignError(f"addition {at + row} (counted from 0) is in the set already")
        at += len(batch)


def _maybe_there(layers: tuple[AnyLayer, ...], rows: Rows) -> npt.NDArray[np.intp]:
    """Which rows any layer's store has a label for."""
    there = np.zeros(len(rows), np.bool_)
    for file, layer in enumerate(layers, 1):
        if isinstance(layer, Layer):
            there |= layer.numbers(keys_of(rows, file)) < layer.entries
    return there.nonzero()[0]
