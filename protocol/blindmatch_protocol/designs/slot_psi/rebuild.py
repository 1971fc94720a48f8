"""Building a published epoch again from its list and both keys, and comparing every byte that could hide an
entry.

A curator could put tokens of unlisted pictures into the table, or records beside the list's, and nobody who
lacks the keys would see it: cells and empty positions look uniform. An endorser that is given both keys finds
it. Unlike `list audit --rebuild` it needs no seed of the curator's. It does not find keys that were drawn
again until chosen pictures had a chance pair.
"""

from __future__ import annotations

import numpy as np

from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract.publishing import EntryBatch
from blindmatch_protocol.crypto.oprf import SecretKey
from blindmatch_protocol.designs.slot_psi.build import Built, build
from blindmatch_protocol.designs.slot_psi.files import RECORDS_KIND, SHARD_KIND, TOPS_KIND, OpenedSetup
from blindmatch_protocol.setfile import SetFile


def check_rebuilt(
    setup: OpenedSetup, content: SetFile, entries: EntryBatch, first: SecretKey, second: SecretKey
) -> None:
    """Make sure that a set-up and its records are what a list gives under both keys, byte for byte.

    Args:
        setup: the set-up that devices have.
        content: `records.bin`.
        entries: the list, in the order in which it was published.
        first: the matcher's key.
        second: the key whose shares both parties hold.

    Raises:
        SetFileError: a key is not the set-up's, or a file has other bytes; the text names the file and the
            part.
        DesignError: the list is empty or holds an entry twice.
    """
    name = setup.file.name
    for key, public, which in ((first, setup.first, "first"), (second, setup.second.whole, "second")):
        if key.public != public:
            raise SetFileError(f"{name}: the {which} key given is not the one of this set-up")
    if len(entries) != setup.entries:
        raise SetFileError(f"{name}: made of {setup.entries} entries, and the list has {len(entries)}")
    made = build(entries, first, second, setup.slotting, setup.epoch)
    _check_setup(setup, made)
    held = np.ascontiguousarray(made.records)
    if bytes(content.section(RECORDS_KIND)) != held.tobytes():
        raise SetFileError(f"{content.name}: the records are not what the list gives under both keys")


def _check_setup(setup: OpenedSetup, made: Built) -> None:
    file = setup.file
    shards = [bytes(file.section(SHARD_KIND, number)) for number in range(file.count(SHARD_KIND))]
    if shards != list(made.table):
        raise SetFileError(f"{file.name}: the table is not what the list gives under both keys")
    if bytes(file.section(TOPS_KIND)) != made.tops.tobytes():
        raise SetFileError(f"{file.name}: the records' tree is not what the list gives under both keys")
