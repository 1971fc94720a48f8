"""Cheats of updates, and of devices that apply them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any

from blindmatch_protocol.contract import EntrySource, Published
from blindmatch_protocol.contract.entries import HeldEntries
from blindmatch_protocol.designs.deltas import (
    DELTA_PREFIX,
    PREVIOUS_KIND,
    PUBLIC_KEY_KIND,
    SET_FILE,
    delta_file,
)
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.randomness import Randomness
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

from blindmatch_simulations.conformance.mutations.devices import Psi
from blindmatch_simulations.conformance.mutations.roles import EpochIgnored

NOTES = "notes.bin"
NOBODY = 1


class RemovesNothing(Psi):
    """Says that an id is removed that nobody has."""

    def update(
        self, previous: Any, adds: EntrySource, removes: Sequence[int], out: Any, rng: Randomness, *how: Any
    ) -> Published:
        return super().update(previous, adds, [NOBODY] if removes else [], out, rng, *how)


class AddsLater(Psi):
    """Removes now, and adds nothing."""

    def update(
        self, previous: Any, adds: EntrySource, removes: Sequence[int], out: Any, rng: Randomness, *how: Any
    ) -> Published:
        (whole,) = adds.batches(len(adds))
        none = type(whole)(whole.hashes[:0], whole.ids[:0], whole.salts[:0])
        return super().update(previous, HeldEntries(none), removes, out, rng, *how)


class PassesOver(Psi):
    """A device that takes as many of its deltas as go together, unless it was told an epoch."""

    def open_setup(self, files_: Any, epoch: int | None = None) -> Any:
        if epoch is not None:
            return super().open_setup(files_, epoch)
        names = sorted(name for name in files_ if name.startswith(DELTA_PREFIX))
        for kept in range(len(names), -1, -1):
            some = {name: files_[name] for name in (SET_FILE, *names[:kept])}
            try:
                return super().open_setup(some, epoch)
            except SetFileError:
                continue
        return super().open_setup(files_, epoch)


class SkipsDamaged(PassesOver):
    """Passes over a delta that it cannot read, and believes the epoch it was told."""

    def open_setup(self, files_: Any, epoch: int | None = None) -> Any:
        try:
            return Psi.open_setup(self, files_, epoch)
        except SetFileError as error:
            if "altered" in str(error) or "truncated" in str(error):
                return super().open_setup(files_, None)
            raise


class TakesAny(Psi):
    """A device that makes a delta fit the set it has."""

    def open_setup(self, files_: Any, epoch: int | None = None) -> Any:
        return super().open_setup({**files_, **_fitted(self, files_)}, epoch)


def _fitted(design: Psi, files: Mapping[str, Any]) -> dict[str, bytes]:
    """The delta of epoch 2, with digest and key of the set before it written into it."""
    name, info = delta_file(2), design.info
    if name not in files:
        return {}
    try:
        base, delta = (SetFile(files[one], one, "oprf-psi", info.version) for one in (SET_FILE, name))
    except SetFileError:
        return {}
    own = {PREVIOUS_KIND: base.digest, PUBLIC_KEY_KIND: bytes(base.section(PUBLIC_KEY_KIND))}
    out, held = BytesIO(), delta.identity
    writer = SetFileWriter(out, Identity(held.design, held.design_version, 2, base.identity.parameters))
    for key, section in delta.sections.items():
        writer.section(section.kind, [own.get(section.kind, delta.section(*key))], section.items)
    writer.finish(delta.entries)
    return {name: out.getvalue()}


class MixesEpochs(EpochIgnored):
    """Epochs that differ by an update have one key, and nobody looks at the number."""


class _Noted(Psi):
    """An update with a file more."""

    def update(
        self, previous: Any, adds: EntrySource, removes: Sequence[int], out: Any, rng: Randomness, *how: Any
    ) -> Published:
        made = super().update(previous, adds, removes, out, rng, *how)
        (whole,) = adds.batches(len(adds))
        out.create(NOTES).write(self.note(whole.hashes[0].tobytes()))
        return Published((*made.setup, NOTES), made.roles)

    def note(self, added: bytes) -> bytes:
        """What stands in it."""
        raise NotImplementedError


class LongerForSome(_Noted):
    """A length that depends on the entry."""

    def note(self, added: bytes) -> bytes:
        return bytes(added[0])


class DigestInUpdate(_Noted):
    """A digest of the entry."""

    def note(self, added: bytes) -> bytes:
        return sha256(added).digest()
