"""The chain of files of a set-up that is updated: a full set, and a delta for every epoch since.

    set.bin (epoch 3) <--digest-- delta-0000000004.bin <--digest-- delta-0000000005.bin

A `Recipe` says what a file's rows are made for, as designs that publish sealed labels need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.contract import Buffers, EntrySource, Progress, Workspace
from blindmatch_protocol.contract.declaration import Parameter
from blindmatch_protocol.contract.steps import MOST_SIGNATURES
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

SET_FILE: Final = "set.bin"
DELTA_PREFIX: Final = "delta-"
MOST_DELTAS: Final = 8
"""Deltas on one full set at most: each costs every look-up, and a device another pass over the pairs."""

PUBLIC_KEY_KIND: Final = 0x100
"""Of every set-up file: the VOPRF public key, 32."""
PREVIOUS_KIND: Final = 0x103
"""Of a delta: the overall digest of the file before, 32."""
REMOVED_KIND: Final = 0x104
"""Of a delta: ids it removes, 8 each, big-endian, strictly ascending."""
SHARE_KEYS_KIND: Final = 0x106
"""Of a set-up file of a key in shares: their public keys, 32 each, in the order of the roles."""

_COPY_BYTES: Final = 1 << 20


def delta_file(epoch: int) -> str:
    return f"{DELTA_PREFIX}{epoch:010}.bin"


# --- reading -------------------------------------------------------------------------------------


def open_named(files: Buffers, name: str, design: str, version: int, epoch: int | None = None) -> SetFile:
    """Open a file of a set by its name; `SetFileError` if it is missing, truncated, altered or of another
    design, version or epoch, if that is given."""
    if name not in files:
        raise SetFileError(f"{name} is missing")
    return SetFile(files[name], name, design, version, epoch)


def open_chain(files: Buffers, design: str, version: int, epoch: int | None) -> list[tuple[str, SetFile]]:
    """Open the full set and its deltas, by name; the last one must be of `epoch`, if that is given;
    `SetFileError` if one is missing, truncated, altered, of another version, design or epoch, or does not
    continue the one before."""
    names = [SET_FILE, *sorted(name for name in files if name.startswith(DELTA_PREFIX))]
    if len(names) > MOST_DELTAS + 1:
        raise SetFileError(f"more than {MOST_DELTAS} deltas: a full set is due")
    opened = [open_named(files, name, design, version) for name in names]
    for name, file, previous in zip(names[1:], opened[1:], opened, strict=False):
        _check_continues(name, file, previous)
    if epoch is not None and opened[-1].identity.epoch != epoch:
        raise SetFileError(f"{names[-1]}: for epoch {opened[-1].identity.epoch}, not epoch {epoch}")
    return list(zip(names, opened, strict=True))


def _check_continues(name: str, file: SetFile, previous: SetFile) -> None:
    epoch = file.identity.epoch
    before = previous.identity.epoch
    if name != delta_file(epoch):
        raise SetFileError(f"{name}: holds the delta of epoch {epoch}: applied twice or out of order")
    if epoch != before + 1:
        raise SetFileError(f"{name}: continues epoch {epoch - 1}, not epoch {before}: out of order")
    if bytes(file.section(PREVIOUS_KIND)) != previous.digest:
        raise SetFileError(f"{name}: made for another set of epoch {before} than the one before it")
    if bytes(file.section(PUBLIC_KEY_KIND)) != bytes(previous.section(PUBLIC_KEY_KIND)):
        raise SetFileError(f"{name}: another public key than the set before it: that needs a full set")
    if file.identity.parameters != previous.identity.parameters:
        raise SetFileError(f"{name}: other parameters than the set before it: that needs a full set")


def removed_ids(name: str, file: SetFile) -> npt.NDArray[np.uint64]:
    """Ids that a file removes from those before it, ascending; a full set removes none; `SetFileError` if
    they are not whole or do not ascend."""
    if name == SET_FILE:
        return np.zeros(0, np.uint64)
    raw = file.section(REMOVED_KIND)
    if len(raw) % 8:
        raise SetFileError(f"{name}: the removed ids are not whole")
    ids = np.frombuffer(raw, ">u8").astype(np.uint64)
    if (ids[1:] <= ids[:-1]).any():
        raise SetFileError(f"{name}: the removed ids do not ascend")
    return ids


def check_files(files: Sequence[SetFile], progress: Progress) -> None:
    """Compare every byte of these files with its digest; `SetFileError` if one was altered."""
    total = sum(section.length for file in files for section in file.sections.values())
    done = 0

    def counted(length: int) -> None:
        nonlocal done
        done += length
        progress(done, total)

    for file in files:
        file.verify(counted)


def check_kinds(name: str, file: SetFile, many: frozenset[int], *once: int) -> None:
    """Make sure that a set-up file has sections of its design's kinds and of the chain's alone: one of each
    of `once`, any number of each of `many`; `SetFileError` if it has another section, or lacks one."""
    chain = (PUBLIC_KEY_KIND,) if name == SET_FILE else (PUBLIC_KEY_KIND, PREVIOUS_KIND, REMOVED_KIND)
    others = [kind for kind, _ in file.sections if kind not in many]
    if sorted(others) != sorted((*chain, *once)):
        raise SetFileError(f"{name}: has a section that does not belong in it, or lacks one")


# --- writing -------------------------------------------------------------------------------------


def checked_ids(adds: EntrySource, removes: Sequence[int]) -> npt.NDArray[np.uint64]:
    """Ids to remove, ascending; `DesignError` if one is no id, or is named twice, or if there are none, and
    no entries to add."""
    if any(not 0 <= number < 1 << 64 for number in removes):
        raise DesignError("an entry id is an unsigned integer of 64 bits")
    ids = np.unique(np.array(removes, np.uint64))
    if len(ids) != len(removes):
        raise DesignError("an id to remove is named twice")
    if not len(adds) and not len(ids):
        raise DesignError("an update must add or remove an entry")
    return ids


def copy_files(names: Iterable[str], previous: Buffers, out: Workspace) -> None:
    for name in names:
        content = memoryview(previous[name])
        writer = out.create(name)
        for at in range(0, len(content), _COPY_BYTES):
            writer.write(content[at : at + _COPY_BYTES])


def begin_delta(
    out: Workspace, identity: Identity, newest: SetFile, removes: npt.NDArray[np.uint64]
) -> SetFileWriter:
    """The delta that goes on from `newest`, with what it removes; its design writes the rest."""
    file = SetFileWriter(out.create(delta_file(identity.epoch)), identity)
    file.section(PREVIOUS_KIND, [newest.digest], 1)
    file.section(REMOVED_KIND, [removes.astype(">u8").tobytes()], len(removes))
    return file


SIGNATURES: Final = Parameter(
    "signatures", "Places for signatures in a label.", "signatures", 0, 0, MOST_SIGNATURES
)


class Recipe(Struct, frozen=True):
    """What the rows of a file depend on besides the entries and the key.

    Attributes:
        earlier: epochs of the files before it; rows tell where an entry would lie in each of them, too.
    """

    epoch: int
    signatures: int = 0
    earlier: tuple[int, ...] = ()

    @property
    def epochs(self) -> tuple[int, ...]:
        """The file's own epoch, and those before it."""
        return (self.epoch, *self.earlier)


def signatures_of(name: str, file: SetFile) -> int:
    """Signatures in the labels of a set-up file; `SetFileError` if it does not say, or there are too many."""
    value = file.identity.parameters.get(SIGNATURES.name)
    if value is None or value > SIGNATURES.most:
        raise SetFileError(f"{name}: parameter signatures: must be there and at most {SIGNATURES.most}")
    return value
