"""Makes the next epoch of token-psi from the one before: a delta whose bytes are proportional to the change.

    previous files, additions, ids to remove --> the previous set-up files unchanged, delta-<epoch>.bin,
                                                 matcher.bin with the same key and the new epoch

The key stays, since entries evaluated under another one could not be found: a new key needs a full set. A
delta tells every device how many entries an epoch added and which ids it removed. Members of a family are
removed one by one; the labels of those that stay open as before. An addition starts a family of its own
within its delta.
"""

from __future__ import annotations

from collections.abc import Sequence

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Buffers, EntrySource, Progress, Workspace
from blindmatch_protocol.designs.deltas import (
    MOST_DELTAS,
    begin_delta,
    checked_ids,
    copy_files,
    delta_file,
)
from blindmatch_protocol.designs.recipe import SIGNATURES, Recipe
from blindmatch_protocol.designs.token_psi import files
from blindmatch_protocol.designs.token_psi.build import BATCH, evaluate_list, keys_of, write_layer
from blindmatch_protocol.designs.token_psi.files import Setup
from blindmatch_protocol.designs.token_psi.matching import labels_under
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Executor


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
    ids = checked_ids(removes)
    if not len(adds) and not len(ids):
        raise DesignError("an update must add or remove an entry")
    epoch, newest = setup.epoch + 1, setup.layers[-1].file
    identity = files.identity(epoch, newest.identity.parameters)
    earlier = tuple(layer.epoch for layer in setup.layers)
    recipe = Recipe(epoch, identity.parameters[SIGNATURES.name], earlier)
    rows = evaluate_list(adds, state.key, setup.tokening, recipe, executor, out, progress)
    _refuse_present(setup, adds, rows, frozenset(ids.tolist()))
    names = [layer.name for layer in setup.layers]
    copy_files(names, previous, out)
    file = begin_delta(out, identity, newest, ids)
    digest = write_layer(file, adds, rows, state.key, setup.tokening, recipe, progress)
    files.write_matcher(out.create(files.MATCHER_FILE), state.key, digest, identity, len(adds))
    return (*names, delta_file(epoch))


def _refuse_present(setup: Setup, adds: EntrySource, rows: Rows, removes: frozenset[int]) -> None:
    """Make sure that no addition's hash is in force already; one removed at the same time is not.

    `rows` are those of `build.evaluate_list`.
    """
    at, bands, layers = 0, setup.tokening.bands, len(setup.layers)
    for batch in adds.batches(BATCH):
        for own in batch.hashes:
            row = rows[at : at + 1]
            opened = labels_under(setup, [keys_of(row, bands, 1 + place) for place in range(layers)])
            same = [label for label in opened if label.entry_hash == own.tobytes()]
            if any(label.entry_id not in removes for label in same):
                raise DesignError(f"addition {at} (counted from 0) is in the set already")
            at += 1
